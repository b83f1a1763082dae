"""SSIM and MS-SSIM as losses: 1 - value, on raw pictures, where the metrics of those names round to 8 bits."""

from torch import Tensor

from restore.losses.loss import Loss
from restore.metrics.ms_ssim_metric import Scales, ms_ssim_per_image
from restore.metrics.ssim_metric import ssim_map
from restore.precision import full
from restore.registry import LOSSES
from restore.step import Step


@LOSSES.register
class SSIMLoss(Loss):
    """1 - SSIM, the mean of RGB's channels (Wang et al., TIP 2004). Pictures of 11 pixels a side or more."""

    def forward(self, step: Step) -> Tensor:
        return 1 - ssim_map(full(step.pred), full(step.gt)).mean()


@LOSSES.register
class MSSSIMLoss(Loss):
    """1 - MS-SSIM, the mean of RGB's channels (Wang et al., ACSSC 2003; as a loss: Zhao et al., TCI 2017).

    A channel whose structure runs against the target's at some scale counts 0, and passes no gradient: begin with
    pictures that are alike, such as residual networks make, or beside a pixel loss.

    Args:
        scales: of the paper's five; 5 need crops of 161 pixels, 4 of 81, 3 of 41.
    """

    def __init__(self, scales: Scales = 5) -> None:
        super().__init__()
        self.scales = scales

    def forward(self, step: Step) -> Tensor:
        return 1 - ms_ssim_per_image(full(step.pred), full(step.gt), self.scales).mean()
