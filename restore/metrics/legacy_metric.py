"""PSNR and SSIM as some papers on face completion took them: of pictures zeroed outside the hole.

The known pixels are equal, and count: PSNR is higher than the hole's by 10 log10(1 / area), the area being the hole's
share of the picture. Here to reproduce published figures; `psnr_hole` and `ssim_hole` are what to quote.
"""

import torch
from torch import Tensor

from restore.metrics.hole_metric import hole_of
from restore.metrics.protocol import eight_bit_pair
from restore.metrics.psnr_metric import psnr_per_image
from restore.metrics.ssim_metric import WINDOW, ssim_per_image
from restore.registry import METRICS


class _Zeroed:
    """What the two metrics share."""

    higher_is_better = True
    smallest = 1  # pixels a side

    def __call__(self, pred: Tensor, gt: Tensor, mask: Tensor | None = None) -> Tensor:
        """One value per image: (N, 3, H, W) RGB in [0, 1], mask (N, 1, H, W) with 1 = missing, to (N,) float64.

        NaN for a picture without a hole or without a mask.

        Raises:
            ValueError: see `eight_bit_pair` and `hole_of`.
        """
        hole = hole_of(mask, pred)
        pred, gt = (picture * hole for picture in eight_bit_pair(pred, gt, smallest=self.smallest))
        return self.figure(pred, gt).masked_fill(~hole.any(dim=(1, 2, 3)), torch.nan)

    def figure(self, pred: Tensor, gt: Tensor) -> Tensor:
        """Of pictures that are zero outside the hole."""
        raise NotImplementedError


@METRICS.register
class psnr_legacy_zeroed(_Zeroed):
    """PSNR of whole pictures zeroed outside the hole: above `psnr_hole` by 10 log10(1 / the hole's share)."""

    @property
    def protocol(self) -> str:
        return "RGB, 8 bits, both zeroed outside the hole, over the whole picture: psnr_hole + 10 log10(1 / area)"

    def figure(self, pred: Tensor, gt: Tensor) -> Tensor:
        return psnr_per_image(pred, gt)


@METRICS.register
class ssim_legacy_zeroed(_Zeroed):
    """SSIM of whole pictures zeroed outside the hole: 1 wherever a window does not touch it."""

    smallest = WINDOW

    @property
    def protocol(self) -> str:
        return "as ssim, both zeroed outside the hole: 1 wherever a window does not touch it"

    def figure(self, pred: Tensor, gt: Tensor) -> Tensor:
        return ssim_per_image(pred, gt)
