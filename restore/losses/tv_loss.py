"""Losses that ask for smoothness."""

from torch import Tensor

from restore.losses.loss import Loss
from restore.precision import full
from restore.registry import LOSSES
from restore.step import Step


@LOSSES.register
class TVLoss(Loss):
    """Total variation of `step.pred`: the mean absolute step to the next pixel, across plus down; GT plays no part.

    Rudin, Osher and Fatemi, "Nonlinear total variation based noise removal algorithms" (Physica D 1992), in the
    anisotropic form of BasicSR's `WeightedTVLoss`.
    """

    def forward(self, step: Step) -> Tensor:
        pred = full(step.pred)
        return pred.diff(dim=2).abs().mean() + pred.diff(dim=3).abs().mean()
