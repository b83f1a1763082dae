"""The discriminator's layers should see in a generated picture what they see in the real one."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from restore.losses.loss import Loss
from restore.precision import full
from restore.registry import LOSSES
from restore.step import Step


@LOSSES.register
class FeatureMatchingLoss(Loss):
    """Mean over the discriminator's layers, of all its scales, of the distance between their outputs.

    pix2pixHD's is `l1` (Wang et al., CVPR 2018), LaMa's `l2` with weight 100 (Suvorov et al., WACV 2022). The logits
    do not count as a layer. The discriminator has to show its layers, as PatchGAN does.

    Args:
        criterion: mean absolute difference, or mean square.
    """

    needs = ("network_d",)
    wants_features = True

    def __init__(self, criterion: Literal["l1", "l2"] = "l1") -> None:
        super().__init__()
        self.distance = F.l1_loss if criterion == "l1" else F.mse_loss

    def forward(self, step: Step) -> Tensor:
        pairs = zip(step.features_pred, step.features_real, strict=True)
        return torch.stack([self.distance(full(pred), full(real.detach())) for pred, real in pairs]).mean()
