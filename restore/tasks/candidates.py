"""Several results of one picture, from networks that draw latents."""

import torch
from torch import Tensor, nn

from restore import keyed
from restore.errors import UserError


def latents_of(network: nn.Module, lq: Tensor, candidate: int) -> dict[str, Tensor]:
    """What the network is called with beside LQ, so that it makes its result number `candidate`; nothing for number 0.

    Latents hang on the number alone.

    Raises:
        UserError: the network has no latents, see `require_latents`.
    """
    if candidate == 0:
        return {}
    require_latents(network)
    generator = torch.Generator().manual_seed(keyed.number("candidate", candidate))
    latents: Tensor = network.draw(1, generator)  # type: ignore[operator]
    return {"latents": latents.expand(len(lq), *latents.shape[1:]).to(lq)}


def require_latents(network: nn.Module) -> None:
    """Raises `UserError` where a network has one result for each picture."""
    if not hasattr(network, "draw"):
        name = type(network).__name__
        raise UserError(f"{name} makes one result of a picture: ask for 1 candidate, or of a GANsformer or a diffusion")
