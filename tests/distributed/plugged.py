"""What the ranks' option files plug in: tasks that write down what they work on, and a loss that makes trouble."""

import hashlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from restore import distributed
from restore.errors import UserError
from restore.losses.loss import Loss
from restore.options.schema import Options
from restore.registry import LOSSES, TASKS
from restore.step import Step
from restore.tasks.inpainting_task import Inpainting
from restore.tasks.restoration_task import Restoration
from restore.tasks.task import Autocast, Losses, Phase

EVENTS = "rank{}.jsonl"  # of each part of a batch, and of each phase's losses of it, one line


class _Diary:
    """Writes down each part of a batch, and each phase's losses, for the rank that this is."""

    def __init__(self, options: Options) -> None:
        self.path = Path(options.path.experiments_root) / EVENTS.format(distributed.rank())
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, **facts: object) -> None:
        with open(self.path, "a") as file:
            file.write(json.dumps(facts) + "\n")

    def batch(self, iteration: int, batch: dict[str, Tensor]) -> None:
        """Two prints of each sample: of its GT, and of all that training sees of it."""
        whole = [_prints(tensor) for tensor in batch.values()]
        samples = ["".join(prints) for prints in zip(*whole, strict=True)]
        self.write(iter=iteration, gt=_prints(batch["gt"]), samples=samples)

    def watch(self, phase: Phase) -> None:
        """From now on the phase's losses are written down."""
        compute: Callable[[Step], Losses] = phase.losses

        def losses(step: Step) -> Losses:
            found = compute(step)
            values = {name: float(value.detach()) for name, value in found.items()}
            self.write(iter=step.iter, phase=phase.name, losses=values)
            return found

        phase.losses = losses


def _prints(tensor: Tensor) -> list[str]:
    return [hashlib.sha1(one.contiguous().numpy().tobytes()).hexdigest()[:10] for one in tensor]


@TASKS.register
class ToldRestoration(Restoration):
    """`Restoration` with a diary."""

    def __init__(self, options: Options, device: torch.device, autocast: Autocast) -> None:
        super().__init__(options, device, autocast)
        self.diary = _Diary(options)
        for phase in self.phases:
            self.diary.watch(phase)

    def prepare(self, batch: dict[str, Tensor], iteration: int) -> Step:
        self.diary.batch(iteration, batch)
        return super().prepare(batch, iteration)


@TASKS.register
class ToldInpainting(ToldRestoration, Inpainting):
    """`Inpainting` with a diary."""


@LOSSES.register
class Trouble(Loss):
    """0, and once on one rank something else.

    Args:
        kind: what happens.
        rank: to whom; -1 is all.
        at: in which iteration.
        sleep: seconds that each call takes.
    """

    def __init__(
        self,
        kind: Literal["raise", "user", "kill", "freeze", "nan", "term", "usr1", "none"] = "none",
        rank: int = 1,
        at: int = 5,
        sleep: float = 0.0,
    ) -> None:
        super().__init__()
        self.kind, self.rank, self.at, self.sleep = kind, rank, at, sleep

    def forward(self, step: Step) -> Tensor:
        time.sleep(self.sleep)
        nothing = 0 * step.pred.mean()
        if step.iter != self.at or self.rank not in (-1, distributed.rank()):
            return nothing
        signals = {"kill": signal.SIGKILL, "freeze": signal.SIGSTOP, "term": signal.SIGTERM, "usr1": signal.SIGUSR1}
        if self.kind in signals:
            os.kill(os.getpid(), signals[self.kind])
        if self.kind == "raise":
            raise ValueError("broken on purpose")
        if self.kind == "user":
            raise UserError("x.png: of no use; take another")
        return nothing * float("nan") if self.kind == "nan" else nothing
