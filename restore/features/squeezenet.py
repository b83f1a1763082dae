"""SqueezeNet 1.1 (Iandola et al., 2016), with torchvision's keys."""

import torch
from torch import Tensor, nn

from restore.features.layers import FeatureNetwork


class Fire(nn.Module):
    """A 1x1 convolution to few channels, then 1x1 and 3x3 ones side by side."""

    def __init__(self, channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to (N, 2 * expanded, H, W), at least 0."""
        x = torch.relu(self.squeeze(x))
        return torch.relu(torch.cat((self.expand1x1(x), self.expand3x3(x)), 1))


class SqueezeNet(FeatureNetwork):
    """SqueezeNet 1.1 as torchvision trained it: `conv1`, `relu1`, `pool1`, `fire2` ... `fire9`, all fires behind ReLU.

    Pools stand behind `fire3` and `fire5`, as `pool3` and `pool5`.
    """

    file = "squeezenet1_1"

    @classmethod
    def modules_by_name(cls) -> dict[str, nn.Module]:
        return {
            "conv1": nn.Conv2d(3, 64, 3, stride=2),
            "relu1": nn.ReLU(),
            "pool1": nn.MaxPool2d(3, 2, ceil_mode=True),
            "fire2": Fire(64, 16, 64),
            "fire3": Fire(128, 16, 64),
            "pool3": nn.MaxPool2d(3, 2, ceil_mode=True),
            "fire4": Fire(128, 32, 128),
            "fire5": Fire(256, 32, 128),
            "pool5": nn.MaxPool2d(3, 2, ceil_mode=True),
            "fire6": Fire(256, 48, 192),
            "fire7": Fire(384, 48, 192),
            "fire8": Fire(384, 64, 256),
            "fire9": Fire(512, 64, 256),
        }


class SqueezeNetCaffe(SqueezeNet):
    """SqueezeNet 1.1 as its authors trained it in Caffe, converted to torchvision's keys and input."""

    file = "squeezenet1_1_caffe"
