"""PyTorch's own exported programs, for pictures of all sizes: `.pt2`, and what ONNX is made of."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from torch.export import ExportedProgram

from restore import keyed
from restore.apps.export_check import FULL, Size, compare, first_line, pictures, random_input
from restore.apps.export_portable import portable
from restore.apps.export_source import Source
from restore.errors import Fault

BATCH = 2
SAMPLE = (37, 43)  # height and width: multiples of nothing, so that no exception passes for the rule


def write_pt2(source: Source, path: Path, size: Size) -> str:
    """Writes what `torch.export.load(path).module()` runs. Raises `Fault` where it answers otherwise."""
    module = portable(source)
    program = trace(module, source.masked, size)
    torch.export.save(program, path, extra_files={"restore.json": described(source)})
    back = torch.export.load(path).module()
    return compare(module, back, pictures(source.masked, size), FULL)


def trace(module: nn.Module, masked: bool, size: Size) -> ExportedProgram:
    """The module's operators for any number of pictures, of `size` or of any.

    Raises:
        Fault: it cannot be written so; the message says what of it.
    """
    height, width = size or SAMPLE
    shown = random_input(masked, BATCH, height, width, keyed.draws("export sample"))
    free = torch.export.Dim.DYNAMIC
    dims = {0: free} if size else {0: free, 2: free, 3: free}
    try:
        with quietly(), _for_all_sizes():
            return torch.export.export(module, shown, dynamic_shapes=(dims,) * len(shown), strict=False)
    except Exception as error:  # a dozen kinds
        remedy = "" if size else "; for one size it may be: --size HxW"
        raise Fault(f"cannot be exported: {first_line(error)}{remedy}") from error


def described(source: Source) -> str:
    """What an exported file says of itself, as JSON."""
    import json

    return json.dumps(metadata(source))


def metadata(source: Source) -> dict[str, str]:
    """Kind, scale and so on, and the hash of the file that it was exported from."""
    model = source.model
    facts = {"kind": model.kind, "scale": str(model.scale), "arch": model.arch, "source_sha256": model.sha256}
    for key in ("size", "faces", "title", "licence"):
        if key in source.facts:
            facts[key] = str(source.facts[key])
    return facts


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without the warnings and log lines of exporters, which name nothing that a user could change."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _for_all_sizes() -> Iterator[None]:
    """One program has to do for 1 picture and for several, for sides that divide and for others.

    The fast path of attention layers is an operator for the batch that it was traced with.
    """
    from torch.fx.experimental import _config

    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with _config.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
