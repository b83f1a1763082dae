"""Network weights in files: safetensors that say which network they belong to, BasicSR's `.pth`, diffusers' folders."""

import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from restore import diffusers_folder
from restore import facts as said
from restore.errors import UserError

PARAM_KEYS = ("params_ema", "params", "state_dict")  # where BasicSR's files, and Lightning's, keep the weights
POINTER_BYTES = 64
HEADER = "restore"  # the key of our facts in the header of a safetensors file
LISTED = 8  # names shown of a long list of differences
LONGEST = 100  # letters shown of a name
MOST_TIMES = 4  # some pack their weights once more, which saves a tenth
TORCHSCRIPT = "constants.pkl"  # an entry of archives that hold code


@dataclass
class Weights:
    """Tensors by name, and what the file says of itself (empty for files that say nothing)."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]  # of our own files: `arch`, the section that rebuilds the network; `scale`; `iter`; ...


@dataclass(frozen=True)
class Transfer:
    """What of a weights file went into a network: `str()` tells it in one line.

    `matched` tensors were loaded; `missing` ones only the network has, `unexpected` ones only the file; `reshaped` ones
    have another shape in the file. All but the matched stay as the network had them.
    """

    path: Path
    arch: str
    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]  # the shapes in the file and in the network

    @property
    def complete(self) -> bool:
        """Whether the file and the network have the same tensors."""
        return not (self.missing or self.unexpected or self.reshaped)

    @property
    def differences(self) -> str:
        """How many tensors did not match, why, and the first of their names; empty when all did."""
        shapes = [f"{name}: {list(file)} in the file, {list(own)} here" for name, (file, own) in self.reshaped.items()]
        return _listed((("missing", self.missing), ("unexpected", self.unexpected), ("of another shape", shapes)))

    def __str__(self) -> str:
        total = len(self.matched) + len(self.missing) + len(self.reshaped)
        return f"{self.path}: {len(self.matched)} of {total} tensors of {self.arch} loaded" + (
            f"; {self.differences}" if self.differences else ""
        )


def weights_bytes(module: nn.Module, facts: dict[str, Any]) -> bytes:
    """A module's state as a safetensors file, with `facts` in its header. Equal weights and facts give equal bytes."""
    return tensors_bytes(module.state_dict(), facts)


def tensors_bytes(tensors: Mapping[str, Tensor], facts: dict[str, Any]) -> bytes:
    """As `weights_bytes`, of a table of tensors."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return save(plain, {HEADER: json.dumps(facts)})  # under one key: several come in an order of chance


def pointed(pointer: Path) -> Path | None:
    """The checkpoint directory that a one-line file such as `checkpoints/best` or `checkpoints/latest` names."""
    if not pointer.is_file() or pointer.stat().st_size > POINTER_BYTES:
        return None
    name = pointer.read_bytes().decode("ascii", errors="replace").strip()
    return pointer.parent / name if name.isdigit() else None


def locate(path: Path, network: str = "network_g") -> Path:
    """The weights file that `path` means: itself, or a checkpoint's, the averaged one where there is one.

    Args:
        path: a weights file, a checkpoint directory, `checkpoints/best`, an experiment's folder (best, else latest), or
            a folder that diffusers saved.
        network: which network of a checkpoint.

    Raises:
        UserError: there is none.
    """
    pointers = (path, path / "checkpoints" / "best", path / "checkpoints" / "latest")
    path = next((target for pointer in pointers if (target := pointed(pointer))), path)
    if path.is_dir():
        for name in (f"{network}_ema", network):
            if (path / f"{name}.safetensors").is_file():
                return path / f"{name}.safetensors"
        if (weights := diffusers_folder.weights_file(path)) is not None:
            return weights
        raise UserError(
            f"{path}: neither {network}.safetensors nor diffusers' config.json in this folder; name a checkpoint or a "
            "weights file"
        )
    if not path.is_file():
        hub = "; what lies on a hub has to be downloaded first: docs/weights.md" if _like_a_hub(path) else ""
        raise UserError(f"{path}: no such weights file or checkpoint{hub}")
    return path


def _like_a_hub(path: Path) -> bool:
    """Whether it is written as a hub's models are: `owner/name`."""
    return len(path.parts) == 2 and path.parts[0] != "experiments" and not path.suffix and not path.parent.exists()


def read_weights(path: Path, param_key: str | None = None) -> Weights:
    """The tensors in a `.safetensors` file, or in a PyTorch file, which is read without running any code in it.

    Args:
        path: as for `locate`.
        param_key: the entry of the file; None takes `params_ema`, `params`, `state_dict`, or else the file itself.

    Raises:
        UserError: missing, broken, or not made of tensors.
    """
    path = locate(path)
    if facts := diffusers_folder.facts_beside(path):
        return Weights(diffusers_folder.renamed(_read(path, param_key).tensors), said.checked(facts, path))
    return _read(path, param_key)


def _read(path: Path, param_key: str | None) -> Weights:
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return Weights(_state_in(read_pickled(path), param_key, path), {})


def read_pickled(path: Path) -> Any:
    """What PyTorch saved in a file, without running any code in it. Raises `UserError`."""
    require_plain_archive(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds, from KeyError to UnpicklingError
        raise UserError(f"{path}: not a weights file that can be read safely ({type(error).__name__})") from error


def require_plain_archive(path: Path) -> None:
    """PyTorch's archives hold their tensors as they are: what unfolds to more than the file is a trap."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return  # an old format, or broken, which torch tells
    if any(entry.filename.endswith(TORCHSCRIPT) for entry in entries):
        raise UserError(f"{path}: TorchScript, which is code and is not run; save the state_dict of the network")
    if sum(entry.file_size for entry in entries) > MOST_TIMES * path.stat().st_size:
        raise UserError(f"{path}: would unpack to more than {MOST_TIMES} times its size, which no weights do")


def load_weights(network: nn.Module, path: Path, param_key: str | None = None, strict: bool = True) -> Transfer:
    """Loads a weights file into a network, and reports what matched.

    The file may hold a larger model that the network is a part of, behind a prefix such as `generator.`.

    Args:
        strict: all names and shapes have to be equal. Without it what fits is loaded and the rest stays as it is: how
            training starts from a model of another scale or size.

    Raises:
        UserError: strict and the names or shapes differ, or not one tensor fits. The message lists the differences.
    """
    own = network.state_dict()
    weights = _part(read_weights(path, param_key).tensors, own)
    shared = [name for name in own if name in weights]
    transfer = Transfer(
        path,
        type(network).__name__,
        matched=tuple(name for name in shared if own[name].shape == weights[name].shape),
        missing=tuple(name for name in own if name not in weights),
        unexpected=tuple(name for name in weights if name not in own),
        reshaped={
            name: (tuple(weights[name].shape), tuple(own[name].shape))
            for name in shared
            if own[name].shape != weights[name].shape
        },
    )
    if strict and not transfer.complete:
        told = f"{path}: does not fit {transfer.arch}: {transfer.differences}"
        raise UserError(f"{told}; or set path.strict_load_g: false")
    if not transfer.matched:
        raise UserError(f"{path}: not one tensor fits {transfer.arch}: {transfer.differences}")
    try:
        network.load_state_dict(own | {name: weights[name] for name in transfer.matched})
    except RuntimeError as error:  # tensors of kinds that cannot be copied into others
        raise UserError(f"{path}: does not fit {transfer.arch}: {str(error).splitlines()[-1].strip()}") from error
    return transfer


def _part(tensors: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What stands behind a prefix that all names in `own` have among the tensors, without it; else all of them."""
    first = next(iter(own), "")
    if first in tensors:
        return tensors
    for prefix in (name.removesuffix(first) for name in tensors if name.endswith(f".{first}")):
        if all(prefix + name in tensors for name in own):
            return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return tensors


def blend(one: Path, other: Path, share: float) -> Weights:
    """The model between two models: `share` of the first and the rest of the second, tensor by tensor.

    Between two trainings of one network with a common beginning, such as one that removes noise and one that keeps it,
    the result does a bit of both (Wang et al., "Deep network interpolation", CVPR 2019). Half precision becomes
    float32; whole numbers, which count something, are the first one's.

    Raises:
        UserError: the share is outside [0, 1], or the two have other tensors or belong to other networks.
    """
    if not 0 <= share <= 1:
        raise UserError(f"share {share:g}: has to be between 0 and 1")
    first, second = read_weights(one), read_weights(other)
    _same_network(first, second, f"{one} and {other}")
    tensors = {
        name: tensor
        if not tensor.is_floating_point()
        else (share * tensor.double() + (1 - share) * second.tensors[name].double()).float()
        for name, tensor in first.tensors.items()
    }
    known = second.facts | first.facts
    facts = {key: known[key] for key in ("arch", "scale") if key in known}
    return Weights(tensors, facts | {"blend": {"share": share, "of": [one.name, other.name]}})


def _same_network(first: Weights, second: Weights, where: str) -> None:
    one, other = first.tensors, second.tensors
    only_one, only_other = ([name for name in a if name not in b] for a, b in ((one, other), (other, one)))
    shapes = [
        f"{name}: {list(one[name].shape)} and {list(other[name].shape)}"
        for name in one
        if name in other and one[name].shape != other[name].shape
    ]
    kinds = (("in the first only", only_one), ("in the second only", only_other), ("of two shapes", shapes))
    if differences := _listed(kinds):
        raise UserError(f"{where}: cannot be blended: {differences}")
    archs = [weights.facts.get("arch") for weights in (first, second)]
    if archs[0] != archs[1] and all(archs):
        raise UserError(f"{where}: cannot be blended: {archs[0]} and {archs[1]} are two networks")


def _listed(kinds: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Each kind of difference that there is, with its number and the first of its names."""
    return "; ".join(
        f"{len(names)} {what} ({', '.join(map(_plain, names[:LISTED]))}{', ...' if len(names) > LISTED else ''})"
        for what, names in kinds
        if names
    )


def _plain(name: str) -> str:
    """A name out of a file as a message may have it: on one line, and not without end."""
    plain = name if name.isprintable() else ascii(name)
    return plain if len(plain) <= LONGEST else f"{plain[:LONGEST]}..."


def read_facts(path: Path) -> dict[str, Any]:
    """What a weights file says of itself, its tensors unread. `path` and errors are those of `read_weights`."""
    path = locate(path)
    if facts := diffusers_folder.facts_beside(path):
        return said.checked(facts, path)
    return _read_safetensors(path, tensors=False).facts if path.suffix == ".safetensors" else {}


def _read_safetensors(path: Path, tensors: bool = True) -> Weights:
    try:
        with safe_open(path, framework="pt") as file:
            facts = said.checked(said.parsed((file.metadata() or {}).get(HEADER, "{}")), path)
            return Weights({name: file.get_tensor(name) for name in file.keys() if tensors}, facts)  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: broken safetensors file: {error}") from error


def _state_in(state: Any, param_key: str | None, path: Path) -> dict[str, Tensor]:
    keys = [param_key] if param_key else [key for key in PARAM_KEYS if isinstance(state, dict) and key in state][:1]
    for key in keys:
        if not isinstance(state, dict) or key not in state:
            names = [_plain(str(name)) for name in list(state)[:LISTED]] if isinstance(state, dict) else []
            known = ", ".join(names) or type(state).__name__
            raise UserError(f"{path}: no entry `{key}`; the file holds {known}")
        state = state[key]
    if not isinstance(state, dict) or not all(isinstance(n, str) and is_plain(value) for n, value in state.items()):
        raise UserError(f"{path}: holds no plain table of tensors; name the entry with path.param_key_g")
    return {name.removeprefix("module."): value for name, value in state.items()}


def is_plain(value: object) -> bool:
    """Whether it is a tensor with all its numbers: not one that repeats a few without end, nor of a special kind."""
    if not isinstance(value, Tensor) or value.layout is not torch.strided or value.is_quantized or value.is_meta:
        return False
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes()
