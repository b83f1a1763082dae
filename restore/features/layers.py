"""What the sequential feature networks share: layers that have names, and a pass that stops at the last one wanted."""

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn

from restore.errors import UserError, nearest
from restore.features.load import Frozen, load_frozen

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class FeatureNetwork(Frozen):
    """Frozen layers, one after the other, whose outputs are asked for by name.

    A subclass says what its layers are (`modules_by_name`, in order), which file they come from, and what the input
    is normalised by. Only the layers up to the last one wanted are built.

    Args:
        layers: names of the outputs wanted.
        weights: see `load_frozen`.

    Raises:
        UserError: an unknown layer, or the weights cannot be had.
    """

    file: ClassVar[str]  # in `pretrained.FILES`
    prefix: ClassVar[str] = "features."
    mean: ClassVar[tuple[float, float, float]] = IMAGENET_MEAN
    std: ClassVar[tuple[float, float, float]] = IMAGENET_STD

    shift: Tensor
    scale: Tensor

    def __init__(self, layers: Iterable[str], weights: str | None = None) -> None:
        super().__init__()
        self.wanted = tuple(layers)
        with torch.device("meta"):  # no time and no random numbers spent on weights that are replaced
            modules = self.modules_by_name()
        names = list(modules)
        for layer in self.wanted:
            if layer not in modules:
                hint = nearest(layer, names) or "; there are " + ", ".join(names)
                raise UserError(f"no layer `{layer}` in {type(self).__name__}{hint}")
        self.names = names[: 1 + max((names.index(layer) for layer in self.wanted), default=0)]
        self.trunk = nn.Sequential(*(modules[name] for name in self.names))
        load_frozen(self.trunk, self.file, weights, self.prefix)
        self.register_buffer("shift", torch.tensor(self.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(self.std).view(1, 3, 1, 1), persistent=False)

    @classmethod
    def modules_by_name(cls) -> dict[str, nn.Module]:
        """All layers of the network in their order."""
        raise NotImplementedError

    def forward(self, picture: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) RGB in [0, 1] to the wanted outputs by name, float32. Gradients flow to the picture."""
        return self.of_normalised((picture.float() - self.shift) / self.scale)

    def of_normalised(self, x: Tensor) -> dict[str, Tensor]:
        """As `forward`, of a picture that is normalised already."""
        found: dict[str, Tensor] = {}
        kept = False
        for name, module in zip(self.names, self.trunk, strict=True):
            in_place = isinstance(module, nn.ReLU) and not kept  # what is handed out must not be overwritten
            x = torch.relu_(x) if in_place else module(x)
            kept = name in self.wanted
            if kept:
                found[name] = x.float()
        return found
