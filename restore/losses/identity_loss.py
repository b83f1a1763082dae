"""The face should stay the same person's."""

import torch
from torch import Tensor

from restore.faces.identity import Identity
from restore.losses.loss import Loss
from restore.registry import LOSSES
from restore.step import Step


@LOSSES.register
class IdentityLoss(Loss):
    """1 - cosine of MobileFaceNet's vectors of `step.pred` and `step.gt`, both aligned by `step.landmarks`.

    Faces should be whole: a crop that cuts them is compared as far as it goes.

    Args:
        weights: of the network, in the place of the registered file; `random` for tests.
    """

    needs = ("datasets.train.landmarks",)

    def __init__(self, weights: str | None = None) -> None:
        super().__init__()
        self.identity = Identity(weights)

    def forward(self, step: Step) -> Tensor:
        assert step.landmarks is not None
        with torch.no_grad():
            wanted = self.identity(step.gt, step.landmarks)
        cosine: Tensor = (self.identity(step.pred, step.landmarks) * wanted).sum(1)
        return 1 - cosine.mean()
