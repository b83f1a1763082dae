"""Parts of the U-Net of DDPM (Ho et al., NeurIPS 2020, arXiv:2006.11239), with the state-dict keys of diffusers."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LONGEST = 10_000  # the ratio of the slowest and the quickest wave, Transformer's


@dataclass(frozen=True)
class Width:
    """What all blocks of one U-Net share: groups and epsilon of the norms, width of the time and of a head, dropout."""

    time: int
    groups: int
    eps: float
    head: int | None
    dropout: float

    def norm(self, channels: int) -> nn.GroupNorm:
        return nn.GroupNorm(self.groups, channels, self.eps)


def time_waves(time: Tensor, channels: int, cosine_first: bool, freq_shift: int) -> Tensor:
    """Sine and cosine of (N,) steps at geometric frequencies, float32 (N, channels); `channels` is even."""
    half = channels // 2
    steps = torch.arange(half, dtype=torch.float32, device=time.device)
    waves = time[:, None].float() * torch.exp(-math.log(LONGEST) * steps / (half - freq_shift))
    parts = (waves.cos(), waves.sin()) if cosine_first else (waves.sin(), waves.cos())
    return torch.cat(parts, dim=1)


class TimeEmbedding(nn.Module):
    """Two layers over the waves: (N, channels) to (N, width)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(channels, width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, waves: Tensor) -> Tensor:
        return self.linear_2(F.silu(self.linear_1(waves)))


class ResnetBlock(nn.Module):
    """norm - SiLU - conv, the time added, norm - SiLU - dropout - conv, and the input added: to `out_ch` channels."""

    def __init__(self, in_ch: int, out_ch: int, width: Width) -> None:
        super().__init__()
        self.norm1 = width.norm(in_ch)
        self.conv1 = nn.Conv2d(in_ch, out_ch, 3, padding=1)
        self.time_emb_proj = nn.Linear(width.time, out_ch)
        self.norm2 = width.norm(out_ch)
        self.dropout = nn.Dropout(width.dropout)
        self.conv2 = nn.Conv2d(out_ch, out_ch, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(in_ch, out_ch, 1) if in_ch != out_ch else None

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        inner = self.conv1(F.silu(self.norm1(x)))
        inner = inner + self.time_emb_proj(F.silu(time))[:, :, None, None]
        inner = self.conv2(self.dropout(F.silu(self.norm2(inner))))
        return inner + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class AttentionBlock(nn.Module):
    """Adds to each place what it finds at all others: (N, C, H, W) to the same shape.

    Memory stays linear in the places where PyTorch has a fused kernel, as on CPUs and on CUDA.
    """

    def __init__(self, channels: int, width: Width) -> None:
        super().__init__()
        self.heads = channels // (width.head or channels)
        self.group_norm = width.norm(channels)
        self.to_q = nn.Linear(channels, channels)
        self.to_k = nn.Linear(channels, channels)
        self.to_v = nn.Linear(channels, channels)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        places = self.group_norm(x).flatten(2).transpose(1, 2)  # (N, H * W, C)
        query, key, value = (
            layer(places).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.to_q, self.to_k, self.to_v)
        )
        found = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return x + self.to_out[0](found).transpose(1, 2).unflatten(2, x.shape[2:])


class Halve(nn.Module):
    """A convolution of stride 2. With `padding` 0 the picture gets its border on the right and below only."""

    def __init__(self, channels: int, padding: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=padding)
        self.border = (0, 1, 0, 1) if padding == 0 else (0, 0, 0, 0)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, self.border))


class Double(nn.Module):
    """Each pixel four times, and a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class Level(nn.Module):
    """Residual blocks of one size; the first `attending` of them are followed by attention.

    Args:
        in_channels: those of each residual block's input; all answer with `out_ch`.
    """

    def __init__(self, in_channels: list[int], out_ch: int, attending: int, width: Width) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(AttentionBlock(out_ch, width) for _ in range(attending))
        self.resnets = nn.ModuleList(ResnetBlock(in_ch, out_ch, width) for in_ch in in_channels)

    def forward(self, number: int, x: Tensor, time: Tensor) -> Tensor:
        """The residual block of that number, and its attention."""
        x = self.resnets[number](x, time)
        return self.attentions[number](x) if number < len(self.attentions) else x
