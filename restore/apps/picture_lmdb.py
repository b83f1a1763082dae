"""`restore prepare lmdb`: a folder of pictures as an LMDB, or divided into several."""

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from restore import images, keyed
from restore.apps.lmdb_build import build, verify
from restore.apps.makers import Item, PictureMaker
from restore.apps.pool import Work
from restore.data.lmdb_store import check_key
from restore.errors import UserError
from restore.options.paths import resolve

PARTS = ("train", "val", "test")


def run(args: argparse.Namespace) -> None:
    """Builds one LMDB, or one for each part of a split. Raises `UserError`, `Fault` where `--verify` finds another."""
    if args.crop is None and (args.step or args.thresh):
        raise UserError("--step and --thresh say how sub-images are cut; give --crop with them, or leave them out")
    step = args.step or max(1, (args.crop or 0) // 2)
    maker = PictureMaker(args.size, args.crop, step if args.crop else 0, args.thresh or 0, args.compact)
    items = find_items(args.input)
    for item in items:
        check_key(maker.first_key(item), str(item.source))
    work = Work.of(args)
    for output, part, about in _parts(args, items):
        made = build(output, maker, part, about | {"pictures": _fingerprint(part)}, work)
        if args.verify and made:
            verify(made, maker, work.shard.of(part), work.workers)


def find_items(folder: Path) -> list[Item]:
    """The pictures below `folder` in the order of their names; a key is the path below it without its last suffix.

    Raises:
        UserError: no pictures, or two that would have one key.
    """
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


def _parts(args: argparse.Namespace, items: list[Item]) -> list[tuple[Path, list[Item], dict[str, Any]]]:
    """Each LMDB to build: its path, its items, and what to remember about the split."""
    output = resolve(str(args.output))
    if not args.split:
        return [(output, items, {})]
    parts = []
    for name, part in zip(PARTS, split(items, args.split, args.seed), strict=False):
        if not part:
            raise UserError(f"{args.input}: {len(items)} pictures are too few for --split, {name} would be empty")
        about = {"part": name, "split": list(args.split), "seed": args.seed}
        parts.append((output.with_stem(f"{output.stem}_{name}"), part, about))
    return parts


def split(items: Sequence[Item], fractions: Sequence[float], seed: int) -> list[list[Item]]:
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


def _fingerprint(items: Sequence[Item]) -> str:
    """Names and sizes, not contents: reading a million pictures only to learn that nothing changed takes too long."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(f"{item.key}\n{Path(str(item.source)).stat().st_size}\n".encode())
    return f"{len(items):,} ({digest.hexdigest()[:12]})"
