"""Losses of networks that say where a mask is: `step.pred` is how sure they are, `step.mask` 1 where pixels miss."""

import torch
from torch import Tensor

from restore.errors import UserError
from restore.losses.hole_loss import mask_of
from restore.losses.loss import Loss
from restore.registry import LOSSES
from restore.step import Step

_SUREST = 1e-7  # what is left of a probability in float32: beyond it the logarithm has no slope


def _pair(step: Step, loss: Loss) -> tuple[Tensor, Tensor]:
    """Prediction and mask, (N, 1, H, W) in [0, 1]. Raises `UserError` where the network answers something else."""
    mask = mask_of(step, loss)
    if step.pred.shape != mask.shape:
        raise UserError(
            f"{type(loss).__name__}: the network answers {step.pred.shape[1]} channels, a mask has one: give it "
            "`num_out_ch: 1`, where it has that option"
        )
    return step.pred.float(), mask.float()


@LOSSES.register
class MaskBCELoss(Loss):
    """Binary cross-entropy of the prediction against the mask, the mean over all pixels.

    Raises:
        UserError: in training, when the data has no masks, or the network answers more than one channel.
    """

    def forward(self, step: Step) -> Tensor:
        pred, mask = _pair(step, self)
        return -torch.where(mask > 0, pred, 1 - pred).clamp(min=_SUREST).log().mean()


@LOSSES.register
class MaskDiceLoss(Loss):
    """One less the soft Dice coefficient (Milletari et al., "V-Net", 3DV 2016, with plain sums below the line).

    A small mask counts as much as a large one. One pixel is added above and below the line, so that a picture without
    a mask has a figure too. Raises as `MaskBCELoss`.
    """

    def forward(self, step: Step) -> Tensor:
        pred, mask = _pair(step, self)
        both, total = (part.sum(dim=(1, 2, 3)) for part in (pred * mask, pred + mask))
        return (1 - (2 * both + 1) / (total + 1)).mean()
