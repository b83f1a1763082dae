"""FaceEnhanceNet: channel attention in residual groups for faces, in full size and for CPUs and phones."""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from restore.archs.blocks.attention import ResidualGroup
from restore.archs.blocks.residual import init_small, pixel_shuffles, run_blocks
from restore.ranges import Depth, Positive
from restore.registry import ARCHS

Upscale = Literal[1, 2, 4, 8, 16]


class _FaceNet(nn.Module):
    """Residual groups at the input's size; `tail` makes a picture of their features, added to the enlarged input."""

    def __init__(
        self, num_feat: int, num_group: int, num_block: int, reduction: int, upscale: int, tail: list[nn.Module]
    ) -> None:
        super().__init__()
        self.upscale = upscale
        self.grad_checkpointing = False
        self.conv_first = nn.Conv2d(3, num_feat, 3, padding=1)
        self.body = nn.Sequential(*(ResidualGroup(num_feat, num_block, reduction) for _ in range(num_group)))
        self.conv_after_body = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.tail = nn.Sequential(*tail)
        init_small([layer for layer in tail if isinstance(layer, nn.Conv2d)][-1])  # begins as the enlarged input

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 3, H * upscale, W * upscale)."""
        feat = self.conv_first(x)
        feat = feat + self.conv_after_body(run_blocks(self.body, feat, self.grad_checkpointing))
        base = F.interpolate(x, scale_factor=self.upscale, mode="bilinear") if self.upscale > 1 else x
        return base + self.tail(feat)  # in the input's precision, also where autocast made the residual bfloat16


@ARCHS.register
class FaceEnhanceNet(_FaceNet):
    """Sixty residual blocks with channel attention (RCAN's, with a milder reduction), then pixel shuffles by 2.

    Args:
        num_feat: channels inside.
        num_group: residual groups.
        num_block: residual blocks of a group.
        reduction: how many times fewer channels the attention has inside.
        upscale: factor between input and output size.
    """

    def __init__(
        self,
        num_feat: Positive = 64,
        num_group: Depth = 6,
        num_block: Depth = 10,
        reduction: Positive = 4,
        upscale: Upscale = 4,
    ) -> None:
        tail = [*pixel_shuffles(num_feat, upscale), nn.Conv2d(num_feat, 3, 3, padding=1)]
        super().__init__(num_feat, num_group, num_block, reduction, upscale, tail)


@ARCHS.register
class FaceEnhanceNetLight(_FaceNet):
    """FaceEnhanceNet for CPUs and phones: narrower, shallower, and nothing computed at the output's size.

    One convolution at the input's size makes all pixels of the output, shuffled into place.

    Args:
        num_feat: channels inside.
        num_group: residual groups.
        num_block: residual blocks of a group.
        reduction: how many times fewer channels the attention has inside.
        upscale: factor between input and output size.
    """

    def __init__(
        self,
        num_feat: Positive = 32,
        num_group: Depth = 3,
        num_block: Depth = 4,
        reduction: Positive = 4,
        upscale: Upscale = 4,
    ) -> None:
        tail = [nn.Conv2d(num_feat, 3 * upscale**2, 3, padding=1), nn.PixelShuffle(upscale)]
        super().__init__(num_feat, num_group, num_block, reduction, upscale, tail)
