"""Rebuilds what is hidden in photos: `python restore/infer.py photo.png --model x --mask hole.png -o results`."""

import argparse
import sys
from pathlib import Path

if __name__ == "__main__":  # run as a script: find the package, and let no module in this folder shadow another's
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from restore.apps.arguments import positive
from restore.apps.shard import add_shard
from restore.errors import run_main


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `restore infer`."""
    parser.add_argument("input", nargs="+", metavar="INPUT", help="pictures: files, folders, patterns")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--model", required=True, help="a checkpoint, an experiment's folder, or a weights file")
    parser.add_argument("--network_g", metavar="YAML", help="its network, if the file does not say: {type: UNet, ...}")
    parser.add_argument("--task", metavar="YAML", help="what it does otherwise than its file says: {num_steps: 20}")
    hole = parser.add_mutually_exclusive_group(required=True)
    hole.add_argument(
        "--mask",
        metavar="FILE|DIR|lower|face_mask",
        help="what to rebuild: a mask, masks of the pictures' names, or by the face's geometry what a mask would cover",
    )
    hole.add_argument("--occlude", metavar="YAML", help="hide a part first, then rebuild it: '{type: LowerFace}'")
    parser.add_argument(
        "--mask_polarity", choices=("white_missing", "black_missing"), default="white_missing", help="of mask files"
    )
    parser.add_argument(
        "--fill",
        choices=("keep", "black", "white", "grey", "mean"),
        default="keep",
        help="what the network is shown in the hole of --mask, as in its training (keep: what is there)",
    )
    parser.add_argument("--seed", type=int, default=0, help="draws of --occlude, and of a diffusion (0)")
    parser.add_argument("--detector", default="yunet", metavar="NAME", help="yunet, retinaface, ssd, aligned (yunet)")
    seen = parser.add_mutually_exclusive_group()
    seen.add_argument("--size", type=positive, help="side of the face's frame, as in training (its file's, or 256)")
    seen.add_argument("--whole", action="store_true", help="show the network the whole picture, no frame")
    parser.add_argument("--format", choices=("lossless", "keep"), default="lossless", help="keep: JPEG stays JPEG")
    parser.add_argument("--candidates", type=positive, default=1, metavar="K", help="results of each picture (1)")
    parser.add_argument("--no_compare", action="store_true", help="no NAME_compare.png beside each result")
    parser.add_argument("--overwrite", action="store_true", help="do again what is there")
    add_shard(parser)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Rebuilds. Raises `RestoreError`."""
    from restore.apps.inpaint import run as inpaint

    inpaint(args)


def main() -> None:
    """The entry point of the script."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    run(parser.parse_args())


if __name__ == "__main__":
    run_main(main)
