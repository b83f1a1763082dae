"""Where pictures come from: a folder of files, an LMDB, or several of them, behind the same three members."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from restore import images
from restore.data.key_index import EqualKeys, JoinedKeys, KeyIndex
from restore.errors import Fault, UserError
from restore.options.paths import resolve, resolve_all


class Records(Protocol):
    """Pictures by key. A key is a path below the folder, with `/` and without the file's suffix."""

    keys: Sequence[str]

    def get(self, key: str) -> bytes:
        """The bytes of one image file. Raises `images.UnreadableImage`; `Fault` where nothing can be read any more."""

    def where(self, key: str) -> str:
        """What messages call that record."""


class FolderRecords:
    """The pictures below a folder, at any depth."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths: dict[str, Path] = {}
        for path in images.find(root):
            key = path.relative_to(root).with_suffix("").as_posix()
            if key in self.paths:
                raise UserError(
                    f"{path}: {self.paths[key].name} has the same name but for its suffix; keep one of them"
                )
            self.paths[key] = path
        self.keys: Sequence[str] = list(self.paths)
        if not self.keys:
            raise UserError(f"{root}: no pictures in this folder (looked for {', '.join(sorted(images.SUFFIXES))})")

    def get(self, key: str) -> bytes:
        try:
            return self.paths[key].read_bytes()
        except OSError as error:
            if not self.root.is_dir():  # or other pictures would stand in for all of them, until too many were missing
                raise Fault(f"{self.root}: this folder is gone; put it back, or mount its disk again") from error
            raise images.UnreadableImage(f"{self.paths[key]}: {error.strerror or error}") from error

    def where(self, key: str) -> str:
        return str(self.paths[key])


class ShardedRecords:
    """The pictures of several folders and LMDBs, their keys in the order of the shards.

    Raises:
        UserError: two shards hold the same key.
    """

    def __init__(self, shards: Sequence[Records], names: Sequence[str]) -> None:
        self.shards, self.names = shards, names
        keys = JoinedKeys([shard.keys for shard in shards])
        try:
            self.index = KeyIndex(keys)
        except EqualKeys as error:
            places = error.pairs[0]
            first, second = (names[keys.part_of(place)] for place in places)
            more = f", and so are {len(error.pairs) - 1:,} others" if len(error.pairs) > 1 else ""
            raise UserError(
                f"{second}: `{keys[places[0]]}` is in {first} too{more}; leave one out, or rename its pictures"
            ) from error
        self.keys: Sequence[str] = keys

    def get(self, key: str) -> bytes:
        return self._shard(key).get(key)

    def where(self, key: str) -> str:
        return self._shard(key).where(key)

    def _shard(self, key: str) -> Records:
        part = self.index.part_of(key)
        if part is None:
            raise images.UnreadableImage(f"no picture `{key}` in any of {self.names[0]} ... {self.names[-1]}")
        return self.shards[part]


def open_records(dataroot: str | Sequence[str], meta_info: str | None = None) -> Records:
    """The records in a folder, in an LMDB (its name ends in `.lmdb`), or in several of them together.

    Args:
        dataroot: as written in the option file: a path, a glob, or a list of such; see `options.paths.resolve_all`.
        meta_info: a text file that lists the pictures to use, one a line, as BasicSR's `meta_info_file`.

    Raises:
        UserError: nothing there, two shards hold the same key, or a listed picture is missing.
    """
    roots = resolve_all(dataroot)
    shards = [_open(root) for root in roots]
    records = shards[0] if len(shards) == 1 else ShardedRecords(shards, [str(root) for root in roots])
    if meta_info is not None:
        records.keys = _listed(resolve(meta_info), records)
    if not records.keys:
        raise UserError(f"{meta_info or dataroot}: no pictures in it")
    return records


def _open(root: Path) -> Records:
    if root.suffix == ".lmdb":
        from restore.data.lmdb_store import LmdbReader

        return LmdbReader(root)
    if root.is_dir():
        return FolderRecords(root)
    raise UserError(f"{root}: no such folder or .lmdb")


_SHAPE = re.compile(r" \(\d+,\s*\d+,\s*\d+\)(\s+\d+)?\s*$")  # what BasicSR writes behind a name


def _listed(path: Path, records: Records) -> list[str]:
    known = set(records.keys)
    keys = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot read this list of pictures: {error}") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            name = _SHAPE.sub("", line).strip()
            key = name if name in known else name.rsplit(".", 1)[0]
            if key not in known:
                raise UserError(f"{path}:{number}: `{name}` is not among the pictures of the data set")
            keys.append(key)
    return keys
