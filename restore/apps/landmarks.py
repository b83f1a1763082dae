"""`restore prepare landmarks`: where the eyes, the nose and the mouth are in each picture of a data set."""

import argparse
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from restore import images
from restore.apps.pool import Work, in_order
from restore.apps.shard import all_parts, part_of, parts_beside
from restore.data.landmarks import Landmarks, write_landmarks
from restore.data.records import Records, open_records
from restore.errors import UserError
from restore.options.paths import resolve
from restore.progress import watched
from restore.registry import DETECTORS, Part

LISTED = 20  # names shown of the pictures without a face


def run(args: argparse.Namespace) -> None:
    """Writes the landmarks of the largest face in each picture, and tells of each picture without one.

    Raises:
        UserError: nothing to read, no such detector, its weights cannot be had, or no face in any picture.
    """
    source, work = resolve(str(args.input)), Work.of(args)
    output = resolve(str(args.output)) if args.output else source.with_name(f"{source.stem}_landmarks.json")
    records = open_records(str(args.input))
    about = {"source": source.name, "detector": args.detector, "count": len(records.keys)}
    if work.shard.count > 1:
        _write_part(part_of(output, work.shard), records, about, work)
        return
    if work.merge and not parts_beside(output) and list(_read(output)) == list(records.keys):
        print(f"{output}: already there, {len(records.keys):,} pictures looked at")
        return
    if work.merge:
        found = _merged(output, records.keys, about)
    else:
        found = find_landmarks(records, work.workers, Part(type=args.detector))
    missed = [key for key, points in found.items() if points is None]
    if len(missed) == len(found):
        raise UserError(f"{source}: no face in any of the {len(found):,} pictures")
    write_landmarks(output, found)
    print(f"{output}: {len(found) - len(missed):,} faces")
    if missed:
        listed = f"{', '.join(missed[:LISTED])}{', ...' if len(missed) > LISTED else ''}"
        print(f"set aside, `null` in that file: {len(missed):,} pictures without a face: {listed}")


def _write_part(path: Path, records: Records, about: dict[str, Any], work: Work) -> None:
    """Writes one part, with what it was made with; a training reads the whole only."""
    records.keys = work.shard.of(records.keys)
    if _is_of(_read(path), records.keys, about):
        print(f"{path}: already there, {len(records.keys):,} pictures looked at")
        return
    found = find_landmarks(records, work.workers, Part(type=about["detector"]))
    lists = {key: None if points is None else points.tolist() for key, points in found.items()}
    images.write_atomic(path, json.dumps({"about": about, "landmarks": lists}).encode())
    print(f"{path}: {len(found) - list(lists.values()).count(None):,} faces in {len(found):,} pictures")


def _merged(output: Path, keys: Sequence[str], about: dict[str, Any]) -> dict[str, Landmarks | None]:
    """What all parts say, in the order of the keys. Raises `UserError`: a part is missing, or of something else."""
    found: dict[str, list[list[float]] | None] = {}
    for shard, path in all_parts(output, len(keys)).items():
        part = _read(path)
        if not _is_of(part, shard.of(keys), about):
            raise UserError(f"{path}: is of other pictures or another detector; remove it and make that part again")
        found |= part["landmarks"]
    return {key: None if found[key] is None else np.array(found[key], np.float32) for key in keys}


def _is_of(part: dict[str, Any], keys: Sequence[str], about: dict[str, Any]) -> bool:
    return part.get("about") == about and list(part["landmarks"]) == list(keys)


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError):
        return {}


def find_landmarks(records: Records, workers: int, detector: Part) -> dict[str, Landmarks | None]:
    """The landmarks (5, 2) of the largest face in each picture by its key, None where there is none to be seen."""
    own = threading.local()
    DETECTORS.build(detector)  # a mistake is told here, before the pictures

    def find(key: str) -> Landmarks | None:
        if not hasattr(own, "detector"):
            own.detector = DETECTORS.build(detector)
        try:
            faces = own.detector(images.decode(records.get(key), records.where(key)))
        except images.UnreadableImage:
            return None
        return faces[0].landmarks if faces else None

    results = in_order(find, records.keys, workers)
    return dict(zip(records.keys, watched(results, len(records.keys), "landmarks"), strict=True))
