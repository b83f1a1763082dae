"""Where pictures come from: a folder of files or an LMDB, behind the same three members."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from restore import images
from restore.errors import UserError
from restore.options.paths import resolve


class Records(Protocol):
    """Pictures by key. A key is a path below the folder, with `/` and without the file's suffix."""

    keys: Sequence[str]

    def get(self, key: str) -> bytes:
        """The bytes of one image file. Raises `images.UnreadableImage`."""

    def where(self, key: str) -> str:
        """What messages call that record."""


class FolderRecords:
    """The pictures below a folder, at any depth."""

    def __init__(self, root: Path) -> None:
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
            raise images.UnreadableImage(f"{self.paths[key]}: {error.strerror or error}") from error

    def where(self, key: str) -> str:
        return str(self.paths[key])


def open_records(dataroot: str, meta_info: str | None = None) -> Records:
    """The records in a folder, or in an LMDB when the name ends in `.lmdb`.

    Args:
        dataroot: as written in the option file; see `options.paths.resolve`.
        meta_info: a text file that lists the pictures to use, one a line, as BasicSR's `meta_info_file`.

    Raises:
        UserError: nothing there, or a listed picture is missing.
    """
    root = resolve(dataroot)
    if root.suffix == ".lmdb":
        from restore.data.lmdb_store import LmdbReader

        records: Records = LmdbReader(root)
    elif root.is_dir():
        records = FolderRecords(root)
    else:
        raise UserError(f"{root}: no such folder or .lmdb")
    if meta_info is not None:
        records.keys = _listed(resolve(meta_info), records)
    if not records.keys:
        raise UserError(f"{meta_info or root}: no pictures in it")
    return records


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
