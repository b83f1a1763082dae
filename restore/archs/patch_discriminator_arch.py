"""PatchGAN: the discriminator of pix2pix (Isola et al., CVPR 2017, arXiv:1611.07004)."""

from typing import Literal

from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from restore.ranges import Depth, Positive
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

    With a last stride of 2, and five 4x4 convolutions in all, it is PremiumGAN's: 22, 46, 94, 190 px.
    State-dict keys are pix2pix's (its NLayerDiscriminator), for `batch` and `instance`.

    Args:
        num_in_ch: channels of the input; 6 where it sees the network's input beside the picture, as in pix2pix.
        num_feat: channels of the first features.
        n_layers: convolutions behind the first, each with a norm.
        norm: `batch` as in pix2pix, `instance` as in CycleGAN, `spectral` (of the weights, in all layers), or none.
        last_stride: of the last of those; 1 in pix2pix, 2 in PremiumGAN. All others have 2.
    """

    def __init__(
        self,
        num_in_ch: Positive = 3,
        num_feat: Positive = 64,
        n_layers: Depth = 3,
        norm: Norm = "batch",
        last_stride: Literal[1, 2] = 1,
    ) -> None:
        super().__init__()
        self.least = (2 + last_stride) * 2**n_layers
        layers: list[nn.Module] = [_conv(num_in_ch, num_feat, 2, norm), nn.LeakyReLU(0.2, inplace=True)]
        channels = num_feat
        for number in range(1, n_layers + 1):
            width, stride = num_feat * min(2**number, 8), 2 if number < n_layers else last_stride
            layers += [
                _conv(channels, width, stride, norm, bias=norm != "batch"),
                _norm(norm, width),
                nn.LeakyReLU(0.2, inplace=True),
            ]
            channels = width
        self.model = nn.Sequential(*layers, _conv(channels, 1, 1, norm))

    def layers(self, x: Tensor) -> list[Tensor]:
        """What each layer puts out behind its activation, for feature matching, and at last the logits."""
        height, width = x.shape[-2:]
        if min(height, width) < self.least:
            raise ValueError(f"PatchGAN judges {self.least} px and more with these layers, not {width}x{height}")
        outputs = []
        for layer in self.model:
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU):
                outputs.append(x)
        return [*outputs, x]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to logits (N, 1, H', W'), one a patch: 30x30 for 256 px and three layers, 15x15 by stride 2.

        Raises:
            ValueError: the picture is too small for a single judgement.
        """
        return self.layers(x)[-1]
