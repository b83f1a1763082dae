"""MultiScalePatchGAN: the discriminators of pix2pixHD (Wang et al., CVPR 2018, arXiv:1711.11585)."""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from restore.archs.patch_discriminator_arch import Norm, PatchGAN
from restore.ranges import Depth, Positive
from restore.registry import ARCHS


@ARCHS.register
class MultiScalePatchGAN(nn.Module):
    """A `PatchGAN` for the picture, one for the picture halved, and so on: patches twice as large with each.

    Three scales and halving by 3x3 means are pix2pixHD's; each discriminator is pix2pix's, with its padding of 1.

    Args:
        num_in_ch: channels of the input; 6 where it sees the network's input beside the picture.
        num_feat: channels of the first features of each.
        n_layers: convolutions behind the first, of each.
        norm: as `PatchGAN`'s; pix2pixHD's is `instance`.
        last_stride: as `PatchGAN`'s.
        num_scale: discriminators.
    """

    def __init__(
        self,
        num_in_ch: Positive = 3,
        num_feat: Positive = 64,
        n_layers: Depth = 3,
        norm: Norm = "instance",
        last_stride: Literal[1, 2] = 1,
        num_scale: Depth = 3,
    ) -> None:
        super().__init__()
        judges = (PatchGAN(num_in_ch, num_feat, n_layers, norm, last_stride) for _ in range(num_scale))
        self.scales = nn.ModuleList(judges)
        self.least = (self.scales[0].least - 1) * 2 ** (num_scale - 1) + 1  # halves are rounded up

    def layers(self, x: Tensor) -> list[list[Tensor]]:
        """`PatchGAN.layers` of each scale, from the full size on.

        Raises:
            ValueError: the picture is too small for the last scale.
        """
        height, width = x.shape[-2:]
        if min(height, width) < self.least:
            scales = len(self.scales)
            raise ValueError(f"{scales} scales of PatchGAN judge {self.least} px and more, not {width}x{height}")
        outputs = []
        for number, judge in enumerate(self.scales):
            if number:
                x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
            outputs.append(judge.layers(x))
        return outputs

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, C, H, W) to a list of logits, one (N, 1, H', W') a scale. Raises `ValueError` as `layers` does."""
        return [outputs[-1] for outputs in self.layers(x)]
