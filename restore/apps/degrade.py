"""`restore prepare degrade`: a fixed LQ set, and the manifest from which others make the same one."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from restore import images
from restore.apps.fixed_set import (
    MANIFEST,
    Section,
    digest,
    in_order_of,
    is_there,
    merged,
    one_thread,
    parts_of,
    sections_of,
    versions,
    write_manifest,
)
from restore.apps.lmdb_build import build
from restore.apps.makers import Item, RecordMaker
from restore.apps.pool import Work, in_order
from restore.apps.shard import WHOLE, Shard, part_of
from restore.data.drawn import draw_face
from restore.data.encode import encode, square
from restore.data.lmdb_store import Record
from restore.data.records import open_records
from restore.degradations.pipeline import Pipeline
from restore.errors import UserError
from restore.fitting import Rgb, celled, fitted, tiled
from restore.keyed import Draws, draws
from restore.options.paths import resolve
from restore.progress import watched
from restore.registry import DEGRADATIONS, Part

OPTION = DEGRADATIONS, "--degradation"
STREAM = "degrade"  # a picture's draws are `keyed.draws(seed, STREAM, key)`
CELL = 256  # pixels a side of a picture in a contact sheet


@dataclass(frozen=True)
class LqMaker(RecordMaker):
    """Makes the LQ, or the GT that belongs to it, of a folder's or LMDB's pictures.

    Args:
        source: the folder or LMDB.
        part: which of the two.
        degradation: the pipeline's sections as JSON.
        scale: GT size over LQ size.
        seed: with a picture's key, what its draws come from.
        size: brings GT to a square of that side first.
        compact: PNG records, since noise in an LQ gains nothing from being read quickly.
    """

    part: Literal["lq", "gt"]
    degradation: str
    scale: int
    seed: int
    size: int | None
    compact: bool = True

    @cached_property
    def pipeline(self) -> Pipeline:
        return Pipeline(parts_of(json.loads(self.degradation), *OPTION), self.scale)

    def records(self, item: Item) -> list[Record]:
        gt = self.gt(item.key)
        picture = gt if self.part == "gt" else degrade(gt, self.pipeline, draws(self.seed, STREAM, item.key))
        return [encode(item.key, picture, self.compact)]

    def gt(self, key: str) -> images.Image:
        """The GT: its sides are multiples of the scale, what is over being cut off at the right and below."""
        where, gt = self.pictures.where(key), self.decoded(key)
        if self.size:
            gt = square(gt, self.size, where)
        height, width = (length // self.scale * self.scale for length in gt.shape[:2])
        if not height or not width:
            raise images.UnreadableImage(f"{where}: smaller than the scale {self.scale}")
        return gt[:height, :width]


def run(args: argparse.Namespace) -> None:
    """Writes the LQ set, the GT beside it, and a contact sheet: what the arguments ask for. Raises `UserError`."""
    sections = sections_of(args.degradation)
    parts = parts_of(sections, *OPTION)
    if args.size and args.size % args.scale:
        raise UserError(f"--size {args.size}: is no multiple of --scale {args.scale}")
    if not args.output and not args.preview:
        raise UserError("prepare degrade: give SRC and DST, or --preview SHEET.png")
    if args.gt and not args.output:
        raise UserError("prepare degrade: --gt writes the GT of an LQ set; give SRC and DST as well")
    with one_thread():
        if args.preview:
            _preview(args, parts)
        if args.output:
            maker = LqMaker(str(args.input), "lq", json.dumps(sections), args.scale, args.seed, args.size)
            write_set(maker, resolve(str(args.output)), Work.of(args))
            if args.gt:
                write_set(replace(maker, part="gt"), resolve(str(args.gt)), Work.of(args))


def degrade(gt: images.Image, pipeline: Pipeline, own: Draws) -> NDArray[np.uint8]:
    """The LQ (h, w, 3) of one GT (H, W, 3). Raises `UserError` when the pipeline ends at another size."""
    try:
        with torch.no_grad():
            return images.to_uint8(pipeline(images.to_unit(gt), [own])["lq"][0])
    except ValueError as error:
        raise UserError(f"--degradation: {error}") from error


# ----------------------------------------------------------------------------------------------------- the LQ set


def write_set(maker: LqMaker, output: Path, work: Work) -> None:
    """Writes all pictures, or a part, as an LMDB or as PNG files below `output`, then their manifest.

    Raises:
        UserError: `output` holds something else, or a picture cannot be used: the set would not be the one asked for.
    """
    items = [Item(key, key) for key in maker.pictures.keys]
    if output.suffix == ".lmdb":
        made = build(output, maker, items, {"count": len(items)}, work)
        if made:  # a part is a whole LMDB with a manifest of its own
            _tell(maker, made, _digests(made, work.workers), len(work.shard.of(items)), WHOLE)
    elif is_there(output, _about(maker), work):
        print(f"{output}: already there, {len(work.shard.of(items)):,} pictures made with the same parameters")
    elif work.merge:
        pictures, _ = merged(output, _about(maker), maker.pictures.keys)
        _tell(maker, output, in_order_of(open_records(str(output)).keys, pictures), len(items), WHOLE)
    elif own := work.shard.of(items):
        _write_files(maker, output, own, work)
        _tell(maker, output, _digests(output, work.workers, own), len(own), work.shard)
    else:
        print(f"{output}: part {work.shard} is not needed, {len(items):,} pictures fill fewer parts")


def _write_files(maker: LqMaker, output: Path, items: Sequence[Item], work: Work) -> None:
    """A killed run is begun again: the manifest tells whether it came through."""
    write_manifest(output, _about(maker), work.shard)

    def write(item: Item) -> None:
        (record,) = maker.records(item)
        images.write_atomic(output / f"{record.key}.{record.ext}", record.data)

    for _ in watched(in_order(write, items, work.workers), len(items), output.name):
        pass


def _tell(maker: LqMaker, output: Path, digests: dict[str, str], count: int, shard: Shard) -> None:
    """Writes the manifest. Raises `UserError` when fewer than `count` pictures were made."""
    write_manifest(output, _about(maker) | {"pictures": digests}, shard)
    if len(digests) < count:
        raise UserError(f"{output}: {count - len(digests):,} of {count:,} pictures of the source are missing")
    print(f"{part_of(output / MANIFEST, shard)}: {len(digests):,} pictures")


def _about(maker: LqMaker) -> dict[str, Any]:
    """What makes the pictures what they are."""
    about = asdict(maker) | {"source": Path(maker.source).name, "degradation": json.loads(maker.degradation)}
    about["draws"] = f'draws(seed, "{STREAM}", key)'
    about["pipeline"] = [section for part in parts_of(about["degradation"], *OPTION) for section in _spelled(part)]
    about["versions"] = versions()
    return dict(json.loads(json.dumps(about)))


def _spelled(part: Part) -> list[Section]:
    """A preset as the parts that it is made of, so that the manifest outlives a change of its defaults."""
    sections: list[Section] = getattr(DEGRADATIONS.build(part), "sections", [{"type": part.type} | part.args])
    return sections


def _digests(output: Path, workers: int, items: Sequence[Item] | None = None) -> dict[str, str]:
    """Of each picture, or of those of these items; see `digest`."""
    records = open_records(str(output))
    if items is not None:
        own = {item.key for item in items}
        records.keys = [key for key in records.keys if key in own]
    return dict(zip(records.keys, in_order(partial(digest, records), records.keys, workers), strict=True))


# -------------------------------------------------------------------------------------------------- contact sheet


def _preview(args: argparse.Namespace, parts: Sequence[Part]) -> None:
    """One face and what several draws make of it."""
    if args.input:
        maker = LqMaker(str(args.input), "gt", "[]", args.scale, args.seed, args.size)
        key = maker.pictures.keys[0]
        gt = maker.gt(key)
    else:
        size = (args.size or CELL) // args.scale * args.scale
        key, gt = "drawn", draw_face(args.seed, 0, size).image
    pipeline = Pipeline(parts, args.scale)
    made = [degrade(gt, pipeline, draws(args.seed, "preview", key, n)) for n in range(args.n)]
    images.write(args.preview, contact_sheet([gt, *made]))
    print(f"{args.preview}: the GT `{key}` and {len(made)} draws of its LQ")


def contact_sheet(pictures: Sequence[images.Image]) -> Rgb:
    """Pictures in rows of equal cells, enlarged so that pixels stay pixels; those larger than a cell are shrunk."""
    return tiled([celled(fitted(images.eight_bits(picture), CELL, pixels=True), CELL) for picture in pictures])
