"""Reads an option file into `Options`: BasicSR's files, `extends` and overrides applied, everything checked."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from restore.errors import UserError
from restore.options import document as doc
from restore.options.document import Document, Loc, Mark
from restore.options.overlay import overlay
from restore.options.paths import nearest_beside
from restore.options.schema import Options
from restore.options.stages import STAGES, validate_stages
from restore.options.walk import section_at

RECIPES = Path(__file__).parents[1] / "recipes"  # a wheel's copy of options/


def _print_note(note: str) -> None:
    print(f"note: {note}", file=sys.stderr)


def load(
    path: str | Path,
    overrides: Sequence[str] = (),
    tell: Callable[[str], object] = _print_note,
    testing: bool = False,
) -> Options:
    """The options in a YAML file, with `extends`, plugins and overrides applied; of its first stage if it has several.

    As `load_stages`. `testing` leaves out how to train, and the training data, which need not be there.
    """
    return load_stages(path, overrides, tell, testing)[0]


def load_stages(
    path: str | Path,
    overrides: Sequence[str] = (),
    tell: Callable[[str], object] = _print_note,
    testing: bool = False,
) -> list[Options]:
    """The options of each stage of a YAML file, with `extends`, plugins and overrides applied; mostly there is one.

    Args:
        path: the file given to `-opt`, or the name of a recipe that ships; BasicSR's files are translated.
        overrides: `train.total_iter=100` each.
        tell: gets a line for each thing in a BasicSR file that is not honoured and does not change the training.
        testing: leaves out how to train, and the training data, which need not be there.

    Raises:
        UserError: all mistakes, one `file:line: path.to.key: what is wrong` a line.
    """
    document = read_extended(shipped(Path(path)))
    for override in overrides:
        apply_override(document, override)
    if "model_type" in document.data:
        from restore.options.basicsr import translate

        document = translate(document)
    if testing:
        document.data.pop("train", None)
        document.data.pop(STAGES, None)
        section_at(document.data, ("datasets",)).pop("train", None)
    for note in document.notes:
        tell(note)
    return validate_stages(document)


def shipped(path: Path) -> Path:
    """The recipe of an installed package that `options/x.yml` means where no checkout is around."""
    parts = path.parts[1:] if path.parts[:1] == ("options",) else path.parts
    recipe = RECIPES.joinpath(*parts)
    try:
        return recipe if not path.exists() and not path.is_absolute() and recipe.is_file() else path
    except (OSError, ValueError):  # no name that a file can have, which reading it tells
        return path


def read_extended(path: Path, above: tuple[Path, ...] = ()) -> Document:
    """A YAML file laid over the one that its `extends` names. A part of another `type` replaces the base's wholly.

    Args:
        path: the file.
        above: the files that led here by `extends`.

    Raises:
        UserError: as `document.read`; or `extends` names no file, or one that led here.
    """
    document = doc.read(path)
    if "extends" not in document.data:
        return document
    base_name = document.data.pop("extends")
    mark = document.mark(("extends",))
    if not isinstance(base_name, str) or not base_name:
        raise UserError(f"{mark}: extends: takes the name of one option file, such as `extends: base.yml`")
    base_path = path.parent / base_name
    chain = (*above, path)
    try:
        circles, is_there = base_path.resolve() in {file.resolve() for file in chain}, base_path.is_file()
    except (OSError, ValueError) as error:  # a name that no file can have
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{mark}: extends: cannot look for it: {reason}; correct the name") from error
    if circles:
        circle = " -> ".join(str(file) for file in (*chain, base_path))
        raise UserError(f"{mark}: extends: goes in a circle: {circle}; remove one of them")
    if not is_there:
        hint = nearest_beside(base_path)
        raise UserError(
            f"{mark}: extends: no file {base_path}{hint or '; it is looked for from the folder of this one'}"
        )
    base = read_extended(base_path, chain)
    overlay(base, document, ())
    return Document(document.file, base.data, base.marks | {("extends",): mark})


def apply_override(document: Document, override: str) -> None:
    """Applies one `path.to.key=value`, or `path:to:key=value` as BasicSR writes it; the value is read as YAML."""
    key, equals, text = override.partition("=")
    mark = Mark(f"--set {override}")
    loc: Loc = tuple(key.strip().replace(":", ".").split("."))
    if not equals or not all(loc):
        raise UserError(f"{mark}: write it as path.to.key=value, such as train.total_iter=100")
    document.set(loc, doc.parse_value(text, str(mark)), mark)
