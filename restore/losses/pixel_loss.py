"""Pixel losses between `step.pred` and `step.gt`, averaged over all samples."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from restore.losses.loss import Loss
from restore.registry import LOSSES
from restore.step import Step


@LOSSES.register
class L1Loss(Loss):
    """Mean absolute difference."""

    def forward(self, step: Step) -> Tensor:
        return F.l1_loss(step.pred, step.gt)


@LOSSES.register
class MSELoss(Loss):
    """Mean squared difference."""

    def forward(self, step: Step) -> Tensor:
        return F.mse_loss(step.pred, step.gt)


@LOSSES.register
class CharbonnierLoss(Loss):
    """sqrt(difference^2 + eps), a differentiable relative of L1 (Charbonnier et al., ICIP 1994).

    Args:
        eps: rounds the corner at zero; in squared units of [0, 1].
    """

    def __init__(self, eps: Annotated[float, Field(gt=0)] = 1e-12) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, step: Step) -> Tensor:
        return torch.sqrt((step.pred - step.gt).square() + self.eps).mean()


@LOSSES.register
class HuberLoss(Loss):
    """Half the squared difference up to `delta`, linear beyond (Huber, Ann. Math. Stat. 1964).

    Args:
        delta: where it becomes linear, in units of [0, 1]; with 1 it is half the MSE, since no pixel is off by more.
    """

    def __init__(self, delta: Annotated[float, Field(gt=0)] = 0.1) -> None:
        super().__init__()
        self.delta = delta

    def forward(self, step: Step) -> Tensor:
        return F.huber_loss(step.pred, step.gt, delta=self.delta)
