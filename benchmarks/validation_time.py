"""Where the time of a validation goes: network, metrics, and what lies around them."""

import contextlib
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from unittest.mock import patch

from benchmarks.peers import finish
from benchmarks.recipes import OPTIONS, draw
from benchmarks.shares import clock
from restore import images
from restore.engine import validation, validator
from restore.engine.experiment import Experiment
from restore.engine.logging import Board, Log
from restore.engine.preemption import StopRequests
from restore.engine.trainer import Trainer
from restore.options.load import load

REST = "copies and the rest"


def validation_shares(folder: Path, count: int, overrides: Sequence[str]) -> tuple[dict[str, float], float]:
    """Seconds of each part of one validation of the quickstart on `count` drawn faces, and of all of it."""
    draw(folder / "faces.lmdb", (256, 256), count)
    roots = [f"datasets.{name}.dataroot_gt={folder / 'faces.lmdb'}" for name in ("train", "val")]
    options = load(OPTIONS / "quickstart.yml", [*roots, *overrides, f"path.experiments_root={folder}"])
    experiment = Experiment([options])
    experiment.prepare(resuming=False, archive=True, source=OPTIONS / "quickstart.yml")
    trainer = Trainer(options, experiment, Log(experiment.log))
    spent = dict.fromkeys(("network", "metrics", "reading", "saving pictures", "TensorBoard's pictures"), 0.0)
    clocked = partial(clock, spent)
    with contextlib.ExitStack() as stack:
        trainer.board = stack.enter_context(Board(experiment.tensorboard))
        stop = stack.enter_context(StopRequests())
        stack.enter_context(contextlib.redirect_stdout(None))
        trainer._validate(stop)  # to warm up
        for owner, method, part in (
            (trainer, "_predict", "network"),
            (validation, "_scores", "metrics"),
            (next(iter(trainer.validator.sets.values())), "load", "reading"),
            (images, "write", "saving pictures"),
            (validator, "side_by_side", "TensorBoard's pictures"),
            (trainer.board, "picture", "TensorBoard's pictures"),
        ):
            timed = clocked(part, trainer.device, getattr(owner, method))
            stack.enter_context(patch.object(owner, method, timed))
        began = time.perf_counter()
        trainer._validate(stop)
        finish(trainer.device)
        total = time.perf_counter() - began
    return {**spent, REST: total - sum(spent.values())}, total
