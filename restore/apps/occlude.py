"""`restore prepare occlude`: a fixed set of occluded faces with their masks, and a catalogue of what hides faces."""

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from restore import images
from restore.apps.catalogue import write_catalogue
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
from restore.apps.makers import Item
from restore.apps.occlude_faces import detector_named, find_faces, merge_landmarks
from restore.apps.occluded_maker import KINDS, OPTION, STREAM, Kind, OccludedMaker
from restore.apps.pool import Work, in_order
from restore.apps.shard import WHOLE, Shard, part_of, parts_beside
from restore.data.encode import encode
from restore.data.records import open_records
from restore.errors import UserError
from restore.options.paths import resolve
from restore.pretrained import sha256_of
from restore.progress import watched

LANDMARKS = "landmarks.json"
LISTED = 8  # names told of the pictures that are set aside

Told = dict[str, Any]  # of one picture, in the manifest


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
        find_faces(args, maker, keys, work.workers)
    set_aside = _write_lmdbs(maker, output, work) if args.lmdb else _write(maker, output, keys, work.workers)
    return _pictures_in(_sets(args, output, work.shard), keys, work.workers), in_order_of(keys, set_aside)


def _merge(
    args: argparse.Namespace, maker: OccludedMaker, output: Path, work: Work, about: dict[str, Any]
) -> tuple[dict[str, Told], dict[str, str]]:
    """The same out of what the parts made; their pictures are there if they are no LMDBs."""
    keys = maker.pictures.keys
    told, set_aside = merged(output, about, keys)
    if maker.landmarks:
        merge_landmarks(Path(maker.landmarks), keys)
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
        faces: Any = {"landmarks": sha256_of(path)}
    else:
        faces = {"detector": detector_named(args.detector or "aligned").model_dump()}
    about = asdict(maker) | {"source": Path(maker.source).name, "occlusion": json.loads(maker.occlusion)}
    del about["kind"], about["landmarks"], about["compact"]
    about |= {"faces": faces, "files": "lmdb" if args.lmdb else "png", "mask_polarity": "white_missing"}
    return about | {"draws": f'draws(seed, "{STREAM}", key)', "versions": versions()}


def _clear(output: Path) -> None:
    """Makes room in a folder that this command filled."""
    for kind in KINDS:
        shutil.rmtree(output / kind, ignore_errors=True)
        shutil.rmtree(output / f"{kind}.lmdb", ignore_errors=True)
    (output / LANDMARKS).unlink(missing_ok=True)


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
