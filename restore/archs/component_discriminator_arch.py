"""The facial-component discriminators of GFPGAN (Wang et al., CVPR 2021, arXiv:2101.04061)."""

import torch
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from restore.ranges import Positive
from restore.registry import ARCHS


def _body(num_in_ch: int, num_feat: int) -> nn.Sequential:
    """Judges overlapping patches of a picture, at a quarter of its size."""
    layers: list[nn.Module] = []
    channels = num_in_ch
    for width, stride in ((1, 1), (2, 2), (2, 1), (4, 2), (4, 1)):
        conv = nn.Conv2d(channels, width * num_feat, 4 if stride == 2 else 3, stride, padding=1)
        layers += [spectral_norm(conv), nn.LeakyReLU(0.2, inplace=True)]
        channels = width * num_feat
    return nn.Sequential(*layers, nn.Conv2d(channels, 1, 3, padding=1))


@ARCHS.register
class FacialComponentDiscriminator(nn.Module):
    """A small discriminator for each of left eye, right eye and mouth, for `ComponentGANLoss`.

    Layers and widths are GFPGAN's, with spectral norm in the place of StyleGAN2's equalised learning rate.

    Args:
        num_in_ch: channels of the input.
        num_feat: channels of the first features.
    """

    def __init__(self, num_in_ch: Positive = 3, num_feat: Positive = 64) -> None:
        super().__init__()
        self.left_eye = _body(num_in_ch, num_feat)
        self.right_eye = _body(num_in_ch, num_feat)
        self.mouth = _body(num_in_ch, num_feat)

    def forward(self, x: Tensor) -> Tensor:
        """(3N, C, S, S), all left eyes, all right eyes, all mouths, to logits (3N, 1, S/4, S/4) in that order."""
        if len(x) % 3:
            raise ValueError(f"{len(x)} pictures are not as many left eyes, right eyes and mouths")
        bodies = (self.left_eye, self.right_eye, self.mouth)
        return torch.cat([body(part) for body, part in zip(bodies, x.chunk(3), strict=True)])
