"""RRDBNet: the generator of ESRGAN (Wang et al., ECCV Workshops 2018) and of Real-ESRGAN (arXiv:2107.10833)."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restore.archs.blocks.residual import init_small, run_blocks
from restore.ranges import Depth, Positive
from restore.registry import ARCHS


class ResidualDenseBlock(nn.Module):
    """Five convolutions, each of which sees all features before it; a fifth of the last one's is added to the input."""

    def __init__(self, num_feat: int, num_grow_ch: int) -> None:
        super().__init__()
        for number in range(1, 5):
            channels = num_feat + (number - 1) * num_grow_ch
            setattr(self, f"conv{number}", nn.Conv2d(channels, num_grow_ch, 3, padding=1))
        self.conv5 = nn.Conv2d(num_feat + 4 * num_grow_ch, num_feat, 3, padding=1)
        self.lrelu = nn.LeakyReLU(0.2, inplace=True)
        init_small(self)

    def forward(self, x: Tensor) -> Tensor:
        feats = x
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            feats = torch.cat((feats, self.lrelu(conv(feats))), 1)
        return torch.add(x, self.conv5(feats), alpha=0.2)


class RRDB(nn.Module):
    """Three dense blocks, a fifth of whose result is added to the input."""

    def __init__(self, num_feat: int, num_grow_ch: int) -> None:
        super().__init__()
        self.rdb1 = ResidualDenseBlock(num_feat, num_grow_ch)
        self.rdb2 = ResidualDenseBlock(num_feat, num_grow_ch)
        self.rdb3 = ResidualDenseBlock(num_feat, num_grow_ch)

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, self.rdb3(self.rdb2(self.rdb1(x))), alpha=0.2)


@ARCHS.register
class RRDBNet(nn.Module):
    """Residual-in-residual dense blocks and two enlargements by 2, as in ESRGAN and Real-ESRGAN.

    State-dict keys are BasicSR's. The network enlarges by 4; for the scales 2 and 1 it works on the picture folded
    into channels (pixel-unshuffle by 2 and by 4), which is why those are fast.

    Args:
        num_in_ch: channels of the input.
        num_out_ch: channels of the output.
        scale: factor between input and output size.
        num_feat: channels inside.
        num_block: RRDBs; 23 in ESRGAN and RealESRGAN_x4plus, 6 in RealESRGAN_x4plus_anime_6B.
        num_grow_ch: channels that each convolution of a dense block adds.
    """

    def __init__(
        self,
        num_in_ch: Positive = 3,
        num_out_ch: Positive = 3,
        scale: Literal[1, 2, 4] = 4,
        num_feat: Positive = 64,
        num_block: Depth = 23,
        num_grow_ch: Positive = 32,
    ) -> None:
        super().__init__()
        self.fold = 4 // scale
        self.scale = scale
        self.grad_checkpointing = False
        self.conv_first = nn.Conv2d(num_in_ch * self.fold**2, num_feat, 3, padding=1)
        self.body = nn.Sequential(*(RRDB(num_feat, num_grow_ch) for _ in range(num_block)))
        self.conv_body = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv_up1 = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv_up2 = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv_hr = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv_last = nn.Conv2d(num_feat, num_out_ch, 3, padding=1)
        self.lrelu = nn.LeakyReLU(0.2, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H * scale, W * scale); sizes that cannot be folded are padded with their edge."""
        height, width = x.shape[-2:]
        padded = F.pad(x, (0, -width % self.fold, 0, -height % self.fold), mode="replicate")
        feat = self.conv_first(F.pixel_unshuffle(padded, self.fold))
        feat = feat + self.conv_body(run_blocks(self.body, feat, self.grad_checkpointing))
        for conv in (self.conv_up1, self.conv_up2):
            feat = self.lrelu(conv(F.interpolate(feat, scale_factor=2, mode="nearest")))
        out = self.conv_last(self.lrelu(self.conv_hr(feat)))
        return out[..., : height * self.scale, : width * self.scale]
