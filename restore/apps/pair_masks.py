"""`restore prepare masks`: masks out of pairs of pictures, with something pasted on and without it."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from restore import images
from restore.apps.catalogue import cell_of
from restore.apps.fixed_set import is_there, merged, read_manifest, versions, write_manifest
from restore.apps.pool import Work, in_order
from restore.data.encode import encode
from restore.data.records import Records, open_records
from restore.errors import UserError
from restore.fitting import tiled
from restore.inference.holes import disk, widened
from restore.occlusions.occlusion import Mask, as_picture
from restore.options.paths import resolve
from restore.progress import watched

SMOOTH = 1.5  # sigma in pixels: what JPEG adds is gone, edges stay where they are to a pixel
JOIN = 0.03  # of the shorter side: gaps in a mask of the colour of what it hides are closed
SMALLEST = 0.1  # of the largest piece: smaller ones are noise
RIM = 2  # pixels around: what the edge was blended with


def run(args: argparse.Namespace) -> None:
    """Writes a mask for each pair. Raises `UserError`: no pairs, or DST holds something else."""
    pasted, clean, output = open_records(str(args.input)), open_records(str(args.clean)), resolve(str(args.output))
    known = set(clean.keys)
    keys = [key for key in pasted.keys if key in known]
    if not keys:
        raise UserError(f"{args.input}: none of its pictures has one of the same name in {args.clean}")
    about = {"threshold": args.threshold, "count": len(keys), "mask_polarity": "white_missing", "versions": versions()}
    work = Work.of(args)
    if is_there(output, about, work):
        there = read_manifest(output, work.shard).get("pictures") or read_manifest(output)["pictures"]
        print(f"{output}: already there, {len(there):,} masks made with the same options")
        return
    if work.merge:
        made, set_aside = merged(output, about, keys)
    else:
        write_manifest(output, about, work.shard)
        made, set_aside = _write(pasted, clean, output, work.shard.of(keys), args.threshold, work.workers)
    if work.shard.count == 1:
        unpaired = [key for key in pasted.keys if key not in known]
        set_aside |= {key: f"{pasted.where(key)}: nothing of this name in {args.clean}" for key in unpaired}
    write_manifest(output, about | {"set_aside": set_aside, "pictures": made}, work.shard)
    print(f"{output}: {len(made):,} masks; {len(set_aside):,} pictures set aside")
    for reason in set_aside.values():
        print(f"  {reason}")
    if work.shard.count == 1 and not made:
        raise UserError(f"{output}: no pair gives a mask")
    if args.preview and made:
        images.write(args.preview, tiled([_cell(pasted, clean, key, args.threshold) for key in made]))


def _write(
    pasted: Records, clean: Records, output: Path, keys: Sequence[str], threshold: float, workers: int
) -> tuple[dict[str, float], dict[str, str]]:
    """Writes the masks: which share of each picture they hide, and why pictures are set aside, by key."""

    def write(key: str) -> str | float:
        try:
            mask = mask_between(*_pair(pasted, clean, key), threshold)
        except images.UnreadableImage as error:
            return str(error)
        if not mask.any():
            return f"{pasted.where(key)}: differs nowhere by --threshold {threshold}"
        images.write_atomic(output / f"{key}.png", encode(key, as_picture(mask), compact=True).data)
        return round(float(mask.mean()), 6)

    found = dict(zip(keys, watched(in_order(write, keys, workers), len(keys), output.name), strict=True))
    made = {key: hole for key, hole in found.items() if not isinstance(hole, str)}
    return made, {key: reason for key, reason in found.items() if isinstance(reason, str)}


def _pair(pasted: Records, clean: Records, key: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    first, second = (images.eight_bits(images.decode(each.get(key), each.where(key))) for each in (pasted, clean))
    if first.shape != second.shape:
        (h, w), (height, width) = first.shape[:2], second.shape[:2]
        raise images.UnreadableImage(f"{pasted.where(key)}: has {w}x{h} pixels, without it {width}x{height}")
    return first, second


def mask_between(pasted: NDArray[np.uint8], clean: NDArray[np.uint8], threshold: float) -> Mask:
    """Where two pictures (H, W, 3) differ: (H, W).

    The largest difference of the channels, smoothed, above a threshold; gaps closed, holes filled, small pieces left
    out, and a narrow rim added.
    """
    difference = cv2.absdiff(np.ascontiguousarray(pasted), np.ascontiguousarray(clean)).max(axis=2)
    smooth = cv2.GaussianBlur(difference.astype(np.float32), (0, 0), SMOOTH)
    rough = (smooth > threshold).astype(np.uint8)
    radius = max(1, round(JOIN * min(rough.shape)))
    framed = cv2.copyMakeBorder(rough, radius, radius, radius, radius, cv2.BORDER_CONSTANT, value=0)
    joined = cv2.morphologyEx(framed, cv2.MORPH_CLOSE, disk(radius))[radius:-radius, radius:-radius]
    contours, _ = cv2.findContours(joined, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    areas = [cv2.contourArea(contour) for contour in contours]
    kept = [contour for contour, area in zip(contours, areas, strict=True) if area >= SMALLEST * max(areas)]
    mask = cv2.drawContours(np.zeros_like(rough), kept, -1, (1,), cv2.FILLED)
    return widened(mask > 0, RIM)


def _cell(pasted: Records, clean: Records, key: str, threshold: float) -> NDArray[np.uint8]:
    picture, without = _pair(pasted, clean, key)
    return cell_of(picture, mask_between(picture, without, threshold), key)
