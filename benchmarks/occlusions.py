"""Occlusions: samples a second and core of every registered one, with the arguments it has when none is given."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

if __name__ == "__main__":  # run as a script: find the packages
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import cv2
import torch

from benchmarks.measure import add_out, publish, spread, table, take_turns, verdict
from restore.data.drawn import draw_face
from restore.faces.face import Face
from restore.images import Image
from restore.keyed import draws
from restore.occlusions.occlusion import Occlusion
from restore.registry import OCCLUSIONS, Entry, Part

QUICK, WARPED = 500.0, 100.0  # the bars at 256 px: for what is a plain region, and for what is drawn on the face
DRAWN = {"FaceMask", "TemplateMask", "Glasses", "Hand", "Blob"}
AT = 256


def buildable(entries: Iterator[Entry]) -> dict[str, Occlusion]:
    """Those that need no argument, such as a file, with their defaults."""
    found = {}
    for entry in entries:
        if not any(field.is_required() for field in entry.schema.model_fields.values()):
            found[entry.name] = OCCLUSIONS.build(Part(type=entry.name))
    return found


def pictures(size: int, number: int) -> list[tuple[Image, Face]]:
    """Drawn faces, and where they are."""
    faces = [draw_face(0, index, size) for index in range(number)]
    return [(face.image, Face.of_landmarks(face.landmarks)) for face in faces]


def rate(occlusion: Occlusion, faces: list[tuple[Image, Face]], turn: Callable[[], int], seconds: float) -> float:
    """Samples a second of one core, over about so many seconds that this process gets it: others may want it, too."""
    began, made = time.process_time(), 0
    while time.process_time() - began < seconds:
        number = turn()
        occlusion(*faces[number % len(faces)], draws(0, "benchmark", number))
        made += 1
    return made / (time.process_time() - began)


def measure(args: argparse.Namespace) -> Iterator[str]:
    """The table."""
    parts = buildable(iter(OCCLUSIONS))
    faces = pictures(args.size, args.pictures)
    turn = partial(next, count())
    contestants = {name: partial(rate, part, faces, turn, args.seconds) for name, part in parts.items()}
    rows = []
    for name, values in take_turns(contestants, args.rounds).items():
        median = spread(values).median
        bar = WARPED if name in DRAWN else QUICK
        told = [f">= {bar:.0f}", verdict(median >= bar)] if args.size == AT else ["", ""]
        rows.append([f"`{name}`", spread(values).show(".0f"), f"{1e3 / median:.2f}", *told])
    title = f"Each occlusion with its defaults, {args.size} px, 8 bits, one core; the copy of the picture included."
    yield f"{title}\n\n{table(['', 'samples/s', 'ms', 'bar', ''], rows)}"


def main() -> None:
    """Parses the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=AT, help=f"side of the pictures ({AT})")
    parser.add_argument("--pictures", type=int, default=16, help="how many drawn faces (16)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each (7)")
    parser.add_argument("--seconds", type=float, default=0.5, help="of a turn (0.5)")
    add_out(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    publish("Occlusions", measure(args), args.out)


if __name__ == "__main__":
    main()
