"""The noise-predicting U-Net of DDPM (Ho et al., NeurIPS 2020, arXiv:2006.11239), as diffusers' UNet2DModel has it."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from restore.archs.blocks.denoising import Double, Halve, Level, TimeEmbedding, Width, time_waves
from restore.ranges import Count, Depth, Positive
from restore.registry import ARCHS


@ARCHS.register
class DenoisingUNet(nn.Module):
    """Tells the noise in a picture from the picture, given how far the diffusion has gone.

    State-dict keys and results are those of an unconditional `UNet2DModel` of diffusers, so that folders it saved, such
    as google/ddpm-ema-celebahq-256, load as they are; docs/weights.md says how. The defaults are for faces of 64 px.

    Args:
        block_out_channels: channels at full size, at half of it, and so on. Published: 128, 128, 256, 256, 512, 512.
        layers_per_block: residual blocks of each size on the way down; the way up has one more. Published: 2.
        attention_levels: the sizes that attend, 0 being full size. Published for 256 px: 4, which is 16 px.
        attention_head_dim: channels of one head; None is one head of all.
        norm_num_groups: groups of the normalisation, a divisor of all `block_out_channels`. Published: 32.
        norm_eps: 1e-6 published; diffusers' default is 1e-5.
        dropout: share of a residual block's channels that training drops.
        downsample_padding: 1 pads all around before halving; 0 only right and below, as published.
        flip_sin_to_cos: the time's cosines come before its sines; false published.
        freq_shift: 1 reaches the slowest wave of the time, as published; 0 stops before it.
    """

    def __init__(
        self,
        block_out_channels: Annotated[Sequence[Positive], Field(min_length=1)] = (32, 64, 128, 128),
        layers_per_block: Depth = 1,
        attention_levels: Sequence[Count] = (2, 3),
        attention_head_dim: Positive | None = None,
        norm_num_groups: Positive = 8,
        norm_eps: Annotated[float, Field(gt=0)] = 1e-6,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        downsample_padding: Literal[0, 1] = 1,
        flip_sin_to_cos: bool = False,
        freq_shift: Literal[0, 1] = 1,
    ) -> None:
        super().__init__()
        widths = list(block_out_channels)
        _check(widths, attention_levels, attention_head_dim, norm_num_groups)
        if widths[0] % 2 or widths[0] <= 2 * freq_shift:  # half are sines of the time
            raise ValueError(f"block_out_channels: the first is {widths[0]}, not even and {2 + 2 * freq_shift} or more")
        self.grad_checkpointing = False
        self.multiple = 2 ** (len(widths) - 1)
        self.flip_sin_to_cos, self.freq_shift = flip_sin_to_cos, freq_shift
        width = Width(4 * widths[0], norm_num_groups, norm_eps, attention_head_dim, dropout)
        self.conv_in = nn.Conv2d(3, widths[0], 3, padding=1)
        self.time_embedding = TimeEmbedding(widths[0], width.time)
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        across = [widths[0]]  # channels of what the way down leaves for the way up
        for number, (before, out_ch) in enumerate(pairwise([widths[0], *widths])):
            attending = layers_per_block if number in attention_levels else 0
            level = Level([before] + [out_ch] * (layers_per_block - 1), out_ch, attending, width)
            last = number == len(widths) - 1
            level.downsamplers = nn.ModuleList([] if last else [Halve(out_ch, downsample_padding)])
            self.down_blocks.append(level)
            across += [out_ch] * (layers_per_block + (not last))
        self.mid_block = Level([widths[-1]] * 2, widths[-1], 1, width)
        before = widths[-1]
        for number, out_ch in reversed(list(enumerate(widths))):
            count = layers_per_block + 1
            in_channels = [(out_ch if place else before) + across.pop() for place in range(count)]
            level = Level(in_channels, out_ch, count if number in attention_levels else 0, width)
            level.upsamplers = nn.ModuleList([Double(out_ch)] if number else [])
            self.up_blocks.append(level)
            before = out_ch
        self.conv_norm_out = width.norm(widths[0])
        self.conv_out = nn.Conv2d(widths[0], 3, 3, padding=1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Noisy pictures (N, 3, H, W), the clean ones being in [-1, 1], and steps (N,) to the noise in them, alike.

        Raises:
            ValueError: H or W cannot be halved as often as the network has levels.
        """
        height, width = x.shape[2:]
        if height % self.multiple or width % self.multiple:
            raise ValueError(f"DenoisingUNet takes sides in multiples of {self.multiple}, not {height}x{width}")
        waves = time_waves(time, self.conv_in.out_channels, self.flip_sin_to_cos, self.freq_shift)
        embedded = self.time_embedding(waves.to(self.conv_in.weight.dtype))
        feat = self.conv_in(x)
        across = [feat]
        for level in self.down_blocks:
            for number in range(len(level.resnets)):
                feat = self._run(level, number, feat, embedded)
                across.append(feat)
            for halve in level.downsamplers:
                feat = halve(feat)
                across.append(feat)
        for number in range(2):
            feat = self._run(self.mid_block, number, feat, embedded)
        for level in self.up_blocks:
            for number in range(len(level.resnets)):
                feat = self._run(level, number, torch.cat((feat, across.pop()), 1), embedded)
            for double in level.upsamplers:
                feat = double(feat)
        return self.conv_out(F.silu(self.conv_norm_out(feat)))

    def _run(self, level: nn.Module, number: int, x: Tensor, time: Tensor) -> Tensor:
        """One residual block; with `grad_checkpointing` its activations are computed again going backward."""
        if self.grad_checkpointing:
            return checkpoint(level, number, x, time, use_reentrant=False)
        return level(number, x, time)


def _check(widths: list[int], levels: Sequence[int], head_dim: int | None, groups: int) -> None:
    for number, channels in enumerate(widths):
        if channels % groups:
            raise ValueError(f"block_out_channels: {channels} is no multiple of the {groups} norm_num_groups")
        attends = number in levels or number == len(widths) - 1
        if attends and channels % (head_dim or 1):
            raise ValueError(f"block_out_channels: {channels} is no multiple of attention_head_dim, {head_dim}")
    if beyond := [level for level in levels if level >= len(widths)]:
        raise ValueError(f"attention_levels: there is no level {beyond[0]}, only 0 to {len(widths) - 1}")
