"""Fills an LMDB: threads make the records, one writer commits them in order, and a kill costs one batch."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from restore import images
from restore.apps.pool import in_order
from restore.data.drawn import draw_face
from restore.data.encode import encode, square, sub_images
from restore.data.lmdb_store import LmdbReader, LmdbWriter, Record
from restore.data.records import Records, open_records
from restore.errors import Fault, UserError
from restore.progress import watched

PARAMETERS = "prepare.json"
SET_ASIDE = "set_aside.txt"


class Item(NamedTuple):
    """What records are made of: the key, and the path of a picture or the number of a drawn face."""

    key: str
    source: str | int


class Maker(Protocol):
    """Makes an item's records, in a worker thread. Its fields are the parameters that an LMDB remembers."""

    @property
    def compact(self) -> bool:
        """Whether records are PNG."""

    def first_key(self, item: Item) -> str:
        """The key of the item's first record: when it is there, so are the others."""

    def records(self, item: Item) -> list[Record]:
        """Raises `UnreadableImage` when the item has to be set aside."""


@dataclass(frozen=True)
class PictureMaker:
    """A picture file as it is, brought to a square of `size`, or cut into sub-images when `crop` is given."""

    size: int | None
    crop: int | None
    step: int
    thresh: int
    compact: bool

    def first_key(self, item: Item) -> str:
        return f"{item.key}_s001" if self.crop else item.key

    def records(self, item: Item) -> list[Record]:
        where = str(item.source)
        image = images.read(where)
        if self.size:
            return [encode(item.key, square(image, self.size, where), self.compact)]
        if self.crop:
            crops = sub_images(image, self.crop, self.step, self.thresh, where)
            return [encode(f"{item.key}_s{n:03d}", crop, self.compact) for n, crop in enumerate(crops, 1)]
        return [encode(item.key, image, self.compact)]


@dataclass(frozen=True)
class RecordMaker:
    """Base of the makers that make one record of each picture in a folder or LMDB, under the same key."""

    source: str

    @cached_property
    def pictures(self) -> Records:
        return open_records(self.source)

    def first_key(self, item: Item) -> str:
        return item.key

    def decoded(self, key: str) -> images.Image:
        """The picture of that key."""
        return images.decode(self.pictures.get(key), self.pictures.where(key))


@dataclass(frozen=True)
class FaceMaker:
    """A drawn face of the series `seed`."""

    seed: int
    size: int
    compact: bool = False

    def first_key(self, item: Item) -> str:
        return item.key

    def records(self, item: Item) -> list[Record]:
        return [encode(item.key, draw_face(self.seed, int(item.source), self.size).image, self.compact)]


def build(
    output: Path, maker: Maker, items: Sequence[Item], about: dict[str, Any], workers: int, overwrite: bool
) -> None:
    """Builds `output`, or goes on where a killed build of it stopped, or says that it is there already.

    Args:
        about: with the maker's fields, what must be equal for a half-built or finished LMDB to be the one asked for.
        workers: threads that make records.
        overwrite: replaces an LMDB that was made otherwise; the old one stays until the new one is whole.

    Raises:
        UserError: `output` holds something else, or none of the items gives a record.
    """
    parameters = asdict(maker) | about  # type: ignore[call-overload]
    writer = LmdbWriter(output)
    if output.exists() and _is_same(output, parameters, overwrite) and not overwrite:
        print(f"{output}: already there, {len(LmdbReader(output)):,} records made with the same parameters")
        return
    if writer.folder.exists() and not _is_same(writer.folder, parameters, overwrite):
        shutil.rmtree(writer.folder)
    images.write_atomic(writer.folder / PARAMETERS, json.dumps(parameters, indent=1).encode())
    with writer:
        set_aside = _fill(writer, maker, items, workers)
    _summarize(output, maker.compact, len(set_aside))


def _is_same(folder: Path, parameters: dict[str, Any], overwrite: bool) -> bool:
    """Whether what stands at `folder` was made with `parameters`.

    Raises:
        UserError: it was not, and may not be replaced: without `overwrite`, or because it is no LMDB.
    """
    try:
        before = json.loads((folder / PARAMETERS).read_bytes())
    except (OSError, ValueError):
        before = None
    if before == parameters:
        return True
    if folder.is_dir() and all(file.name.startswith(".") for file in folder.iterdir()):
        return False  # killed before it began
    if before is None and not (folder / "data.mdb").is_file():
        raise UserError(f"{folder}: exists and is no LMDB; choose another name or remove it")
    if overwrite:
        return False
    if not isinstance(before, dict):
        found = "not made by this command"
    else:
        name = next(name for name in [*parameters, *before] if before.get(name) != parameters.get(name))
        found = f"made with {name} = {before.get(name)}, not {parameters.get(name)}"
    raise UserError(f"{folder}: exists, {found}; choose another name, or --overwrite replaces it")


def _fill(writer: LmdbWriter, maker: Maker, items: Sequence[Item], workers: int) -> list[str]:
    """Puts the records of all items that are not there yet; returns a line for each item set aside."""
    todo = [item for item in items if maker.first_key(item) not in writer]
    if len(todo) < len(items):
        print(f"{writer.path}: goes on behind {len(items) - len(todo):,} of {len(items):,}")
    set_aside = []
    for result in watched(in_order(partial(attempt, maker), todo, workers), len(todo), writer.path.name):
        if isinstance(result, str):
            set_aside.append(result)
        else:
            writer.put_all(result)
    if not len(writer):
        raise UserError(f"{writer.path}: none of {len(items):,} pictures can be used; the first: {set_aside[0]}")
    if set_aside:
        text = "".join(f"{line}\n" for line in set_aside)
        images.write_atomic(writer.folder / SET_ASIDE, text.encode(errors="surrogateescape"))
    return set_aside


def attempt(maker: Maker, item: Item) -> list[Record] | str:
    """The item's records, or why it has to be set aside."""
    try:
        return maker.records(item)
    except images.UnreadableImage as error:
        return str(error)


def _summarize(output: Path, compact: bool, set_aside: int) -> None:
    reader = LmdbReader(output)
    text = f"{output}: {len(reader):,} records"
    if not compact and (deep := (output / "meta_info.txt").read_bytes().count(b".png (")):
        text += f", {deep:,} of them 16-bit, kept as PNG"
    if set_aside:
        text += f"; {set_aside:,} pictures set aside, see {output / SET_ASIDE}"
    print(text)


def verify(output: Path, maker: Maker, items: Sequence[Item], workers: int) -> None:
    """Reads every record back, decodes it and compares its pixels with the source's.

    Raises:
        Fault: a record is missing, damaged, different or has no source.
    """
    reader = LmdbReader(output)
    checked = 0
    for result in watched(in_order(partial(attempt, maker), items, workers), len(items), f"verify {output.name}"):
        if not isinstance(result, str):
            for record in result:
                _compare(reader, record)
                checked += 1
    if checked != len(reader):
        raise Fault(f"{output}: {len(reader):,} records, but the pictures give {checked:,}; build it again")
    print(f"{output}: verified, {checked:,} records equal their source")


def _compare(reader: LmdbReader, record: Record) -> None:
    where = reader.where(record.key)
    stored = images.decode(reader.get(record.key), where)
    if not np.array_equal(stored, images.decode(record.data, where)):
        raise Fault(f"{where}: its pixels are not the source's; build the LMDB again with --overwrite")
