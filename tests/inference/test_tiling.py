"""Whole pictures in tiles: equal to one piece, in memory that does not grow."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from restore.archs.msrresnet_arch import MSRResNet
from restore.errors import Fault
from restore.inference.tiling import restore_picture

SIZES = [(40, 40), (33, 147), (17, 64), (64, 15), (1, 1), (97, 31), (130, 129)]


def drawn(height, width, dtype=np.uint8, seed=0):
    full = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, full, (height, width, 3), dtype, endpoint=True)


def nearest(scale):
    return lambda x: F.interpolate(x, scale_factor=scale, mode="nearest")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("overlap", [0, 1, 5, 8, 31])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [1, 3])
def test_enlarging_by_repetition_is_exact(size, overlap, scale, dtype):
    picture = drawn(*size, dtype)
    result = restore_picture(nearest(scale), picture, scale, 32, "cpu", overlap)
    assert result.dtype == dtype
    assert np.array_equal(result, picture.repeat(scale, 0).repeat(scale, 1))


def test_tiles_equal_the_whole_where_the_overlap_covers_what_the_network_sees():
    torch.manual_seed(0)
    network = MSRResNet(num_feat=8, num_block=2, upscale=2)
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.normal_(layer.weight, std=0.1)

    def apply(lq):
        with torch.no_grad():
            return network(lq)

    picture = drawn(140, 171)
    whole = restore_picture(apply, picture, 2, None)
    tiled = restore_picture(apply, picture, 2, 64, overlap=32)
    assert whole.std() > 20
    assert np.abs(whole.astype(int) - tiled).max() <= 1  # rounding: the running mean is kept in the result itself


def test_tiles_fade_into_one_another():
    numbers = iter(range(100))
    picture = drawn(64, 64 * 3)
    result = restore_picture(lambda x: torch.full_like(x, next(numbers) / 10), picture, 1, 64, overlap=16)[:, :, 0]
    steps = np.diff(result.astype(int), axis=1)
    assert result[0, 0] == 0
    assert steps.min() >= 0
    assert 0 < steps.max() <= 6  # 25.5 levels from tile to tile, over eight pixels of fade


def test_out_of_memory_halves_the_tile_down_to_a_floor():
    seen = []

    def small(lq):
        seen.append(max(lq.shape[-2:]))
        if seen[-1] > 100:
            raise torch.OutOfMemoryError
        return lq

    picture = drawn(500, 300)
    assert np.array_equal(restore_picture(small, picture, 1), picture)
    assert max(seen[-3:]) <= 100 < max(seen)

    def never(lq):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(Fault, match=r"out of memory with tiles of \d+ px \(300x500\); close other programs"):
        restore_picture(never, picture, 1)
    with pytest.raises(Fault, match="a smaller `tile`, or `auto`"):
        restore_picture(never, picture, 1, 256)
    with pytest.raises(RuntimeError, match="a bug"):
        restore_picture(lambda lq: (_ for _ in ()).throw(RuntimeError("a bug")), picture, 1)


def test_memory_beside_picture_and_result_does_not_grow_with_the_picture():
    """Of NumPy's and Python's own allocations; benchmarks/infer.py measures the whole process, up to 100 megapixels."""
    import tracemalloc

    def peak(side):
        picture = drawn(64, 1).repeat(side // 64, 0).repeat(side, 1)
        tracemalloc.start()
        result = restore_picture(lambda lq: lq, picture, 1, 256)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert np.array_equal(result, picture)
        return most - result.nbytes

    small, large = peak(2048), peak(4096)
    assert large - small < 0.1 * small


def test_an_answer_of_another_size_is_told():
    with pytest.raises(ValueError, match="made"):
        restore_picture(lambda lq: lq[..., 1:], drawn(20, 20), 1)
