"""Where the faces are in the pictures that `restore prepare occlude` hides: found by a detector, or given in a file."""

import argparse
import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from restore import images
from restore.apps.fixed_set import parts_of, sections_of
from restore.apps.occluded_maker import OccludedMaker
from restore.apps.pool import in_order
from restore.apps.shard import all_parts
from restore.data.landmarks import Landmarks, read_landmarks, write_landmarks
from restore.errors import UserError
from restore.options.paths import resolve
from restore.progress import watched
from restore.registry import DETECTORS, Part


def detector_named(text: str) -> Part:
    """The detector that an option names. Raises `UserError`."""
    sections = sections_of(text, "--detector", "yunet")
    if len(sections) > 1:
        raise UserError(f"--detector {text}: names {len(sections)}; one finds the faces")
    (part,) = parts_of(sections, DETECTORS, "--detector")
    return part


def find_faces(args: argparse.Namespace, maker: OccludedMaker, keys: Sequence[str], workers: int) -> None:
    """Writes where the faces are in those pictures, as the maker will see them, to the maker's file of landmarks."""
    path = Path(str(maker.landmarks))
    if path.is_file():  # before the run was killed
        read_landmarks(path, keys)
        return
    find = _given(args, maker) if args.landmarks else _detected(detector_named(args.detector), maker)

    def landmarks_or_why(key: str) -> Landmarks | str:
        try:
            return find(key)
        except images.UnreadableImage as error:
            return str(error)

    results = watched(in_order(landmarks_or_why, keys, workers), len(keys), "faces")
    found = dict(zip(keys, results, strict=True))
    reasons = [points for points in found.values() if isinstance(points, str)]
    if len(reasons) == len(found):
        raise UserError(f"{maker.source}: no face in any of the {len(found):,} pictures; {reasons[0]}")
    write_landmarks(path, {key: None if isinstance(points, str) else points for key, points in found.items()})


def merge_landmarks(path: Path, keys: Sequence[str]) -> None:
    """Writes one file of what those of all parts say."""
    parts = all_parts(path, len(keys)).values()
    found = {key: points for part in parts for key, points in json.loads(part.read_bytes()).items()}
    write_landmarks(path, {key: None if found[key] is None else np.array(found[key]) for key in keys})


def _detected(part: Part, maker: OccludedMaker) -> Callable[[str], Landmarks | str]:
    own = threading.local()  # a detector is not for several threads at once

    def find(key: str) -> Landmarks | str:
        if not hasattr(own, "detector"):
            own.detector = DETECTORS.build(part)
        faces = own.detector(maker.gt(key))
        return faces[0].landmarks if faces else f"{maker.pictures.where(key)}: no face was found"

    return find


def _given(args: argparse.Namespace, maker: OccludedMaker) -> Callable[[str], Landmarks | str]:
    points = read_landmarks(resolve(str(args.landmarks)), maker.pictures.keys)

    def find(key: str) -> Landmarks | str:
        where = maker.pictures.where(key)
        if key not in points:
            return f"{where}: {Path(args.landmarks).name} knows of no face in it"
        if maker.size is None:
            return points[key]
        height, width = images.decode(maker.pictures.get(key), where).shape[:2]
        return squared(points[key], height, width, maker.size)

    return find


def squared(points: Landmarks, height: int, width: int, size: int) -> Landmarks:
    """Where points (K, 2) of a picture of that size come to when `square` brings it to `size`."""
    scale = size / min(height, width)
    scaled = np.array([max(size, round(width * scale)), max(size, round(height * scale))])
    moved = (points + 0.5) * scaled / np.array([width, height]) - 0.5 - (scaled - size) // 2
    return np.asarray(moved, np.float32)
