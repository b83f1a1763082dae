"""Reads what the tasks of `plugged` wrote down, and compares it between jobs."""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from tests.distributed.plugged import EVENTS
from tests.lab import last

Samples = dict[int, list[str]]  # by iteration, the prints of the batch in its order
Curves = dict[str, dict[int, float]]  # by phase and loss, then by iteration


def _events(runs: Path, rank: int) -> list[dict]:
    return [json.loads(line) for line in (runs / EVENTS.format(rank)).read_text().splitlines()]


def samples(runs: Path, ranks: int, of: str = "samples") -> Samples:
    """What all ranks together worked on: part by part on each, the ranks in their order."""
    found: Samples = defaultdict(list)
    for rank in range(ranks):
        for event in _events(runs, rank):
            if of in event:
                found[event["iter"]] += event[of]
    return dict(found)


def curves(runs: Path, ranks: int) -> Curves:
    """Each loss at each iteration: the mean over the ranks and the parts of an accumulated batch."""
    values: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for rank in range(ranks):
        for event in _events(runs, rank):
            for name, value in event.get("losses", {}).items():
                values[f"{event['phase']}/{name}"][event["iter"]].append(value)
    return {name: {i: float(np.mean(each)) for i, each in found.items()} for name, found in values.items()}


def assert_close_curves(one: Curves, other: Curves, tolerance: float) -> None:
    """The same losses in the same iterations, and each value as close as that."""
    assert one.keys() == other.keys()
    for name, curve in one.items():
        assert curve.keys() == other[name].keys(), name
        apart = {i: abs(value - other[name][i]) for i, value in curve.items()}
        worst = max(apart, key=apart.__getitem__)
        assert apart[worst] <= tolerance, f"{name}: {apart[worst]:.2g} apart at iteration {worst}"


def assert_close_weights(one: Path, other: Path, tolerance: float) -> None:
    """Two experiments ended in the same iteration with the same weights, averages included."""
    first, second = last(one), last(other)
    assert first.iteration == second.iteration
    names = sorted(path.name for path in first.path.glob("*.safetensors"))
    assert names == sorted(path.name for path in second.path.glob("*.safetensors"))
    for name in names:
        weights, others = load_file(first.path / name), load_file(second.path / name)
        for key, value in weights.items():
            np.testing.assert_allclose(others[key], value, rtol=0, atol=tolerance, err_msg=f"{name}: {key}")
