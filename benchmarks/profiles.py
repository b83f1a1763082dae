"""A training step by kinds of operations, as torch.profiler sees it."""

import re
import time
from collections.abc import Iterator
from itertools import cycle, islice

from torch.profiler import ProfilerActivity
from torch.profiler import profile as torch_profile

from benchmarks.peers import finish
from benchmarks.step_tasks import fit_with, held_batches
from restore.data.loader import Batch
from restore.engine.trainer import Trainer

WARM_UP, STEPS = 2, 4
KINDS = {  # the first whose pattern an operation's name matches
    "convolution, backward": r"convolution.*backward|conv.*backward",
    "convolution, forward": r"conv",
    "normalisation": r"norm(?!al_)",
    "matrix products": r"addmm|bmm|::mm$|attention|linear",
    "resampling": r"upsample|grid_sampl|pixel_(un)?shuffle|pool|affine_grid",
    "optimizer": r"adam|optimizer",
    "elementwise and copies": r"",
}
FRAMEWORK = "framework"
GROUPS = (*KINDS, FRAMEWORK)


def profile(trainer: Trainer) -> tuple[dict[str, float], float]:
    """Seconds of each group in a step, and of the whole step; the operations' own time, so that none counts twice."""
    held = held_batches(trainer)
    spent = 0.0
    recorder = torch_profile(activities=[ProfilerActivity.CPU])

    def recorded() -> Iterator[Batch]:
        nonlocal spent
        batches = cycle(held)
        yield from islice(batches, WARM_UP)
        with recorder:
            began = time.perf_counter()
            yield from islice(batches, STEPS)
            finish(trainer.device)
            spent = time.perf_counter() - began

    fit_with(trainer, recorded())
    groups = dict.fromkeys(GROUPS, 0.0)
    for event in recorder.key_averages():
        groups[kind_of(event.key)] += event.self_cpu_time_total / 1e6 / STEPS
    groups[FRAMEWORK] = spent / STEPS - sum(groups.values())
    return groups, spent / STEPS


def kind_of(operation: str) -> str:
    """The group of an operation."""
    return next(kind for kind, pattern in KINDS.items() if re.search(pattern, operation, re.IGNORECASE))
