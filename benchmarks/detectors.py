"""Detectors on aligned faces: how many they find, how often once, how far from each other, and their time."""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

if __name__ == "__main__":  # run as a script: find the packages
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import cv2
import numpy as np
import torch

from benchmarks.measure import Claim, publish, read_command, slug, spread, table, verdict
from restore import images
from restore.apps.degrade import contact_sheet
from restore.errors import UserError
from restore.faces.detector import Detector, overlaps
from restore.faces.draw import draw_faces
from restore.faces.face import Face
from restore.registry import DETECTORS, Part

BAR = 0.95  # of the pictures in which the face has to be found
TOUCHES = 0.1  # intersection over union from which on a box is on the face, and not on somebody behind
JUDGE = "yunet"
WITHOUT = "ssd, no border"
SHOWN = 8  # pictures on the sheet
Findings = list[list[Face]]
HEADER = (
    "detector",
    "found",
    "one box",
    "boxes beside it",
    f"IoU with {JUDGE}",
    "landmarks off",
    "ms a picture",
    "bar",
)


def main() -> None:
    """Prints the table, and writes the sheet where one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="*", metavar="FOLDER", help="pictures of one face each")
    parser.add_argument("-n", type=int, default=100, help="pictures of each folder (100)")
    parser.add_argument("--sheet", type=Path, metavar="PNG", help=f"{SHOWN} pictures, as each detector sees them")
    args = read_command(parser, n=2)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    pictures = [images.read(path) for folder in args.folders for path in list(images.find(folder))[: args.n]]
    publish("Detectors", _tables(pictures, args.sheet), args.out)


def _tables(pictures: list[images.Image], sheet: Path | None) -> Iterator[str | Claim]:
    """The table and its claims; of what cannot be run, a claim that says why."""
    found, seconds = {}, {}
    sections = {entry.name: Part(type=entry.name) for entry in DETECTORS if entry.module.startswith("restore.")}
    for name, section in (sections | {WITHOUT: Part(type="ssd", border=0)}).items():
        try:
            found[name], seconds[name] = _run(section, pictures)
        except UserError as error:
            yield _claim(name, len(pictures))._replace(why=str(error))
    if JUDGE not in found:
        yield f"{JUDGE}, which the others are held against, cannot run: no table."
        return
    rows = [_row(name, found[name], found[JUDGE], seconds[name]) for name in found]
    yield f"{len(pictures)} pictures of one face, one thread.\n\n{table(HEADER, [row for row, _ in rows])}"
    yield from (claim for _, claim in rows)
    if sheet is not None:
        every = range(0, len(pictures), max(1, len(pictures) // SHOWN))[:SHOWN]
        drawn = [_square(draw_faces(pictures[i], faces[i])) for faces in found.values() for i in every]
        images.write(sheet, contact_sheet(drawn))
        yield f"{sheet}: {', '.join(found)}, {len(every)} pictures each, in this order."


def _square(picture: images.Image) -> images.Image:
    return np.asarray(cv2.resize(picture, (256, 256), interpolation=cv2.INTER_AREA), np.uint8)


def _run(section: Part, pictures: list[images.Image]) -> tuple[Findings, list[float]]:
    if not pictures:
        raise UserError("no pictures of one face each: name folders of them")
    detector: Detector = DETECTORS.build(section)
    detector(pictures[0])  # what is only done once
    found, seconds = [], []
    for picture in pictures:
        start = time.perf_counter()
        found.append(detector(picture))
        seconds.append(time.perf_counter() - start)
    return found, seconds


def _claim(name: str, number: int) -> Claim:
    claim = Claim(f"detectors.{slug(name)}", f"{name} on {number} pictures of one face, one thread", "")
    if name == WITHOUT:
        return claim._replace(why="no bar: it shows what the border around the picture is for")
    return claim._replace(bar=f"found, and one box, in {BAR:.0%}")


def _row(name: str, found: Findings, judged: Findings, seconds: list[float]) -> tuple[list[str], Claim]:
    """A face is found when the judge's box and another are half one; landmarks are off in distances of the eyes."""
    ious, errors, single, beside = [], [], 0, 0
    for faces, truth in zip(found, judged, strict=True):
        if faces and truth:
            shares = [float(overlaps(np.float32(truth[0].box), np.float32([face.box]))[0]) for face in faces]
            face = faces[int(np.argmax(shares))]
            ious.append(max(shares))
            single += sum(share > TOUCHES for share in shares) == 1
            beside += sum(share <= TOUCHES for share in shares)
            apart = np.linalg.norm(face.landmarks - truth[0].landmarks, axis=1).mean()
            errors.append(float(apart / np.linalg.norm(truth[0].landmarks[1] - truth[0].landmarks[0])))
    share = sum(iou > 0.5 for iou in ious) / len(found)
    milliseconds = spread([1e3 * value for value in seconds]).show(".0f")
    means = f"{np.mean(ious):.3f}", f"{np.mean(errors):.3f}"
    counts = f"{share:.1%}", f"{single / len(found):.1%}", f"{beside / len(found):.3f}"
    met = share >= BAR and single >= BAR * len(found)
    ours = f"found in {counts[0]}, one box in {counts[1]}, {milliseconds} ms"
    claim = _claim(name, len(found))._replace(ours=ours, met=None if name == WITHOUT else met)
    return [name, *counts, *means, milliseconds, verdict(claim.met)], claim


if __name__ == "__main__":
    main()
