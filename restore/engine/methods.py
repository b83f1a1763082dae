"""What a trained model makes of a picture, as a method to be scored."""

from functools import partial

import torch
from torch import Tensor

from restore.engine.update import Update
from restore.engine.validation import Method, on_device
from restore.options.schema import Options
from restore.registry import TASKS
from restore.tasks.inpainting_task import Inpainting, composited
from restore.tasks.task import Task

MODEL, RAW = "model", "model_raw"


def model_methods(options: Options, device: torch.device) -> dict[str, Method]:
    """The options' network on a device: `model`, and for inpainting also `model_raw`, its answer before compositing.

    Raises:
        UserError: the weights cannot be read, or are those of another network.
    """
    task: Task = TASKS.build(
        options.task, options=options, device=device, autocast=Update("fp32", None, device).autocast
    )
    network = task.networks["network_g"].eval()

    def placed(method: Method) -> Method:
        return on_device(method, device, options.scale, options.val.tile, options.val.tile_overlap)

    if not isinstance(task, Inpainting) or not task.composite:
        return {MODEL: placed(partial(task.predict, network))}
    answer = _Last(placed(partial(task.answer, network)))

    def composite(lq: Tensor, mask: Tensor | None) -> Tensor:
        pred = answer(lq, mask)
        return pred if mask is None else composited(pred, lq, mask)

    return {MODEL: composite, RAW: answer}


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
