"""What is wrong in the hole, and what outside it: PSNR, MSE, L1 and SSIM of a part of a picture."""

import torch
from torch import Tensor

from restore.metrics.protocol import eight_bit_pair
from restore.metrics.ssim_metric import WINDOW, ssim_map_in_strips
from restore.registry import METRICS


def hole_of(mask: Tensor | None, picture: Tensor) -> Tensor:
    """Where pixels miss: (N, 1, H, W) of bool. Without a mask nobody knows of a hole, and there is none.

    Raises:
        ValueError: the mask is not (N, 1, H, W) of the picture's size.
    """
    shape = (len(picture), 1, *picture.shape[2:])
    if mask is None:
        return torch.zeros(shape, dtype=torch.bool, device=picture.device)
    if mask.shape != shape:
        raise ValueError(f"mask is {tuple(mask.shape)}, pictures are {tuple(picture.shape)}: {shape} is needed")
    return mask.to(picture.device) > 0


def mean_over(values: Tensor, part: Tensor) -> Tensor:
    """The mean of (N, C, H, W) over channels and the pixels in `part` (N, 1, H, W): (N,), NaN where it has none."""
    return (values * part).sum(dim=(1, 2, 3)) / (part.sum(dim=(1, 2, 3)) * values.shape[1])


class _Part:
    """What the metrics of a part of the picture share: the mean of some error over its pixels."""

    higher_is_better = False
    outside = False  # of the hole

    @property
    def protocol(self) -> str:
        where = "known pixels" if self.outside else "pixels of the hole"
        return f"RGB, 8 bits, {where} only, peak 1; none of a picture without a hole"

    def __call__(self, pred: Tensor, gt: Tensor, mask: Tensor | None = None) -> Tensor:
        """One value per image: (N, 3, H, W) RGB in [0, 1], mask (N, 1, H, W) with 1 = missing, to (N,) float64.

        NaN for a picture without a hole, without a mask, or (of the known part) with nothing but a hole.

        Raises:
            ValueError: see `eight_bit_pair` and `hole_of`.
        """
        hole = hole_of(mask, pred)
        found = mean_over(self.error(*eight_bit_pair(pred, gt)), ~hole if self.outside else hole)
        return self.figure(found).masked_fill(~hole.any(dim=(1, 2, 3)), torch.nan)

    def error(self, pred: Tensor, gt: Tensor) -> Tensor:
        """Of each value."""
        return (pred - gt).square()

    def figure(self, error: Tensor) -> Tensor:
        """What is made of the mean error."""
        return error


@METRICS.register
class mse_hole(_Part):
    """Mean squared error in the hole, over the three channels of RGB, on 8-bit levels, in units of [0, 1]."""


@METRICS.register
class mse_known(mse_hole):
    """As `mse_hole`, of the known pixels: 0 once they are composited back."""

    outside = True


@METRICS.register
class psnr_hole(_Part):
    """PSNR in the hole: of the mean squared error over its pixels and the three channels of RGB, on 8-bit levels."""

    higher_is_better = True

    def figure(self, error: Tensor) -> Tensor:
        return -10 * error.log10()


@METRICS.register
class psnr_known(psnr_hole):
    """As `psnr_hole`, of the known pixels: infinite once they are composited back."""

    outside = True


@METRICS.register
class l1_hole(_Part):
    """Mean absolute difference in the hole, over the three channels of RGB, on 8-bit levels, in units of [0, 1]."""

    def error(self, pred: Tensor, gt: Tensor) -> Tensor:
        return (pred - gt).abs()


@METRICS.register
class ssim_hole:
    """SSIM's map over the whole pictures, averaged over the windows whose centre is in the hole.

    Windows reach over the hole's edge, so that a seam counts. Only those that lie inside the picture are taken: of the
    5 pixels at each of its edges none is a centre.
    """

    higher_is_better = True

    @property
    def protocol(self) -> str:
        return (
            "RGB, 8 bits, mean of channels, Gaussian 11x11 sigma 1.5, windows inside the picture with their centre in "
            "the hole; none of a picture without a hole"
        )

    def __call__(self, pred: Tensor, gt: Tensor, mask: Tensor | None = None) -> Tensor:
        """As for `psnr_hole`; NaN also for a hole that lies in the 5 pixels at an edge.

        Raises:
            ValueError: also for pictures of fewer than 11x11 pixels.
        """
        edge = WINDOW // 2
        centres = hole_of(mask, pred)[..., edge:-edge, edge:-edge]
        return mean_over(ssim_map_in_strips(*eight_bit_pair(pred, gt, smallest=WINDOW)), centres)
