"""Shows what option files can name: archs, losses, metrics, ... with their arguments."""

import argparse
import inspect
import os
import sys
import types
import typing
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from restore.errors import UserError, nearest

if TYPE_CHECKING:
    from torch import nn

    from restore.registry import Entry, Part


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `restore list`."""
    parser.add_argument("registry", nargs="?", help="archs, losses, metrics, ...; nothing lists these")
    parser.add_argument("name", nargs="?", help="one part, shown in full")
    parser.add_argument("--size", type=int, default=64, help="side of the input for which MACs are counted (64)")
    about = "yours too, as under `plugins` in an option file; may be given several times"
    parser.add_argument("--plugin", action="append", default=[], metavar="MODULE_OR_FILE", help=about)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Lists. Raises `UserError` for an unknown registry or part, or a plugin that cannot be imported."""
    from restore.registry import REGISTRIES, import_part_module

    for plugin in args.plugin:
        folder, file = os.path.split(os.path.abspath(plugin))
        sys.path.append(folder)  # last, so that it shadows nothing
        import_part_module(file.removesuffix(".py") if plugin.endswith(".py") else plugin)
    if args.registry is None:
        print("\n".join(f"{name:12} {', '.join(e.name for e in registry)}" for name, registry in REGISTRIES.items()))
        return
    if args.registry not in REGISTRIES:
        hint = nearest(args.registry, REGISTRIES)
        raise UserError(f"no registry `{args.registry}`{hint or '; there are ' + ', '.join(REGISTRIES)}")
    registry = REGISTRIES[args.registry]
    if args.name is None:
        for entry in registry:
            print(f"{entry.name}({signature(entry)})\n    {entry.summary}")
        return
    entry = registry.get(args.name)
    print(f"{entry.name}({signature(entry)})\n\n{inspect.getdoc(entry.build)}\n\nfrom {entry.module}")
    if args.registry == "archs":
        print(cost(entry, args.size))


def signature(entry: "Entry") -> str:
    """A part's arguments with types, ranges and defaults."""
    shown = []
    for name, info in entry.schema.model_fields.items():
        default = "" if info.is_required() else f" = {info.default!r}"
        shown.append(f"{name}: {spelled(info.annotation, info.metadata)}{default}")
    return ", ".join(shown)


def spelled(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """An annotation in words that a YAML writer knows, such as `int (>= 1)`, `1|2|4` or `list of transforms`."""
    from restore.registry import Kind

    if hasattr(annotation, "__metadata__"):
        return spelled(annotation.__origin__, annotation.__metadata__)
    kinds = [marker.registry for marker in metadata if isinstance(marker, Kind)]
    if kinds:
        return kinds[0]
    arguments = [spelled(argument) for argument in typing.get_args(annotation)]
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return "|".join(map(str, typing.get_args(annotation)))
    if origin in (list, tuple, Sequence):
        return f"list of {arguments[0]}"
    if origin in (types.UnionType, typing.Union):
        return " or ".join(arguments)
    name: str = getattr(annotation, "__name__", str(annotation)).replace("NoneType", "none")
    bounds = ", ".join(_bounds(metadata))
    return f"{name} ({bounds})" if bounds else name


def _bounds(metadata: Iterable[Any]) -> list[str]:
    from restore.ranges import LARGEST

    markers = [inner for outer in metadata for inner in getattr(outer, "metadata", [outer])]
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    found = [(sign, getattr(marker, key)) for marker in markers for key, sign in signs.items() if hasattr(marker, key)]
    return [f"{sign} {bound:g}" for sign, bound in found if bound != LARGEST]


def cost(entry: "Entry", size: int) -> str:
    """Parameters, and multiply-accumulates for one picture of that size, of a network with its default arguments."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from restore.tasks.networks import takes_mask, takes_time

    if any(info.is_required() for info in entry.schema.model_fields.values()):
        return "its cost hangs on arguments that have no default"
    network = on_meta(entry, {}).eval()
    parameters = sum(p.numel() for p in network.parameters())
    counter = FlopCounterMode(display=False)
    try:
        with counter, torch.device("meta"):
            inputs = [torch.empty(1, channels, size, size) for channels in (3, 1)[: 1 + takes_mask(network)]]
            time = [torch.empty(1, dtype=torch.long)] if takes_time(type(network)) else []
            output = network(*inputs, *time)
    except (ValueError, RuntimeError) as error:
        return f"defaults: {parameters:,} parameters; takes no {size}x{size} ({error}); try another --size"
    macs = counter.get_total_flops() / 2
    outputs = output if isinstance(output, list) else [output]
    shape = " and ".join("x".join(map(str, one.shape[2:])) for one in outputs)
    return f"defaults: {parameters:,} parameters; {macs / 1e9:.2f} GMACs for {size}x{size} to {shape}"


def count_parameters(part: "Part") -> int:
    """The number of parameters of the network that a section describes.

    Raises:
        UserError: the network refuses its arguments.
    """
    from restore.registry import ARCHS

    return sum(p.numel() for p in on_meta(ARCHS.get(part.type), part.args).parameters())


def on_meta(entry: "Entry", args: dict[str, Any]) -> "nn.Module":
    """A network without storage: its shapes are there, its numbers are not."""
    import torch

    try:
        with torch.device("meta"):
            network: nn.Module = entry.build(**args)
    except ValueError as error:
        raise UserError(f"{entry.name}: {error}") from error
    return network
