"""Trains an experiment: `python restore/train.py -opt options/quickstart.yml`, or `restore train -opt ...`."""

import argparse
import sys
from pathlib import Path

if __name__ == "__main__":  # run as a script: find the package, and let no module in this folder shadow another's
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from restore.apps.arguments import add_option_file, overrides
from restore.apps.training import Start, train
from restore.errors import run_main


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
    train(args.opt, overrides(args), Start(args.auto_resume, args.resume, args.archive, args.stage, args.debug))


def main() -> None:
    """The entry point of the script."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    run(parser.parse_args())


if __name__ == "__main__":
    run_main(main)
