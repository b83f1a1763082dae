"""Where a trainer's time goes: clocks around the parts of its own loop."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any, NamedTuple
from unittest.mock import patch

import torch

from benchmarks.peers import finish
from restore.engine import update
from restore.engine.trainer import Trainer

WORK = ("forward and losses", "backward", "optimizer")
AROUND = ("data wait", "copy and degradation", "gradient norm", "EMA", "logging")
REST = "rest"


class Shares(NamedTuple):
    """Each part's share of a trainer's time, and what an iteration takes."""

    parts: dict[str, float]
    seconds: float

    @property
    def outside(self) -> float:
        """The share outside network, loss and optimizer."""
        return sum(value for part, value in self.parts.items() if part not in WORK)


def time_shares(trainer: Trainer, seconds: float, least: int = 1, warm_up: int = 3) -> Shares:
    """Runs a trainer for about so many seconds, and `least` so many iterations. It neither validates nor saves."""
    spent = dict.fromkeys((*WORK, *AROUND), 0.0)
    counted = {"iterations": 0, "total": 0.0}

    def some(batches: Iterable[Any], *rest: object, **more: object) -> Iterator[Any]:
        batches = iter(batches)
        yield from islice(batches, warm_up)
        draw = clock(spent, "data wait", trainer.device, lambda: next(batches))
        spent.update(dict.fromkeys(spent, 0.0))
        began = time.perf_counter()
        while time.perf_counter() - began < seconds or counted["iterations"] < least:
            yield draw()
            counted["iterations"] += 1
        counted["total"] = time.perf_counter() - began

    _attach(trainer, spent)
    norm = clock(spent, "gradient norm", trainer.device, update.norm_of_all)
    with (
        patch("restore.engine.trainer.watched", some),
        patch.object(update, "norm_of_all", norm),
        patch.object(trainer, "_finish", lambda stop: None),
        contextlib.redirect_stdout(None),
    ):
        trainer.fit()
    spent["optimizer"] -= spent["gradient norm"]  # within `Update.apply`, which also clears and frees the gradients
    shares = {part: value / counted["total"] for part, value in spent.items()}
    return Shares({**shares, REST: 1 - sum(shares.values())}, counted["total"] / counted["iterations"])


def _attach(trainer: Trainer, spent: dict[str, float]) -> None:
    """Puts clocks around the parts of the trainer."""
    clocked = partial(clock, spent)
    for phase in trainer.task.phases:
        phase.losses = clocked("forward and losses", trainer.device, phase.losses)
    for owner, method, part in (
        (trainer.update, "backward", "backward"),
        (trainer.update, "apply", "optimizer"),
        (trainer, "_prepare", "copy and degradation"),
        (trainer, "_log", "logging"),
        *((average, "update", "EMA") for average in trainer.averages.values()),
    ):
        setattr(owner, method, clocked(part, trainer.device, getattr(owner, method)))


def clock(
    spent: dict[str, float],
    part: str,
    device: torch.device,
    function: Callable[..., Any],
) -> Callable[..., Any]:
    """The function, its time, and what it leaves the device to do, counted under `part`."""

    def call(*arguments: Any) -> Any:
        began = time.perf_counter()
        result = function(*arguments)
        finish(device)
        spent[part] += time.perf_counter() - began
        return result

    return call
