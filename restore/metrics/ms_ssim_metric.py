"""MS-SSIM: SSIM at several scales. Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality
assessment" (ACSSC 2003), halved as its authors' `msssim.m` does.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from restore.metrics.protocol import CropBorder, eight_bit_pair
from restore.metrics.ssim_metric import WINDOW, ssim_factors
from restore.registry import METRICS

Scales = Annotated[int, Field(ge=1, le=5)]
_EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the paper's five scales, the finest first
_TINY = 1e-6  # below it a root's slope grows without bound


def smallest_side(scales: int) -> int:
    """The least height and width: the window has to fit at the coarsest scale."""
    return ((WINDOW - 1) << (scales - 1)) + 1


def ms_ssim_per_image(pred: Tensor, gt: Tensor, scales: int = 5) -> Tensor:
    """MS-SSIM of each image of two batches (N, C, H, W) in [0, 1], the mean of its channels: shape (N,).

    With fewer than five scales the exponents of the finest ones are used, scaled to the same sum. A channel that is
    negative at one scale, where the paper's product is undefined, counts 0. Gradients flow to both.

    Raises:
        ValueError: the shapes differ, or a side is shorter than `smallest_side(scales)`.
    """
    if pred.shape != gt.shape or min(pred.shape[2:]) < smallest_side(scales):
        need = f"the same, and {smallest_side(scales)} pixels or more for {scales} scales, is needed"
        raise ValueError(f"pred is {tuple(pred.shape)}, gt is {tuple(gt.shape)}: {need}")
    exponents = [exponent * sum(_EXPONENTS) / sum(_EXPONENTS[:scales]) for exponent in _EXPONENTS[:scales]]
    product = pred.new_ones(pred.shape[:2])
    for scale, exponent in enumerate(exponents, 1):
        luminance, structure = ssim_factors(pred, gt)
        compared = luminance * structure if scale == scales else structure
        product = product * _root(compared.mean(dim=(2, 3)), exponent)
        pred, gt = _halved(pred), _halved(gt)
    return product.mean(dim=1)


def _root(value: Tensor, exponent: float) -> Tensor:
    """`value ** exponent`, 0 for what is negative, and nowhere with an infinite slope."""
    return torch.where(value > 0, value.clamp(min=_TINY) ** exponent, 0)


def _halved(picture: Tensor) -> Tensor:
    """Means of 2x2 pixels; an odd last row or column is repeated, as MATLAB's `imfilter(..., 'symmetric')` does."""
    height, width = picture.shape[2:]
    return F.avg_pool2d(F.pad(picture, (0, width % 2, 0, height % 2), mode="replicate"), 2)


@METRICS.register
class ms_ssim:
    """MS-SSIM of each channel of RGB on 8-bit levels, averaged; at five scales."""

    higher_is_better = True

    def __init__(self, crop_border: CropBorder = 0) -> None:
        self.crop_border = crop_border

    @property
    def protocol(self) -> str:
        return f"RGB, 8 bits, mean of channels, 5 scales, Gaussian 11x11 sigma 1.5, border {self.crop_border}"

    def __call__(self, pred: Tensor, gt: Tensor, mask: Tensor | None = None) -> Tensor:
        """One value per image, at most 1: (N, 3, H, W) RGB in [0, 1] to (N,) float64. The mask plays no part.

        Raises:
            ValueError: see `eight_bit_pair`; at least 161x161 pixels have to be left inside the border.
        """
        return ms_ssim_per_image(*eight_bit_pair(pred, gt, self.crop_border, smallest_side(5)))
