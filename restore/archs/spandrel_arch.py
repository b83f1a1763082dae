"""Networks that only spandrel knows, out of their published files (https://github.com/chaiNNer-org/spandrel)."""

import contextlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restore.errors import UserError
from restore.facts import bounded
from restore.options.paths import DataPath, resolve
from restore.ranges import Share
from restore.registry import ARCHS
from restore.weights import is_plain, read_pickled, read_weights

COLOURS = 3
FACE = 512  # side of the frames that face models are published for
WEIGHT = "weight"  # what CodeFormer calls fidelity
# Called by spandrel as they are, which is from [-1, 1] to [-1, 1]; and what makes the same picture of the same picture.
SIGNED: dict[str, dict[str, Any]] = {"GFPGAN": {"randomize_noise": False}, "CodeFormer": {}}


@ARCHS.register
class Spandrel(nn.Module):
    """Any network that spandrel recognises by its weights: SwinIR, HAT, DAT, old ESRGAN, and some forty more.

    It comes with the file's weights, and can be trained further.

    GFPGAN and RestoreFormer are among them, and with the package `spandrel_extra_arches`, whose licences are others,
    CodeFormer: these are for upright faces of 512 px.

    Args:
        file: the published checkpoint: .pth, .pt, .ckpt or .safetensors.
        fidelity: of networks that weigh likeness against quality, as CodeFormer does: 0 is sharpest, 1 nearest to the
            input; None: as published.

    Raises:
        UserError: spandrel is not installed, does not know the file, or it is no network from RGB to RGB, or has no
            fidelity to set.
    """

    brings_weights = True

    def __init__(self, file: DataPath, fidelity: Share | None = None) -> None:
        super().__init__()
        found = _load(file)
        self.scale = found.scale
        self.model = found.model
        self.sizes = found.size_requirements
        self.call = found._call_fn  # its public call runs in inference mode, which no gradient passes
        self.faces = found.purpose == "FaceSR"
        self.size = FACE if self.faces else None
        name, settings = found.architecture.name, SIGNED.get(str(found.architecture.id), {})
        if fidelity is not None:
            if WEIGHT not in inspect.signature(type(self.model).forward).parameters:
                raise UserError(f"Spandrel: {file}: {name} has no fidelity to set; CodeFormer has")
            settings = settings | {WEIGHT: fidelity}
        if str(found.architecture.id) in SIGNED:
            self.call = lambda model, x: (model(2 * x - 1, **settings)[0] + 1) / 2

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 3, H * scale, W * scale); padded where the network asks for multiples of a size."""
        height, width = x.shape[-2:]
        right, below = self.sizes.get_padding(width, height)
        out = self.call(self.model, F.pad(x, (0, right, 0, below), mode="replicate"))
        return out[..., : height * self.scale, : width * self.scale]


def _load(file: str) -> "spandrel.ImageModelDescriptor":  # noqa: F821 - an optional package
    try:
        import spandrel
    except ImportError as error:
        raise UserError(f"Spandrel: {file}: spandrel is not installed; `pip install spandrel`") from error
    with contextlib.suppress(ImportError):
        import spandrel_extra_arches

        spandrel_extra_arches.install(ignore_duplicates=True)
    try:
        path = resolve(file)
        # On the CPU also where networks are built without storage, to count their parameters.
        with torch.device("cpu"), bounded(path):
            found = spandrel.ModelLoader("cpu").load_from_state_dict(spandrel.canonicalize_state_dict(_state(path)))
    except UserError:
        raise
    except Exception as error:  # a dozen kinds, from UnsupportedModelError to UnpicklingError
        said = str(error).partition("\n")[0]
        told = f"{type(error).__name__}: {said}" if said else type(error).__name__
        raise UserError(f"Spandrel: {file}: spandrel cannot load it ({told})") from error
    if not isinstance(found, spandrel.ImageModelDescriptor) or {found.input_channels, found.output_channels} != {
        COLOURS
    }:
        raise UserError(f"Spandrel: {file}: {found.architecture.name} is no network from RGB to RGB")
    found.model.float().requires_grad_()
    return found


def _state(path: Path) -> dict[str, Any]:
    """What is in a file, by our readers: spandrel's own run the code of TorchScript. Raises `UserError`."""
    state: Any = read_weights(path).tensors if path.suffix == ".safetensors" else read_pickled(path)
    if not isinstance(state, dict) or not all(is_plain(each) for each in _tensors(state)):
        raise UserError(f"{path}: holds no plain table of tensors")
    return state


def _tensors(state: dict[str, Any]) -> Iterator[Tensor]:
    """Those at any depth of tables in tables."""
    for value in state.values():
        if isinstance(value, dict):
            yield from _tensors(value)
        elif isinstance(value, Tensor):
            yield value
