"""Pictures in tiles: no seam, no hole."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from restore.archs.msrresnet_arch import MSRResNet
from restore.engine.tiles import predict_tiled, spans
from restore.errors import UserError

SIZES = [(40, 40), (33, 47), (17, 64), (64, 15), (16, 16), (31, 31)]
OVERLAPS = [0, 1, 2, 3, 4, 5, 7, 8, 15]


def nearest(scale):
    return lambda x: F.interpolate(x, scale_factor=scale, mode="nearest")


def picture(height, width):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("overlap", OVERLAPS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [1, 2, 3])
def test_enlarging_by_repetition_is_exact(size, overlap, scale):
    lq = picture(*size)
    tiled = predict_tiled(nearest(scale), lq, scale, 16, overlap)
    assert tiled.shape == (1, 3, size[0] * scale, size[1] * scale)
    assert torch.allclose(tiled, nearest(scale)(lq), rtol=0, atol=2e-6)


@pytest.mark.parametrize("overlap", OVERLAPS)
@pytest.mark.parametrize("length", range(1, 70, 3))
def test_every_pixel_has_weight(length, overlap):
    shares = torch.zeros(length * 2)
    for span in spans(length, 16, overlap, 2):
        assert span.weight.min() >= 0
        assert span.total.min() > 0.4
        shares[span.start * 2 : span.stop * 2] += torch.from_numpy(span.weight / span.total)
    assert torch.allclose(shares, torch.ones(length * 2), rtol=0, atol=1e-6)


@pytest.mark.parametrize("length", range(1, 400, 7))
@pytest.mark.parametrize("overlap", [0, 3, 16, 32])
def test_spans_cover_the_axis_with_few_tiles_of_one_size(length, overlap):
    found = spans(length, 64, overlap, 2)
    total = np.zeros(length * 2)
    for span in found:
        place = slice(span.start * 2, span.stop * 2)
        assert np.allclose(span.before, total[place], atol=1e-6)
        total[place] += span.weight
    assert total.min() > 0.4
    assert {span.stop - span.start for span in found} == {found[0].stop - found[0].start}
    assert found[0].stop - found[0].start <= 64
    assert found[-1].stop == length
    if length > 64:
        assert len(found) == -(-(length - overlap) // (64 - overlap))
        assert all(a.stop - b.start >= overlap for a, b in pairwise(found))


@pytest.mark.parametrize("size", [(70, 61), (48, 90)])
def test_network_in_tiles_equals_the_whole(size):
    torch.manual_seed(0)
    network = MSRResNet(num_feat=8, num_block=2, upscale=2)
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.normal_(layer.weight, std=0.1)  # far from the start near identity
    lq = picture(*size)
    with torch.no_grad():
        whole, tiled = network(lq), predict_tiled(network, lq, 2, 48, 32)
    assert (whole - F.interpolate(lq, scale_factor=2, mode="bilinear")).abs().max() > 0.1
    assert (whole - tiled).abs().max() < 1e-4


def test_smaller_than_a_tile_is_not_cut():
    calls = []
    predict_tiled(lambda x: calls.append(x.shape) or x, picture(16, 12), 1, 16, 4)
    assert calls == [(1, 3, 16, 12)]


def test_tiles_are_of_one_size():
    shapes = set()
    predict_tiled(lambda x: shapes.add(x.shape) or x, picture(41, 50), 1, 16, 5)
    assert shapes == {(1, 3, 16, 16)}


def test_overlap_must_be_less_than_the_tile():
    with pytest.raises(UserError, match="tile_overlap"):
        predict_tiled(nearest(1), picture(40, 40), 1, 16, 16)


def test_tiles_fade_into_one_another():
    numbers = iter(range(9))
    out = predict_tiled(lambda x: torch.full_like(x, next(numbers)), picture(16, 40), 1, 16, 8)[0, 0, 0]
    steps = out.diff()
    assert out[0] == 0
    assert out[-1] == 3
    assert steps.min() >= 0
    assert steps.max() <= 0.3
