"""A part's signature is the schema of its options: here the one becomes the other."""

import inspect
import typing
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict, PydanticSchemaGenerationError, create_model

from restore.errors import UserError

_SCHEMA_CONFIG = ConfigDict(
    extra="forbid", arbitrary_types_allowed=True, protected_namespaces=(), allow_inf_nan=False, validate_default=False
)
_IGNORED = object()
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def signature_model(
    name: str, build: Callable[..., Any], annotations: dict[str, Any], supplied: tuple[str, ...] = ()
) -> type[BaseModel]:
    """The pydantic model whose fields are the parameters of `build`, without those that the frame supplies.

    Raises:
        UserError: a parameter has no annotation, or is `*args` or `**kwargs`, where misspelt options would vanish.
    """
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(build).parameters.values():
        if parameter.name in supplied:
            continue
        if parameter.name not in annotations:
            raise UserError(
                f"{build.__module__}.{name}: the parameter `{parameter}` needs a name and an annotation, "
                "since the signature is the schema of the options"
            )
        if annotations[parameter.name] is not _IGNORED:
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[parameter.name] = (annotations[parameter.name], default)
    try:
        return create_model(name, __config__=_SCHEMA_CONFIG, **fields)
    except PydanticSchemaGenerationError as error:
        raise UserError(f"{build.__module__}.{name}: {str(error).splitlines()[0]}") from error


def annotations_of(build: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of our own parts and plugins, `*args` and `**kwargs` left out."""
    try:
        hints = typing.get_type_hints(build.__init__ if inspect.isclass(build) else build, include_extras=True)
    except NameError as error:
        raise UserError(f"{build.__module__}.{build.__qualname__}: an annotation is not defined: {error}") from error
    parameters = inspect.signature(build).parameters
    return {name: hints[name] for name in hints if name in parameters and parameters[name].kind not in _VARIADIC}


def guest_annotations_of(build: Callable[..., Any]) -> dict[str, Any]:
    """`Any` for each parameter of a BasicSR class; `**kwargs`, which its classes ignore, takes nothing."""
    return {p.name: _IGNORED if p.kind in _VARIADIC else Any for p in inspect.signature(build).parameters.values()}
