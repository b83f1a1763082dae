"""Sweep files: a small grid or list of settings over one option file; each point of it is an experiment of its own."""

import hashlib
import itertools
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restore.errors import UserError, nearest
from restore.options import document as doc
from restore.options.check import Problems, raise_if_any
from restore.options.document import Document, Loc
from restore.options.figure import Figure, figure_of
from restore.options.load import apply_override, load_stages, read_extended, shipped
from restore.options.paths import nearest_beside
from restore.options.schema import Options
from restore.options.walk import section_at

LIMIT = 200
KEYS = ("name", "base", "grid", "list")
TAKEN = ("name", "path.experiments_root")  # what the sweep itself gives each point
_NAME = re.compile(r"\w[\w.\-]*$")
_LONGEST = 120  # letters in a point's name, of the 200 that an experiment's may have


@dataclass(frozen=True)
class Point:
    """One experiment of a sweep.

    Args:
        number: its place in the sweep, from 1.
        name: of the experiment; made of the base's, the sweep's, and what this point sets.
        values: what it sets, by the keys of the option file.
        overrides: all that is laid over the base, as after `--set`.
        stages: its options, of each stage of the training.
    """

    number: int
    name: str
    values: dict[str, Any]
    overrides: tuple[str, ...]
    stages: tuple[Options, ...]

    @property
    def folder(self) -> Path:
        """Of its experiment."""
        return Path(self.stages[0].path.experiments_root) / self.name


@dataclass(frozen=True)
class Sweep:
    """The points of a sweep file, all of them checked, and the folder that they and their table stand in."""

    name: str
    base: Path
    folder: Path
    keys: tuple[str, ...]
    points: tuple[Point, ...]
    figure: Figure


@dataclass(frozen=True)
class _Setting:
    """A value that a point gives a key, and where in the sweep file it stands."""

    value: Any
    loc: Loc

    def override(self, key: str) -> str:
        """As after `--set`. JSON, which YAML reads as it was: text that looks like a number stays text."""
        return f"{key}={json.dumps(self.value, ensure_ascii=False)}"


_Settings = dict[str, _Setting]


def read_sweep(path: Path, overrides: Sequence[str] = (), limit: int = LIMIT) -> Sweep:
    """The sweep in a YAML file; every point is checked as `restore train` would.

    Args:
        path: the sweep file, or the name of one that ships.
        overrides: `train.total_iter=100` each, for all points.
        limit: of points.

    Raises:
        UserError: all mistakes, one `file:line: path.to.key: what is wrong` a line.
    """
    document = doc.read(shipped(path))
    problems = Problems(document)
    _check_form(document.data, problems)
    raise_if_any(problems.lines())
    base = _base(document)
    _check_keys(document, overrides, problems)
    settings = list(_combinations(document.data))
    if len(settings) > limit:
        problems.add((), f"makes {len(settings)} experiments; thin it out, or allow them with --limit {len(settings)}")
    raise_if_any(problems.lines())
    below = read_extended(base)
    for override in overrides:
        apply_override(below, override)
    name, prefix = document.data["name"], f"{below.data.get('name')}_{document.data['name']}"
    folder = Path(str(section_at(below.data, ("path",)).get("experiments_root", "experiments"))) / name
    names = point_names(prefix, [{key: setting.value for key, setting in each.items()} for each in settings])
    points = _checked(document, base, [*overrides, f"path.experiments_root={json.dumps(str(folder))}"], settings, names)
    keys = tuple(dict.fromkeys(key for each in settings for key in each))
    return Sweep(name, base, folder, keys, points, _figure(document, points))


# -- the file


def _check_form(data: dict[str, Any], problems: Problems) -> None:
    """Tells what is no sweep file."""
    for key in data:
        if key not in KEYS:
            problems.add((key,), f"unknown key{nearest(key, KEYS) or '; known here: ' + ', '.join(KEYS)}")
    if not isinstance(data.get("name"), str) or not _NAME.match(data["name"]):
        problems.add(("name",), "give the sweep a name of letters, digits, `_`, `-` and `.`, such as `name: lr`")
    if not isinstance(data.get("base"), str) or not data["base"]:
        problems.add(("base",), "name the option file that is varied, such as `base: ../quickstart.yml`")
    grid, rows = data.get("grid", {}), data.get("list", [])
    if not isinstance(grid, dict):
        problems.add(("grid",), "should be a section of lists, such as `train.optim_g.lr: [1e-4, 2e-4]`")
    for key, values in grid.items() if isinstance(grid, dict) else ():
        if not isinstance(values, list) or not values:
            problems.add(("grid", key), "should be a list of values, such as [1e-4, 2e-4]")
    if not isinstance(rows, list):
        problems.add(("list",), "should be a list of points, such as `- {network_g.num_feat: 32}`")
    for number, row in enumerate(rows if isinstance(rows, list) else ()):
        if not isinstance(row, dict) or not row:
            problems.add(("list", number), "should be what one point sets, such as {network_g.num_feat: 32}")
    if not grid and not rows and not any(loc[0] in ("grid", "list") for loc in problems.found):
        problems.add(("grid",), "no `grid` and no `list`: nothing is varied; see docs/sweeps.md")


def _base(document: Document) -> Path:
    """The option file: beside the sweep file, as with `extends`, or as `-opt` would find it."""
    name = document.data["base"]
    beside = Path(document.file).parent / name
    path = beside if beside.is_file() else shipped(Path(name))
    if not path.is_file():
        hint = nearest_beside(beside) or "; it is looked for from the folder of this file, and from here"
        raise UserError(f"{document.mark(('base',))}: base: no file {name}{hint}")
    return path


def _check_keys(document: Document, overrides: Sequence[str], problems: Problems) -> None:
    """Tells of keys that are given twice, by whomever, and of values and points that are."""
    grid: dict[str, list[Any]] = document.data.get("grid", {})
    rows: list[dict[str, Any]] = document.data.get("list", [])
    fixed = {override.partition("=")[0].strip().replace(":", ".") for override in overrides}
    for loc, key in [*((("grid", key), key) for key in grid), *_places(rows)]:
        if key in TAKEN:
            problems.add(loc, "is given by the sweep; leave it out")
        if key in fixed:
            problems.add(loc, "is varied here, and given on the command line too; leave one out")
        if loc[0] == "list" and key in grid:
            problems.add(loc, "is in `grid` too; leave one out")
    for above, items in [(("list",), rows), *((("grid", key), values) for key, values in grid.items())]:
        first: dict[str, int] = {}
        for number, item in enumerate(items):
            text = json.dumps(item, sort_keys=True)
            if text in first:
                problems.add((*above, number), f"is the same as number {first[text] + 1}; remove one of the two")
            first.setdefault(text, number)


def _places(rows: list[dict[str, Any]]) -> Iterator[tuple[Loc, str]]:
    return ((("list", number, key), key) for number, row in enumerate(rows) for key in row)


def _combinations(data: dict[str, Any]) -> Iterator[_Settings]:
    """What each point sets: each row of the list with each point of the grid."""
    rows: list[_Settings] = [
        {key: _Setting(value, ("list", number, key)) for key, value in row.items()}
        for number, row in enumerate(data.get("list") or [{}])
    ]
    columns = [
        [(key, _Setting(value, ("grid", key, number))) for number, value in enumerate(values)]
        for key, values in data.get("grid", {}).items()
    ]
    return (row | dict(chosen) for row in rows for chosen in itertools.product(*columns))


# -- names


def point_names(prefix: str, points: Sequence[dict[str, Any]]) -> list[str]:
    """A name for each point, made of what it sets alone: a new point takes no other's name.

    Keys are cut to their last word, and values to what file names may hold. Where two points would get one name by
    that, and where it grows too long, a hash of what the later one sets is added.
    """
    names: list[str] = []
    for values in points:
        whole = f"{prefix}_" + "_".join(f"{key.split('.')[-1]}-{_text(value)}" for key, value in values.items())
        name = re.sub(r"[^\w.\-]+", "-", whole)
        if len(name) > _LONGEST or name.lower() in map(str.lower, names):
            digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]
            name = f"{name[:_LONGEST]}-{digest}"
        names.append(name)
    return names


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False).strip("[]{}").replace("e+", "e")


# -- the points


def _checked(
    document: Document, base: Path, common: Sequence[str], settings: Sequence[_Settings], names: Sequence[str]
) -> tuple[Point, ...]:
    """Every point with its options. Raises `UserError` with the mistakes of all."""
    points, mistakes, notes = [], dict[str, int](), dict[str, None]()
    for number, (name, own) in enumerate(zip(names, settings, strict=True), 1):
        set_here = {setting.override(key): setting.loc for key, setting in own.items()}
        overrides = (*common, *set_here, f"name={json.dumps(name)}")
        try:
            stages = load_stages(base, overrides, tell=lambda note: notes.setdefault(note))
        except UserError as error:
            mistakes |= _placed(str(error), document, set_here)
            continue
        values = {key: setting.value for key, setting in own.items()}
        points.append(Point(number, name, values, overrides, tuple(stages)))
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    raise_if_any(sorted(mistakes, key=lambda line: mistakes[line]))
    return tuple(points)


def _placed(error: str, document: Document, set_here: dict[str, Loc]) -> dict[str, int]:
    """The lines of an error, where what the sweep set is told with its line in the sweep file; each with that line."""
    lines = {}
    for line in error.splitlines():
        place = 0  # in the base: first
        for override, loc in set_here.items():
            if f"--set {override}:" in line:
                line, place = line.replace(f"--set {override}:", f"{document.mark(loc)}:"), document.mark(loc).line or 0
        if line != "the option file has mistakes:":
            lines[line] = place
    return lines


def _figure(document: Document, points: Sequence[Point]) -> Figure:
    """What the points are compared by. Raises `UserError` where they have none, or not the same."""
    figures = {figure_of(point.stages[-1]) for point in points}
    if None in figures:
        raise UserError(f"{document.mark(('base',))}: base: nothing to compare by; add datasets.val and val.metrics")
    if len(figures) > 1:
        raise UserError(f"{document.file}: the points do not have one figure to compare by; give them one val.best")
    (figure,) = figures
    assert figure is not None
    return figure
