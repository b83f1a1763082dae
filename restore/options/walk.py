"""Walks an option file beside its schema: which values name parts or paths, and which section model is where."""

import typing
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from restore.errors import UserError
from restore.options.document import Loc
from restore.options.paths import MustExist
from restore.registry import REGISTRIES, Kind


def marked_values(model: type[BaseModel], data: Any, loc: Loc = ()) -> Iterator[tuple[Loc, object, Any]]:
    """Every value in `data` whose annotation carries a marker (`Kind`, `MustExist`), and its place."""
    if not isinstance(data, dict):
        return
    extra = typing.get_type_hints(model, include_extras=True).get("__pydantic_extra__")
    for key, value in data.items():
        info = model.model_fields.get(key)
        if info is not None:
            yield from _marked_in(_annotation(info), value, (*loc, key))
        elif extra is not None:
            yield from _marked_in(typing.get_args(extra)[1], value, (*loc, key))


def _marked_in(annotation: Any, value: Any, loc: Loc) -> Iterator[tuple[Loc, object, Any]]:
    if value is None:
        return
    arguments = typing.get_args(annotation)
    for marker in getattr(annotation, "__metadata__", ()):
        if isinstance(marker, Kind | MustExist):
            yield loc, marker, value
            if isinstance(marker, Kind):
                yield from _marked_in_part(marker, value, loc)
            return
    if isinstance(value, dict) and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from marked_values(annotation, value, loc)
    elif isinstance(value, dict) and typing.get_origin(annotation) is dict:
        for key, item in value.items():
            yield from _marked_in(arguments[1], item, (*loc, key))
    elif isinstance(value, list) and arguments and typing.get_origin(annotation) in (list, tuple, Sequence):
        for index, item in enumerate(value):
            yield from _marked_in(arguments[0], item, (*loc, index))
    else:
        for argument in arguments:
            if not isinstance(argument, str | int | float):
                yield from _marked_in(argument, value, loc)


def _marked_in_part(kind: Kind, value: Any, loc: Loc) -> Iterator[tuple[Loc, object, Any]]:
    try:
        entry = REGISTRIES[kind.registry].get(str(value.get("type"))) if isinstance(value, dict) else None
        if entry is not None:
            yield from marked_values(entry.schema, value, loc)
    except UserError:
        return  # told by `_check_part`


def _annotation(info: FieldInfo) -> Any:
    """A field's annotation with the markers that pydantic moved aside."""
    markers = [m for m in info.metadata if isinstance(m, Kind | MustExist)]
    return typing.Annotated[info.annotation, markers[0]] if markers else info.annotation


def model_at(model: type[BaseModel], loc: Loc) -> type[BaseModel] | None:
    """The section model at `loc` below `model`."""
    current: Any = model
    for key in loc:
        if isinstance(current, type) and issubclass(current, BaseModel):
            info = current.model_fields.get(str(key))
            extra = typing.get_type_hints(current, include_extras=True).get("__pydantic_extra__")
            current = info.annotation if info else typing.get_args(extra)[1] if extra else None
        else:
            arguments = typing.get_args(current)
            current = arguments[-1] if arguments else None
        current = _plain(current)
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None


def _plain(annotation: Any) -> Any:
    """An annotation without `Annotated` and without `| None`."""
    while True:
        if hasattr(annotation, "__metadata__"):
            annotation = annotation.__origin__
            continue
        arguments = typing.get_args(annotation)
        if type(None) in arguments and len(arguments) == 2:
            annotation = next(a for a in arguments if a is not type(None))
            continue
        return annotation


def value_at(data: Any, loc: Loc) -> Any:
    """The value at `loc`, or an empty section."""
    for key in loc:
        if isinstance(data, list) and isinstance(key, int) and key < len(data):
            data = data[key]
        else:
            data = data.get(key, {}) if isinstance(data, dict) else {}
    return data


def section_at(data: Any, loc: Loc) -> dict[str, Any]:
    """The section at `loc`, or an empty one where there is none."""
    value = value_at(data, loc)
    return value if isinstance(value, dict) else {}
