"""Weights files: ours, which say what they are, and BasicSR's `.pth`."""

from pathlib import Path

import torch
from torch import Tensor

from restore.apps.export_check import HALF, compare, pictures
from restore.apps.export_portable import portable
from restore.apps.export_source import Source, read_source
from restore.errors import Fault, UserError
from restore.weights import read_weights, tensors_bytes

BASICSR = ("RRDBNet", "SRVGGNetCompact", "MSRResNet", "EDSR")  # whose state-dict keys are BasicSR's


def write_safetensors(source: Source, path: Path, half: bool) -> str:
    """Writes our own weights file, which rebuilds its network. Raises `Fault` where it would answer otherwise."""
    tensors = _tensors(source)
    if half:
        tensors = {name: _halved(name, tensor) for name, tensor in tensors.items()}
    path.write_bytes(tensors_bytes(tensors, source.facts))
    back = portable(read_source(str(path)))
    told = compare(portable(source), back, pictures(source.masked), HALF if half else 0.0)
    return f"{_counted(tensors)}; {told}"


def write_pth(source: Source, path: Path, param_key: str) -> str:
    """Writes BasicSR's `{param_key: tensors}`, and says which class of BasicSR's takes it."""
    tensors = _tensors(source)
    torch.save({param_key: tensors}, path)
    back = read_weights(path).tensors
    if back.keys() != tensors.keys() or any(not torch.equal(back[name], tensors[name]) for name in tensors):
        raise Fault("reads back other numbers than were written")
    name = source.facts["arch"]["type"]
    loads = f"BasicSR's {name} loads it" if name in BASICSR else f"BasicSR has no {name}: the names are those of ours"
    return f"{_counted(tensors)} under `{param_key}`; {loads}; read back bit for bit"


def _tensors(source: Source) -> dict[str, Tensor]:
    if getattr(source.model.network, "brings_weights", False):
        raise UserError(f"{source.model.path}: a network of spandrel's stays in its file; .onnx and .pt2 carry it")
    return {name: tensor.contiguous() for name, tensor in source.model.network.state_dict().items()}


def _halved(name: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    halved = tensor.half()
    if not torch.isfinite(halved).all():
        raise Fault(f"{name} holds numbers beyond what 16 bits can; export without --half")
    return halved


def _counted(tensors: dict[str, Tensor]) -> str:
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    return f"{len(tensors)} tensors, {size / 1e6:.2f} MB"
