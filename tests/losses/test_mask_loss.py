"""Losses of masks: against PyTorch's and the formula in NumPy, at their ends, and their mistakes."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from restore.errors import UserError
from restore.registry import LOSSES, Part
from restore.step import Step


def build(name):
    return LOSSES.build(Part(type=name))


def step(pred, mask):
    gt = torch.zeros(len(pred), 3, *pred.shape[2:])
    made = Step(lq=gt, gt=gt, mask=mask)
    made.pred = pred
    return made


@pytest.fixture
def made():
    generator = torch.Generator().manual_seed(0)
    pred = torch.rand(3, 1, 12, 17, generator=generator).requires_grad_()
    mask = (torch.rand(3, 1, 12, 17, generator=generator) > 0.7).float()
    mask[2] = 0
    return step(pred, mask)


def test_cross_entropy_is_torchs(made):
    """PyTorch's own, which has other means against infinities."""
    value = build("MaskBCELoss")(made)
    assert value.item() == pytest.approx(F.binary_cross_entropy(made.pred, made.mask).item(), rel=1e-6)


def test_dice_by_the_formula(made):
    """In NumPy, sample by sample."""
    pred, mask = made.pred.detach().double().numpy(), made.mask.double().numpy()
    dice = [(2 * np.sum(p * m) + 1) / (np.sum(p) + np.sum(m) + 1) for p, m in zip(pred, mask, strict=True)]
    assert build("MaskDiceLoss")(made).item() == pytest.approx(1 - np.mean(dice), rel=1e-6)


@pytest.mark.parametrize("name", ["MaskBCELoss", "MaskDiceLoss"])
def test_it_is_least_where_they_agree_and_finite_where_nothing_does(name, made):
    loss, mask = build(name), made.mask
    right, wrong = (loss(step(pred, mask)).item() for pred in (mask.clone(), 1 - mask))
    assert right == pytest.approx(0, abs=1e-6)
    assert right < loss(made).item() < wrong < float("inf")


@pytest.mark.parametrize("name", ["MaskBCELoss", "MaskDiceLoss"])
def test_the_slope_is_towards_the_mask(name, made):
    (slope,) = torch.autograd.grad(build(name)(made), made.pred)
    assert (slope[made.mask > 0] < 0).all()
    assert (slope[made.mask == 0] > 0).all()


@pytest.mark.parametrize("name", ["MaskBCELoss", "MaskDiceLoss"])
def test_mistakes_are_told(name, made):
    with pytest.raises(UserError, match="OccludedImageDataset"):
        build(name)(step(made.pred, None))
    with pytest.raises(UserError, match="num_out_ch: 1"):
        build(name)(step(made.pred.expand(-1, 3, -1, -1), made.mask))
