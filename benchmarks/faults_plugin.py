"""A plugin for option files: a loss of zero, until the bench of faults makes it none or lets it ask for memory."""

import os
from pathlib import Path

import torch
from torch import Tensor

from restore.losses.loss import Loss
from restore.registry import LOSSES
from restore.step import Step

NAN, HUNGRY = "nan", "hungry"  # files below the folder, which are there as long as the fault is
LARGE = 1 << 33  # bytes


@LOSSES.register
class FaultyLoss(Loss):
    """Zero, and no number where the batch is one of those that chance has chosen, or for as long as the fault lasts.

    Args:
        folder: where the faults are.
        one_in: so many batches have one that is no number, which depends on the batch alone; 0: none has.
    """

    def __init__(self, folder: str, one_in: int = 0) -> None:
        super().__init__()
        self.folder, self.one_in = Path(folder), one_in

    def forward(self, step: Step) -> Tensor:
        zero = step.pred.mean() * 0
        if (self.folder / HUNGRY).exists():
            torch.empty(LARGE, dtype=torch.uint8)
        bad = self.one_in and int(step.gt.double().sum() * 255) % self.one_in == 0
        return zero * float("nan") if bad or os.path.exists(self.folder / NAN) else zero
