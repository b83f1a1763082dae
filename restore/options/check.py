"""Checks a document against the schema, the registries and the disk, and tells every mistake in it at once."""

import json
import re
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from restore.errors import UserError, nearest
from restore.options.document import Document, Loc
from restore.options.paths import DATA_FOLDER, MustExist, resolve
from restore.options.schema import Options
from restore.options.walk import marked_values, model_at, value_at
from restore.registry import REGISTRIES, Kind, import_part_module

EVAL_NAME = re.compile(r"(val|test)(_\w+)?$")
Model = TypeVar("Model", bound=BaseModel)


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
        return [f"{marks[loc]}: {'.'.join(map(str, loc)) or 'file'}: {self.found[loc]}" for loc in order]

    def raise_if_any(self) -> None:
        """Raises a `UserError` with all lines when anything was added."""
        if self.found:
            raise UserError("\n".join(["the option file has mistakes:", *self.lines()]))


def validate(document: Document) -> Options:
    """Checks a document against the schema, the registries and the disk. Raises as `load` does."""
    problems = Problems(document)
    data = document.data
    _import_plugins(data.get("plugins"))
    _name_metrics(data)
    _share_scale(data, problems)
    options = _validate(Options, data, (), problems)
    _check_dataset_names(data, problems)
    for loc, marker, value in marked_values(Options, data):
        if isinstance(marker, Kind):
            _check_part(loc, marker, value, problems)
        elif isinstance(marker, MustExist):
            _check_path(loc, value, problems)
    if options is not None:
        _check_together(options, problems)
    problems.raise_if_any()
    assert options is not None
    return options


def _import_plugins(plugins: Any) -> None:
    for name in plugins if isinstance(plugins, list) else []:
        import_part_module(str(name))


def _name_metrics(data: dict[str, Any]) -> None:
    """`metrics: {psnr: {crop_border: 4}}` names the metric by its key."""
    metrics = value_at(data, ("val", "metrics"))
    for name, section in metrics.items() if isinstance(metrics, dict) else []:
        if section is None or isinstance(section, dict):
            metrics[name] = {"type": name} | (section or {})


def _share_scale(data: dict[str, Any], problems: Problems) -> None:
    """`scale`, written once at the top, goes to every network and data set that takes `scale` or `upscale`."""
    scale = data.get("scale", 1)
    for loc, marker, section in list(marked_values(Options, data)):
        if (
            not isinstance(marker, Kind)
            or marker.registry not in ("archs", "datasets")
            or not isinstance(section, dict)
        ):
            continue
        try:
            parameters = REGISTRIES[marker.registry].get(str(section.get("type"))).parameters
        except UserError:
            continue  # told with the other mistakes
        for key in {"scale", "upscale"} & set(parameters):
            given = section.setdefault(key, scale)
            if given != scale:
                problems.add((*loc, key), f"is {given}, but the experiment's `scale` is {scale}; make them equal")


def _validate(model: type[Model], data: Any, loc: Loc, problems: Problems) -> Model | None:
    """The model filled from plain data, or None with every mistake noted."""
    try:
        # Through JSON, where strictness means what a YAML writer expects: lists may fill tuples, "4" is no number.
        return model.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        for item in error.errors(include_url=False):
            inner = tuple(key for key in item["loc"])
            problems.add(*_explain(model, data, loc, inner, item))
        return None


def _explain(model: type[BaseModel], data: Any, loc: Loc, inner: Loc, item: Any) -> tuple[Loc, str]:
    kind = item["type"]
    if kind == "extra_forbidden":
        section = model_at(model, inner[:-1])
        known = list(section.model_fields) if section else []
        hint = nearest(str(inner[-1]), known)
        return (*loc, *inner), f"unknown key{hint or '; known here: ' + ', '.join(known)}"
    if kind == "missing":
        return (*loc, *inner), "is missing"
    while inner and not _reaches(data, inner):  # the branch of a union is no place in the file
        inner = inner[:-1]
    return (*loc, *inner), f"{_lower_first(item['msg'])}, found {_shown(value_at(data, inner))}"


def _check_part(loc: Loc, kind: Kind, section: Any, problems: Problems) -> None:
    """Checks a section's `type` against its registry, and its arguments against that part's signature."""
    if not isinstance(section, dict) or not isinstance(section.get("type"), str):
        return  # told by the schema
    try:
        schema = REGISTRIES[kind.registry].get(section["type"]).schema
    except UserError as error:
        problems.add((*loc, "type"), str(error))
        return
    model = model_at(Options, loc)
    own = set(model.model_fields) if model else {"type"}
    args = {key: value for key, value in section.items() if key not in own}
    before = set(problems.found)
    _validate(schema, args, loc, problems)
    for place in set(problems.found) - before:
        if problems.found[place].startswith("unknown key"):  # the section's own keys are near words too
            hint = nearest(str(place[-1]), [*schema.model_fields, *own])
            problems.found[place] = f"unknown key for {section['type']}{hint or _takes(schema)}"


def _takes(schema: type[BaseModel]) -> str:
    return f"; it takes {', '.join(schema.model_fields)}" if schema.model_fields else "; it takes none"


def _check_path(loc: Loc, value: Any, problems: Problems) -> None:
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, str) and not resolve(item).exists():
            remedy = "; see datasets/README.md, or set RESTORE_DATA" if item.startswith(DATA_FOLDER) else ""
            problems.add(loc, f"no file or folder `{resolve(item)}`{remedy}")


def _check_dataset_names(data: dict[str, Any], problems: Problems) -> None:
    datasets = data.get("datasets")
    for name in datasets if isinstance(datasets, dict) else []:
        if name != "train" and not EVAL_NAME.match(name):
            hint = nearest(name, ["train", "val", "test"])
            problems.add(("datasets", name), f"a data set is called train, val, val_2, test, test_2, ...{hint}")


def _check_together(options: Options, problems: Problems) -> None:
    """What no section can know by itself."""
    train, val, best = options.train, options.val, options.val.best
    if train is not None:
        if (train.total_iter is None) == (train.total_epoch is None):
            problems.add(("train", "total_iter"), "give one of `total_iter` and `total_epoch`")
        if not any(train.losses.values()):
            problems.add(("train", "losses"), "names no loss; such as `pixel: {type: L1Loss}`")
        if options.datasets.train is None:
            problems.add(("datasets", "train"), "is missing; training needs it")
    if best is not None:
        if best.metric not in val.metrics:
            hint = nearest(best.metric, val.metrics)
            problems.add(("val", "best", "metric"), f"`{best.metric}` is not under val.metrics{hint}")
        names = options.datasets.evaluation("val")
        if best.dataset not in names:
            hint = nearest(best.dataset, names)
            problems.add(("val", "best", "dataset"), f"no data set `{best.dataset}`{hint}")


def _reaches(data: Any, loc: Loc) -> bool:
    for key in loc:
        if (isinstance(data, dict) and key in data) or (isinstance(data, list) and isinstance(key, int)):
            data = data[key]
        else:
            return False
    return True


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def _lower_first(text: str) -> str:
    text = text.removeprefix("Input should be ").removeprefix("Value error, ")
    return f"should be {text}" if not text.startswith("should") else text
