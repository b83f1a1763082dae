"""Paths in option files: what must exist, and `RESTORE_DATA`, which puts `datasets/` elsewhere."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

DATA_FOLDER = "datasets"


@dataclass(frozen=True)
class MustExist:
    """Marks a string that names a file or folder; the checker tells when it is not there."""


DataPath = Annotated[str, MustExist()]


def resolve(path: str) -> Path:
    """Where a path of an option file is: `~` unfolded, and `datasets/x` below `$RESTORE_DATA` when that is set."""
    plain = Path(path).expanduser()
    root = os.environ.get("RESTORE_DATA")
    if root and plain.parts[:1] == (DATA_FOLDER,):
        return Path(root, *plain.parts[1:])
    return plain
