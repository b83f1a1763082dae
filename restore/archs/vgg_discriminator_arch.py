"""The VGG-style discriminator of SRGAN and ESRGAN (Ledig et al., CVPR 2017; Wang et al., ECCV Workshops 2018)."""

from typing import Literal

from torch import Tensor, nn

from restore.ranges import Positive
from restore.registry import ARCHS

LAST = 4  # side of the last feature map


@ARCHS.register
class VGGStyleDiscriminator(nn.Module):
    """Convolutions and batch normalisation down to 4x4, then one judgement of the whole picture.

    State-dict keys are BasicSR's.

    Args:
        num_in_ch: channels of the input.
        num_feat: channels at full size.
        input_size: side of the pictures that it judges.
    """

    def __init__(self, num_in_ch: Positive = 3, num_feat: Positive = 64, input_size: Literal[128, 256] = 128) -> None:
        super().__init__()
        self.input_size = input_size
        self.stages = {128: 5, 256: 6}[input_size]
        channels = num_in_ch
        for stage in range(self.stages):
            width = num_feat * min(2**stage, 8)
            setattr(self, f"conv{stage}_0", nn.Conv2d(channels, width, 3, padding=1, bias=stage == 0))
            if stage > 0:
                setattr(self, f"bn{stage}_0", nn.BatchNorm2d(width))
            setattr(self, f"conv{stage}_1", nn.Conv2d(width, width, 4, 2, padding=1, bias=False))
            setattr(self, f"bn{stage}_1", nn.BatchNorm2d(width))
            channels = width
        self.linear1 = nn.Linear(channels * LAST**2, 100)
        self.linear2 = nn.Linear(100, 1)
        self.lrelu = nn.LeakyReLU(0.2, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, input_size, input_size) to logits (N, 1). Raises `ValueError` for another size."""
        if x.shape[-2:] != (self.input_size, self.input_size):
            raise ValueError(f"VGGStyleDiscriminator judges {self.input_size} px, not {tuple(x.shape[-2:])}")
        for stage in range(self.stages):
            for half in range(2):
                x = getattr(self, f"conv{stage}_{half}")(x)
                if (stage, half) != (0, 0):
                    x = getattr(self, f"bn{stage}_{half}")(x)
                x = self.lrelu(x)
        return self.linear2(self.lrelu(self.linear1(x.flatten(1))))
