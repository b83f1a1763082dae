"""Takes off what covers people's faces in photos, such as masks: `python restore/unmask.py photo.jpg`."""

import argparse
import sys
from pathlib import Path

if __name__ == "__main__":  # run as a script: find the package, and let no module in this folder shadow another's
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from restore import infer
from restore.errors import run_main

MODEL = "face_unmask"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `restore unmask`: those of `restore infer`, with other defaults."""
    infer.add_arguments(parser, output=None)
    parser.usage = "%(prog)s INPUT [INPUT ...] [-o DIR] [--mask FILE] [options]"
    parser.set_defaults(run=run, task="unmask")


def run(args: argparse.Namespace) -> None:
    """Finds what covers faces and rebuilds what is behind it. Raises `RestoreError`.

    Results lie beside their photos, as `NAME_unmasked.png`, unless `--output` names a folder.
    """
    args.model = args.model or MODEL
    if args.occlude is None and args.mask is None:
        args.mask = "auto"
    infer.run(args)


def main() -> None:
    """The entry point of the script."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    run(parser.parse_args())


if __name__ == "__main__":
    run_main(main)
