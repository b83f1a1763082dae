"""The landmarks of a data set's faces, in a JSON file by the pictures' keys."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore import images
from restore.errors import UserError

Landmarks = NDArray[np.float32]


def write_landmarks(path: Path, landmarks: Mapping[str, Landmarks | None]) -> None:
    """Writes `{key: [[x, y], ...]}`, in hundredths of a pixel; `null` says that a picture shows no face."""
    rounded = {key: None if p is None else p.astype(float).round(2).tolist() for key, p in landmarks.items()}
    lines = [f"{json.dumps(key)}: {json.dumps(points)}" for key, points in rounded.items()]
    images.write_atomic(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


def read_landmarks(path: Path, keys: Sequence[str]) -> dict[str, Landmarks]:
    """The landmarks (5, 2) of those pictures that show a face.

    Raises:
        UserError: the file is broken, does not know one of the pictures, or knows no face in any.
    """
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot read these landmarks: {error}") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: holds no landmarks by key; write it with `restore prepare landmarks`")
    missing = [key for key in keys if key not in found]
    if missing:
        more = f" and {len(missing) - 1:,} others" if len(missing) > 1 else ""
        raise UserError(f"{path}: knows nothing of `{missing[0]}`{more}; run `restore prepare landmarks` again")
    points = {key: _points(path, key, found[key]) for key in keys if found[key] is not None}
    if not points:
        raise UserError(f"{path}: no face in any of the {len(keys):,} pictures")
    return points


def _points(path: Path, key: str, value: Any) -> Landmarks:
    try:
        points = np.array(value, np.float32)
    except (ValueError, TypeError):
        points = np.empty(0, np.float32)
    if points.shape != (5, 2) or not np.isfinite(points).all():
        raise UserError(f"{path}: the landmarks of `{key}` are not five pairs of numbers")
    return points
