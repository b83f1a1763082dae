"""Trains an experiment: from its option file to the loop, in one process or in one of several."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from restore.distributed.launch import Launch
from restore.engine.preemption import listening
from restore.errors import UserError, nearest

if TYPE_CHECKING:
    from restore.engine.checkpoint import Checkpoint
    from restore.engine.experiment import Experiment
    from restore.options.schema import Options


@dataclass(frozen=True)
class Start:
    """How a training begins; where there is an earlier run of its name, one of the first three is needed.

    Args:
        auto_resume: from the newest checkpoint that verifies, or from nothing where there is none.
        resume: from this checkpoint.
        archive: from nothing, the earlier run being put aside.
        stage: with this stage alone, as an experiment of its own.
        debug: with a few steps of everything, as an experiment of its own.
    """

    auto_resume: bool = False
    resume: str | None = None
    archive: bool = False
    stage: str | None = None
    debug: bool = False


def train(option_file: str, given: Sequence[str], start: Start) -> None:
    """Trains to the end. Raises `RestoreError`, `Preempted` when it was asked to stop.

    Args:
        option_file: a path, or the name of a recipe that ships.
        given: what stands behind `--set`.
        start: where to begin.
    """
    with listening():
        _begin(option_file, given, start)


def _begin(option_file: str, given: Sequence[str], start: Start) -> None:
    # Before NumPy loads: its matrix products are small here, and its threads would fight PyTorch's for the cores.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # pages of addresses, where a rank has gone
    from restore.options.load import load_stages

    launch = Launch.of_environment()
    with launch.told_once():
        stages = load_stages(option_file, given)  # before PyTorch's slower parts: a mistake costs seconds
        if start.stage:
            stages = [_alone(stages, start.stage)]

        from restore.distributed import joined
        from restore.engine.device import pick_device
        from restore.engine.experiment import debug_options

        if start.debug:
            stages = [debug_options(options) for options in stages]
        device = pick_device(stages[0].device, launch.local_rank)
    with joined(launch, stages[0].dist, device.type):
        _train(stages, Path(option_file), start, launch)


def _train(stages: list["Options"], source: Path, start: Start, launch: Launch) -> None:
    from restore import distributed
    from restore.engine.claim import claimed
    from restore.engine.experiment import Experiment
    from restore.engine.logging import Log
    from restore.engine.stages import train_stages

    experiment, log = Experiment(stages), Log(None)
    resuming = start.auto_resume or start.resume is not None
    archive = start.archive or (start.debug and not resuming)
    if distributed.is_main() and not resuming and not archive:
        experiment.refuse_if_taken()
    there = experiment.path.is_dir()
    with ExitStack() as claims:
        if distributed.is_main() and there:  # before its newest checkpoint is looked for
            claims.enter_context(claimed(experiment.path, log.info))
        checkpoint, passed_over = distributed.from_main(partial(_checkpoint, start, experiment))

        def prepare() -> None:
            if distributed.is_main():
                experiment.prepare(resuming, archive, source)
                if archive or not there:
                    claims.enter_context(claimed(experiment.path, log.info))
                    experiment.refuse_if_begun()
            distributed.barrier()
            log.path = experiment.log
            log.info(str(launch))
            for reason in passed_over:
                log.warning(f"passed over: {reason}")

        train_stages(stages, experiment, log, checkpoint, prepare, start.debug)


def _checkpoint(start: Start, experiment: "Experiment") -> tuple["Checkpoint | None", list[str]]:
    """Where to go on, if anywhere, and why newer checkpoints were passed over."""
    from restore.engine.checkpoint import Checkpoints, open_checkpoint

    if start.resume:
        return open_checkpoint(Path(start.resume)), []
    if not start.auto_resume:
        return None, []
    checkpoint, passed_over = Checkpoints(experiment.checkpoints, keep=0).newest()
    if checkpoint is None and passed_over:
        raise UserError(f"{experiment.checkpoints}: no checkpoint verifies: {passed_over[0]}")
    return checkpoint, passed_over


def _alone(stages: list["Options"], name: str) -> "Options":
    """One stage as an experiment of its own, called `<name>_<stage>`, from `path.pretrain_network_g`."""
    for options in stages:
        if options.stage is not None and options.stage.name == name:
            return options.model_copy(update={"name": f"{options.name}_{name}"})
    names = [options.stage.name for options in stages if options.stage]
    known = nearest(name, names) or f"; the file has {', '.join(names) or 'none'}"
    raise UserError(f"--stage {name}: no such stage{known}")
