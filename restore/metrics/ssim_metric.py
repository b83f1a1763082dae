"""SSIM: structural similarity. Wang et al., "Image quality assessment: from error visibility to structural similarity"
(TIP 2004), in the setting of its authors' `ssim_index.m`, without the downsampling that came later.
"""

import math

import torch
from torch import Tensor

from restore.metrics.protocol import CropBorder, eight_bit_pair, luma
from restore.registry import METRICS

WINDOW = 11
_SIGMA = 1.5
_BELL = [math.exp(-((i - WINDOW // 2) ** 2) / (2 * _SIGMA**2)) for i in range(WINDOW)]
_WEIGHTS = [weight / sum(_BELL) for weight in _BELL]
_C1, _C2 = 0.01**2, 0.03**2
_STRIP = 12288  # pixels


def ssim_map(pred: Tensor, gt: Tensor) -> Tensor:
    """SSIM around each pixel whose window lies inside: (N, C, H, W) in [0, 1] to (N, C, H - 10, W - 10).

    Gradients flow to both. Give it float32 or float64: the variances are small differences.

    Raises:
        ValueError: the shapes differ, or a side is shorter than the window.
    """
    luminance, structure = ssim_factors(pred, gt)
    return luminance * structure


def ssim_factors(pred: Tensor, gt: Tensor) -> tuple[Tensor, Tensor]:
    """The two factors of `ssim_map`: how alike the means are, and how alike what varies around them."""
    if pred.shape != gt.shape or min(pred.shape[2:]) < WINDOW:
        raise ValueError(
            f"pred is {tuple(pred.shape)}, gt is {tuple(gt.shape)}: the same, and {WINDOW} pixels or more, is needed"
        )
    mean_pred, mean_gt = _blur(pred), _blur(gt)
    product, squares = mean_pred * mean_gt, mean_pred.square() + mean_gt.square()
    covariance = _blur(pred * gt) - product
    variances = _blur(pred.square() + gt.square()) - squares  # only their sum is needed: one blur less
    return (2 * product + _C1) / (squares + _C1), (2 * covariance + _C2) / (variances + _C2)


def ssim_per_image(pred: Tensor, gt: Tensor) -> Tensor:
    """Mean of `ssim_map` over pixels and channels of each image: shape (N,).

    One image at a time: see `ssim_map_in_strips`.
    """
    images = range(len(pred))
    return torch.cat([ssim_map_in_strips(pred[i : i + 1], gt[i : i + 1]).mean(dim=(1, 2, 3)) for i in images])


def ssim_map_in_strips(pred: Tensor, gt: Tensor) -> Tensor:
    """`ssim_map`, equal to the bit, some rows at a time: what it has in hand then stays in the processor's cache.

    Twice as fast at 256 px, three times at 512.
    """
    rows, last = max(1, _STRIP // pred.shape[3]), max(1, pred.shape[2] - WINDOW + 1)
    strips = (slice(top, top + rows + WINDOW - 1) for top in range(0, last, rows))
    return torch.cat([ssim_map(pred[:, :, strip], gt[:, :, strip]) for strip in strips], dim=2)


def _blur(picture: Tensor) -> Tensor:
    return _blur_along(_blur_along(picture, 2), 3)


def _blur_along(picture: Tensor, dim: int) -> Tensor:
    """Gaussian of one axis as a sum of shifted copies.

    Faster on a CPU than convolutions or products with band matrices, and neither autocast nor TF32 gets to round it on
    a GPU, which would drown the variances.
    """
    length, middle = picture.shape[dim] - WINDOW + 1, WINDOW // 2
    blurred = picture.narrow(dim, middle, length) * _WEIGHTS[middle]
    for i in range(middle):
        pair = picture.narrow(dim, i, length) + picture.narrow(dim, WINDOW - 1 - i, length)
        blurred.add_(pair, alpha=_WEIGHTS[i])
    return blurred


@METRICS.register
class ssim:
    """SSIM of each channel of RGB on 8-bit levels, averaged."""

    higher_is_better = True

    def __init__(self, crop_border: CropBorder = 0) -> None:
        self.crop_border = crop_border

    @property
    def protocol(self) -> str:
        return f"RGB, 8 bits, mean of channels, Gaussian 11x11 sigma 1.5, valid region, border {self.crop_border}"

    def __call__(self, pred: Tensor, gt: Tensor, mask: Tensor | None = None) -> Tensor:
        """One value per image, at most 1: (N, 3, H, W) RGB in [0, 1] to (N,) float64. The mask plays no part.

        Raises:
            ValueError: see `eight_bit_pair`; at least 11x11 pixels have to be left inside the border.
        """
        return ssim_per_image(*eight_bit_pair(pred, gt, self.crop_border, WINDOW))


@METRICS.register
class ssim_y(ssim):
    """SSIM of the luma of 8-bit pictures: how super-resolution benchmarks are quoted."""

    @property
    def protocol(self) -> str:
        return f"Y of BT.601 from 8-bit RGB, Gaussian 11x11 sigma 1.5, valid region, border {self.crop_border}"

    def __call__(self, pred: Tensor, gt: Tensor, mask: Tensor | None = None) -> Tensor:
        """As for `ssim`."""
        pred, gt = eight_bit_pair(pred, gt, self.crop_border, WINDOW)
        return ssim_per_image(luma(pred), luma(gt))
