"""`restore prepare landmarks`: where the eyes, the nose and the mouth are in each picture of a data set."""

import argparse
import threading

from restore import images
from restore.apps.pool import available_cpus, in_order
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
    source = resolve(str(args.input))
    output = resolve(str(args.output)) if args.output else source.with_name(f"{source.stem}_landmarks.json")
    records = open_records(str(args.input))
    found = find_landmarks(records, args.workers or available_cpus(), Part(type=args.detector))
    missed = [key for key, points in found.items() if points is None]
    if len(missed) == len(found):
        raise UserError(f"{source}: no face in any of the {len(found):,} pictures")
    write_landmarks(output, found)
    print(f"{output}: {len(found) - len(missed):,} faces")
    if missed:
        listed = f"{', '.join(missed[:LISTED])}{', ...' if len(missed) > LISTED else ''}"
        print(f"set aside, `null` in that file: {len(missed):,} pictures without a face: {listed}")


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
