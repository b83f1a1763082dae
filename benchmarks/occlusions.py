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

from benchmarks.measure import Claim, publish, read_command, slug, spread, table, take_turns, verdict
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


def measure(args: argparse.Namespace) -> Iterator[str | Claim]:
    """The table and its claims."""
    parts = buildable(iter(OCCLUSIONS))
    faces = pictures(args.size, args.pictures)
    turn = partial(next, count())
    contestants = {name: partial(rate, part, faces, turn, args.seconds) for name, part in parts.items()}
    rows, claims = [], []
    for name, values in take_turns(contestants, args.rounds).items():
        claim = claim_of(name, values, args.size)
        rows.append([f"`{name}`", claim.ours, f"{1e3 / spread(values).median:.2f}", claim.bar, verdict(claim.met)])
        claims.append(claim)
    title = f"Each occlusion with its defaults, {args.size} px, 8 bits, one core; the copy of the picture included."
    yield f"{title}\n\n{table(['', 'rate', 'ms', 'bar', ''], rows)}"
    yield from claims


def claim_of(name: str, rates: list[float], size: int) -> Claim:
    """An occlusion's rate; the bars are for one size."""
    rate, bar = spread(rates), WARPED if name in DRAWN else QUICK
    claim = Claim(f"occlusions.{slug(name)}", f"occlusion {name}, {size} px, one core", f"{rate.show('.0f')} samples/s")
    return claim._replace(bar=f">= {bar:.0f}", met=rate.median >= bar) if size == AT else claim


def main() -> None:
    """Parses the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=AT, help=f"side of the pictures ({AT})")
    parser.add_argument("--pictures", type=int, default=16, help="how many drawn faces (16)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each (7)")
    parser.add_argument("--seconds", type=float, default=0.5, help="of a turn (0.5)")
    args = read_command(parser, size=64, pictures=2, rounds=1, seconds=0.01)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    publish("Occlusions", measure(args), args.out)


if __name__ == "__main__":
    main()
