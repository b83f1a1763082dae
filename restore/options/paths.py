"""Paths in option files: what must exist, and `RESTORE_DATA`, which puts `datasets/` elsewhere."""

import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

from restore.errors import UserError, nearest

DATA_FOLDER = "datasets"
_LOOKED_AT = 1000  # names beside a missing path: a folder of pictures may hold millions


@dataclass(frozen=True)
class MustExist:
    """Marks a string that names a file or folder; the checker tells when it is not there."""


DataPath = Annotated[str, MustExist()]


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


def nearest_beside(path: Path) -> str:
    """`; did you mean X?` for the file or folder whose name is closest to that of a missing one, or an empty string."""
    try:
        return nearest(path.name, [beside.name for beside in islice(path.parent.iterdir(), _LOOKED_AT)])
    except (OSError, ValueError):
        return ""
