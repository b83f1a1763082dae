"""Inpainting: a network draws what a mask hides, and what was to be seen stays as it was."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from restore.errors import UserError
from restore.options.document import Loc
from restore.options.schema import Options
from restore.precision import full
from restore.registry import TASKS
from restore.step import Step
from restore.tasks.candidates import latents_of
from restore.tasks.networks import takes_mask
from restore.tasks.restoration_task import Restoration, without_holes
from restore.tasks.task import Autocast


@TASKS.register
class Inpainting(Restoration):
    """As `Restoration`, with the mask beside LQ. Losses judge the network's own answer, over the whole picture.

    Args:
        composite: where pictures are shown, scored and written, known pixels are those of LQ, byte for byte.
        show_hole: whether the network sees what stands in the hole. What lies over a face tells nothing of it, and of
            a kind that training did not show it misleads; what is blurred, or has no mask at all, is to be seen.
    """

    @staticmethod
    def mistakes(data: dict[str, Any]) -> Iterator[tuple[Loc, str]]:
        if data.get("scale", 1) != 1:
            yield ("scale",), f"is {data['scale']}, but inpainting keeps the size; set `scale: 1`"
        yield from Restoration.mistakes(data)
        yield from without_holes(data)

    def __init__(
        self,
        options: Options,
        device: torch.device,
        autocast: Autocast,
        composite: bool = True,
        show_hole: bool = True,
    ) -> None:
        super().__init__(options, device, autocast)
        self.composite, self.show_hole = composite, show_hole
        self.takes_mask = takes_mask(self.network_g)

    def prepare(self, batch: dict[str, Tensor], iteration: int) -> Step:
        step = super().prepare(batch, iteration)
        if "mask" not in batch:
            raise UserError("task: Inpainting: the training set yields no masks: use OccludedImageDataset, or give one")
        step.mask = batch["mask"]
        return step

    def restore(self, step: Step) -> Tensor:
        seen = self.seen(step.lq, step.mask)
        pred: Tensor = self.forward(seen, step.mask) if self.takes_mask else self.forward(seen)
        return pred

    def predict(self, network: nn.Module, lq: Tensor, mask: Tensor | None = None, candidate: int = 0) -> Tensor:
        pred = self.answer(network, lq, mask, candidate)
        return pred if mask is None or not self.composite else composited(pred, lq, mask)

    def answer(self, network: nn.Module, lq: Tensor, mask: Tensor | None, candidate: int = 0) -> Tensor:
        """The network's own answer, which may change known pixels too."""
        latents = latents_of(network, lq, candidate)
        with self.autocast():
            seen = self.seen(lq, mask)
            pred: Tensor = network(seen, mask, **latents) if self.takes_mask else network(seen, **latents)
        return full(pred)

    def seen(self, lq: Tensor, mask: Tensor | None) -> Tensor:
        """What the network is shown: all of LQ, or black in the hole."""
        return lq if self.show_hole or mask is None else lq * (mask == 0)


def composited(pred: Tensor, lq: Tensor, mask: Tensor) -> Tensor:
    """`pred` where the mask (N, 1, H, W) is 1, `lq` elsewhere, exactly."""
    return torch.where(mask > 0, pred, lq)
