"""Losses on edges."""

from torch import Tensor

from restore.losses.loss import Loss
from restore.precision import full
from restore.registry import LOSSES
from restore.step import Step


@LOSSES.register
class GradientLoss(Loss):
    """Mean absolute difference of the Sobel slopes, across plus down, in units of [0, 1] a pixel.

    Sobel's 3x3 operator divided by 8, so that a ramp of 1/255 a pixel has the slope 1/255; valid region.
    """

    def forward(self, step: Step) -> Tensor:
        difference = full(step.pred) - full(step.gt)  # the operator is linear
        return _slope(difference, 2).abs().mean() + _slope(difference, 3).abs().mean()


def _slope(picture: Tensor, dim: int) -> Tensor:
    """Sobel's derivative along one of the axes 2 and 3: (N, C, H, W) to (N, C, H - 2, W - 2)."""
    across = 5 - dim
    length = picture.shape[across] - 2
    left, middle, right = (picture.narrow(across, start, length) for start in range(3))
    smooth = (left + 2 * middle + right) / 4
    length = picture.shape[dim] - 2
    return (smooth.narrow(dim, 2, length) - smooth.narrow(dim, 0, length)) / 2
