"""EDSR: Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution" (CVPR Workshops 2017)."""

from typing import Literal

import torch
from torch import Tensor, nn

from restore.archs.blocks.residual import ResidualBlockNoBN, pixel_shuffles, run_blocks
from restore.ranges import Depth, Positive
from restore.registry import ARCHS


@ARCHS.register
class EDSR(nn.Module):
    """EDSR, a deep residual network without normalisation, on mean-free pictures (Lim et al., arXiv:1707.02921).

    State-dict keys are BasicSR's, so that its weights load strictly.

    Args:
        num_in_ch: channels of the input.
        num_out_ch: channels of the output.
        num_feat: channels inside; 64 is EDSR-M, 256 EDSR-L.
        num_block: residual blocks; 16 is EDSR-M, 32 EDSR-L.
        upscale: factor between input and output size.
        res_scale: factor on each block's residual; 0.1 for EDSR-L.
        img_range: the network works on pictures in [0, img_range].
        rgb_mean: mean that is taken off before and added after, in [0, 1]; DIV2K's.
    """

    def __init__(
        self,
        num_in_ch: Positive = 3,
        num_out_ch: Positive = 3,
        num_feat: Positive = 64,
        num_block: Depth = 16,
        upscale: Literal[1, 2, 3, 4, 8, 16] = 4,
        res_scale: float = 1.0,
        img_range: float = 255.0,
        rgb_mean: tuple[float, float, float] = (0.4488, 0.4371, 0.4040),
    ) -> None:
        super().__init__()
        self.img_range = img_range
        self.grad_checkpointing = False
        self.register_buffer("mean", torch.tensor(rgb_mean).view(1, -1, 1, 1), persistent=False)
        self.conv_first = nn.Conv2d(num_in_ch, num_feat, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlockNoBN(num_feat, res_scale) for _ in range(num_block)))
        self.conv_after_body = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.upsample = nn.Sequential(*pixel_shuffles(num_feat, upscale))
        self.conv_last = nn.Conv2d(num_feat, num_out_ch, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H * upscale, W * upscale)."""
        feat = self.conv_first((x - self.mean) * self.img_range)
        feat = feat + self.conv_after_body(run_blocks(self.body, feat, self.grad_checkpointing))
        return self.conv_last(self.upsample(feat)) / self.img_range + self.mean
