"""Networks that only spandrel knows, out of their published files (https://github.com/chaiNNer-org/spandrel)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restore.errors import UserError
from restore.options.paths import DataPath, resolve
from restore.registry import ARCHS

COLOURS = 3


@ARCHS.register
class Spandrel(nn.Module):
    """Any network that spandrel recognises by its weights: SwinIR, HAT, DAT, old ESRGAN, and some forty more.

    It comes with the file's weights, and can be trained further.

    Args:
        file: the published checkpoint: .pth, .pt, .ckpt or .safetensors.

    Raises:
        UserError: spandrel is not installed, does not know the file, or it is no network from RGB to RGB.
    """

    brings_weights = True

    def __init__(self, file: DataPath) -> None:
        super().__init__()
        found = _load(file)
        self.scale = found.scale
        self.model = found.model
        self.sizes = found.size_requirements
        self.call = found._call_fn  # its public call runs in inference mode, which no gradient passes

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
    try:
        with torch.device("cpu"):  # also where networks are built without storage, to count their parameters
            found = spandrel.ModelLoader("cpu").load_from_file(resolve(file))
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
