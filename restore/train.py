"""Trains an experiment: `python restore/train.py -opt options/quickstart.yml`, or `restore train -opt ...`."""

import argparse
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":  # run as a script: find the package, and let no module in this folder shadow another's
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from restore.apps.arguments import add_option_file, overrides
from restore.distributed.launch import Launch
from restore.errors import UserError, nearest, run_main

if TYPE_CHECKING:
    from restore.engine.checkpoint import Checkpoint
    from restore.engine.experiment import Experiment
    from restore.options.schema import Options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `restore train`."""
    add_option_file(parser)
    resume = parser.add_mutually_exclusive_group()
    resume.add_argument("--auto_resume", action="store_true", help="go on from the newest checkpoint, if there is one")
    resume.add_argument("--resume", metavar="DIR", help="go on from this checkpoint directory")
    resume.add_argument("--archive", action="store_true", help="put an earlier run of this name aside")
    parser.add_argument("--stage", metavar="NAME", help="train this stage alone, as experiment <name>_<stage>")
    parser.add_argument("--debug", action="store_true", help="a few steps of everything, as experiment debug_<name>")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Trains. Raises `RestoreError`."""
    # Before NumPy loads: its matrix products are small here, and its threads would fight PyTorch's for the cores.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # pages of addresses, where a rank has gone
    from restore.options.load import load_stages

    launch = Launch.of_environment()
    with launch.told_once():
        stages = load_stages(args.opt, overrides(args))  # before PyTorch's slower parts: a mistake costs seconds
        if args.stage:
            stages = [_alone(stages, args.stage)]

    from restore.distributed import joined
    from restore.engine.device import pick_device
    from restore.engine.experiment import debug_options

    if args.debug:
        stages = [debug_options(options) for options in stages]
    with joined(launch, stages[0].dist, pick_device(stages[0].device, launch.local_rank).type):
        _train(stages, args, launch)


def _train(stages: list["Options"], args: argparse.Namespace, launch: Launch) -> None:
    from restore import distributed
    from restore.engine.experiment import Experiment
    from restore.engine.logging import Log
    from restore.engine.stages import train_stages

    experiment, log = Experiment(stages), Log(None)
    checkpoint, passed_over = distributed.from_main(partial(_checkpoint, args, experiment))
    resuming = args.auto_resume or checkpoint is not None
    archive = args.archive or (args.debug and not resuming)
    if distributed.is_main() and not resuming and not archive:
        experiment.refuse_if_taken()

    def prepare() -> None:
        if distributed.is_main():
            experiment.prepare(resuming, archive, Path(args.opt))
        distributed.barrier()
        log.path = experiment.log
        log.info(str(launch))
        for reason in passed_over:
            log.warning(f"passed over: {reason}")

    train_stages(stages, experiment, log, checkpoint, prepare, args.debug)


def _checkpoint(args: argparse.Namespace, experiment: "Experiment") -> tuple["Checkpoint | None", list[str]]:
    """Where to go on, if anywhere, and why newer checkpoints were passed over."""
    from restore.engine.checkpoint import Checkpoints, open_checkpoint

    if args.resume:
        return open_checkpoint(Path(args.resume)), []
    if not args.auto_resume:
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


def main() -> None:
    """The entry point of the script."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    run(parser.parse_args())


if __name__ == "__main__":
    run_main(main)
