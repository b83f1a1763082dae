"""Inpainting: a network draws what a mask hides, and what was to be seen stays as it was."""

import torch
from torch import Tensor, nn

from restore.errors import UserError
from restore.options.schema import Options
from restore.registry import TASKS
from restore.step import Step
from restore.tasks.networks import takes_mask
from restore.tasks.restoration_task import Restoration
from restore.tasks.task import Autocast


@TASKS.register
class Inpainting(Restoration):
    """As `Restoration`, with the mask beside LQ. Losses judge the network's own answer, over the whole picture.

    Args:
        composite: where pictures are shown, scored and written, known pixels are those of LQ, byte for byte.
    """

    def __init__(self, options: Options, device: torch.device, autocast: Autocast, composite: bool = True) -> None:
        super().__init__(options, device, autocast)
        self.composite = composite
        self.takes_mask = takes_mask(self.network_g)

    def prepare(self, batch: dict[str, Tensor], iteration: int) -> Step:
        step = super().prepare(batch, iteration)
        if "mask" not in batch:
            raise UserError("task: Inpainting: the training set yields no masks: use OccludedImageDataset, or give one")
        step.mask = batch["mask"]
        return step

    def restore(self, step: Step) -> Tensor:
        pred: Tensor = self.forward(step.lq, step.mask) if self.takes_mask else self.forward(step.lq)
        return pred

    def predict(self, network: nn.Module, lq: Tensor, mask: Tensor | None = None) -> Tensor:
        pred = self.answer(network, lq, mask)
        return pred if mask is None or not self.composite else composited(pred, lq, mask)

    def answer(self, network: nn.Module, lq: Tensor, mask: Tensor | None) -> Tensor:
        """The network's own answer, which may change known pixels too."""
        with self.autocast():
            pred: Tensor = network(lq, mask) if self.takes_mask else network(lq)
        return pred.float()


def composited(pred: Tensor, lq: Tensor, mask: Tensor) -> Tensor:
    """`pred` where the mask (N, 1, H, W) is 1, `lq` elsewhere, exactly."""
    return torch.where(mask > 0, pred, lq)
