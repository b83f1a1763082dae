"""UNet: the generator of PremiumGAN, a U-Net (Ronneberger et al., MICCAI 2015, arXiv:1505.04597) with batch norm."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from restore.archs.blocks.masked_picture import entering, leaving
from restore.archs.blocks.normalization import Norm, norm_layer
from restore.archs.blocks.self_attention import SelfAttention
from restore.ranges import Positive
from restore.registry import ARCHS


def _double_conv(in_ch: int, out_ch: int, norm: Norm) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (in_ch, out_ch):
        conv = nn.Conv2d(channels, out_ch, 3, padding=1, bias=norm == "none")  # a norm has a shift of its own
        layers += [conv, norm_layer(norm, out_ch), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


@ARCHS.register
class UNet(nn.Module):
    """Double convolutions down and up, each level's features handed across: PremiumGAN's layers by default.

    PremiumGAN itself saw no mask: `mask_channel: false` is the published network.

    Args:
        mask_channel: the network sees the mask as a fourth channel.
        num_feat: channels at full size; each level below has twice as many.
        num_level: how many times the size is halved.
        norm: behind each 3x3 convolution; `batch` needs batches of several pictures.
        attention: self-attention behind the bottleneck, at the smallest size.
        num_out_ch: channels of its answer: 3 of a picture, 1 of a mask.
    """

    def __init__(
        self,
        mask_channel: bool = True,
        num_feat: Positive = 64,
        num_level: Annotated[int, Field(ge=1, le=7)] = 4,
        norm: Norm = "batch",
        attention: bool = False,
        num_out_ch: Positive = 3,
    ) -> None:
        super().__init__()
        self.mask_channel, self.multiple = mask_channel, 2**num_level
        widths = [num_feat * 2**level for level in range(num_level + 1)]
        inputs = [3 + mask_channel, *widths]
        blocks = [_double_conv(in_ch, out_ch, norm) for in_ch, out_ch in zip(inputs, widths, strict=False)]
        self.down, self.bottleneck = nn.ModuleList(blocks[:-1]), blocks[-1]
        self.attention = SelfAttention(widths[-1]) if attention else nn.Identity()
        self.enlarge, self.up = nn.ModuleList(), nn.ModuleList()
        for width in reversed(widths[:-1]):
            self.enlarge.append(nn.ConvTranspose2d(2 * width, width, 2, stride=2))
            self.up.append(_double_conv(2 * width, width, norm))
        self.conv_last = nn.Conv2d(num_feat, num_out_ch, 1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(N, 3, H, W) and its mask (N, 1, H, W) to (N, num_out_ch, H, W). Raises `ValueError` where that misses."""
        # two places a side at the smallest size, since instance norm has nothing to average over one
        feat = entering(x, mask, self.mask_channel, self.multiple, 2 * self.multiple)
        across = []
        for block in self.down:
            feat = block(feat)
            across.append(feat)
            feat = F.max_pool2d(feat, 2)
        feat = self.attention(self.bottleneck(feat))
        for enlarge, block in zip(self.enlarge, self.up, strict=True):
            feat = block(torch.cat((across.pop(), enlarge(feat)), 1))
        return leaving(self.conv_last(feat), x)
