"""PSNR: peak signal-to-noise ratio, in dB."""

from torch import Tensor

from restore.metrics.protocol import CropBorder, eight_bit_pair, luma
from restore.registry import METRICS


def mse_per_image(pred: Tensor, gt: Tensor) -> Tensor:
    """Mean squared error of each image of two batches (N, C, H, W): shape (N,)."""
    return (pred - gt).square().mean(dim=(1, 2, 3))


def psnr_per_image(pred: Tensor, gt: Tensor) -> Tensor:
    """PSNR in dB of each image of two batches (N, C, H, W) with peak 1: shape (N,); infinite where they are equal."""
    return -10 * mse_per_image(pred, gt).log10()


@METRICS.register
class psnr:
    """PSNR over the three channels of RGB together, on 8-bit levels."""

    higher_is_better = True

    def __init__(self, crop_border: CropBorder = 0) -> None:
        self.crop_border = crop_border

    @property
    def protocol(self) -> str:
        return f"RGB, 8 bits, border {self.crop_border}"

    def __call__(self, pred: Tensor, gt: Tensor, mask: Tensor | None = None) -> Tensor:
        """One value per image, in dB: (N, 3, H, W) RGB in [0, 1] to (N,) float64. The mask plays no part.

        Raises:
            ValueError: see `eight_bit_pair`.
        """
        return psnr_per_image(*eight_bit_pair(pred, gt, self.crop_border))


@METRICS.register
class psnr_y(psnr):
    """PSNR of the luma of 8-bit pictures, against a peak of 255: how super-resolution benchmarks are quoted."""

    @property
    def protocol(self) -> str:
        return f"Y of BT.601 from 8-bit RGB, border {self.crop_border}"

    def __call__(self, pred: Tensor, gt: Tensor, mask: Tensor | None = None) -> Tensor:
        """As for `psnr`."""
        pred, gt = eight_bit_pair(pred, gt, self.crop_border)
        return psnr_per_image(luma(pred), luma(gt))
