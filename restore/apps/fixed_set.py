"""A set of pictures made once by a recipe: its sections, and the manifest from which others make the same set."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from pydantic import ValidationError

from restore import __version__, images
from restore.data.records import Records
from restore.errors import UserError
from restore.options.document import parse_value
from restore.registry import Part, Registry

MANIFEST = "manifest.json"

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


def read_manifest(output: Path) -> dict[str, Any]:
    """What the manifest in a folder says; nothing where there is none."""
    try:
        return dict(json.loads((output / MANIFEST).read_bytes()))
    except (OSError, ValueError):
        return {}


def write_manifest(output: Path, about: dict[str, Any]) -> None:
    """Writes a manifest. Without `pictures` it says that the set is being made."""
    images.write_atomic(output / MANIFEST, json.dumps(about, indent=1).encode())


def is_there(output: Path, about: dict[str, Any], overwrite: bool) -> bool:
    """Whether a whole set stands at `output` that was made as `about` says.

    Raises:
        UserError: something else stands there, and may not be replaced.
    """
    if overwrite or not output.exists() or not any(output.iterdir()):
        return False
    before = read_manifest(output)
    if is_whole(before) and {key: before.get(key) for key in about} == about:
        return True
    if {key: before.get(key) for key in about} != about:
        found = "made with other parameters or versions" if before else "not made by this command"
        raise UserError(f"{output}: exists, {found}; choose another name, or --overwrite replaces its pictures")
    return False


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
