"""What a weights file says of itself. Files come from strangers: nothing is believed that cannot be meant."""

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor
from torch.nn.modules import module as hooks

from restore.errors import UserError

SPARE = 1 << 25  # numbers that a network may have beyond those that its file can hold: tables, normalised twins
EACH = 1 << 12  # a layer or tensor counts as so many numbers, however small
SHOWN = 60  # letters of a value in a message


class _Section(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)
    type: Annotated[str, Field(pattern=r"^[\w./-]{1,100}$")]


class _Facts(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)
    arch: _Section | None = None
    task: _Section | None = None
    scale: Annotated[int, Field(ge=1, le=64)] | None = None
    size: Annotated[int, Field(ge=1, le=8192)] | None = None  # a face's frame of that side has to fit into memory
    faces: bool | None = None


def checked(facts: Any, path: Path) -> dict[str, Any]:
    """The same facts.

    Raises:
        UserError: they are no table, or a known one is of another type or out of range.
    """
    try:
        _Facts.model_validate(facts)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        should = "has to be a table of settings" if first["type"] == "model_type" else first["msg"]
        raise UserError(f"{path}: broken in what it says of itself: {place}: {should}, {_found(first)}") from None
    known: dict[str, Any] = facts
    return known


def parsed(text: str) -> Any:
    """JSON as the standard has it. Raises `ValueError`, also where it is nested too deep."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("nested too deep") from None


@contextmanager
def bounded(path: Path) -> Iterator[None]:
    """No network built within it, in this thread, becomes much larger than the file that its weights are to come from.

    A few letters in a file can ask for a network that no memory holds, or that takes days to build.

    Raises:
        UserError: it would.
    """
    most, so_far, own = 4 * path.stat().st_size + SPARE, 0, threading.get_ident()

    def grow(module: object, name: str, part: object) -> None:
        nonlocal so_far
        if threading.get_ident() == own:
            so_far += EACH + (part.numel() if isinstance(part, Tensor) else 0)
            if so_far > most:
                raise UserError(f"{path}: broken: it says that it is for a network far larger than the file")

    with ExitStack() as stack:
        for register in (
            hooks.register_module_parameter_registration_hook,
            hooks.register_module_buffer_registration_hook,
            hooks.register_module_module_registration_hook,
        ):
            stack.callback(register(grow).remove)
        yield


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _found(mistake: Any) -> str:
    text = ascii(mistake["input"])
    return f"found {text if len(text) <= SHOWN else text[:SHOWN] + '...'}"
