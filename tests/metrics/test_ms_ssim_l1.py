"""MS-SSIM and L1: against independent implementations."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from restore.metrics.ms_ssim_metric import ms_ssim_per_image, smallest_side
from tests.metrics.test_psnr_ssim import build, pictures, tensor

EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def msssim_m(pred, gt):
    """What the authors' `msssim.m` does for one channel of levels 0 to 255, with SciPy."""
    window = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window /= window.sum()

    def blur(x):
        return ndimage.correlate1d(ndimage.correlate1d(x, window, 0), window, 1)[5:-5, 5:-5]

    c1, c2, product = (0.01 * 255) ** 2, (0.03 * 255) ** 2, 1.0
    for scale, exponent in enumerate(EXPONENTS, 1):
        m1, m2 = blur(pred), blur(gt)
        v1, v2, cov = blur(pred**2) - m1**2, blur(gt**2) - m2**2, blur(pred * gt) - m1 * m2
        structure = (2 * cov + c2) / (v1 + v2 + c2)
        whole = (2 * m1 * m2 + c1) / (m1**2 + m2**2 + c1) * structure
        product *= (whole if scale == 5 else structure).mean() ** exponent
        half = np.full((2, 2), 0.25)
        # origin -1: an even kernel reaches one to the right and down, as MATLAB's does; "reflect" is its "symmetric"
        pred, gt = (ndimage.correlate(p, half, mode="reflect", origin=(-1, -1))[::2, ::2] for p in (pred, gt))
    return product


@pytest.mark.parametrize("size", [(176, 192), (177, 181), (163, 200)])
def test_ms_ssim_as_its_authors_compute_it(size):
    pred, gt = pictures(*size)
    expected = np.mean([msssim_m(pred[..., c].astype(float), gt[..., c].astype(float)) for c in range(3)])
    assert build("ms_ssim")(tensor(pred), tensor(gt)).item() == pytest.approx(expected, abs=1e-9)


def test_ms_ssim_equals_pytorch_msssim():
    """Sides that halve evenly: at odd ones pytorch-msssim 1.0.0 pads with black."""
    oracle = pytest.importorskip("pytorch_msssim")
    for seed in range(2):
        pred, gt = (tensor(p).double() for p in pictures(192, 208, seed))
        expected = oracle.ms_ssim(pred, gt, data_range=1.0, size_average=False).item()
        assert build("ms_ssim")(pred, gt).item() == pytest.approx(expected, abs=1e-6)


def test_ms_ssim_of_each_image_border_and_bounds():
    pred, gt = (torch.cat([tensor(pictures(180, 180, seed)[i]) for seed in range(2)]) for i in (0, 1))
    metric = build("ms_ssim", crop_border=4)
    together = metric(pred, gt)
    assert together.shape == (2,)
    assert together.dtype == torch.float64
    alone = torch.cat([metric(pred[i : i + 1], gt[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)
    assert together.max() < 1
    assert metric(gt, gt).tolist() == pytest.approx([1, 1], abs=1e-12)
    spoilt = pred.clone()
    spoilt[:, :, :4] = 0
    assert metric(spoilt, gt).tolist() == together.tolist()
    assert metric(1 - gt, gt).tolist() == [0, 0]


def test_ms_ssim_needs_its_window_at_every_scale():
    assert [smallest_side(scales) for scales in (1, 3, 5)] == [11, 41, 161]
    small = torch.zeros(1, 3, 160, 200)
    with pytest.raises(ValueError, match="less than 161 pixels"):
        build("ms_ssim")(small, small)
    assert ms_ssim_per_image(torch.zeros(1, 3, 161, 161), torch.zeros(1, 3, 161, 161)).item() == 1


def test_l1_by_hand():
    """One level off in red, two in green: 3 levels of 3 channels."""
    gt = torch.full((1, 3, 16, 16), 100 / 255)
    pred = (gt * 255 + torch.tensor([1.0, 2.0, 0.0]).view(1, 3, 1, 1)) / 255
    assert build("l1")(pred, gt).item() == pytest.approx(1 / 255, abs=1e-12)
    assert not build("l1").higher_is_better


def test_l1_equals_numpy():
    pred, gt = pictures()
    cut = np.s_[4:-4, 4:-4]
    expected = np.abs(pred[cut].astype(float) - gt[cut]).mean() / 255
    assert math.isclose(build("l1", crop_border=4)(tensor(pred), tensor(gt)).item(), expected, rel_tol=1e-12)
