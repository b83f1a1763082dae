"""`restore prepare`: its verbs, which turn pictures into sets that option files name, and what each takes."""

import argparse
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from restore.apps.arguments import not_negative, positive
from restore.apps.shard import add_shard

MOST_PARTS = 3  # of a split: to train, to validate, to test


def add_parser(subparsers: Any) -> None:
    """Adds `prepare` with its verbs; each sets `run` to the function that takes the parsed arguments."""
    parser = subparsers.add_parser("prepare", help="turn pictures into LMDBs, draw faces, download data sets")
    verbs = parser.add_subparsers(
        dest="verb", required=True, metavar="lmdb|degrade|occlude|masks|landmarks|faces|drawn|astronaut|download"
    )
    _add_lmdb(verbs)
    _add_degrade(verbs)
    _add_occlude(verbs)
    _add_masks(verbs)
    _add_landmarks(verbs)
    _add_faces(verbs)
    _add_drawn(verbs)
    _add_astronaut(verbs)
    _add_download(verbs)


def _add_lmdb(verbs: Any) -> None:
    about = "Turn a folder of pictures into an LMDB. Killed, it goes on where it stopped when run again."
    parser = verbs.add_parser("lmdb", help="a folder of pictures to an LMDB", description=about)
    parser.add_argument("input", type=Path, metavar="FOLDER", help="pictures, at any depth")
    parser.add_argument("output", type=Path, metavar="OUTPUT.lmdb")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--size", type=positive, help="shrink the shorter side to SIZE, crop the middle SIZE x SIZE")
    shape.add_argument("--crop", type=positive, help="cut into sub-images of CROP pixels: key_s001, key_s002, ...")
    parser.add_argument("--step", type=positive, help="pixels from one sub-image to the next (default: half of CROP)")
    parser.add_argument("--thresh", type=not_negative, help="leave out a rest of up to THRESH pixels at the edge (0)")
    parser.add_argument(
        "--compact",
        action="store_true",
        help="PNG records: half the size, but slow to decode (16-bit ones are PNG always)",
    )
    parser.add_argument("--split", type=_fractions, help="e.g. 0.9,0.05,0.05: OUTPUT_train.lmdb, _val and _test")
    parser.add_argument("--seed", type=int, default=0, help="which pictures go to which part of the split (0)")
    parser.add_argument("--verify", action="store_true", help="read every record back and compare it with its source")
    _add_common(parser, "picture_lmdb")


def _add_degrade(verbs: Any) -> None:
    about = "Write a fixed LQ set of a folder or LMDB, with a manifest from which others make the same one."
    parser = verbs.add_parser(
        "degrade", help="a fixed LQ set, or a sheet of what a degradation does", description=about
    )
    parser.add_argument("input", type=Path, nargs="?", metavar="SRC", help="folder or .lmdb of GT pictures")
    parser.add_argument("output", type=Path, nargs="?", metavar="DST", help="folder or .lmdb for the LQ pictures")
    parser.add_argument("--degradation", required=True, metavar="YAML", help="e.g. '[{type: realesrgan}]'")
    parser.add_argument("--scale", type=positive, default=4, help="GT size over LQ size (4)")
    parser.add_argument("--size", type=positive, help="bring GT to a square of SIZE pixels first")
    parser.add_argument("--seed", type=int, default=0, help="which draws (0)")
    parser.add_argument("--gt", type=Path, metavar="DST", help="folder or .lmdb for the GT that belongs to the LQ")
    parser.add_argument("--preview", type=Path, metavar="SHEET.png", help="one face and several draws of its LQ")
    parser.add_argument("-n", type=positive, default=8, help="draws in the preview (8)")
    _add_common(parser, "degrade")


def _add_occlude(verbs: Any) -> None:
    about = (
        "Write a fixed set of faces with a part hidden: DST/without_mask, with_mask and masks, as `restore test` would "
        "draw them, with a manifest. Killed, it goes on where it stopped when run again."
    )
    parser = verbs.add_parser("occlude", help="a fixed set of hidden faces, or a catalogue", description=about)
    parser.add_argument("input", type=Path, nargs="?", metavar="SRC", help="folder or .lmdb of pictures of faces")
    parser.add_argument("output", type=Path, nargs="?", metavar="DST", help="folder for the three sets")
    parser.add_argument("--occlusion", metavar="YAML", help="e.g. '[{type: LowerFace}]'")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--landmarks", type=Path, metavar="JSON", help="what `restore prepare landmarks` wrote")
    where.add_argument("--detector", metavar="NAME", help="yunet, retinaface, ssd; default: faces cut to FFHQ's frame")
    parser.add_argument("--size", type=positive, help="bring pictures to a square of SIZE pixels first")
    parser.add_argument("--seed", type=int, default=0, help="which draws (0); as `manual_seed` in an option file")
    parser.add_argument("--lmdb", action="store_true", help="LMDBs in the place of folders of PNG files")
    parser.add_argument("--preview", type=Path, metavar="SHEET.png", help="every occlusion on a face, with its name")
    parser.add_argument("--no_outline", dest="outline", action="store_false", help="no line around what is hidden")
    parser.add_argument("-n", type=positive, help="draws of each occlusion in the preview (2; 8 with --occlusion)")
    _add_common(parser, "occlude")


def _add_masks(verbs: Any) -> None:
    about = "Write mask files for pairs of pictures, with and without something pasted on: where they differ."
    parser = verbs.add_parser("masks", help="masks out of pairs of pictures", description=about)
    parser.add_argument("input", type=Path, metavar="WITH", help="folder or .lmdb of pictures with something pasted on")
    parser.add_argument("clean", type=Path, metavar="WITHOUT", help="folder or .lmdb of the same without it")
    parser.add_argument("output", type=Path, metavar="DST", help="folder for the masks, white where they differ")
    parser.add_argument("--threshold", type=positive, default=20, help="smoothed difference, of 255 levels (20)")
    parser.add_argument("--preview", type=Path, metavar="SHEET.png", help="the pictures, what was found outlined")
    _add_common(parser, "pair_masks")


def _add_landmarks(verbs: Any) -> None:
    about = "Find the faces in a folder or LMDB; write five landmarks of the largest in each picture to a JSON file."
    parser = verbs.add_parser("landmarks", help="where eyes, nose and mouth are, for losses on them", description=about)
    parser.add_argument("input", type=Path, metavar="SRC", help="folder or .lmdb of pictures")
    parser.add_argument("-o", "--output", type=Path, metavar="JSON", help="default: SRC_landmarks.json beside SRC")
    parser.add_argument("--detector", default="yunet", metavar="NAME", help="aligned, retinaface, ssd, yunet (yunet)")
    _add_common(parser, "landmarks", overwrite=True)


def _add_faces(verbs: Any) -> None:
    about = "Cut the face out of each picture, upright and in the frame of FFHQ, by what `prepare landmarks` wrote."
    parser = verbs.add_parser("faces", help="faces cut out of photos, all in one frame", description=about)
    parser.add_argument("input", type=Path, metavar="SRC", help="folder or .lmdb of pictures")
    parser.add_argument("output", type=Path, metavar="OUTPUT.lmdb")
    parser.add_argument("--size", type=positive, default=256, help="pixels a side (256)")
    parser.add_argument("--landmarks", type=Path, metavar="JSON", help="default: SRC_landmarks.json beside SRC")
    parser.add_argument("--compact", action="store_true", help="PNG records: smaller, but slow to decode")
    _add_common(parser, "cut_faces")


def _add_drawn(verbs: Any) -> None:
    about = (
        "Draw faces into DIR/train.lmdb and DIR/val.lmdb: data without a download. Does nothing when they are there."
    )
    parser = verbs.add_parser("drawn", help="faces drawn by this program", description=about)
    parser.add_argument("output", type=Path, metavar="DIR")
    parser.add_argument("--count", type=positive, default=400, help="faces to train on (400)")
    parser.add_argument("--val", type=positive, default=24, help="faces to validate on (24)")
    parser.add_argument("--size", type=positive, default=256, help="pixels a side (256)")
    parser.add_argument("--seed", type=int, default=0, help="which faces (0)")
    _add_common(parser, "samples", "drawn")


def _add_astronaut(verbs: Any) -> None:
    about = "Write one real face, cut out of scikit-image's photo of Eileen Collins (NASA, public domain)."
    parser = verbs.add_parser("astronaut", help="one real photo, to set beside drawn faces", description=about)
    parser.add_argument("output", type=Path, metavar="DIR")
    parser.set_defaults(run=_later("samples", "astronaut"))


def _add_download(verbs: Any) -> None:
    parser = verbs.add_parser("download", help="a public data set, with torchvision's downloaders")
    parser.add_argument("name", choices=("celeba", "lfw"))
    parser.add_argument("output", type=Path, metavar="DIR")
    parser.set_defaults(run=_later("samples", "download"))


def _add_common(
    parser: argparse.ArgumentParser, module: str, function: str = "run", *, overwrite: bool = False
) -> None:
    """What all that make a set take. With `overwrite` they always replace what is there."""
    parser.add_argument("--workers", type=positive, help="threads (default: one a CPU)")
    how = parser.add_mutually_exclusive_group()  # tasks that overwrite would undo one another's work when run again
    add_shard(how)
    how.add_argument("--merge", action="store_true", help="make the whole out of the parts that --shard made")
    if not overwrite:
        how.add_argument("--overwrite", action="store_true", help="replace a set that was made otherwise")
    parser.set_defaults(run=_later(module, function), overwrite=overwrite)


def _later(module: str, function: str) -> Callable[[argparse.Namespace], None]:
    """A function of a module of apps/, imported when it is called: it needs OpenCV and torch, `--help` does not."""

    def run(args: argparse.Namespace) -> None:
        getattr(importlib.import_module(f"restore.apps.{module}"), function)(args)

    return run


def _fractions(text: str) -> tuple[float, ...]:
    try:
        fractions = tuple(float(field) for field in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"`{text}` is not numbers with commas; e.g. 0.9,0.05,0.05") from error
    if not 2 <= len(fractions) <= MOST_PARTS or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise argparse.ArgumentTypeError(f"`{text}` is not 2 or 3 shares of 1; e.g. 0.9,0.05,0.05")
    return fractions
