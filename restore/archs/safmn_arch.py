"""SAFMN: Sun et al., "Spatially-Adaptive Feature Modulation for Efficient Image Super-Resolution" (ICCV 2023)."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from restore.archs.blocks.residual import run_blocks
from restore.ranges import Depth, Positive
from restore.registry import ARCHS

LEVELS = 4
Dim = Annotated[int, Field(ge=LEVELS, le=4096, multiple_of=LEVELS)]
Growth = Annotated[float, Field(gt=0)]


class LayerNorm(nn.Module):
    """Normalises each pixel over its channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        normed = centred / torch.sqrt(centred.square().mean(1, keepdim=True) + 1e-6)
        return self.weight[:, None, None] * normed + self.bias[:, None, None]


class GlobalResponseNorm(nn.Module):
    """Scales each channel by its share of the picture's energy (Woo et al., "ConvNeXt V2", CVPR 2023)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, dim, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, dim, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        energy = torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True)
        share = energy / (energy.mean(1, keepdim=True) + 1e-6)
        return self.gamma * (x * share) + self.beta + x


class SAFM(nn.Module):
    """Modulates the input by what a quarter of its channels each see at one of four sizes.

    Args:
        dim: channels.
        bias: whether the convolutions have one.
        factors: what the sizes are divided by.
    """

    def __init__(self, dim: int, bias: bool, factors: tuple[int, ...]) -> None:
        super().__init__()
        self.factors = factors
        part = dim // LEVELS
        self.mfr = nn.ModuleList(nn.Conv2d(part, part, 3, padding=1, groups=part, bias=bias) for _ in range(LEVELS))
        self.aggr = nn.Conv2d(dim, dim, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        seen = []
        for conv, factor, part in zip(self.mfr, self.factors, x.chunk(LEVELS, 1), strict=True):
            if factor == 1:
                seen.append(conv(part))
            else:
                small = largest(part, factor)
                seen.append(F.interpolate(conv(small), size=size, mode="nearest"))
        return F.gelu(self.aggr(torch.cat(seen, 1))) * x


def largest(x: Tensor, factor: int) -> Tensor:
    """The largest values of areas that share out the picture: (N, C, H, W) to (N, C, H // factor, W // factor).

    No side becomes less than 1. For an export to all sizes, which knows no areas whose number hangs on the size, the
    same is written as a look-up of each area's rows, then of its columns: an area has less than 2 * factor of them.
    """
    sides = [max(1, side // factor) for side in x.shape[-2:]]
    if not torch.compiler.is_exporting():
        return F.adaptive_max_pool2d(x, sides)
    for dim, side in zip((2, 3), sides, strict=True):
        length, area = x.shape[dim], torch.arange(side, device=x.device)[:, None]
        last = ((area + 1) * length + side - 1) // side - 1
        places = torch.minimum(area * length // side + torch.arange(2 * factor, device=x.device), last)
        x = x.index_select(dim, places.flatten()).unflatten(dim, (side, 2 * factor)).amax(dim + 1)
    return x


class CCM(nn.Module):
    """Mixes channels: a 3x3 convolution that widens and a 1x1 one that narrows."""

    def __init__(self, dim: int, growth: float, bias: bool) -> None:
        super().__init__()
        hidden = int(dim * growth)
        self.ccm = nn.Sequential(
            nn.Conv2d(dim, hidden, 3, padding=1, bias=bias), nn.GELU(), nn.Conv2d(hidden, dim, 1, bias=bias)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.ccm(x)


class AttBlock(nn.Module):
    """Modulation, then mixing, each added to its input; the paper's with layer norms and biases."""

    def __init__(self, dim: int, growth: float, paper: bool) -> None:
        super().__init__()
        self.norm1 = LayerNorm(dim) if paper else nn.Identity()
        self.norm2 = LayerNorm(dim) if paper else nn.Identity()
        self.safm = SAFM(dim, paper, (1, 2, 4, 8) if paper else (1, 4, 8, 16))
        self.ccm = CCM(dim, growth, paper)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.safm(self.norm1(x))
        return x + self.ccm(self.norm2(x))


def _to_img(dim: int, upscale: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(dim, 3 * upscale**2, 3, padding=1), nn.PixelShuffle(upscale))


@ARCHS.register
class SAFMN(nn.Module):
    """SAFMN as in the paper (arXiv:2302.13800): light, and deep enough for x4 super-resolution.

    State-dict keys are those of the authors' code. Weights with `norm.gamma` in them are the
    challenge's version, `SAFMN_NTIRE2023`.

    Args:
        dim: channels inside, a multiple of 4; 36 in SAFMN, 128 in its large version.
        n_blocks: blocks; 8 in SAFMN, 16 in its large version.
        ffn_scale: how much wider the mixer is inside.
        upscale: factor between input and output size.
    """

    def __init__(self, dim: Dim = 36, n_blocks: Depth = 8, ffn_scale: Growth = 2.0, upscale: Positive = 4) -> None:
        super().__init__()
        self.grad_checkpointing = False
        self.to_feat = nn.Conv2d(3, dim, 3, padding=1)
        self.feats = nn.Sequential(*(AttBlock(dim, ffn_scale, paper=True) for _ in range(n_blocks)))
        self.to_img = _to_img(dim, upscale)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 3, H * upscale, W * upscale)."""
        feat = self.to_feat(x)
        return self.to_img(feat + run_blocks(self.feats, feat, self.grad_checkpointing))


@ARCHS.register
class SAFMN_NTIRE2023(nn.Module):
    """SAFMN as it entered the NTIRE 2023 challenge on efficient super-resolution (the authors' team15_SAFMN.pth).

    Against the paper's: no layer norms and biases in the blocks, modulation at smaller sizes, one global response norm,
    and the bilinear enlargement is added at the end.

    Args:
        dim: channels inside, a multiple of 4.
        n_blocks: blocks.
        ffn_scale: how much wider the mixer is inside.
        upscale: factor between input and output size.
    """

    def __init__(self, dim: Dim = 36, n_blocks: Depth = 8, ffn_scale: Growth = 2.0, upscale: Positive = 4) -> None:
        super().__init__()
        self.upscale = upscale
        self.grad_checkpointing = False
        self.norm = GlobalResponseNorm(dim)
        self.to_feat = nn.Conv2d(3, dim, 3, padding=1)
        self.feats = nn.Sequential(*(AttBlock(dim, ffn_scale, paper=False) for _ in range(n_blocks)))
        self.to_img = _to_img(dim, upscale)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 3, H * upscale, W * upscale)."""
        feat = run_blocks(self.feats, self.norm(self.to_feat(x)), self.grad_checkpointing)
        return F.interpolate(x, scale_factor=self.upscale, mode="bilinear") + self.to_img(feat)
