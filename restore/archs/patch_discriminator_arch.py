"""PatchGAN: the discriminator of pix2pix (Isola et al., CVPR 2017, arXiv:1611.07004)."""

from typing import Literal

from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from restore.ranges import Positive
from restore.registry import ARCHS

Norm = Literal["batch", "instance", "spectral", "none"]


def _conv(in_ch: int, out_ch: int, stride: int, norm: Norm, bias: bool = True) -> nn.Module:
    conv = nn.Conv2d(in_ch, out_ch, 4, stride, padding=1, bias=bias)
    return spectral_norm(conv) if norm == "spectral" else conv


def _norm(norm: Norm, channels: int) -> nn.Module:
    kinds = {"batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d}
    return kinds[norm](channels) if norm in kinds else nn.Identity()


@ARCHS.register
class PatchGAN(nn.Module):
    """Judges overlapping patches, each by itself: 16 px for one layer, 34 for two, 70 for three, 142 for four.

    State-dict keys are pix2pix's (its NLayerDiscriminator), for `batch` and `instance`.

    Args:
        num_in_ch: channels of the input.
        num_feat: channels of the first features.
        n_layers: convolutions that halve the size.
        norm: `batch` as in pix2pix, `instance` as in CycleGAN, `spectral` (of the weights, in all layers), or none.
    """

    def __init__(
        self, num_in_ch: Positive = 3, num_feat: Positive = 64, n_layers: Positive = 3, norm: Norm = "batch"
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv(num_in_ch, num_feat, 2, norm), nn.LeakyReLU(0.2, inplace=True)]
        channels = num_feat
        for number in range(1, n_layers + 1):
            width, stride = num_feat * min(2**number, 8), 2 if number < n_layers else 1
            layers += [
                _conv(channels, width, stride, norm, bias=norm != "batch"),
                _norm(norm, width),
                nn.LeakyReLU(0.2, inplace=True),
            ]
            channels = width
        self.model = nn.Sequential(*layers, _conv(channels, 1, 1, norm))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to logits (N, 1, H', W'), one a patch: 30x30 for 256 px and three layers."""
        return self.model(x)
