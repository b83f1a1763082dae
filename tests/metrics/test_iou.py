"""IoU: against sets of pixels in Python, and its ends."""

import numpy as np
import pytest
import torch

from restore.registry import METRICS, Part

IOU = METRICS.build(Part(type="iou"))


def places(array):
    return set(map(tuple, np.argwhere(array)))


def score(pred, mask):
    return IOU(pred, torch.zeros(len(pred), 3, *pred.shape[2:]), mask)


def test_it_is_that_of_sets_of_pixels():
    generator = torch.Generator().manual_seed(0)
    pred = torch.rand(6, 1, 20, 31, generator=generator)
    mask = (torch.rand(6, 1, 20, 31, generator=generator) > torch.linspace(0.2, 0.9, 6)[:, None, None, None]).float()
    found, true = (pred[:, 0] > 0.5).numpy(), (mask[:, 0] > 0).numpy()
    expected = [len(places(a) & places(b)) / len(places(a) | places(b)) for a, b in zip(found, true, strict=True)]
    value = score(pred.expand(-1, 3, -1, -1), mask)
    assert value.dtype == torch.float64
    assert value.tolist() == pytest.approx(expected, abs=1e-12)
    assert len(set(value.tolist())) == 6


def test_its_ends():
    mask = torch.zeros(4, 1, 8, 8)
    mask[1:, :, :4] = 1
    pred = torch.stack([mask[0], mask[1], 1 - mask[2], torch.full((1, 8, 8), 0.5)])
    assert score(pred, mask).tolist() == [1, 1, 0, 0]  # nothing and nothing found; right; wrong; exactly a half is no
    assert score(pred[1:2], None).tolist() == [0]  # found what is not there
    assert IOU.higher_is_better


def test_a_mask_of_another_size_is_told():
    with pytest.raises(ValueError, match="mask"):
        score(torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 8, 9))
