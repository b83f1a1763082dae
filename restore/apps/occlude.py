"""`restore prepare occlude`: a fixed set of occluded faces with their masks, and a catalogue of what hides faces."""

import argparse
import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from restore import images
from restore.apps.fixed_set import (
    MANIFEST,
    digest,
    in_order_of,
    is_there,
    merged,
    one_thread,
    parts_of,
    read_manifest,
    sections_of,
    versions,
    write_manifest,
)
from restore.apps.lmdb_build import attempt, build
from restore.apps.makers import Item, RecordMaker
from restore.apps.pool import Work, in_order
from restore.apps.shard import WHOLE, Shard, all_parts, part_of, parts_beside
from restore.data.encode import encode, square
from restore.data.landmarks import Landmarks, read_landmarks, write_landmarks
from restore.data.lmdb_store import Record
from restore.data.records import open_records
from restore.errors import UserError
from restore.faces.face import Face
from restore.keyed import draws
from restore.occlusions.compose_occlusion import Chain
from restore.occlusions.occlusion import Mask, Occlusion
from restore.options.paths import resolve
from restore.progress import watched
from restore.registry import DETECTORS, OCCLUSIONS, Part

OPTION = OCCLUSIONS, "--occlusion"
STREAM = "evaluate"  # a picture's draws are `keyed.draws(seed, STREAM, key)`, which `restore test` takes too
LANDMARKS = "landmarks.json"
LISTED = 8  # names told of the pictures that are set aside

Kind = Literal["without_mask", "with_mask", "masks"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Told = dict[str, Any]  # of one picture, in the manifest


@dataclass(frozen=True)
class OccludedMaker(RecordMaker):
    """Makes one of the three pictures of each face: as it was, with something before it, or where that is.

    Args:
        source: the folder or LMDB.
        kind: which of the three. A mask is white where the face is hidden.
        occlusion: what hides it, as JSON.
        landmarks: a file of landmarks in these pictures; None: they are cut to FFHQ's frame.
        seed: with a picture's key, what its draws come from.
        size: brings pictures to a square of that side first.
        compact: PNG records.
    """

    kind: Kind
    occlusion: str
    landmarks: str | None
    seed: int
    size: int | None
    compact: bool = True

    @cached_property
    def hide(self) -> Occlusion:
        return Chain(parts_of(json.loads(self.occlusion), *OPTION))

    @cached_property
    def points(self) -> Mapping[str, Landmarks]:
        if not self.landmarks:
            return {}
        path = Path(self.landmarks)
        return read_landmarks(path, list(json.loads(path.read_bytes())))  # a part's file knows that part's pictures

    def records(self, item: Item) -> list[Record]:
        return [encode(item.key, self.made(item.key)[self.kind], self.compact)]

    def gt(self, key: str) -> images.Image:
        picture = self.decoded(key)
        return np.ascontiguousarray(square(picture, self.size, self.pictures.where(key)) if self.size else picture)  # type: ignore[return-value]

    def made(self, key: str) -> dict[Kind, images.Image]:
        """All three. Equal to what `OccludedImageDataset` yields for the same picture, landmarks and seed.

        Raises:
            UnreadableImage: the picture cannot be used, or shows no face.
        """
        gt = self.gt(key)
        if self.landmarks and key not in self.points:
            raise images.UnreadableImage(f"{self.pictures.where(key)}: no face was found")
        face = Face.of_landmarks(self.points[key]) if self.landmarks else Face.aligned(*gt.shape[:2])
        occluded, mask = self.hide(gt, face, draws(self.seed, STREAM, key))
        return {"without_mask": gt, "with_mask": occluded, "masks": as_picture(mask)}


def as_picture(mask: Mask) -> NDArray[np.uint8]:
    """A mask (H, W) as a picture (H, W, 3), white where it is set."""
    return np.repeat(np.where(mask, np.uint8(255), np.uint8(0))[:, :, None], 3, axis=2)


def run(args: argparse.Namespace) -> None:
    """Writes the set, and the catalogue: what the arguments ask for. Raises `UserError`."""
    if not args.output and not args.preview:
        raise UserError("prepare occlude: give SRC and DST, or --preview SHEET.png")
    if args.output and not args.occlusion:
        raise UserError("prepare occlude: --occlusion says what hides the faces, such as '[{type: LowerFace}]'")
    sections = sections_of(args.occlusion, OPTION[1], "LowerFace") if args.occlusion else []
    parts_of(sections, *OPTION)
    with one_thread():
        if args.preview:
            from restore.apps.catalogue import write_catalogue

            write_catalogue(args, sections)
        if args.output:
            maker = OccludedMaker(str(args.input), "masks", json.dumps(sections), None, args.seed, args.size)
            write_set(args, maker, resolve(str(args.output)), Work.of(args))


def write_set(args: argparse.Namespace, maker: OccludedMaker, output: Path, work: Work) -> None:
    """Writes the three sets below `output`, or a part of them, and the manifest. Goes on where a killed run stopped.

    Raises:
        UserError: `output` holds something else, or no picture shows a face.
    """
    about, keys = _about(args, maker), maker.pictures.keys
    if is_there(output, about, work):
        print(f"{output}: already there, {len(work.shard.of(keys)):,} pictures made with the same options")
        return
    if not work.shard.of(keys):
        print(f"{output}: part {work.shard} is not needed, {len(keys):,} pictures fill fewer parts")
        return
    if work.overwrite and read_manifest(output):
        _clear(output)
    if args.landmarks or args.detector:
        maker = replace(maker, landmarks=str(part_of(output / LANDMARKS, work.shard)))
    made = _merge if work.merge else _make
    told, set_aside = made(args, maker, output, work, about)
    if not told:
        raise UserError(f"{output}: none of {len(keys):,} pictures can be used; {next(iter(set_aside.values()))}")
    write_manifest(output, about | {"set_aside": set_aside, "pictures": told}, work.shard)
    if work.shard == WHOLE:
        for part in parts_beside(output / LANDMARKS).values():
            part.unlink(missing_ok=True)
    _summarize(part_of(output / MANIFEST, work.shard), told, set_aside)


def _make(
    args: argparse.Namespace, maker: OccludedMaker, output: Path, work: Work, about: dict[str, Any]
) -> tuple[dict[str, Told], dict[str, str]]:
    """Makes the pictures: what the manifest tells of them, and why others are set aside."""
    write_manifest(output, about, work.shard)
    keys = work.shard.of(maker.pictures.keys)
    if maker.landmarks:
        _find_faces(args, maker, keys, work.workers)
    set_aside = _write_lmdbs(maker, output, work) if args.lmdb else _write(maker, output, keys, work.workers)
    return _pictures_in(_sets(args, output, work.shard), keys, work.workers), in_order_of(keys, set_aside)


def _merge(
    args: argparse.Namespace, maker: OccludedMaker, output: Path, work: Work, about: dict[str, Any]
) -> tuple[dict[str, Told], dict[str, str]]:
    """The same out of what the parts made; their pictures are there if they are no LMDBs."""
    keys = maker.pictures.keys
    told, set_aside = merged(output, about, keys)
    if maker.landmarks:
        _merge_landmarks(Path(maker.landmarks), keys)
    if args.lmdb:
        _write_lmdbs(maker, output, work)
    return in_order_of(open_records(str(_sets(args, output, WHOLE)["masks"])).keys, told), set_aside


def _sets(args: argparse.Namespace, output: Path, shard: Shard) -> dict[Kind, Path]:
    """Where each of the three sets is written."""
    return {kind: part_of(output / f"{kind}.lmdb", shard) if args.lmdb else output / kind for kind in KINDS}


def _summarize(manifest: Path, told: Mapping[str, Told], set_aside: Mapping[str, str]) -> None:
    hidden = 100 * sum(picture["hole"] for picture in told.values()) / len(told)
    print(f"{manifest}: {len(told):,} pictures, {hidden:.1f} % hidden on average")
    if set_aside:
        names = ", ".join(list(set_aside)[:LISTED]) + (", ..." if len(set_aside) > LISTED else "")
        print(f"set aside, see the manifest: {len(set_aside):,} pictures: {names}")


def _about(args: argparse.Namespace, maker: OccludedMaker) -> dict[str, Any]:
    """What makes the pictures what they are."""
    if args.landmarks:
        path = resolve(str(args.landmarks))
        if not path.is_file():
            raise UserError(f"{path}: no such file of landmarks; `restore prepare landmarks` writes one")
        faces: Any = {"landmarks": hashlib.sha256(path.read_bytes()).hexdigest()}
    else:
        faces = {"detector": detector_of(args.detector or "aligned").model_dump()}
    about = asdict(maker) | {"source": Path(maker.source).name, "occlusion": json.loads(maker.occlusion)}
    del about["kind"], about["landmarks"], about["compact"]
    about |= {"faces": faces, "files": "lmdb" if args.lmdb else "png", "mask_polarity": "white_missing"}
    return about | {"draws": f'draws(seed, "{STREAM}", key)', "versions": versions()}


def detector_of(text: str) -> Part:
    """The detector that an option names. Raises `UserError`."""
    sections = sections_of(text, "--detector", "yunet")
    if len(sections) > 1:
        raise UserError(f"--detector {text}: names {len(sections)}; one finds the faces")
    (part,) = parts_of(sections, DETECTORS, "--detector")
    return part


def _clear(output: Path) -> None:
    """Makes room in a folder that this command filled."""
    for kind in KINDS:
        shutil.rmtree(output / kind, ignore_errors=True)
        shutil.rmtree(output / f"{kind}.lmdb", ignore_errors=True)
    (output / LANDMARKS).unlink(missing_ok=True)


# ------------------------------------------------------------------------------------------------------- the faces


def _find_faces(args: argparse.Namespace, maker: OccludedMaker, keys: Sequence[str], workers: int) -> None:
    """Writes where the faces are in those pictures, as the maker will see them, to the maker's file of landmarks."""
    path = Path(str(maker.landmarks))
    if path.is_file():  # before the run was killed
        read_landmarks(path, keys)
        return
    find = _given(args, maker) if args.landmarks else _detected(detector_of(args.detector), maker)

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


def _merge_landmarks(path: Path, keys: Sequence[str]) -> None:
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


# ---------------------------------------------------------------------------------------------------- the pictures


def _write(maker: OccludedMaker, output: Path, keys: Sequence[str], workers: int) -> dict[str, str]:
    """Writes those pictures that are not there yet; why others are set aside, by key."""
    todo = [key for key in keys if not (output / KINDS[-1] / f"{key}.png").exists()]
    if len(todo) < len(keys):
        print(f"{output}: goes on behind {len(keys) - len(todo):,} of {len(keys):,}")

    def write(key: str) -> str | None:
        try:
            made = maker.made(key)
        except images.UnreadableImage as error:
            return str(error)
        for kind in KINDS:  # the mask comes last: where it is, so are the others
            images.write_atomic(output / kind / f"{key}.png", encode(key, made[kind], compact=True).data)
        return None

    results = watched(in_order(write, todo, workers), len(todo), output.name)
    return {key: reason for key, reason in zip(todo, results, strict=True) if reason}


def _write_lmdbs(maker: OccludedMaker, output: Path, work: Work) -> dict[str, str]:
    """Builds the three LMDBs, or a part of each; why pictures are set aside, by key."""
    items = [Item(key, key) for key in maker.pictures.keys]
    about = {"count": len(items), "landmarks": str(output / LANDMARKS) if maker.landmarks else None}
    there: set[str] = set()
    for kind in KINDS:
        made = build(output / f"{kind}.lmdb", replace(maker, kind=kind), items, about, work._replace(overwrite=False))
        there = set(open_records(str(made)).keys) if made else set()
    return {item.key: str(attempt(maker, item)) for item in work.shard.of(items) if item.key not in there}


def _pictures_in(sets: Mapping[Kind, Path], keys: Sequence[str], workers: int) -> dict[str, Told]:
    """Of each of those keys that is there: SHA-256 of its three pictures' samples, and which share of it is hidden."""
    if not all(path.is_dir() for path in sets.values()):
        return {}
    opened = {kind: open_records(str(path)) for kind, path in sets.items()}
    own = set(keys)
    there = [key for key in opened["masks"].keys if key in own]

    def told(key: str) -> Told:
        mask = images.decode(opened["masks"].get(key), opened["masks"].where(key))
        hole = round(float((mask > 0).mean()), 6)
        return {kind: digest(records, key) for kind, records in opened.items()} | {"hole": hole}

    return dict(zip(there, in_order(told, there, workers), strict=True))
