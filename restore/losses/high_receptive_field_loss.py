"""LaMa's perceptual loss, over a network whose features see most of the picture."""

import torch
from torch import Tensor
from torch.nn import functional as F

from restore.features.resnet_dilated import ResNetDilated
from restore.losses.loss import Loss
from restore.registry import LOSSES
from restore.step import Step


@LOSSES.register
class HighReceptiveFieldLoss(Loss):
    """Sum over the four stages of a dilated ResNet-50 of the mean squared distance between their outputs.

    LaMa gives it weight 30 (Suvorov et al., WACV 2022). The network was trained to segment the scenes of ADE20K.

    Args:
        weights: the path of its file, which is not fetched by itself (docs/weights.md); `random` for tests.

    Raises:
        UserError: no path, or the file is missing or holds another network.
    """

    def __init__(self, weights: str | None = None) -> None:
        super().__init__()
        self.features = ResNetDilated(weights)

    def forward(self, step: Step) -> Tensor:
        with torch.no_grad():
            wanted = self.features(step.gt)
        parts = [F.mse_loss(pred, gt) for pred, gt in zip(self.features(step.pred), wanted, strict=True)]
        total: Tensor = torch.stack(parts).sum()
        return total
