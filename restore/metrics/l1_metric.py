"""L1: mean absolute error."""

from torch import Tensor

from restore.metrics.protocol import CropBorder, eight_bit_pair
from restore.registry import METRICS


@METRICS.register
class l1:
    """Mean absolute difference over the three channels of RGB, on 8-bit levels, in units of [0, 1]."""

    higher_is_better = False

    def __init__(self, crop_border: CropBorder = 0) -> None:
        self.crop_border = crop_border

    @property
    def protocol(self) -> str:
        return f"RGB, 8 bits, in units of [0, 1], border {self.crop_border}"

    def __call__(self, pred: Tensor, gt: Tensor, mask: Tensor | None = None) -> Tensor:
        """One value per image: (N, 3, H, W) RGB in [0, 1] to (N,) float64. The mask plays no part.

        Raises:
            ValueError: see `eight_bit_pair`.
        """
        pred, gt = eight_bit_pair(pred, gt, self.crop_border)
        return (pred - gt).abs().mean(dim=(1, 2, 3))
