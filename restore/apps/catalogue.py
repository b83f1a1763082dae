"""A catalogue of occlusions: each on a face, what it hides outlined, its name below."""

import argparse
import json
import math
from collections.abc import Sequence

import cv2
import numpy as np

from restore import images
from restore.apps.degrade import CELL
from restore.apps.fixed_set import Section
from restore.apps.occlude_faces import detector_named
from restore.apps.occluded_maker import OccludedMaker
from restore.data.drawn import draw_face
from restore.data.records import open_records
from restore.faces.detector import Detector
from restore.faces.face import Face
from restore.fitting import Rgb, celled, fitted, text_line, tiled
from restore.keyed import Draws, draws
from restore.occlusions.compose_occlusion import Chain
from restore.occlusions.occlusion import Mask
from restore.registry import DETECTORS, OCCLUSIONS, Part

DRAWS, DRAWS_OF_ALL = 8, 2  # of each occlusion: of those named, of all there are
CAPTION = 20
OUTLINE = (255, 0, 160)


def write_catalogue(args: argparse.Namespace, sections: Sequence[Section]) -> None:
    """Draws what the sections make of faces together; without any, each registered occlusion that needs no arguments.

    Faces are the first pictures of `args.input`, else drawn. Raises `UserError`: none in them, or an unreadable one.
    """
    left_out: list[str] = []
    if sections:
        rows = {_named(sections): [Part.model_validate(section) for section in sections]}
    else:
        rows, left_out = _without_arguments()
    count = args.n or (DRAWS if sections else DRAWS_OF_ALL)
    faces = _faces(args, count)
    cells = [
        _cell(name, *faces[number], parts, draws(args.seed, "preview", name, number), args.outline)
        for name, parts in rows.items()
        for number in range(count)
    ]
    columns = count * max(1, round(math.sqrt(len(cells)) / count)) if len(rows) > 1 else None
    images.write(args.preview, tiled(cells, columns))
    print(f"{args.preview}: {len(rows)} occlusions, {count} draws of each")
    if left_out:
        print(f"left out, since they need arguments: {', '.join(left_out)}")


def _named(sections: Sequence[Section]) -> str:
    return " + ".join(str(section["type"]) for section in sections)


def _without_arguments() -> tuple[dict[str, list[Part]], list[str]]:
    """A part of each occlusion that can be built from its name alone, and the names of the others."""
    rows = {entry.name: [Part(type=entry.name)] for entry in OCCLUSIONS.without_arguments()}
    return rows, [entry.name for entry in OCCLUSIONS if entry.name not in rows]


def _faces(args: argparse.Namespace, count: int) -> list[tuple[images.Image, Face]]:
    """`count` pictures with their faces, from the start again where there are fewer."""
    if not args.input:
        drawn = [draw_face(args.seed, number, args.size or CELL) for number in range(count)]
        return [(face.image, Face.of_landmarks(face.landmarks - np.float32(0.5))) for face in drawn]
    records = open_records(str(args.input))
    maker = OccludedMaker(str(args.input), "masks", json.dumps([]), None, args.seed, args.size)
    detector: Detector = DETECTORS.build(detector_named(args.detector or "aligned"))
    found: list[tuple[images.Image, Face]] = []
    for key in records.keys:
        picture = maker.gt(key)
        if len(found) < count and (faces := detector(picture)):
            found.append((picture, Face.of_landmarks(faces[0].landmarks)))
        if len(found) == count:
            return found
    if not found:
        raise images.UnreadableImage(f"{args.input}: no face in any of the {len(records.keys):,} pictures")
    return [found[number % len(found)] for number in range(count)]


def _cell(name: str, picture: images.Image, face: Face, parts: Sequence[Part], own: Draws, outline: bool) -> Rgb:
    shown, mask = Chain(list(parts))(picture, face, own)
    return cell_of(shown, mask if outline else None, f"{name}  {100 * mask.mean():.0f} %")


def cell_of(picture: images.Image, mask: Mask | None, text: str) -> Rgb:
    """A picture fitted into a cell, a mask outlined on it, with a line of text below."""
    small = fitted(images.eight_bits(picture), CELL)
    cell = celled(small if mask is None else outlined(small, mask), CELL)
    return np.vstack([cell, text_line(text, CELL, CAPTION, 13)])


def outlined(picture: Rgb, mask: Mask) -> Rgb:
    """The picture with a line along the inner edge of a mask, which is brought to its size."""
    height, width = picture.shape[:2]
    small = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    framed = cv2.copyMakeBorder(small, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    edge = (small > 0) & (cv2.erode(framed, np.ones((3, 3), np.uint8))[1:-1, 1:-1] == 0)
    result = picture.copy()
    result[edge] = OUTLINE
    return result
