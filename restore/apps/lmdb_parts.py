"""The parts of an LMDB, and each item's records out of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from restore.apps.makers import Item, Maker
from restore.apps.shard import Shard
from restore.data.lmdb_store import LmdbReader, Record
from restore.errors import UserError
from restore.images import UnreadableImage

SET_ASIDE = "set_aside.txt"


@dataclass(frozen=True)
class PartsMaker:
    """Takes an item's records out of the part that has it. An item's source is its place among all."""

    maker: Maker
    parts: "Sequence[_Part]"

    @classmethod
    def of(cls, maker: Maker, paths: Mapping[Shard, Path], items: Sequence[Item]) -> "PartsMaker":
        """Of parts that `maker` made of `items`. Raises `UserError`: the records of a part are not theirs."""
        return cls(maker, [_Part(path, [maker.first_key(i) for i in shard.of(items)]) for shard, path in paths.items()])

    @property
    def compact(self) -> bool:
        return self.maker.compact

    def first_key(self, item: Item) -> str:
        return self.maker.first_key(item)

    def records(self, item: Item) -> list[Record]:
        place, part = divmod(int(item.source), len(self.parts))
        return self.parts[part].records(place)


class _Part:
    """One part: the records, and why items have none, by the items' places in it."""

    def __init__(self, path: Path, first_keys: Sequence[str]) -> None:
        self.reader = LmdbReader(path)
        self.lines = (path / "meta_info.txt").read_bytes().splitlines()
        self.ends = _ends([_record(line).key for line in self.lines], first_keys)
        without = [place for place in range(len(first_keys)) if self.ends[place] == self.ends[place + 1]]
        reasons = _reasons(path)
        if self.ends[-1] != len(self.lines) or len(without) != len(reasons):
            raise UserError(f"{path}: its records are not those of this part's pictures; remove it and make it again")
        self.set_aside = dict(zip(without, reasons, strict=True))

    def records(self, place: int) -> list[Record]:
        """Raises `UnreadableImage` when the item was set aside."""
        if place in self.set_aside:
            raise UnreadableImage(self.set_aside[place])
        made = [_record(line) for line in self.lines[self.ends[place] : self.ends[place + 1]]]
        return [record._replace(data=self.reader.get(record.key)) for record in made]


def _ends(keys: Sequence[str], first_keys: Sequence[str]) -> list[int]:
    """0, and behind each item's records: those from its first key up to another item's. An item may have none."""
    known = set(first_keys)
    ends, at = [0], 0
    for first in first_keys:
        if at < len(keys) and keys[at] == first:
            at += 1
            while at < len(keys) and keys[at] not in known:
                at += 1
        ends.append(at)
    return ends


def _record(line: bytes) -> Record:
    """What a line of `meta_info.txt` tells of a record, without its data."""
    name, shape, level = line.decode().rsplit(" ", 2)
    key, _, ext = name.rpartition(".")
    height, width, channels = (int(side) for side in shape[1:-1].split(","))
    return Record(key, b"", (height, width, channels), int(level), ext)


def _reasons(path: Path) -> list[str]:
    file = path / SET_ASIDE
    return file.read_bytes().decode(errors="surrogateescape").splitlines() if file.is_file() else []
