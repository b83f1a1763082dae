"""MSRResNet: the SRResNet generator without batch normalisation, as BasicSR modified it."""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from restore.archs.blocks.residual import ResidualBlockNoBN, init_small, pixel_shuffle_steps, run_blocks
from restore.ranges import Depth, Positive
from restore.registry import ARCHS


@ARCHS.register
class MSRResNet(nn.Module):
    """SRResNet without batch normalisation, added to the bilinear enlargement (Ledig et al., CVPR 2017).

    State-dict keys are BasicSR's, so that its weights load strictly.

    Args:
        num_in_ch: channels of the input.
        num_out_ch: channels of the output.
        num_feat: channels inside.
        num_block: residual blocks.
        upscale: factor between input and output size.
    """

    def __init__(
        self,
        num_in_ch: Positive = 3,
        num_out_ch: Positive = 3,
        num_feat: Positive = 64,
        num_block: Depth = 16,
        upscale: Literal[1, 2, 3, 4, 8, 16] = 4,
    ) -> None:
        super().__init__()
        self.upscale = upscale
        self.grad_checkpointing = False
        self.conv_first = nn.Conv2d(num_in_ch, num_feat, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlockNoBN(num_feat) for _ in range(num_block)))
        self.steps = pixel_shuffle_steps(upscale)
        for number, step in enumerate(self.steps, 1):
            setattr(self, f"upconv{number}", nn.Conv2d(num_feat, num_feat * step**2, 3, padding=1))
        self.conv_hr = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv_last = nn.Conv2d(num_feat, num_out_ch, 3, padding=1)
        self.lrelu = nn.LeakyReLU(0.1, inplace=True)
        init_small(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H * upscale, W * upscale)."""
        feat = self.lrelu(self.conv_first(x))
        feat = run_blocks(self.body, feat, self.grad_checkpointing)
        for number, step in enumerate(self.steps, 1):
            feat = self.lrelu(F.pixel_shuffle(getattr(self, f"upconv{number}")(feat), step))
        residual = self.conv_last(self.lrelu(self.conv_hr(feat)))
        base = F.interpolate(x, scale_factor=self.upscale, mode="bilinear") if self.upscale > 1 else x
        return base + residual  # in the input's precision, also where autocast made the residual bfloat16
