"""Segmentation: a network says where something lies over the face, which is what an inpainting is to rebuild."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from restore.errors import UserError
from restore.options.document import Loc
from restore.precision import full
from restore.registry import TASKS
from restore.step import Step
from restore.tasks.candidates import latents_of
from restore.tasks.restoration_task import Restoration, without_holes


@TASKS.register
class Segmentation(Restoration):
    """One network, which sees the hidden face and answers how sure it is of the mask: (N, 1, H, W) in [0, 1].

    Losses compare that with the mask; the GT is there to be shown.
    """

    @staticmethod
    def mistakes(data: dict[str, Any]) -> Iterator[tuple[Loc, str]]:
        if data.get("scale", 1) != 1:
            yield ("scale",), f"is {data['scale']}, but a mask has the size of its picture; set `scale: 1`"
        yield from Restoration.mistakes(data)
        yield from without_holes(data)

    def prepare(self, batch: dict[str, Tensor], iteration: int) -> Step:
        step = super().prepare(batch, iteration)
        if "mask" not in batch:
            raise UserError("task: Segmentation: the training set yields no masks: use OccludedImageDataset")
        step.mask = batch["mask"]
        return step

    def predict(self, network: nn.Module, lq: Tensor, mask: Tensor | None = None, candidate: int = 0) -> Tensor:
        """The network's answer with three equal channels, (N, 3, H, W), to be shown and written as any picture.

        The mask is what is asked for, and not looked at.
        """
        latents = latents_of(network, lq, candidate)
        with self.autocast():
            pred: Tensor = network(lq, **latents)
        return full(pred).expand(-1, 3, -1, -1)
