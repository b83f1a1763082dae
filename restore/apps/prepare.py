"""`restore prepare`: turns folders of pictures, and drawn faces, into the LMDBs that option files name."""

import argparse
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore import keyed
from restore.apps.arguments import positive
from restore.apps.shard import add_shard
from restore.errors import UserError

if TYPE_CHECKING:  # building needs OpenCV and torch; `restore --help` does not
    from restore.apps.makers import Item

PARTS = ("train", "val", "test")
MIN_FACE = 32


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
    parser.add_argument("--thresh", type=_count, help="leave out a rest of up to THRESH pixels at the edge (0)")
    parser.add_argument(
        "--compact",
        action="store_true",
        help="PNG records: half the size, but slow to decode (16-bit ones are PNG always)",
    )
    parser.add_argument("--split", type=_fractions, help="e.g. 0.9,0.05,0.05: OUTPUT_train.lmdb, _val and _test")
    parser.add_argument("--seed", type=int, default=0, help="which pictures go to which part of the split (0)")
    parser.add_argument("--verify", action="store_true", help="read every record back and compare it with its source")
    _add_common(parser, prepare_lmdb)


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
    _add_common(parser, degrade)


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
    _add_common(parser, occlude)


def _add_masks(verbs: Any) -> None:
    about = "Write mask files for pairs of pictures, with and without something pasted on: where they differ."
    parser = verbs.add_parser("masks", help="masks out of pairs of pictures", description=about)
    parser.add_argument("input", type=Path, metavar="WITH", help="folder or .lmdb of pictures with something pasted on")
    parser.add_argument("clean", type=Path, metavar="WITHOUT", help="folder or .lmdb of the same without it")
    parser.add_argument("output", type=Path, metavar="DST", help="folder for the masks, white where they differ")
    parser.add_argument("--threshold", type=positive, default=20, help="smoothed difference, of 255 levels (20)")
    parser.add_argument("--preview", type=Path, metavar="SHEET.png", help="the pictures, what was found outlined")
    _add_common(parser, masks)


def _add_landmarks(verbs: Any) -> None:
    about = "Find the faces in a folder or LMDB; write five landmarks of the largest in each picture to a JSON file."
    parser = verbs.add_parser("landmarks", help="where eyes, nose and mouth are, for losses on them", description=about)
    parser.add_argument("input", type=Path, metavar="SRC", help="folder or .lmdb of pictures")
    parser.add_argument("-o", "--output", type=Path, metavar="JSON", help="default: SRC_landmarks.json beside SRC")
    parser.add_argument("--detector", default="yunet", metavar="NAME", help="aligned, retinaface, ssd, yunet (yunet)")
    _add_common(parser, landmarks, overwrite=True)


def _add_faces(verbs: Any) -> None:
    about = "Cut the face out of each picture, upright and in the frame of FFHQ, by what `prepare landmarks` wrote."
    parser = verbs.add_parser("faces", help="faces cut out of photos, all in one frame", description=about)
    parser.add_argument("input", type=Path, metavar="SRC", help="folder or .lmdb of pictures")
    parser.add_argument("output", type=Path, metavar="OUTPUT.lmdb")
    parser.add_argument("--size", type=positive, default=256, help="pixels a side (256)")
    parser.add_argument("--landmarks", type=Path, metavar="JSON", help="default: SRC_landmarks.json beside SRC")
    parser.add_argument("--compact", action="store_true", help="PNG records: smaller, but slow to decode")
    _add_common(parser, faces)


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
    _add_common(parser, prepare_drawn)


def _add_astronaut(verbs: Any) -> None:
    about = "Write one real face, cut out of scikit-image's photo of Eileen Collins (NASA, public domain)."
    parser = verbs.add_parser("astronaut", help="one real photo, to set beside drawn faces", description=about)
    parser.add_argument("output", type=Path, metavar="DIR")
    parser.set_defaults(run=prepare_astronaut)


def _add_download(verbs: Any) -> None:
    parser = verbs.add_parser("download", help="a public data set, with torchvision's downloaders")
    parser.add_argument("name", choices=("celeba", "lfw"))
    parser.add_argument("output", type=Path, metavar="DIR")
    parser.set_defaults(run=download)


def _add_common(
    parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], None], overwrite: bool = False
) -> None:
    """What all that make a set take. With `overwrite` they always replace what is there."""
    parser.add_argument("--workers", type=positive, help="threads (default: one a CPU)")
    how = parser.add_mutually_exclusive_group()  # tasks that overwrite would undo one another's work when run again
    add_shard(how)
    how.add_argument("--merge", action="store_true", help="make the whole out of the parts that --shard made")
    if not overwrite:
        how.add_argument("--overwrite", action="store_true", help="replace a set that was made otherwise")
    parser.set_defaults(run=run, overwrite=overwrite)


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is below 0")
    return value


def _fractions(text: str) -> tuple[float, ...]:
    try:
        fractions = tuple(float(field) for field in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"`{text}` is not numbers with commas; e.g. 0.9,0.05,0.05") from error
    if not 2 <= len(fractions) <= len(PARTS) or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise argparse.ArgumentTypeError(f"`{text}` is not 2 or 3 shares of 1; e.g. 0.9,0.05,0.05")
    return fractions


# ------------------------------------------------------------------------------------------------------------ lmdb


def prepare_lmdb(args: argparse.Namespace) -> None:
    """`restore prepare lmdb`: one LMDB, or one for each part of a split."""
    from restore.apps.lmdb_build import build, verify
    from restore.apps.makers import PictureMaker
    from restore.apps.pool import Work

    if args.crop is None and (args.step or args.thresh):
        raise UserError("--step and --thresh say how sub-images are cut; give --crop with them, or leave them out")
    step = args.step or max(1, (args.crop or 0) // 2)
    maker = PictureMaker(args.size, args.crop, step if args.crop else 0, args.thresh or 0, args.compact)
    items = find_items(args.input)
    for item in items:
        _check(item, maker.first_key(item))
    work = Work.of(args)
    for output, part, about in _parts(args, items):
        made = build(output, maker, part, about | {"pictures": _fingerprint(part)}, work)
        if args.verify and made:
            verify(made, maker, work.shard.of(part), work.workers)


def find_items(folder: Path) -> "list[Item]":
    """The pictures below `folder` in the order of their names; a key is the path below it without its last suffix.

    Raises:
        UserError: no pictures, or two that would have one key.
    """
    from restore import images
    from restore.apps.makers import Item

    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    found: dict[str, str] = {}
    for path in images.find(folder):
        key = path.relative_to(folder).with_suffix("").as_posix()
        if key in found:
            raise UserError(f"{path}: would have the same key as {Path(found[key]).name}, `{key}`; rename or move one")
        found[key] = str(path)
    if not found:
        raise UserError(f"{folder}: no pictures in this folder (looked for {', '.join(sorted(images.SUFFIXES))})")
    return [Item(key, path) for key, path in found.items()]


def _check(item: "Item", key: str) -> None:
    from restore.data.lmdb_store import check_key

    check_key(key, str(item.source))


def _parts(args: argparse.Namespace, items: "list[Item]") -> "list[tuple[Path, list[Item], dict[str, Any]]]":
    """Each LMDB to build: its path, its items, and what to remember about the split."""
    output = _resolved(args.output)
    if not args.split:
        return [(output, items, {})]
    parts = []
    for name, part in zip(PARTS, split(items, args.split, args.seed), strict=False):
        if not part:
            raise UserError(f"{args.input}: {len(items)} pictures are too few for --split, {name} would be empty")
        about = {"part": name, "split": list(args.split), "seed": args.seed}
        parts.append((output.with_stem(f"{output.stem}_{name}"), part, about))
    return parts


def split(items: "Sequence[Item]", fractions: Sequence[float], seed: int) -> "list[list[Item]]":
    """Divides items by shares of 1. Who goes where hangs on the keys and the seed, not on the order of the items."""
    shuffled = sorted(items, key=lambda item: (keyed.number(seed, "split", item.key), item.key))
    parts, start = [], 0
    for count in _shares(len(items), fractions):
        parts.append(sorted(shuffled[start : start + count]))
        start += count
    return parts


def _shares(total: int, fractions: Sequence[float]) -> list[int]:
    """Whole numbers that add up to `total`, by largest remainder."""
    counts = [int(total * fraction + 1e-9) for fraction in fractions]
    by_rest = sorted(range(len(counts)), key=lambda i: counts[i] - total * fractions[i])
    for i in by_rest[: total - sum(counts)]:
        counts[i] += 1
    return counts


def _fingerprint(items: "Sequence[Item]") -> str:
    """Names and sizes, not contents: reading a million pictures only to learn that nothing changed takes too long."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(f"{item.key}\n{Path(str(item.source)).stat().st_size}\n".encode())
    return f"{len(items):,} ({digest.hexdigest()[:12]})"


def _resolved(output: Path) -> Path:
    """Where training will look for `output`: `RESTORE_DATA` moves `datasets/` here as it does in option files."""
    from restore.options.paths import resolve

    return resolve(str(output))


def degrade(args: argparse.Namespace) -> None:
    """`restore prepare degrade`: see `restore.apps.degrade`."""
    from restore.apps.degrade import run

    run(args)


def occlude(args: argparse.Namespace) -> None:
    """`restore prepare occlude`: see `restore.apps.occlude`."""
    from restore.apps.occlude import run

    run(args)


def masks(args: argparse.Namespace) -> None:
    """`restore prepare masks`: see `restore.apps.pair_masks`."""
    from restore.apps.pair_masks import run

    run(args)


def landmarks(args: argparse.Namespace) -> None:
    """`restore prepare landmarks`: see `restore.apps.landmarks`."""
    from restore.apps.landmarks import run

    run(args)


def faces(args: argparse.Namespace) -> None:
    """`restore prepare faces`: see `restore.apps.cut_faces`."""
    from restore.apps.cut_faces import run

    run(args)


# --------------------------------------------------------------------------------------------- drawn and downloaded


def prepare_drawn(args: argparse.Namespace) -> None:
    """`restore prepare drawn`: faces 0, 1, ... to train on; -1, -2, ... to validate on, whatever the count."""
    from restore.apps.lmdb_build import build
    from restore.apps.makers import FaceMaker, Item
    from restore.apps.pool import Work

    if args.size < MIN_FACE:
        raise UserError(f"--size {args.size}: a drawn face needs at least {MIN_FACE} pixels")
    maker = FaceMaker(args.seed, args.size)
    train = [Item(f"{n:06d}", n) for n in range(args.count)]
    val = [Item(f"{n:06d}", -1 - n) for n in range(args.val)]
    for name, items in (("train", train), ("val", val)):
        about = {"part": name, "count": len(items)}
        build(_resolved(args.output) / f"{name}.lmdb", maker, items, about, Work.of(args))


def prepare_astronaut(args: argparse.Namespace) -> None:
    """`restore prepare astronaut`: a 256x256 picture of her head."""
    from restore import images

    try:
        from skimage.data import astronaut
    except ImportError as error:
        raise UserError("prepare astronaut: needs scikit-image; pip install scikit-image") from error
    path = _resolved(args.output) / "astronaut.png"
    images.write(path, astronaut()[:256, 96:352])  # type: ignore[no-untyped-call]
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
