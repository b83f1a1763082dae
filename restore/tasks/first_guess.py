"""What sampling begins with where it does not begin with noise."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restore.errors import UserError
from restore.options.paths import resolve
from restore.precision import full
from restore.tasks.networks import takes_mask
from restore.tasks.own_network import own_network
from restore.weights import read_facts


class FirstGuess:
    """From what is left of pictures to rough pictures: what a network makes of it, or without one interpolation.

    Args:
        path: a trained model of any network for the same work, as `--model` takes it.
        scale: how much larger pictures are than what is left of them.
        device: where the network runs.

    Raises:
        UserError: the file does not say which network it is for, or it is for another scale or for noise.
    """

    def __init__(self, path: str | None, scale: int, device: torch.device) -> None:
        self.scale = scale
        self.network = None if path is None else _network(resolve(path), scale).to(device)

    def __call__(self, y: Tensor, missing: Tensor | None) -> Tensor:
        """`y` (N, 3, h, w) in [0, 1], black where it is `missing` (N, 1, h, w), to (N, 3, h * scale, w * scale)."""
        if self.network is None:
            return _interpolated(y, missing, self.scale)
        if takes_mask(self.network):
            missing = torch.zeros_like(y[:, :1]) if missing is None else missing
            return full(self.network(y, missing)).clamp(0, 1)
        return full(self.network(y)).clamp(0, 1)


def _interpolated(y: Tensor, missing: Tensor | None, scale: int) -> Tensor:
    """`y` with the mean of what is known in its holes, enlarged."""
    if missing is not None:
        mean = y.sum((2, 3), keepdim=True) / (1 - missing).sum((2, 3), keepdim=True).clamp(min=1)
        y = torch.where(missing > 0, mean, y)
    return F.interpolate(y, scale_factor=scale, mode="bicubic").clamp(0, 1) if scale > 1 else y


def _network(path: Path, scale: int) -> nn.Module:
    facts = read_facts(path)
    if (facts.get("task") or {}).get("type") == "Diffusion":
        raise UserError(f"task.start_with: {path}: is a diffusion itself; name a model that answers at once")
    if (facts.get("scale") or 1) != scale:
        raise UserError(f"task.start_with: {path}: enlarges {facts.get('scale') or 1} times, `scale` is {scale}")
    try:
        return own_network(path, facts)
    except UserError as error:
        raise UserError(f"task.start_with: {error}") from error
