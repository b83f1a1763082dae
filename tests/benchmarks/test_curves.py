"""The figures of the curves, and of memory over many steps, from numbers that are known."""

import mmap

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import curves, flat, memory, million
from benchmarks.convolutions import forward, forward_and_backward, recorded
from benchmarks.measure import spread

SIZES = [10, 100, 1_000, 10_000]


def seconds(power: float, overhead: float = 0.0) -> list[float]:
    return [overhead + 1e-6 * x**power for x in SIZES]


def test_the_exponent_is_that_of_the_law():
    assert curves.exponent(SIZES, seconds(1.0)) == pytest.approx(1.0)
    assert curves.exponent([x**2 for x in SIZES], seconds(2.0)) == pytest.approx(1.0)
    assert curves.exponent(SIZES, seconds(1.5, overhead=1e-4)) == pytest.approx(1.5, abs=0.01)


def test_growth_above_the_law_and_above_the_floor_s_misses_the_bar():
    subject = curves.Subject("s", "work", "records", (10,), 100, lambda folder, x: (print, print), "a floor")
    for power, floor, met in ((1.0, 1.0, True), (1.3, 1.0, False), (1.3, 1.3, True)):
        times = zip(SIZES, seconds(power), seconds(floor), strict=True)
        points = [curves.Point(x, spread([ours]), spread([least]), spread([1.0])) for x, ours, least in times]
        _, claim = curves.judged(subject, points)
        assert claim.met is met
        assert f"to the power {power:.2f}" in claim.what


def test_recorded_convolutions_are_the_network_s():
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 3, stride=2, bias=False))
    x = torch.rand(2, 3, 9, 9)
    calls = recorded(network, lambda: network(x))
    torch.testing.assert_close(forward(calls)[-1], network(x))
    assert [call.first for call in calls] == [True, False]
    forward_and_backward(calls)
    assert not any(layer._forward_hooks for layer in network)


def test_a_leak_is_not_flat_and_a_fluctuation_is():
    at = np.arange(0, 10_001, 50)
    noise = np.random.default_rng(0).normal(0, 3, len(at))
    pools = np.minimum(at, 1500) / 50  # fill within the warm-up
    still = flat.fitted(np.stack([at, 300 + pools + noise], 1), 10_000)
    assert still.flat
    assert abs(still.ended - still.began) < 2
    leak = flat.fitted(np.stack([at, 300 + pools + noise + at * 2e-3], 1), 10_000)  # 2 KB a step
    assert not leak.flat
    assert leak.ended - leak.began == pytest.approx(16, abs=2)


def test_iterations_are_read_from_the_end_of_a_log(tmp_path):
    log = tmp_path / "train.log"
    assert flat.iteration(log) == 0
    log.write_text("x\n2026-01-01 10:00:00 iter 950/10,000  lr: 1\n2026-01-01 10:00:00 iter 1,000/10,000  lr: 1\nbye\n")
    assert flat.iteration(log) == 1000


def test_memory_is_what_was_touched():
    before, alone = memory.anonymous(), memory.private()
    held = np.frombuffer(mmap.mmap(-1, 40 << 20), np.uint8)  # not malloc's, which may hand out what was touched before
    held[:] = 1
    assert memory.anonymous() - before == pytest.approx(held.nbytes / 1e6, abs=4)
    assert memory.private() - alone == pytest.approx(held.nbytes / 1e6, abs=4)


@pytest.mark.slow
def test_a_million_in_small(tmp_path):
    million.build(tmp_path / "gt", 1_100, 3)
    million.build(tmp_path / "lq", 1_100, 1, million.SCALE)
    dataset = million.dataset(tmp_path / "gt", tmp_path / "lq")
    assert len(dataset) == 1_100
    assert dataset.keys[1_099] == "01000/00001099"
    sample = dataset.load(1_099, np.random.default_rng(0))
    assert (sample["gt"].shape, sample["lq"].shape) == ((8, 8, 3), (2, 2, 3))
