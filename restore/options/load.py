"""Reads an option file into `Options`: BasicSR's files, `extends` and overrides applied, everything checked."""

from collections.abc import Sequence
from pathlib import Path

from restore.errors import UserError
from restore.options import document as doc
from restore.options.check import validate
from restore.options.document import Document, Loc, Mark
from restore.options.schema import Options
from restore.options.walk import value_at


def load(path: str | Path, overrides: Sequence[str] = ()) -> Options:
    """The options in a YAML file, with `extends`, plugins and overrides applied.

    Args:
        path: the file given to `-opt`; BasicSR's files are translated.
        overrides: `train.total_iter=100` each.

    Raises:
        UserError: all mistakes, one `file:line: path.to.key: what is wrong` a line.
    """
    document = read_extended(Path(path))
    if "model_type" in document.data:
        from restore.options.basicsr import translate

        document = translate(document)
    for override in overrides:
        apply_override(document, override)
    return validate(document)


def read_extended(path: Path, seen: tuple[Path, ...] = ()) -> Document:
    """A YAML file laid over the one that its `extends` names. A part of another `type` replaces the base's wholly."""
    document = doc.read(path)
    base_name = document.data.pop("extends", None)
    if base_name is None:
        return document
    mark = document.mark(("extends",))
    if not isinstance(base_name, str):
        raise UserError(f"{mark}: extends: takes the name of one option file")
    base_path = (path.parent / base_name).resolve()
    if base_path in seen or base_path == path.resolve():
        raise UserError(f"{mark}: extends: {base_name} leads back to this file")
    if not base_path.is_file():
        raise UserError(f"{mark}: extends: no file {path.parent / base_name}")
    base = read_extended(base_path, (*seen, path.resolve()))
    _overlay(base, document, ())
    return Document(document.file, base.data, base.marks | {("extends",): mark})


def _overlay(base: Document, top: Document, loc: Loc) -> None:
    """Writes what `top` says below `loc` over `base`."""
    base_section, top_section = value_at(base.data, loc), value_at(top.data, loc)
    for key, value in top_section.items():
        here = (*loc, key)
        below = base_section.get(key)
        same_part = isinstance(below, dict) and isinstance(value, dict)
        if same_part and value.get("type", below.get("type")) == below.get("type"):
            base.marks[here] = top.mark(here)
            _overlay(base, top, here)
            continue
        base_section[key] = value
        base.marks = {k: m for k, m in base.marks.items() if k[: len(here)] != here}
        base.marks |= {k: m for k, m in top.marks.items() if k[: len(here)] == here}


def apply_override(document: Document, override: str) -> None:
    """Applies one `path.to.key=value`; the value is read as YAML."""
    key, equals, text = override.partition("=")
    mark = Mark(f"--set {override}")
    loc: Loc = tuple(key.strip().split("."))
    if not equals or not all(loc):
        raise UserError(f"{mark}: write it as path.to.key=value, such as train.total_iter=100")
    document.set(loc, doc.parse_value(text, str(mark)), mark)
