"""What a trained model makes of a picture, as a method to be scored."""

from functools import partial

import torch
from torch import Tensor

from restore.engine.update import Update
from restore.engine.validation import Method, on_device
from restore.options.schema import Options
from restore.registry import TASKS
from restore.tasks.diffusion_task import Diffusion
from restore.tasks.inpainting_task import Inpainting, composited
from restore.tasks.task import Task

MODEL, RAW = "model", "model_raw"


class Model:
    """The options' network on a device.

    Args:
        tell: show how far it is with a picture, where that takes many steps.

    Raises:
        UserError: the weights cannot be read, or are those of another network.
    """

    def __init__(self, options: Options, device: torch.device, tell: bool = False) -> None:
        self.options, self.device = options, device
        autocast = Update("fp32", None, device).autocast
        self.task: Task = TASKS.build(options.task, options=options, device=device, autocast=autocast)
        self.network = self.task.networks["network_g"].eval()
        if tell and isinstance(self.task, Diffusion):
            self.task.tell = "sampling"

    def methods(self, candidate: int = 0) -> dict[str, Method]:
        """`model`, and for inpainting also `model_raw`, its answer before compositing.

        A diffusion has no such answer: what is known takes part in each of its steps.

        Args:
            candidate: the number of the result, of several that there may be for one picture.
        """
        if not isinstance(self.task, Inpainting) or not self.task.composite:
            return {MODEL: self._placed(partial(self.task.predict, self.network, candidate=candidate))}
        answer = _Last(self._placed(partial(self.task.answer, self.network, candidate=candidate)))

        def composite(lq: Tensor, mask: Tensor | None) -> Tensor:
            pred = answer(lq, mask)
            return pred if mask is None else composited(pred, lq, mask)

        return {MODEL: composite, RAW: answer}

    def answer(self, candidate: int = 0) -> Method:
        """What it makes of a picture, before compositing where that is a step of its own."""
        methods = self.methods(candidate)
        return methods.get(RAW, methods[MODEL])

    def _placed(self, method: Method) -> Method:
        val = self.options.val
        return on_device(method, self.device, self.options.scale, val.tile, val.tile_overlap)


def model_methods(options: Options, device: torch.device) -> dict[str, Method]:
    """The methods of `Model`. Raises as it does."""
    return Model(options, device).methods()


class _Last:
    """A method that remembers what it made of the last picture: of one answer two rows of a table are made."""

    def __init__(self, method: Method) -> None:
        self.method = method
        self.lq: Tensor | None = None
        self.pred: Tensor | None = None

    def __call__(self, lq: Tensor, mask: Tensor | None) -> Tensor:
        if self.pred is None or self.lq is not lq:
            self.lq, self.pred = lq, self.method(lq, mask)
        return self.pred
