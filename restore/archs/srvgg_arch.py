"""SRVGGNetCompact: the small networks of Real-ESRGAN (Wang et al., ICCV Workshops 2021, arXiv:2107.10833)."""

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from restore.ranges import Positive
from restore.registry import ARCHS


def _activation(kind: str, num_feat: int) -> nn.Module:
    if kind == "prelu":
        return nn.PReLU(num_feat)
    return nn.ReLU(inplace=True) if kind == "relu" else nn.LeakyReLU(0.1, inplace=True)


@ARCHS.register
class SRVGGNetCompact(nn.Module):
    """A chain of convolutions at the input's size, shuffled up at its end and added to the nearest-pixel enlargement.

    State-dict keys are Real-ESRGAN's (`body.0.weight`, ...): realesr-animevideov3 has 16 inner convolutions,
    realesr-general-x4v3 and its denoising partner have 32.

    Args:
        num_in_ch: channels of the input.
        num_out_ch: channels of the output; as many as the input's, or any number for an input of one.
        num_feat: channels inside.
        num_conv: convolutions between the first and the last.
        upscale: factor between input and output size.
        act_type: activation behind each convolution but the last.
    """

    def __init__(
        self,
        num_in_ch: Positive = 3,
        num_out_ch: Positive = 3,
        num_feat: Positive = 64,
        num_conv: Annotated[int, Field(ge=0, le=4096)] = 16,
        upscale: Positive = 4,
        act_type: Literal["prelu", "relu", "leakyrelu"] = "prelu",
    ) -> None:
        super().__init__()
        self.upscale = upscale
        layers: list[nn.Module] = []
        for channels in (num_in_ch, *[num_feat] * num_conv):
            layers += [nn.Conv2d(channels, num_feat, 3, padding=1), _activation(act_type, num_feat)]
        layers.append(nn.Conv2d(num_feat, num_out_ch * upscale**2, 3, padding=1))
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H * upscale, W * upscale)."""
        residual = F.pixel_shuffle(self.body(x), self.upscale)
        return F.interpolate(x, scale_factor=self.upscale, mode="nearest") + residual
