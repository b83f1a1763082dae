"""Losses without networks: against independent computations, and what every one of them owes."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional as F

from restore.metrics.ms_ssim_metric import ms_ssim_per_image
from restore.metrics.ssim_metric import ssim_per_image
from restore.registry import LOSSES, Part
from restore.step import Step
from tests.oracles import basicsr

ALL = {
    "L1Loss": {},
    "MSELoss": {},
    "CharbonnierLoss": {},
    "HuberLoss": {},
    "SSIMLoss": {},
    "MSSSIMLoss": {"scales": 3},
    "FocalFrequencyLoss": {},
    "GradientLoss": {},
    "TVLoss": {},
}
AT_EQUAL = {"CharbonnierLoss": 1e-6, "TVLoss": None}  # sqrt(eps); TV knows no target


def pair(n=3, height=48, width=56, seed=0):
    """Smooth pictures, and the same with noise; some of it beyond [0, 1], as networks put out."""
    generator = torch.Generator().manual_seed(seed)
    gt = F.interpolate(torch.rand(n, 3, 6, 7, generator=generator), (height, width), mode="bicubic").clamp(0, 1)
    return gt + 0.1 * torch.randn(gt.shape, generator=generator), gt


def step(pred, gt):
    built = Step(lq=gt, gt=gt)
    built.pred = pred
    return built


def loss(name, pred, gt, **args):
    return LOSSES.build(Part(type=name, **args))(step(pred, gt))


@pytest.mark.parametrize("name", ALL)
def test_a_scalar_with_a_finite_gradient(name):
    pred, gt = pair()
    for start in (pred, gt, torch.zeros_like(gt), 1 - gt):  # gt: where roots and maxima have no slope; 1 - gt: opposed
        leaf = start.clone().requires_grad_()
        value = loss(name, leaf, gt, **ALL[name])
        value.backward()
        assert value.shape == ()
        assert value.dtype == torch.float32
        assert value.isfinite()
        assert leaf.grad.isfinite().all()
    assert loss(name, pred.requires_grad_(), gt, **ALL[name]).grad_fn is not None


@pytest.mark.parametrize("name", sorted(ALL.keys() - {"FocalFrequencyLoss"}))  # its weights pass no gradient
def test_the_gradient_points_uphill(name):
    """A small step against the gradient lowers the loss by as much as the gradient says."""
    pred, gt = (p.double() for p in pair(1, 44, 44))
    pred.requires_grad_()
    value = loss(name, pred, gt, **ALL[name])
    (slope,) = torch.autograd.grad(value, pred)
    stride = 1e-2 / slope.norm()
    lower = loss(name, pred - stride * slope, gt, **ALL[name])
    assert (value - lower).item() == pytest.approx((stride * slope.square().sum()).item(), rel=0.15)


@pytest.mark.parametrize("name", ALL)
def test_at_equal_pictures(name):
    _, gt = pair()
    expected = AT_EQUAL.get(name, 0)
    if expected is not None:
        assert loss(name, gt, gt, **ALL[name]).item() == pytest.approx(expected, abs=2e-7)


@pytest.mark.parametrize("name", ALL)
def test_the_mean_of_per_sample_values(name):
    pred, gt = pair()
    alone = [loss(name, pred[i : i + 1], gt[i : i + 1], **ALL[name]).item() for i in range(3)]
    assert loss(name, pred, gt, **ALL[name]).item() == pytest.approx(np.mean(alone), rel=1e-6)
    assert len(set(alone)) == 3


@pytest.mark.parametrize("name", ["SSIMLoss", "MSSSIMLoss", "FocalFrequencyLoss", "GradientLoss", "TVLoss"])
def test_float32_whatever_the_precision_around(name):
    pred, gt = pair()
    pred = pred.bfloat16()
    expected = loss(name, pred.float(), gt, **ALL[name]).item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert loss(name, pred, gt, **ALL[name]).item() == expected


@pytest.mark.parametrize("name", sorted(ALL.keys() - {"TVLoss"}))
def test_the_farther_off_the_dearer(name):
    pred, gt = pair()
    costs = [loss(name, gt + share * (pred - gt), gt, **ALL[name]).item() for share in (0, 0.5, 1)]
    assert costs[0] + 2e-7 >= 0
    assert costs[0] < costs[1] < costs[2]


def test_pixel_losses_equal_numpys():
    pred, gt = pair()
    difference = pred.numpy().astype(np.float64) - gt.numpy()
    assert loss("L1Loss", pred, gt).item() == pytest.approx(np.abs(difference).mean(), rel=1e-6)
    assert loss("MSELoss", pred, gt).item() == pytest.approx((difference**2).mean(), rel=1e-6)
    rounded = np.sqrt(difference**2 + 1e-4).mean()
    assert loss("CharbonnierLoss", pred, gt, eps=1e-4).item() == pytest.approx(rounded, rel=1e-6)


def test_huber_by_hand():
    """Off by 0.05: half its square. Off by 0.4: 0.1 * (0.4 - 0.05)."""
    gt = torch.zeros(1, 3, 2, 2)
    assert loss("HuberLoss", gt + 0.05, gt).item() == pytest.approx(0.05**2 / 2, rel=1e-6)
    assert loss("HuberLoss", gt - 0.4, gt).item() == pytest.approx(0.1 * 0.35, rel=1e-6)
    pred, gt = pair()
    pred.clamp_(0, 1)
    mse = loss("MSELoss", pred, gt).item()
    assert loss("HuberLoss", pred, gt, delta=1).item() == pytest.approx(mse / 2, rel=1e-6)


def test_ssim_losses_do_not_round():
    """The metrics' functions, which are proved elsewhere, of the very pictures."""
    pred, gt = pair(2, 64, 64)
    assert loss("SSIMLoss", pred, gt).item() == pytest.approx(1 - ssim_per_image(pred, gt).mean().item(), abs=1e-6)
    expected = 1 - ms_ssim_per_image(pred, gt, 3).mean().item()
    assert loss("MSSSIMLoss", pred, gt, scales=3).item() == pytest.approx(expected, abs=1e-6)
    slight = gt + 0.2 / 255
    assert loss("SSIMLoss", slight, gt).item() > 1e-7


def test_opposed_structure_counts_nothing():
    _, gt = pair()
    assert loss("MSSSIMLoss", 1 - gt, gt, scales=3).item() == 1
    with pytest.raises(ValueError, match="161 pixels or more for 5 scales"):
        loss("MSSSIMLoss", gt, gt)


def by_the_paper(pred, gt, alpha=1.0, patch_factor=1, ave_spectrum=False, log_matrix=False):
    """Jiang et al., equations 8 to 10, with NumPy; each patch and channel by itself."""
    values = []
    for strip in zip(*(np.split(p.double().numpy(), patch_factor, axis=2) for p in (pred, gt)), strict=True):
        for one, other in zip(*(np.split(s, patch_factor, axis=3) for s in strip), strict=True):
            real, fake = np.fft.fft2(other, norm="ortho"), np.fft.fft2(one, norm="ortho")
            if ave_spectrum:
                real, fake = (spectrum.mean(axis=0, keepdims=True) for spectrum in (real, fake))
            weight = np.abs(real - fake) ** alpha
            weight = np.log(weight + 1) if log_matrix else weight
            weight = weight / weight.max(axis=(2, 3), keepdims=True)
            values.append((weight * np.abs(real - fake) ** 2).mean())
    return np.mean(values)


FREQUENCY = [
    {},
    {"alpha": 0.5},
    {"patch_factor": 2},
    {"patch_factor": 4, "log_matrix": True},
    {"ave_spectrum": True, "alpha": 2.0},
]


@pytest.mark.parametrize("args", FREQUENCY, ids=str)
def test_focal_frequency_by_the_papers_formula(args):
    pred, gt = pair()
    assert loss("FocalFrequencyLoss", pred, gt, **args).item() == pytest.approx(
        by_the_paper(pred, gt, **args), rel=1e-5
    )


@pytest.mark.parametrize("args", FREQUENCY, ids=str)
def test_focal_frequency_equals_its_authors(args):
    oracle = pytest.importorskip("focal_frequency_loss").FocalFrequencyLoss(**args)
    for pred, gt in (pair(), pair(2, 32, 32, seed=1)):
        leaves = [pred.clone().requires_grad_() for _ in range(2)]
        ours, theirs = loss("FocalFrequencyLoss", leaves[0], gt, **args), oracle(leaves[1], gt)
        assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
        slopes = [torch.autograd.grad(value, leaf)[0] for value, leaf in zip((ours, theirs), leaves, strict=True)]
        torch.testing.assert_close(*slopes, rtol=1e-4, atol=1e-8)


def test_patches_have_to_fit():
    pred, gt = pair()
    with pytest.raises(ValueError, match=r"^pictures of 48x56 do not divide into 5x5: mend patch_factor$"):
        loss("FocalFrequencyLoss", pred, gt, patch_factor=5)


def test_gradient_equals_scipys_sobel():
    pred, gt = pair()
    planes = (pred - gt).double().flatten(0, 1).numpy()
    expected = sum(
        np.mean([np.abs(ndimage.sobel(plane, axis)[1:-1, 1:-1]).mean() / 8 for plane in planes]) for axis in (0, 1)
    )
    assert loss("GradientLoss", pred, gt).item() == pytest.approx(expected, rel=1e-6)


def test_gradient_of_a_ramp_is_its_slope():
    """A ramp of 0.01 a pixel across against a flat picture; brightness alone is no difference."""
    gt = torch.full((1, 3, 20, 30), 0.2)
    ramp = gt + 0.01 * torch.arange(30)
    assert loss("GradientLoss", ramp, gt).item() == pytest.approx(0.01, rel=1e-4)
    assert loss("GradientLoss", gt + 0.3, gt).item() == pytest.approx(0, abs=1e-7)


def test_tv_equals_basicsrs():
    pred, gt = pair()
    oracle = basicsr("losses.basic_loss").WeightedTVLoss()
    assert loss("TVLoss", pred, gt).item() == pytest.approx(oracle(pred).item(), abs=1e-6)


def test_tv_by_hand():
    """Columns of 0 and 1 in turns: a step of 1 across, none down."""
    stripes = (torch.arange(8) % 2).float().expand(1, 3, 5, 8)
    assert loss("TVLoss", stripes, stripes).item() == 1


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("HuberLoss", {"delta": 0}),
        ("MSSSIMLoss", {"scales": 6}),
        ("FocalFrequencyLoss", {"alpha": -1}),
        ("FocalFrequencyLoss", {"patch_factor": 0}),
        ("FocalFrequencyLoss", {"alhpa": 1}),
    ],
)
def test_wrong_options_are_refused(name, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LOSSES.get(name).schema(**wrong)
