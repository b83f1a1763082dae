"""Paths in option files: what must exist, globs, and `RESTORE_DATA`, which puts `datasets/` elsewhere."""

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path
from typing import Annotated

from pydantic import Field

from restore.errors import UserError, nearest

DATA_FOLDER = "datasets"
_LOOKED_AT = 1000  # names beside a missing path: a folder of pictures may hold millions


@dataclass(frozen=True)
class MustExist:
    """Marks a string that names a file or folder; the checker tells when it is not there.

    `shards` says that a list may stand there too, and that a name may be a glob.
    """

    shards: bool = False


DataPath = Annotated[str, MustExist()]
DataPaths = Annotated[
    str | Annotated[list[str], Field(min_length=1)],
    MustExist(shards=True),
    Field(description="a folder or .lmdb, a glob of such, or a list of these"),
]


def resolve(path: str) -> Path:
    """Where a path of an option file is: `~` unfolded, and `datasets/x` below `$RESTORE_DATA` when that is set.

    Raises:
        UserError: `~name` names nobody.
    """
    try:
        plain = Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(f"`{path}`: no home folder of that name; write the whole path") from error
    root = os.environ.get("RESTORE_DATA")
    if root and plain.parts[:1] == (DATA_FOLDER,):
        return Path(root, *plain.parts[1:])
    return plain


def resolve_all(paths: str | Sequence[str]) -> list[Path]:
    """The folders and LMDBs that a path, a glob or a list of such names: a list's in its order, a glob's in natural
    order, in which `x_2.lmdb` comes before `x_10.lmdb` on every file system.

    Raises:
        UserError: a glob matches nothing, or not every part of a set; a folder is named twice or lies in another.
    """
    found = [path for each in ([paths] if isinstance(paths, str) else paths) for path in _matches(each)]
    if len(found) > 1:
        _check_apart(found)
    return found


def _check_apart(paths: list[Path]) -> None:
    """The pictures of a folder are those at any depth; a folder of LMDBs holds none of theirs."""
    seen: dict[Path, Path] = {}
    for real, path in sorted(((path.resolve(), path) for path in paths), key=lambda pair: len(pair[0].parts)):
        for folder in (real, *real.parents):
            if folder in seen and (folder == real or path.suffix != ".lmdb"):
                raise UserError(f"{path}: its pictures would be there twice, as {seen[folder]} is named too; name one")
        seen[real] = path


def _matches(path: str) -> list[Path]:
    """What a glob matches; any other path as it is, and so a folder whose name holds a bracket."""
    whole = resolve(path)
    if not glob.has_magic(path) or whole.exists():
        return [whole]
    plain = list(takewhile(lambda part: not glob.has_magic(part), Path(path).parts))
    base = resolve(str(Path(*plain)))
    pattern = str(Path(*Path(path).parts[len(plain) :]))
    matches = [base / name for name in glob.glob(pattern, root_dir=base, recursive=True)]
    folders = sorted((match for match in matches if match.is_dir()), key=_natural)
    if not folders:
        elsewhere = ", or set RESTORE_DATA" if plain[:1] == [DATA_FOLDER] else ""
        hint = "; name the folder that holds these files" if matches else nearest_beside(whole)
        raise UserError(f"no folder or .lmdb matches `{whole}`{hint or f'; correct the pattern{elsewhere}'}")
    _check_parts(folders, path)
    return folders


def _natural(path: Path) -> list[tuple[str, int, str]]:
    """A key to sort by in which numbers count as such."""
    pieces = re.findall(r"(\D*)(\d*)", str(path))
    return [(text, int(digits or 0), digits) for text, digits in pieces]


_PART = re.compile(r"(?<!\d)\d+(?=-of-(\d+)(?!\d))")


def _check_parts(folders: list[Path], path: str) -> None:
    """A glob that matches three of `x_1-of-4.lmdb`, ..., `x_4-of-4.lmdb` would train on part of the set unnoticed."""
    sets: dict[tuple[Path, str, str], int] = {}
    for folder in folders:
        if part := _PART.search(folder.name):
            sets[folder.parent, folder.name[: part.start()], folder.name[part.end() :]] = int(part[1])
    for (parent, before, after), count in sets.items():
        for number in range(1, count + 1):
            name = f"{before}{number}{after}"
            if parent / name not in folders:
                raise UserError(f"`{path}` matches parts of a set, but no {name}; make it, or list what is meant")


def nearest_beside(path: Path) -> str:
    """`; did you mean X?` for the file or folder whose name is closest to that of a missing one, or an empty string.

    The recipes that stand beside data are none.
    """
    try:
        beside = (each.name for each in islice(path.parent.iterdir(), _LOOKED_AT) if each.suffix != ".md")
        return nearest(path.name, list(beside))
    except (OSError, ValueError):
        return ""
