"""The network that a weights file says it is for. Files come from strangers: they may not say just anything."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import nn

from restore.errors import RestoreError, UserError
from restore.facts import bounded
from restore.options.document import Loc
from restore.options.paths import MustExist
from restore.options.schema import Options
from restore.options.walk import marked_values
from restore.registry import ARCHS, Part
from restore.weights import load_weights, locate


def own_network(path: Path, facts: Mapping[str, Any]) -> nn.Module:
    """The network of a file, whose facts those are, with its weights, ready to be asked.

    Raises:
        UserError: the file says nothing of it, names other files in it or says something absurd, or does not fit it.
    """
    if not isinstance(facts.get("arch"), dict):
        raise UserError(f"{path}: does not say which network it is for; name a model trained here")
    for loc in named_files({"network_g": facts["arch"]}):
        raise UserError(f"{path}: says that `{'.'.join(map(str, loc))}` is another file, and files may not name others")
    network = built(path, Part.model_validate(facts["arch"]))
    load_weights(network, path)
    return network.eval().requires_grad_(False)


def built(path: Path, section: Part) -> nn.Module:
    """The network of a section that a file says, its weights not yet loaded.

    Raises:
        UserError: it refuses its settings, or is far larger than the file.
    """
    try:
        with bounded(locate(path)):
            network: nn.Module = ARCHS.build(section)
    except RestoreError:
        raise
    except Exception as error:
        raise not_built(path, section.type, error) from error
    return network


def not_built(path: Path, name: str, error: Exception) -> UserError:
    """What to tell where building fails: each network does it in its own way, also where its signature was obeyed."""
    said = f"{type(error).__name__}: " + str(error).partition("\n")[0]
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        said = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return UserError(f"{path}: {name} cannot be built: {said}")


def named_files(sections: Mapping[str, Any]) -> list[Loc]:
    """Where sections such as `network_g` and `task`, as a file says them, name other files, to be opened here."""
    named = [loc for loc, marker, _ in marked_values(Options, dict(sections)) if isinstance(marker, MustExist)]
    return [*named, *_like_files(sections)]


def _like_files(value: Any, loc: Loc = ()) -> Iterator[Loc]:
    """What may be a file's name where no signature tells: in sections of guests and of plugins."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if len(loc) != 1 or key != "type":
                yield from _like_files(inner, (*loc, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _like_files(inner, (*loc, number))
    elif isinstance(value, str) and (set("/\\") & set(value) or re.search("path|file", str(loc[-1]))):
        yield loc
