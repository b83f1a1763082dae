"""Attention between an image's places and a few latents (Hudson and Zitnick, ICML 2021, arXiv:2103.01209)."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

Mode = Literal["simplex", "duplex"]


def positions(height: int, width: int, channels: int, like: Tensor) -> Tensor:
    """Sinusoidal encodings of a grid's places, (H * W, channels): half of them tell the row, half the column.

    Vaswani et al., "Attention is all you need" (NeurIPS 2017). Places count in shares of the side, so that a grid of
    another size is the same picture.
    """
    pairs = math.ceil(channels / 4)
    waves = math.pi * 2 ** torch.linspace(0, 6, pairs, device=like.device, dtype=like.dtype)
    encoded = []
    for size, axis in ((height, 0), (width, 1)):
        place = (torch.arange(size, device=like.device, dtype=like.dtype) + 0.5) / size
        angles = place[:, None] * waves
        both = torch.cat((angles.sin(), angles.cos()), 1)
        encoded.append(both[:, None].expand(-1, width, -1) if axis == 0 else both[None].expand(height, -1, -1))
    return torch.cat(encoded, 2).reshape(height * width, -1)[:, :channels]


class BipartiteAttention(nn.Module):
    """Lets latents modulate the features of an image, each place by those that it attends to.

    X' = gain(A) * norm(X) + shift(A), where A is what a place finds among the latents' values. In `simplex` mode the
    latents' keys are made of the latents. In `duplex` mode they are first moved to where the image is: each latent's
    key takes in the mean of the places assigned to it, K' = LN(K + centroids), as k-means would.

    Each latent has a learned key of its own beside what it says, so that it can stand for one kind of region.

    Args:
        num_feat: channels of the image's features.
        num_latent: latents.
        latent_dim: their size.
        mode: see above.
    """

    def __init__(self, num_feat: int, num_latent: int, latent_dim: int, mode: Mode) -> None:
        super().__init__()
        self.mode = mode
        self.keys = nn.Parameter(torch.randn(num_latent, num_feat) / num_feat**0.5)
        self.query, self.place = nn.Linear(num_feat, num_feat), nn.Linear(num_feat, num_feat)
        self.key, self.value = nn.Linear(latent_dim, num_feat, bias=False), nn.Linear(latent_dim, num_feat)
        if mode == "duplex":
            self.centre_query, self.centre_value = nn.Linear(num_feat, num_feat), nn.Linear(num_feat, num_feat)
            self.centre_norm = nn.LayerNorm(num_feat, bias=False)
            self.centre_key = nn.Linear(
                num_feat, num_feat, bias=False
            )  # it, like the norm's, would move all keys alike
        self.gain, self.shift = nn.Linear(num_feat, num_feat), nn.Linear(num_feat, num_feat)
        self.norm = nn.GroupNorm(1, num_feat, affine=False)

    def forward(self, x: Tensor, latents: Tensor) -> Tensor:
        """(N, C, H, W) and (N, k, D) to (N, C, H, W). Costs O(H W k)."""
        assigned, _ = self.assignments(x, latents)
        found = assigned @ self.value(latents)
        gain, shift = (layer(found).transpose(1, 2).unflatten(2, x.shape[2:]) for layer in (self.gain, self.shift))
        return self.norm(x) * (1 + gain) + shift

    def assignments(self, x: Tensor, latents: Tensor) -> tuple[Tensor, Tensor | None]:
        """How much each place takes of each latent, (N, H W, k), and how much of each place makes a latent's centroid.

        The first sums to one over the latents, the second, which `simplex` has not, over the places.
        """
        flat = x.flatten(2).transpose(1, 2)
        placed = flat + self.place(positions(*x.shape[2:], x.shape[1], x))
        keys = self.keys + self.key(latents)
        if self.mode == "simplex":
            return _softmax(self.query(placed), keys), None
        shares = _softmax(self.centre_query(placed), keys)
        shares = shares / shares.sum(dim=1, keepdim=True)
        centroids = shares.transpose(1, 2) @ self.centre_value(flat)
        keys = self.centre_key(self.centre_norm(keys + centroids))
        return _softmax(self.query(placed), keys), shares


def _softmax(queries: Tensor, keys: Tensor) -> Tensor:
    return torch.softmax(queries @ keys.transpose(1, 2) / keys.shape[-1] ** 0.5, dim=2)
