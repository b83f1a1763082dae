"""Data to begin with: `restore prepare drawn`, `astronaut` and `download`."""

import argparse

from restore import images
from restore.apps.lmdb_build import build
from restore.apps.makers import FaceMaker, Item
from restore.apps.pool import Work
from restore.errors import UserError
from restore.options.paths import resolve

MIN_FACE = 32


def drawn(args: argparse.Namespace) -> None:
    """`restore prepare drawn`: faces 0, 1, ... to train on; -1, -2, ... to validate on, whatever the count."""
    if args.size < MIN_FACE:
        raise UserError(f"--size {args.size}: a drawn face needs at least {MIN_FACE} pixels")
    maker = FaceMaker(args.seed, args.size)
    train = [Item(f"{n:06d}", n) for n in range(args.count)]
    val = [Item(f"{n:06d}", -1 - n) for n in range(args.val)]
    for name, items in (("train", train), ("val", val)):
        about = {"part": name, "count": len(items)}
        build(resolve(str(args.output)) / f"{name}.lmdb", maker, items, about, Work.of(args))


def astronaut(args: argparse.Namespace) -> None:
    """`restore prepare astronaut`: a 256x256 picture of her head."""
    try:
        from skimage import data
    except ImportError as error:
        raise UserError("prepare astronaut: needs scikit-image; pip install scikit-image") from error
    path = resolve(str(args.output)) / "astronaut.png"
    images.write(path, data.astronaut()[:256, 96:352])  # type: ignore[no-untyped-call]
    print(f"{path}: written")


def download(args: argparse.Namespace) -> None:
    """`restore prepare download`: CelebA or LFW, as far as torchvision and their hosts still allow it."""
    from torchvision import datasets

    try:
        if args.name == "celeba":
            datasets.CelebA(args.output, split="all", download=True)
        else:
            datasets.LFWPeople(args.output, image_set="original", download=True)
    except Exception as error:  # offline, quota of Google Drive, a package missing: each library has its own kind
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{args.name}: {reason[:200]} (datasets/{args.name}.md says how to get it by hand)") from error
    print(f"{args.output}: {args.name} is there; datasets/{args.name}.md has the command that makes the LMDBs")
