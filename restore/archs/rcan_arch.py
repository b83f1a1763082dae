"""RCAN: Zhang et al., "Image Super-Resolution Using Very Deep Residual Channel Attention Networks" (ECCV 2018)."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restore.archs.blocks.attention import ResidualGroup
from restore.archs.blocks.residual import pixel_shuffles, run_blocks
from restore.ranges import Depth, Positive
from restore.registry import ARCHS


class MeanShift(nn.Module):
    """Adds `mean` to the channels: a fixed 1x1 convolution, for its keys `weight` and `bias` are in published files.

    Autocast would round levels of 128 to 255 to whole ones.
    """

    def __init__(self, mean: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", torch.eye(len(mean)).view(len(mean), len(mean), 1, 1))
        self.register_buffer("bias", mean)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False):  # `meta` knows no autocast
            return F.conv2d(x.to(self.weight.dtype), self.weight, self.bias)


@ARCHS.register
class RCAN(nn.Module):
    """RCAN, groups of residual blocks with channel attention, on mean-free pictures (Zhang et al., arXiv:1807.02758).

    State-dict keys are those of the authors' code, so that its weights load strictly.

    Args:
        num_feat: channels inside.
        num_group: residual groups.
        num_block: residual blocks of a group.
        reduction: how many times fewer channels the attention has inside.
        upscale: factor between input and output size.
        img_range: the network works on pictures in [0, img_range].
        rgb_mean: mean that is taken off before and added after, in [0, 1]; DIV2K's.
    """

    def __init__(
        self,
        num_feat: Positive = 64,
        num_group: Depth = 10,
        num_block: Depth = 20,
        reduction: Positive = 16,
        upscale: Literal[1, 2, 3, 4, 8, 16] = 4,
        img_range: float = 255.0,
        rgb_mean: tuple[float, float, float] = (0.4488, 0.4371, 0.4040),
    ) -> None:
        super().__init__()
        self.img_range = img_range
        self.grad_checkpointing = False
        colours, mean = len(rgb_mean), img_range * torch.tensor(rgb_mean)
        self.sub_mean, self.add_mean = MeanShift(-mean), MeanShift(mean)
        self.head = nn.Sequential(nn.Conv2d(colours, num_feat, 3, padding=1))
        groups = (ResidualGroup(num_feat, num_block, reduction) for _ in range(num_group))
        self.body = nn.Sequential(*groups, nn.Conv2d(num_feat, num_feat, 3, padding=1))
        larger = nn.Sequential(*pixel_shuffles(num_feat, upscale))
        self.tail = nn.Sequential(larger, nn.Conv2d(num_feat, colours, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H * upscale, W * upscale)."""
        feat = self.head(self.sub_mean(x * self.img_range))
        feat = feat + run_blocks(self.body, feat, self.grad_checkpointing)
        return self.add_mean(self.tail(feat)).to(x.dtype) / self.img_range
