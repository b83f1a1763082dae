"""ContextEncoder: a picture through a code of one place (Pathak et al., CVPR 2016, arXiv:1604.07379)."""

from itertools import pairwise
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from restore.archs.blocks.masked_picture import entering, leaving
from restore.archs.blocks.normalization import Norm, norm_layer
from restore.archs.blocks.self_attention import SelfAttention
from restore.ranges import Positive
from restore.registry import ARCHS

KERNEL = 4


def _down(in_ch: int, out_ch: int, norm: Norm) -> nn.Sequential:
    conv = nn.Conv2d(in_ch, out_ch, KERNEL, stride=2, padding=1, bias=norm == "none")
    return nn.Sequential(conv, norm_layer(norm, out_ch), nn.LeakyReLU(0.2, inplace=True))


def _up(in_ch: int, out_ch: int, norm: Norm) -> nn.Sequential:
    conv = nn.ConvTranspose2d(in_ch, out_ch, KERNEL, stride=2, padding=1, bias=norm == "none")
    return nn.Sequential(conv, norm_layer(norm, out_ch), nn.ReLU(inplace=True))


def _init(*modules: nn.Module) -> None:
    """The authors' weights to begin with: normal, of standard deviation 0.02."""
    for layer in nn.ModuleList(modules).modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


@ARCHS.register
class ContextEncoder(nn.Module):
    """Halves the size down to a code of one place, and draws the whole picture from it, without skip connections.

    The layers are those of the authors' Torch code for holes anywhere (train_random.lua of pathak22/context-encoder,
    128 px), whose 4x4 bottleneck convolution stands for the paper's channel-wise fully connected layer. The mask
    channel and the options `norm` and `attention` are additions. Every size goes through it; the code sees all of the
    picture where the side is 4 * 2**num_level: 64 px for four levels, 128 for five, 256 for six, 512 for seven.

    Args:
        mask_channel: the network sees the mask as a fourth channel.
        num_feat: an eighth of the smallest level's channels; each before has half as many, this at least.
        num_level: how many times the size is halved.
        num_bottleneck: channels of the code; 4000 published, most of the parameters.
        norm: behind all convolutions but the first and the last; `batch` needs batches of several pictures.
        attention: self-attention before the bottleneck; for pictures larger than the bottleneck sees.
    """

    def __init__(
        self,
        mask_channel: bool = True,
        num_feat: Positive = 64,
        num_level: Annotated[int, Field(ge=1, le=10)] = 5,
        num_bottleneck: Positive = 4000,
        norm: Norm = "batch",
        attention: bool = False,
    ) -> None:
        super().__init__()
        self.mask_channel, self.multiple = mask_channel, 2**num_level
        widths = [num_feat * max(1, 8 >> level) for level in range(num_level)]  # from the smallest size up
        pairs = list(pairwise(widths))
        self.down = nn.Sequential(
            _down(3 + mask_channel, widths[-1], "none"), *(_down(larger, width, norm) for width, larger in pairs[::-1])
        )
        self.attention = SelfAttention(widths[0]) if attention else nn.Identity()
        inner = "none" if norm == "instance" else norm  # a code of one place has no variance
        bias = norm == "none"
        self.bottleneck = nn.Sequential(
            nn.Conv2d(widths[0], num_bottleneck, KERNEL, bias=inner == "none"),
            norm_layer(inner, num_bottleneck),
            nn.LeakyReLU(0.2, inplace=True),
            nn.ConvTranspose2d(num_bottleneck, widths[0], KERNEL, bias=bias),
            norm_layer(norm, widths[0]),
            nn.ReLU(inplace=True),
        )
        self.up = nn.Sequential(*(_up(width, larger, norm) for width, larger in pairs))
        self.conv_last = nn.ConvTranspose2d(widths[-1], 3, KERNEL, stride=2, padding=1)
        if norm != "none":  # without norms, signals would die of weights so small
            _init(self.down, self.bottleneck, self.up, self.conv_last)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(N, 3, H, W) and its mask (N, 1, H, W) to (N, 3, H, W). Raises `ValueError` without a mask it has to see."""
        feat = entering(x, mask, self.mask_channel, self.multiple, KERNEL * self.multiple)
        feat = self.bottleneck(self.attention(self.down(feat)))
        return leaving(self.conv_last(self.up(feat)), x)
