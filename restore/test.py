"""Scores or applies a model: `python restore/test.py -opt options/test/x.yml`, or `restore test --model x --gt dir`."""

import argparse
import sys
from pathlib import Path

if __name__ == "__main__":  # run as a script: find the package, and let no module in this folder shadow another's
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from restore.apps.arguments import add_option_file, add_pictures, overrides
from restore.apps.shard import add_shard
from restore.errors import UserError, run_main


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `restore test`."""
    add_option_file(parser, required=False)
    without = parser.add_argument_group("without an option file")
    without.add_argument("--model", help="a checkpoint, checkpoints/best, an experiment's folder, or a weights file")
    without.add_argument("--network_g", metavar="YAML", help="its network, if the file does not say: {type: EDSR, ...}")
    add_pictures(without)
    metrics = "psnr ssim by default, and those of the hole"
    without.add_argument("--metrics", nargs="+", metavar="NAME", help=metrics)
    without.add_argument("--crop_border", type=int, default=0, help="pixels at the border that are not scored")
    without.add_argument("--baselines", nargs="*", default=[], metavar="NAME", help="bicubic, ...; telea, ...")
    without.add_argument("--tile", type=int, help="side of the tiles in LQ pixels, where memory is short")
    without.add_argument("--name", help="results go to results/<name>/<set> (the experiment's, or the model file's)")
    add_shard(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Tests. Raises `RestoreError`."""
    from restore.options.check import validate
    from restore.options.load import apply_override, load

    if bool(args.opt) == bool(args.model):
        raise UserError("restore test: give either -opt FILE.yml, or --model with --input or --gt")
    if args.opt:
        options = load(args.opt, overrides(args), testing=True)
    else:
        from restore.apps.model_document import document_for

        document = document_for(args)
        for override in overrides(args):
            apply_override(document, override)
        options = validate(document)

    from restore.apps.evaluate import evaluate

    evaluate(options, args.shard)


def main() -> None:
    """The entry point of the script."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    run(parser.parse_args())


if __name__ == "__main__":
    run_main(main)
