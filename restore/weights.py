"""Network weights in files: safetensors that say which network they belong to, and BasicSR's `.pth`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from restore.errors import UserError

PARAM_KEYS = ("params_ema", "params")  # where BasicSR's files keep the weights, the better ones first
POINTER_BYTES = 64
HEADER = "restore"  # the key of our facts in the header of a safetensors file
LISTED = 8  # names shown of a long list of differences


@dataclass
class Weights:
    """Tensors by name, and what the file says of itself (empty for files that say nothing)."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]  # of our own files: `arch`, the section that rebuilds the network; `scale`; `iter`; ...


def weights_bytes(module: nn.Module, facts: dict[str, Any]) -> bytes:
    """A module's state as a safetensors file, with `facts` in its header. Equal weights and facts give equal bytes."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    return save(tensors, {HEADER: json.dumps(facts)})  # under one key: several come in an order of chance


def pointed(pointer: Path) -> Path | None:
    """The checkpoint directory that a one-line file such as `checkpoints/best` or `checkpoints/latest` names."""
    if not pointer.is_file() or pointer.stat().st_size > POINTER_BYTES:
        return None
    name = pointer.read_bytes().decode("ascii", errors="replace").strip()
    return pointer.parent / name if name.isdigit() else None


def locate(path: Path, network: str = "network_g") -> Path:
    """The weights file that `path` means: itself, or a checkpoint's, the averaged one where there is one.

    Args:
        path: a weights file, a checkpoint directory, `checkpoints/best`, or an experiment's folder (best, else latest).
        network: which network of a checkpoint.

    Raises:
        UserError: there is none.
    """
    for pointer in (path, path / "checkpoints" / "best", path / "checkpoints" / "latest"):
        path = pointed(pointer) or path
    if path.is_dir():
        for name in (f"{network}_ema", network):
            if (path / f"{name}.safetensors").is_file():
                return path / f"{name}.safetensors"
        raise UserError(f"{path}: no {network}.safetensors in this folder; name a checkpoint or a weights file")
    if not path.is_file():
        raise UserError(f"{path}: no such weights file or checkpoint")
    return path


def read_weights(path: Path, param_key: str | None = None) -> Weights:
    """The tensors in a `.safetensors` file, or in a PyTorch file, which is read without running any code in it.

    Args:
        path: as for `locate`.
        param_key: the entry of a BasicSR file; None takes `params_ema`, then `params`, then the file itself.

    Raises:
        UserError: missing, broken, or not made of tensors.
    """
    path = locate(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds, from KeyError to UnpicklingError
        raise UserError(f"{path}: not a weights file that can be read safely ({type(error).__name__})") from error
    return Weights(_state_in(state, param_key, path), {})


def load_weights(network: nn.Module, path: Path, param_key: str | None = None, strict: bool = True) -> None:
    """Loads a weights file into a network.

    Raises:
        UserError: strict and the names or shapes differ, or not one tensor fits. The message lists the differences.
    """
    weights = read_weights(path, param_key).tensors
    arch, own = type(network).__name__, network.state_dict()
    missing = [name for name in own if name not in weights]
    unexpected = [name for name in weights if name not in own]
    reshaped = [name for name in own if name in weights and own[name].shape != weights[name].shape]
    fitting = {name: weights[name] for name in own if name in weights and name not in reshaped}
    differences = "; ".join(
        f"{len(names)} {what} ({', '.join(names[:LISTED])}{', ...' if len(names) > LISTED else ''})"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
        if names
    )
    if differences and strict:
        raise UserError(f"{path}: does not fit {arch}: {differences}; or set path.strict_load_g: false")
    if not fitting:
        raise UserError(f"{path}: not one tensor fits {arch}: {differences}")
    network.load_state_dict(own | fitting)


def _read_safetensors(path: Path) -> Weights:
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get(HEADER, "{}"))
            return Weights({name: file.get_tensor(name) for name in file.keys()}, facts)  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: broken safetensors file: {error}") from error


def _state_in(state: Any, param_key: str | None, path: Path) -> dict[str, Tensor]:
    keys = [param_key] if param_key else [key for key in PARAM_KEYS if isinstance(state, dict) and key in state][:1]
    for key in keys:
        if not isinstance(state, dict) or key not in state:
            known = ", ".join(map(str, list(state)[:LISTED])) if isinstance(state, dict) else type(state).__name__
            raise UserError(f"{path}: no entry `{key}`; the file holds {known}")
        state = state[key]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path}: holds no plain table of tensors; name the entry with path.param_key_g")
    return {name.removeprefix("module."): value for name, value in state.items()}
