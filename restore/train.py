"""Trains an experiment: `python restore/train.py -opt options/quickstart.yml`, or `restore train -opt ...`."""

import argparse
import os
import sys
from pathlib import Path

if __name__ == "__main__":  # run as a script: find the package, and let no module in this folder shadow another's
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from restore.apps.arguments import add_option_file, overrides
from restore.errors import UserError, run_main


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `restore train`."""
    add_option_file(parser)
    resume = parser.add_mutually_exclusive_group()
    resume.add_argument("--auto_resume", action="store_true", help="go on from the newest checkpoint, if there is one")
    resume.add_argument("--resume", metavar="DIR", help="go on from this checkpoint directory")
    resume.add_argument("--archive", action="store_true", help="put an earlier run of this name aside")
    parser.add_argument("--debug", action="store_true", help="a few steps of everything, as experiment debug_<name>")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Trains. Raises `RestoreError`."""
    # Before NumPy loads: its matrix products are small here, and its threads would fight PyTorch's for the cores.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from restore.options.load import load

    options = load(args.opt, overrides(args))  # before PyTorch's slower parts: a mistake costs seconds

    from restore.engine.checkpoint import Checkpoints, open_checkpoint
    from restore.engine.experiment import Experiment, debug_options
    from restore.engine.logging import Log
    from restore.engine.trainer import Trainer

    if args.debug:
        options = debug_options(options)
    experiment = Experiment(options)
    passed_over: list[str] = []
    checkpoint = open_checkpoint(Path(args.resume)) if args.resume else None
    if args.auto_resume:
        checkpoint, passed_over = Checkpoints(experiment.checkpoints, keep=0).newest()
        if checkpoint is None and passed_over:
            raise UserError(f"{experiment.checkpoints}: no checkpoint verifies: {passed_over[0]}")
    resuming = args.auto_resume or checkpoint is not None
    archive = args.archive or (args.debug and not resuming)
    if not resuming and not archive:
        experiment.refuse_if_taken()
    log = Log(experiment.log)
    trainer = Trainer(options, experiment, log, args.debug)  # before the folder: a mistake in the data takes no name
    experiment.prepare(resuming, archive, Path(args.opt))
    for reason in passed_over:
        log.warning(f"passed over: {reason}")
    if checkpoint is not None:
        trainer.resume(checkpoint)
    trainer.fit()


def main() -> None:
    """The entry point of the script."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    run(parser.parse_args())


if __name__ == "__main__":
    run_main(main)
