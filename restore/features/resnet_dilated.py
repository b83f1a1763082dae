"""ResNet-50 with dilated convolutions, as trained to segment scenes (Zhou et al., CVPR 2017; ADE20K).

Keys are those of `encoder_epoch_20.pth` of CSAIL's ade20k-resnet50dilated-ppm_deepsup. The last two stages keep the
size and dilate instead, so that a feature sees most of the picture (He et al., CVPR 2016; Yu and Koltun, ICLR 2016).
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restore.errors import UserError
from restore.features.layers import IMAGENET_MEAN, IMAGENET_STD
from restore.features.load import Frozen, load_frozen

ADDRESS = "http://sceneparsing.csail.mit.edu/model/pytorch/ade20k-resnet50dilated-ppm_deepsup/encoder_epoch_20.pth"


class _Norm(nn.Module):
    """Batch normalisation in evaluation; without PyTorch's counter of batches, which files of that age may lack."""

    running_mean: Tensor
    running_var: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name in ("running_mean", "running_var", "weight", "bias"):
            self.register_buffer(name, torch.empty(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias)


class Bottleneck(nn.Module):
    """1x1 to few channels, 3x3, 1x1 to four times as many; added to the input, or to a 1x1 convolution of it."""

    def __init__(self, in_ch: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(in_ch, width, 1, bias=False), _Norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = _Norm(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), _Norm(4 * width)
        if in_ch != 4 * width:
            self.downsample = nn.Sequential(nn.Conv2d(in_ch, 4 * width, 1, stride, bias=False), _Norm(4 * width))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu_(self.bn1(self.conv1(x)))
        y = torch.relu_(self.bn2(self.conv2(y)))
        beside = self.downsample(x) if hasattr(self, "downsample") else x
        return torch.relu(self.bn3(self.conv3(y)) + beside)


def _stage(in_ch: int, width: int, count: int, stride: int, first: int, rest: int) -> nn.Sequential:
    """Blocks, of which the first one may have another dilation: it takes the place of one with stride 2."""
    blocks = [Bottleneck(in_ch, width, stride, first)]
    return nn.Sequential(*blocks, *(Bottleneck(4 * width, width, 1, rest) for _ in range(count - 1)))


class _Trunk(nn.Sequential):
    """The layers under the names of the file."""

    def __init__(self) -> None:
        super().__init__(
            OrderedDict(
                conv1=nn.Conv2d(3, 64, 3, 2, padding=1, bias=False),
                bn1=_Norm(64),
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(64, 64, 3, padding=1, bias=False),
                bn2=_Norm(64),
                relu2=nn.ReLU(),
                conv3=nn.Conv2d(64, 128, 3, padding=1, bias=False),
                bn3=_Norm(128),
                relu3=nn.ReLU(),
                maxpool=nn.MaxPool2d(3, 2, padding=1),
                layer1=_stage(128, 64, 3, stride=1, first=1, rest=1),
                layer2=_stage(256, 128, 4, stride=2, first=1, rest=1),
                layer3=_stage(512, 256, 6, stride=1, first=1, rest=2),
                layer4=_stage(1024, 512, 3, stride=1, first=2, rest=4),
            )
        )


class ResNetDilated(Frozen):
    """The outputs of the four stages, frozen and in evaluation.

    Args:
        weights: the path of `encoder_epoch_20.pth`, or `random` for tests.

    Raises:
        UserError: no path, or the file is missing or holds another network.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, weights: str | None = None) -> None:
        super().__init__()
        if weights is None:  # no hash of it is published, so `pretrained` cannot verify it
            raise UserError(f"the dilated ResNet-50 is not fetched by itself: get {ADDRESS}, and name it as `weights`")
        with torch.device("meta"):
            self.trunk = _Trunk()
        load_frozen(self.trunk, "resnet50_dilated_ade20k", weights)
        self.register_buffer("shift", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, picture: Tensor) -> list[Tensor]:
        """(N, 3, H, W) RGB in [0, 1] to (N, 256, H/4, W/4), then 512, 1024 and 2048 channels at an eighth; float32."""
        x = (picture.float() - self.shift) / self.scale
        found = []
        for name, module in self.trunk.named_children():
            x = module(x)
            if name.startswith("layer"):
                found.append(x.float())
        return found
