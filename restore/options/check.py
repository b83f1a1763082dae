"""Checks a document against the schema, the registries and the disk, and tells every mistake in it at once."""

import json
import re
import sys
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from restore.errors import UserError, nearest
from restore.options.document import Document, Loc
from restore.options.paths import DATA_FOLDER, MustExist, nearest_beside, resolve, resolve_all
from restore.options.schema import Options, TrainData
from restore.options.walk import marked_values, model_at, section_at, value_at
from restore.registry import REGISTRIES, TASKS, Kind, Part, import_part_module

LANDMARKS = "_landmarks.json"  # what `restore prepare landmarks` adds to a data set's name
QUICK = (
    "degradations",
    "occlusions",
    "transforms",
)  # registries whose parts hold no weights and little data
EVAL_NAME = re.compile(r"(val|test)(_\w+)?$")
Model = TypeVar("Model", bound=BaseModel)

_UNKNOWN = "unknown key"
_PLAIN_WORDS = {  # for what pydantic says in its own terms
    "model_type": "should be a section of `key: value` lines",
    "dict_type": "should be a section of `key: value` lines",
    "list_type": "should be a list, such as [a, b]",
    "tuple_type": "should be a list, such as [a, b]",
    "string_too_short": "should not be empty",
    "string_pattern_mismatch": "should be letters, digits, `_`, `-` and `.` only, a letter or digit first",
}


@dataclass
class Problems:
    """Mistakes found so far, each with its place."""

    document: Document
    found: dict[Loc, str] = field(default_factory=dict)

    def add(self, loc: Loc, text: str) -> None:
        """Notes a mistake at `loc`; the first one told about a place stands."""
        self.found.setdefault(loc, text)

    def lines(self) -> list[str]:
        """One line a mistake, `file:line: path.to.key: what is wrong`, in the order of the file."""
        marks = {loc: self.document.mark(loc) for loc in self.found}
        order = sorted(self.found, key=lambda loc: (marks[loc].file, marks[loc].line or 0))
        return [f"{marks[loc]}: {self.document.name(loc)}: {' '.join(self.found[loc].split())}" for loc in order]


def validate(document: Document) -> Options:
    """Checks a document against the schema, the registries and the disk. Raises as `load` does."""
    options, problems = check(document)
    raise_if_any(problems.lines())
    assert options is not None
    return options


def raise_if_any(lines: list[str]) -> None:
    """Raises a `UserError` that tells all mistakes, when there are any."""
    if lines:
        raise UserError("\n".join(["the option file has mistakes:", *lines]))


def check(document: Document) -> tuple[Options | None, Problems]:
    """The options in a document, or None, and every mistake in it."""
    for registry in REGISTRIES.values():
        registry.discover()  # first, so that a plugin that takes the name of a built-in part is the one to blame
    problems = Problems(document, dict(document.mistakes))
    data = document.data
    _import_plugins(data, problems)
    _check_dataset_names(data, problems)
    _name_metrics(data)
    _share_scale(data, problems)
    options = _validate(Options, data, (), problems)
    marked = list(marked_values(Options, data))
    for loc, marker, value in marked:
        if isinstance(marker, Kind):
            _check_part(loc, marker, value, problems)
        elif isinstance(marker, MustExist):
            _check_path(loc, marker, value, problems)
    for loc, marker, value in reversed(marked):  # what is inside another part comes after it
        if isinstance(marker, Kind) and marker.registry in QUICK:
            _check_built(loc, marker, value, problems)
    _check_together(data, problems)
    return options, problems


def _import_plugins(data: dict[str, Any], problems: Problems) -> None:
    """Imports the modules under `plugins`: installed ones, or files beside the option file."""
    plugins = data.get("plugins")
    folder = str(Path(problems.document.file).resolve().parent)
    if plugins and folder not in sys.path:
        sys.path.append(folder)  # last, so that it shadows nothing
    for index, name in enumerate(plugins if isinstance(plugins, list) else []):
        if isinstance(name, str):
            try:
                import_part_module(name)
            except UserError as error:
                problems.add(("plugins", index), str(error))


def _name_metrics(data: dict[str, Any]) -> None:
    """`metrics: {psnr: {crop_border: 4}}` names the metric by its key."""
    metrics = section_at(data, ("val", "metrics"))
    for name, section in metrics.items():
        if section is None or isinstance(section, dict):
            metrics[name] = {"type": name} | (section or {})


def _share_scale(data: dict[str, Any], problems: Problems) -> None:
    """`scale`, written once at the top, goes to every network and data set that takes `scale` or `upscale`."""
    scale = data.get("scale", 1)
    if not _is_int(scale) or scale < 1:
        return  # told by the schema
    for loc, marker, section in list(marked_values(Options, data)):
        if not isinstance(marker, Kind) or marker.registry not in ("archs", "datasets"):
            continue
        for key in {"scale", "upscale"} & set(_parameters(marker, section)):
            if key not in section:
                problems.document.set((*loc, key), scale, problems.document.mark(("scale",)))
            elif section[key] != scale:
                text = f"is {section[key]}, but the experiment's `scale` is {scale}; make them equal"
                problems.add((*loc, key), text)


def _parameters(kind: Kind, section: Any) -> list[str]:
    """The arguments that the part of a section takes; none when it names no part."""
    if not isinstance(section, dict):
        return []
    try:
        return REGISTRIES[kind.registry].get(str(section.get("type"))).parameters
    except UserError:
        return []  # told by `_check_part`


def _validate(model: type[Model], data: Any, loc: Loc, problems: Problems) -> Model | None:
    """The model filled from plain data, or None with every mistake noted."""
    try:
        # Through JSON, where strictness means what a YAML writer expects: lists may fill tuples, "4" is no number.
        return model.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        for item in error.errors(include_url=False):
            inner, text = _explain(model, data, item, problems.document.words)
            problems.add((*loc, *inner), text)
        return None


def _explain(model: type[BaseModel], data: Any, item: Any, words: frozenset[str]) -> tuple[Loc, str]:
    """The place, below `model`, of a mistake that pydantic found, and what to say of it."""
    kind: str = item["type"]
    inner: Loc = tuple(item["loc"])
    if kind in ("extra_forbidden", "missing") and (len(inner) == 1 or not _described(model, inner)):
        section = model_at(model, inner[:-1])
        known = list(section.model_fields) if section else []
        if kind == "missing":
            return _explain_missing(inner, section_at(data, inner[:-1]), known)
        hint = nearest(str(inner[-1]), [*known, *words])
        return inner, f"{_UNKNOWN}{hint or '; known here: ' + ', '.join(known)}"
    while inner and not _reaches(data, inner):  # the branch of a union is no place in the file
        inner = inner[:-1]
    if told := _described(model, inner):
        return inner[:1], f"should be {told}, found {_shown(value_at(data, inner[:1]))}"
    expected = _PLAIN_WORDS.get(kind) or _should_be(item["msg"])
    return inner, f"{expected}, found {_shown(value_at(data, inner))}"


def _described(model: type[BaseModel], inner: Loc) -> str | None:
    """What a value of several forms, or none, should be, in its own words: pydantic tells a mistake of each form."""
    field = model.model_fields.get(str(inner[0])) if inner else None
    if field is None or typing.get_origin(field.annotation) not in (typing.Union, types.UnionType):
        return None
    within = [m for form in typing.get_args(field.annotation) for m in getattr(form, "__metadata__", ())]
    words = [field.description, *(mark.description for mark in within if isinstance(mark, FieldInfo))]
    return next(filter(None, words), None)


def _explain_missing(inner: Loc, section: dict[str, Any], known: list[str]) -> tuple[Loc, str]:
    """A missing key may stand there misspelt."""
    name = str(inner[-1])
    for key in section:
        if key not in known and (hint := nearest(key, [name])):
            return (*inner[:-1], key), f"{_UNKNOWN}{hint}"
    return inner, "is missing; add it"


def _check_part(loc: Loc, kind: Kind, section: Any, problems: Problems) -> None:
    """Checks a section's `type` against its registry, and its arguments against that part's signature."""
    if not isinstance(section, dict) or not isinstance(section.get("type"), str):
        return  # told by the schema
    try:
        entry = REGISTRIES[kind.registry].get(section["type"])
        schema = entry.schema
    except UserError as error:
        problems.add((*loc, "type"), str(error))
        return
    needs = getattr(entry.build, "needs", ())
    for need in needs(section) if callable(needs) else needs:
        if not value_at(problems.document.data, tuple(need.split("."))):
            problems.add((*loc, "type"), f"{entry.name} needs `{need}`; add that section")
    model = model_at(Options, loc)
    own = set(model.model_fields) if model else {"type"}
    args = {key: value for key, value in section.items() if key not in own}
    before = set(problems.found)
    _validate(schema, args, loc, problems)
    for place in set(problems.found) - before:
        if problems.found[place].startswith(_UNKNOWN):  # the section's own keys are near words too
            hint = nearest(str(place[-1]), [*schema.model_fields, *own, *problems.document.words])
            problems.found[place] = f"{_UNKNOWN} for {section['type']}{hint or _takes(schema)}"


def _check_built(loc: Loc, kind: Kind, section: Any, problems: Problems) -> None:
    """Builds a part that costs nothing to build, where nothing is wrong with its section: it may refuse what it is."""
    if not isinstance(section, dict) or any(place[: len(loc)] == loc for place in problems.found):
        return
    try:
        REGISTRIES[kind.registry].build(Part.model_validate(section))
    except UserError as error:
        problems.add(loc, str(error))


def _takes(schema: type[BaseModel]) -> str:
    return f"; it takes {', '.join(schema.model_fields)}" if schema.model_fields else "; it takes none"


def _check_path(loc: Loc, marker: MustExist, value: Any, problems: Problems) -> None:
    places = [((*loc, i), item) for i, item in enumerate(value)] if isinstance(value, list) else [(loc, value)]
    for place, item in places:
        if item == "":
            problems.add(place, "is empty; name a file or folder")
        elif isinstance(item, str):
            _check_exists(place, marker, item, problems)
    if len(places) > 1 and not any(loc == found[: len(loc)] for found in problems.found):  # good ones, and together?
        _check_exists(loc, marker, value, problems)


def _check_exists(loc: Loc, marker: MustExist, value: str | list[str], problems: Problems) -> None:
    try:
        for path in resolve_all(value) if marker.shards else [resolve(str(value))]:
            if not path.exists():
                remedy = nearest_beside(path) or f"; {_source(str(value)) or 'correct the path'}"
                problems.add(loc, f"no file or folder `{path}`{remedy}")
    except UserError as error:
        problems.add(loc, str(error))
    except (OSError, ValueError) as error:  # a NUL in the path is a ValueError
        problems.add(loc, f"cannot look for it: {getattr(error, 'strerror', None) or error}; correct the path")


def _source(path: str) -> str:
    """Where a missing file comes from, as far as its name tells."""
    if path.endswith(LANDMARKS):
        return f"write it with `restore prepare landmarks {path.removesuffix(LANDMARKS)}.lmdb`"
    return "see datasets/README.md, or set RESTORE_DATA" if path.startswith(DATA_FOLDER) else ""


def _check_dataset_names(data: dict[str, Any], problems: Problems) -> None:
    """Tells of misnamed data sets, and takes them out, since nobody knows what should stand in them."""
    datasets = section_at(data, ("datasets",))
    for name in [name for name in datasets if name != "train" and datasets[name] is None]:
        del datasets[name]  # as of a file that was built upon
    for name in [name for name in datasets if name != "train" and not EVAL_NAME.match(name)]:
        hint = nearest(name, ["train", "val", "test"])
        problems.add(("datasets", name), f"a data set is called train, val, val_2, test, test_2, ...{hint}")
        del datasets[name]


def _check_together(data: dict[str, Any], problems: Problems) -> None:
    """What no section can know by itself, told also where other mistakes are."""
    if isinstance(data.get("train"), dict):
        _check_training(data, problems)
    for loc, mistake in getattr(_task(data), "mistakes", _no_mistakes)(data):
        problems.add(loc, mistake)
    _check_best(data, problems)
    _check_labels(data, problems)
    for loc, marker, section in marked_values(Options, data):
        if isinstance(marker, Kind) and marker.registry == "datasets" and isinstance(section, dict):
            size, scale = section.get("gt_size"), section.get("scale")
            if _is_int(size) and _is_int(scale) and size > 0 and scale > 0 and size % scale:
                near = max(size // scale, 1) * scale
                problems.add((*loc, "gt_size"), f"{size} is no multiple of the scale {scale}; such as {near}")


def _check_training(data: dict[str, Any], problems: Problems) -> None:
    train: dict[str, Any] = data["train"]
    lengths = [key for key in ("total_iter", "total_epoch") if train.get(key) is not None]
    if len(lengths) == 2:
        other = problems.document.mark(("train", "total_iter"))
        problems.add(("train", "total_epoch"), f"`total_iter` stands at {other}; give one, and set the other to null")
    if not lengths and not any(nearest(key, ["total_iter", "total_epoch"]) for key in train):
        problems.add(("train", "total_iter"), "is missing; give it, or `total_epoch`")
    losses = train.get("losses", {})
    own = getattr(_task(data), "brings_loss", False)
    misspelt = "losses" not in train and any(nearest(key, ["losses"]) for key in train)
    if isinstance(losses, dict) and not any(losses.values()) and not misspelt and not own:
        problems.add(("train", "losses"), "names no loss; such as `pixel: {type: L1Loss}`")
    misnamed = any(loc[:1] == ("datasets",) and len(loc) == 2 for loc in problems.found)
    if section_at(data, ("datasets",)).get("train") is None and not misnamed:
        problems.add(("datasets", "train"), "is missing; training needs it")
    batch = section_at(data, ("datasets", "train")).get("batch_size", TrainData.model_fields["batch_size"].default)
    parts = train.get("accumulate")
    if _is_int(batch) and _is_int(parts) and parts > 0 and batch % parts:
        problems.add(
            ("train", "accumulate"), f"batch_size {batch} cannot be split into {parts} equal parts; change one"
        )


def _task(data: dict[str, Any]) -> Any:
    """The class of the file's task; None where there is none of that name."""
    task = section_at(data, ("task",)).get("type", Options.model_fields["task"].default.type)
    return TASKS.get(task).build if task in TASKS else None


def _no_mistakes(data: dict[str, Any]) -> list[tuple[Loc, str]]:
    """For tasks that go together with everything."""
    return []


def _check_labels(data: dict[str, Any], problems: Problems) -> None:
    """Two sets of one name would share their curves and their folder of results."""
    first: dict[str, str] = {}
    for key, section in section_at(data, ("datasets",)).items():
        label = section.get("name") if isinstance(section, dict) else None
        kind = f"{key.split('_')[0]} {label or key}"
        if kind in first and key != "train":
            problems.add(("datasets", key, "name"), f"`{label or key}` is {first[kind]}'s name too; change one")
        first.setdefault(kind, key)


def _check_best(data: dict[str, Any], problems: Problems) -> None:
    best = section_at(data, ("val", "best"))
    metrics = section_at(data, ("val", "metrics"))
    names = [name for name in section_at(data, ("datasets",)) if name.split("_")[0] == "val"]
    metric, dataset = best.get("metric"), best.get("dataset", "val")
    if isinstance(metric, str) and metric not in metrics:
        known = nearest(metric, metrics) or f"; known here: {', '.join(metrics) or 'none'}"
        problems.add(("val", "best", "metric"), f"`{metric}` is not under val.metrics{known}")
    if best and isinstance(dataset, str) and dataset not in names:
        known = nearest(dataset, names) or f"; known here: {', '.join(names) or 'none'}"
        problems.add(("val", "best", "dataset"), f"no data set `{dataset}`{known}")


def _is_int(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _reaches(data: Any, loc: Loc) -> bool:
    for key in loc:
        inside: Any = range(len(data)) if isinstance(data, list) else data if isinstance(data, dict) else ()
        if key not in inside:
            return False
        data = data[key]
    return True


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def _should_be(text: str) -> str:
    text = text.removeprefix("Input should be ").removeprefix("Value error, ").removeprefix("Tuple ")
    text = text.replace(" after validation", "")
    return f"should be {text}" if not text.startswith("should") else text
