"""A set of pictures made once by a recipe: its sections, and the manifest from which others make the same set."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from pydantic import ValidationError

from restore import __version__, images
from restore.apps.pool import Work
from restore.apps.shard import WHOLE, Shard, all_parts, part_of, parts_beside
from restore.data.records import Records
from restore.errors import UserError
from restore.options.document import parse_value
from restore.registry import Part, Registry

V = TypeVar("V")

MANIFEST = "manifest.json"
_REMEDY = "choose another name, or --overwrite replaces its pictures"

Section = dict[str, Any]


def sections_of(text: str, option: str = "--degradation", example: str = "realesrgan") -> list[Section]:
    """What an option says: a part's name, a section, or a list of them in YAML. Raises `UserError`."""
    value = parse_value(text, option)
    sections = value if isinstance(value, list) else [value]
    sections = [{"type": section} if isinstance(section, str) else section for section in sections]
    if not sections or not all(isinstance(section, dict) and "type" in section for section in sections):
        raise UserError(f"{option} {text}: should be a list such as `[{{type: {example}}}]`, or a part's name")
    return sections


def parts_of(sections: Sequence[Section], registry: Registry, option: str) -> list[Part]:
    """The sections as parts that can be built. Raises `UserError` for an unknown part or a wrong argument."""
    parts = [Part.model_validate(section) for section in sections]
    for part in parts:
        try:
            registry.build(part)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, (part.type, *first["loc"])))
            raise UserError(f"{option}: {place}: {first['msg']}, found {first['input']!r}") from error
    return parts


def versions() -> dict[str, str]:
    """Of what makes pictures. Other ones may differ in the last bit of a few samples."""
    return {"restore": __version__} | {module.__name__: module.__version__ for module in (np, cv2, torch)}


def read_manifest(output: Path, shard: Shard = WHOLE) -> dict[str, Any]:
    """What the manifest in a folder says, of the whole set or of a part; nothing where there is none."""
    return _read(part_of(output / MANIFEST, shard))


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError):
        return {}


def write_manifest(output: Path, about: dict[str, Any], shard: Shard = WHOLE) -> None:
    """Writes a manifest. Without `pictures` it says that the set is being made. The whole set's replaces its parts'."""
    images.write_atomic(part_of(output / MANIFEST, shard), json.dumps(about, indent=1).encode())
    if shard.count == 1:
        for path in parts_beside(output / MANIFEST).values():
            path.unlink(missing_ok=True)


def is_there(output: Path, about: dict[str, Any], work: Work) -> bool:
    """Whether a whole set, or this part of it, stands at `output` that was made as `about` says.

    Raises:
        UserError: something else stands there, and may not be replaced.
    """
    if work.overwrite or not output.exists():
        return False
    names = [path.name for path in output.iterdir() if not path.name.startswith(".")]
    there = [output / MANIFEST] if MANIFEST in names else []
    manifests = [_read(path) for path in [*there, *parts_beside(output / MANIFEST).values()]]
    if names and not any(manifests):
        raise UserError(f"{output}: exists, not made by this command; {_REMEDY}")
    if any(_other(before, about) for before in manifests):
        raise UserError(f"{output}: exists, made with other parameters or versions; {_REMEDY}")
    part = read_manifest(output, work.shard) if work.shard.count > 1 else {}
    return is_whole(read_manifest(output)) or "pictures" in part


def _other(before: dict[str, Any], about: dict[str, Any]) -> bool:
    return {key: before.get(key) for key in about} != about


def merged(output: Path, about: dict[str, Any], keys: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """What the manifests of all parts say of the pictures, and of those set aside, in the order of all `keys`.

    Raises:
        UserError: a part is missing or not whole, or was made otherwise or of other pictures.
    """
    pictures: dict[str, Any] = {}
    set_aside: dict[str, str] = {}
    for shard, path in all_parts(output / MANIFEST, len(keys)).items():
        part = _read(path)
        if "pictures" not in part:
            raise UserError(f"{path}: that part is not whole; run it again: --shard {shard.index + 1}/{shard.count}")
        told = part["pictures"] | part.get("set_aside", {})
        if _other(part, about) or sorted(told) != sorted(shard.of(keys)):
            raise UserError(f"{path}: is of other pictures, parameters or versions; remove it and make that part again")
        pictures |= part["pictures"]
        set_aside |= part.get("set_aside", {})
    return in_order_of(keys, pictures), in_order_of(keys, set_aside)


def in_order_of(keys: Iterable[str], found: Mapping[str, V]) -> dict[str, V]:
    """What was found, in the order of the keys, whoever found it when."""
    return {key: found[key] for key in keys if key in found}


def is_whole(manifest: dict[str, Any]) -> bool:
    """Whether the set came through: one that was killed names no pictures."""
    return bool(manifest.get("pictures"))


def digest(records: Records, key: str) -> str:
    """SHA-256 of a picture's samples, read back: what another encoder writes differently is no difference."""
    return hashlib.sha256(images.decode(records.get(key), records.where(key)).tobytes()).hexdigest()


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread an operation: pictures are what is divided, and sums come out alike on every machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
