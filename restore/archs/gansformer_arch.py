"""GANsformer (Hudson and Zitnick, ICML 2021, arXiv:2103.01209), as a generator for inpainting."""

from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from restore.archs.blocks.bipartite_attention import BipartiteAttention, Mode
from restore.archs.blocks.masked_picture import entering
from restore.archs.blocks.modulated_conv import ModulatedConv
from restore.ranges import Depth, Positive
from restore.registry import ARCHS

WIDEST = 512  # channels


def _conv(in_ch: int, out_ch: int, stride: int = 1) -> nn.Conv2d:
    """He's initialisation: with PyTorch's own nothing of a picture is left after nine layers without normalization."""
    conv = nn.Conv2d(in_ch, out_ch, 3, stride, padding=1)
    nn.init.kaiming_normal_(conv.weight, a=0.2)
    nn.init.zeros_(conv.bias)
    return conv


class _Mapping(nn.Module):
    """Latents to styles: attention among them, then to the encoder's features, and a layer for each, `depth` times."""

    def __init__(self, latent_dim: int, num_feat: int, depth: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList()
        for _ in range(depth):
            step = nn.ModuleDict(
                {
                    "norm": nn.LayerNorm(latent_dim),
                    "among": nn.MultiheadAttention(latent_dim, 1, batch_first=True),
                    "to_image": nn.MultiheadAttention(latent_dim, 1, kdim=num_feat, vdim=num_feat, batch_first=True),
                    "layer": nn.Sequential(nn.Linear(latent_dim, latent_dim), nn.LeakyReLU(0.2)),
                }
            )
            self.steps.append(step)
        self.norm = nn.LayerNorm(latent_dim)

    def forward(self, latents: Tensor, features: Tensor) -> Tensor:
        """(N, k + 1, D) and (N, C, h, w) to (N, k + 1, D)."""
        places = features.flatten(2).transpose(1, 2)
        for step in self.steps:
            normal = step["norm"](latents)
            latents = latents + step["among"](normal, normal, normal, need_weights=False)[0]
            latents = latents + step["to_image"](latents, places, places, need_weights=False)[0]
            latents = latents + step["layer"](latents)
        return self.norm(latents)


class _Up(nn.Module):
    """One level of the decoder: twice the size, the encoder's features, noise, and what the latents have to say."""

    def __init__(self, in_ch: int, out_ch: int, style_dim: int, attention: BipartiteAttention | None) -> None:
        super().__init__()
        self.enlarge = ModulatedConv(in_ch, out_ch, style_dim)
        self.merge = ModulatedConv(2 * out_ch, out_ch, style_dim)
        self.noise = nn.Parameter(torch.zeros(2))
        self.attention = attention
        self.to_rgb = ModulatedConv(out_ch, 3, style_dim, kernel=1, demodulate=False)
        nn.init.normal_(self.to_rgb.weight, std=0.1 / out_ch**0.5)  # begins near grey

    def forward(self, x: Tensor, skip: Tensor, style: Tensor, latents: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        x = F.leaky_relu(self._noise(self.enlarge(x, style), 0), 0.2)
        x = self._noise(self.merge(torch.cat((x, skip), 1), style), 1)
        if self.attention is not None:
            x = self.attention(x, latents)
        return F.leaky_relu(x, 0.2)

    def _noise(self, x: Tensor, number: int) -> Tensor:
        """In training only: a result hangs on its picture and latents alone."""
        return x + self.noise[number] * torch.randn_like(x[:, :1]) if self.training else x


@ARCHS.register
class GANsformer(nn.Module):
    """An encoder of what is to be seen, and a decoder that a few latents steer, each where the image attends to it.

    The published generator draws pictures from nothing; here its latents look at the encoder's features first, and each
    level of the decoder takes those of its size. With other latents it draws another picture around the same pixels.

    Args:
        mask_channel: the network sees the mask as a fourth channel, and black in the hole.
        num_feat: channels at full size; each level below has twice as many, up to 512.
        num_level: how many times the size is halved.
        num_latent: latents that steer regions, beside the one that steers all; 16 published.
        latent_dim: the size of each.
        num_mapping: layers between latents and styles.
        mode: whether the latents' keys also follow the image: see `BipartiteAttention`.
        attend_from: stride of the finest grid that attends; 1 is every pixel.
    """

    def __init__(
        self,
        mask_channel: bool = True,
        num_feat: Positive = 32,
        num_level: Annotated[int, Field(ge=1, le=7)] = 4,
        num_latent: Depth = 16,
        latent_dim: Positive = 32,
        num_mapping: Depth = 4,
        mode: Mode = "duplex",
        attend_from: Positive = 2,
    ) -> None:
        super().__init__()
        self.mask_channel, self.multiple = mask_channel, 2**num_level
        self.num_latent, self.latent_dim = num_latent, latent_dim
        widths = [min(num_feat * 2**level, WIDEST) for level in range(num_level + 1)]
        self.conv_first = _conv(3 + mask_channel, widths[0])
        self.down = nn.ModuleList(
            nn.Sequential(
                _conv(width, width),
                nn.LeakyReLU(0.2),
                _conv(width, below, stride=2),
                nn.LeakyReLU(0.2),
            )
            for width, below in pairwise(widths)
        )
        self.mapping = _Mapping(latent_dim, widths[-1], num_mapping)
        self.style = nn.Linear(latent_dim + widths[-1], latent_dim)
        self.up = nn.ModuleList()
        for level in reversed(range(num_level)):
            attends = 2**level >= attend_from
            attention = BipartiteAttention(widths[level], num_latent, latent_dim, mode) if attends else None
            self.up.append(_Up(widths[level + 1], widths[level], latent_dim, attention))

    def forward(self, x: Tensor, mask: Tensor | None = None, latents: Tensor | None = None) -> Tensor:
        """(N, 3, H, W) and its mask (N, 1, H, W) to (N, 3, H, W). Raises `ValueError` without a mask it has to see.

        Args:
            latents: from `draw`; left out, training draws some, and otherwise they are the average ones.
        """
        seen = x * (1 - mask) if self.mask_channel and mask is not None else x
        feat = self.conv_first(entering(seen, mask, self.mask_channel, self.multiple, self.multiple))
        across = []
        for block in self.down:
            across.append(feat)
            feat = block(feat)
        if latents is None:
            count = x.shape[0]  # unlike len(x), not fixed in an exported network
            latents = self.draw(count).to(feat) if self.training else feat.new_zeros(self._shape(count))
        mapped = self.mapping(latents, feat)
        style = self.style(torch.cat((mapped[:, -1], feat.mean(dim=(2, 3))), 1))
        rgb: Tensor | None = None
        for block in self.up:
            feat = block(feat, across.pop(), style, mapped[:, :-1])
            drawn = block.to_rgb(feat, style)
            rgb = drawn if rgb is None else drawn + F.interpolate(rgb, scale_factor=2, mode="bilinear")
        assert rgb is not None
        height, width = x.shape[2:]  # linear, as published: a hole that tanh has made black stays black
        return (rgb[..., :height, :width].to(x.dtype) + 1) / 2

    def draw(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Latents of `count` pictures, (count, num_latent + 1, latent_dim), on the CPU; the last steers all of it."""
        return torch.randn(self._shape(count), generator=generator)

    def _shape(self, count: int) -> tuple[int, int, int]:
        return count, self.num_latent + 1, self.latent_dim
