"""Pixel losses that weigh the hole and the known region apart; and the mask that they need."""

from typing import Annotated

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from restore.errors import UserError
from restore.losses.loss import Loss
from restore.registry import LOSSES
from restore.step import Step

Weight = Annotated[float, Field(ge=0)]


def mask_of(step: Step, loss: Loss) -> Tensor:
    """The step's mask. Raises `UserError` where the data has none."""
    if step.mask is None:
        raise UserError(f"{type(loss).__name__} needs masks, and the data has none: use OccludedImageDataset")
    return step.mask


@LOSSES.register
class HoleL1Loss(Loss):
    """Mean over all pixels of |pred - gt|, times one weight in the hole and another one outside.

    LaMa's is `weight_hole: 0, weight_known: 10` (Suvorov et al., WACV 2022): the hole is left to the other losses.

    Args:
        weight_hole: where the mask is 1.
        weight_known: where it is 0.

    Raises:
        UserError: in training, when the data has no masks.
    """

    def __init__(self, weight_hole: Weight = 1.0, weight_known: Weight = 1.0) -> None:
        super().__init__()
        self.hole, self.known = weight_hole, weight_known

    def forward(self, step: Step) -> Tensor:
        mask = mask_of(step, self)
        weights = mask * self.hole + (1 - mask) * self.known
        return (weights * self.difference(step)).mean()

    def difference(self, step: Step) -> Tensor:
        """What is weighed, by value."""
        return F.l1_loss(step.pred, step.gt, reduction="none")


@LOSSES.register
class HoleMSELoss(HoleL1Loss):
    """As `HoleL1Loss`, of the squared difference."""

    def difference(self, step: Step) -> Tensor:
        return F.mse_loss(step.pred, step.gt, reduction="none")
