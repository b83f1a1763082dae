"""ONNX files for pictures of all sizes, run by ONNX Runtime before they get their name."""

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from restore.apps.export_check import FULL, HALF, Size, compare, first_line, pictures, race
from restore.apps.export_portable import portable
from restore.apps.export_source import Source
from restore.apps.export_torch import metadata, quietly, trace
from restore.errors import Fault, UserError
from restore.inference.onnx_model import OnnxNetwork

OPSETS = range(18, 24)  # what PyTorch writes


@dataclass(frozen=True)
class Wanted:
    """What kind of ONNX file.

    Args:
        opset: version of the operators.
        size: height and width of the only pictures that it takes; None: pictures of all sizes.
        half: weights and inner results have 16 bits.
        int8: convolutions have 8 bits.
        calibrate: a folder of pictures that those are measured on; None: drawn faces.
    """

    opset: int
    size: Size = None
    half: bool = False
    int8: bool = False
    calibrate: Path | None = None


def write_onnx(source: Source, path: Path, wanted: Wanted) -> str:
    """Writes an ONNX file of inputs `lq` and, for inpainting, `mask`, and of the output `restored`, all float32.

    Raises:
        UserError: wrong opset, a package is missing, or no pictures to calibrate on.
        Fault: the network cannot be written so, or the file answers otherwise than the model.
    """
    require()
    module = portable(source)
    size, most = wanted.size, HALF if wanted.half else FULL
    _save(portable(source, wanted.half), path, source, wanted)
    told = compare(module, OnnxNetwork(path), pictures(source.masked, size), most)
    if wanted.int8:
        told += f"; in 8 bits {_quantised(source, path, wanted)}"
    timed = race({"ONNX Runtime": OnnxNetwork(path), "PyTorch": module}, source.masked, size)
    return f"opset {wanted.opset}, {path.stat().st_size / 1e6:.2f} MB; {told}; {timed}"


def _quantised(source: Source, path: Path, wanted: Wanted) -> str:
    """Puts the same with 8 bits in the file's place. Raises `Fault` where that gives no pictures."""
    from restore.apps.export_int8 import quantise

    full = path.with_name(f".full{path.name}")
    path.replace(full)
    try:
        told = quantise(full, path, source, wanted.calibrate, wanted.size)
        compare(OnnxNetwork(full), OnnxNetwork(path), pictures(source.masked, wanted.size), 1.0)
    finally:
        full.unlink()
    return told


def require() -> None:
    """Raises `UserError` where a package of the extra is missing."""
    import importlib.util

    for package in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise UserError(f"ONNX needs the package {package}; `pip install 'restore-faces[export]'`")


def _save(module: nn.Module, path: Path, source: Source, wanted: Wanted) -> None:
    if wanted.opset not in OPSETS:
        raise UserError(f"--opset {wanted.opset}: PyTorch writes {OPSETS[0]} to {OPSETS[-1]}")
    program = trace(module, source.masked, wanted.size)
    names = ["lq", "mask"][: 1 + source.masked]
    try:
        with quietly(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            made = torch.onnx.export(
                program,
                dynamo=True,
                input_names=names,
                output_names=["restored"],
                opset_version=wanted.opset,
                verbose=False,
            )
            assert made is not None
            model = made.model_proto
            _describe(model, source, wanted.size)
            path.write_bytes(model.SerializeToString())
    except OSError:
        raise
    except Exception as error:  # a dozen kinds
        raise Fault(f"ONNX cannot say what this network does: {first_line(error)}") from error


def _describe(model: Any, source: Source, size: Size) -> None:
    """Names the free sides, and adds what the file says of itself."""
    import onnx

    if size is None:
        for value, factor in [(each, 1) for each in model.graph.input] + [(model.graph.output[0], source.model.scale)]:
            dims, times = value.type.tensor_type.shape.dim, "" if factor == 1 else f"*{factor}"
            for place, name in ((0, "batch"), (2, f"height{times}"), (3, f"width{times}")):
                dims[place].dim_param = name
        del model.graph.value_info[:]  # whose sizes have other names
    model.producer_name = "restore"
    onnx.helper.set_model_props(model, metadata(source))
