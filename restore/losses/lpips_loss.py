"""LPIPS as a loss: the metric's own function."""

from torch import Tensor

from restore.losses.loss import Loss
from restore.metrics.lpips_metric import Distance, Net
from restore.registry import LOSSES
from restore.step import Step


@LOSSES.register
class LPIPSLoss(Loss):
    """LPIPS 0.1 between `step.pred` and `step.gt`, which are neither clamped nor rounded here.

    A model trained on it scores well in the metric over the same network: quote another one.

    Args:
        net: which network looks; `squeeze_caffe` is a substitute, whose size differs from published LPIPS.
        weights: of that network, in the place of the registered file; `random` for tests.
    """

    def __init__(self, net: Net = "vgg", weights: str | None = None) -> None:
        super().__init__()
        self.distance = Distance(net, weights)

    def forward(self, step: Step) -> Tensor:
        value: Tensor = self.distance(step.pred, step.gt).mean()
        return value
