"""`restore weights`: the pretrained files that losses and metrics need, and models blended out of two."""

import argparse
import os
from pathlib import Path
from typing import Any

from restore.errors import UserError


def add_parser(subparsers: Any) -> None:
    """Adds `weights` with its verbs; each sets `run` to the function that takes the parsed arguments."""
    parser = subparsers.add_parser("weights", help="pretrained files: list, fetch, verify; blend two models")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="list|fetch|verify|blend")
    listing = verbs.add_parser("list", help="every file: what it is for, its size and licence, and whether it is here")
    listing.set_defaults(run=list_files)
    fetching = verbs.add_parser("fetch", help="bring files into the cache, for a machine without internet later")
    fetching.add_argument("names", nargs="+", metavar="NAME", help="as `restore weights list` shows them")
    fetching.set_defaults(run=fetch_files)
    verifying = verbs.add_parser("verify", help="compare the files that are here with their hashes")
    verifying.add_argument("names", nargs="*", metavar="NAME", help="these, which then have to be here; else all")
    verifying.set_defaults(run=verify_files)
    about = "Interpolate two models of the same network: SHARE of the first, the rest of the second."
    blending = verbs.add_parser("blend", help="a model between two models", description=about)
    blending.add_argument("first", type=Path, metavar="A", help="a weights file, a checkpoint or an experiment")
    blending.add_argument("second", type=Path, metavar="B")
    blending.add_argument("--share", type=float, default=0.5, help="of A, from 0 to 1 (0.5)")
    blending.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.safetensors")
    blending.set_defaults(run=blend_models)


def list_files(args: argparse.Namespace) -> None:
    """`restore weights list`."""
    from restore import pretrained

    for file in pretrained.FILES.values():
        paths = pretrained.candidates(file)
        place = str(paths[0]) if paths else "not here"
        print(f"{file.name}: {file.purpose}\n    {file.file}, {file.size:,} bytes, {file.licence}\n    {place}")
    folder = os.environ.get(pretrained.FOLDER, "not set")
    print(f"\nlooked in {pretrained.FOLDER} ({folder}) and in the cache, {pretrained.cache()}")


def fetch_files(args: argparse.Namespace) -> None:
    """`restore weights fetch`: unknown names are told before anything is fetched."""
    from restore import pretrained

    for file in [pretrained.describe(name) for name in args.names]:
        print(f"{file.name}: {pretrained.find(file.name)}")


def verify_files(args: argparse.Namespace) -> None:
    """`restore weights verify`. Raises `UserError` when a file is wrong, or a named one is not here."""
    from restore import pretrained

    wrong = []
    for file in [pretrained.describe(name) for name in args.names] or pretrained.FILES.values():
        paths = pretrained.candidates(file)
        for path in paths:
            right = pretrained.sha256_of(path) == file.sha256
            print(f"{file.name}: {path}: {'verified' if right else 'ANOTHER HASH, not used'}")
            if not right:
                wrong.append(str(path))
        if not paths:
            print(f"{file.name}: not here")
            if args.names:
                wrong.append(f"{file.name} is not here (`restore weights fetch {file.name}`)")
    if wrong:
        raise UserError(f"not verified: {', '.join(wrong)}")


def blend_models(args: argparse.Namespace) -> None:
    """`restore weights blend`."""
    from restore import images
    from restore.weights import blend, locate, tensors_bytes

    if args.output.suffix != ".safetensors":
        raise UserError(f"{args.output}: the result is a safetensors file; name it so")
    mixed = blend(locate(args.first), locate(args.second), args.share)
    images.write_atomic(args.output, tensors_bytes(mixed.tensors, mixed.facts))
    count = len(mixed.tensors)
    print(f"{args.output}: {args.share:g} of {args.first} and {1 - args.share:g} of {args.second}, {count} tensors")
