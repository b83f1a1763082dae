"""Weights for feature networks: the registered file, another one, or random ones for tests."""

import warnings
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from restore import keyed, pretrained
from restore.errors import UserError
from restore.weights import read_weights

RANDOM = "random"


class Frozen(nn.Module):
    """Base of the feature networks, which stay in evaluation, whatever the module that holds them is told."""

    def train(self, mode: bool = True) -> Self:
        return super().train(False)


def load_frozen(network: nn.Module, name: str, weights: str | None = None, prefix: str = "") -> None:
    """Fills a network that was built on the meta device, and freezes it. Draws nothing from torch's generator.

    Args:
        network: its state's names, behind `prefix`, are those in the file; what the file holds besides is left out.
        name: the file in `pretrained.FILES`.
        weights: None takes that file; a path takes another one of the same keys, unverified; `random` makes numbers
            that mean nothing, and says so in a warning.
        prefix: what stands before the names in the file.

    Raises:
        UserError: the file is missing, damaged, or does not hold this network.
    """
    wanted = network.state_dict()
    if weights == RANDOM:
        warnings.warn(f"{name}: random weights, as asked for; what is measured with them means nothing", stacklevel=2)
        state = random_state(wanted, name)
    else:
        path = Path(weights).expanduser() if weights else pretrained.find(name)
        tensors = read_weights(path).tensors
        state = {key: tensors[prefix + key].float() for key in wanted if prefix + key in tensors}
        wrong = [key for key in wanted if key not in state or state[key].shape != wanted[key].shape]
        if wrong:
            raise UserError(f"{path}: does not hold `{name}`: no {prefix}{wrong[0]} of {tuple(wanted[wrong[0]].shape)}")
    network.load_state_dict(state, assign=True)
    network.requires_grad_(False).eval()


def random_state(wanted: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Numbers in the place of weights, always the same: He's normal for kernels, 1 for scales, 0 for the rest."""
    generator = torch.Generator().manual_seed(keyed.number(0, "features", name))
    state = {}
    for key, tensor in wanted.items():
        if tensor.ndim > 1:
            scale = (2 / tensor[0].numel()) ** 0.5
            state[key] = torch.randn(tensor.shape, generator=generator) * scale
        else:
            ones = key.endswith(("weight", "running_var"))
            state[key] = (torch.ones if ones else torch.zeros)(tensor.shape, dtype=tensor.dtype)
    return state
