"""ArcFace (Deng et al., CVPR 2019) over residual networks: whose face it is, as 512 numbers."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from restore.errors import UserError
from restore.features.face_network import FaceNetwork
from restore.features.load import load_frozen

STAGES = ((64, 3), (128, 4), (256, 14), (512, 3))  # channels and units of IR-50


class _Attention(nn.Module):
    """Squeeze and excitation (Hu et al., CVPR 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // 16, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // 16, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gates: Tensor = self.fc2(self.fc1(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return x * gates


class _Unit(nn.Module):
    """A residual unit that is normalised first; where the width stays, what passes it by is only thinned out."""

    def __init__(self, in_ch: int, out_ch: int, stride: int, attention: bool) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        if in_ch != out_ch:
            convolution = nn.Conv2d(in_ch, out_ch, 1, stride, bias=False)
            self.shortcut_layer = nn.Sequential(convolution, nn.BatchNorm2d(out_ch))
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(in_ch),
            nn.Conv2d(in_ch, out_ch, 3, padding=1, bias=False),
            nn.PReLU(out_ch),
            nn.Conv2d(out_ch, out_ch, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(out_ch),
            *([_Attention(out_ch)] if attention else []),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.shortcut_layer(x) + self.res_layer(x)
        return y


class IR50(nn.Module):
    """IR-50, or IR-SE50 with `attention`, on the meta device; keys as facexlib's file and face.evoLVe's have them."""

    def __init__(self, attention: bool) -> None:
        super().__init__()
        with torch.device("meta"):
            self.input_layer = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64))
            self.input_layer.append(nn.PReLU(64))
            units, width = [], 64
            for channels, count in STAGES:
                for number in range(count):
                    units.append(_Unit(width, channels, 1 if number else 2, attention))
                    width = channels
            self.body = nn.Sequential(*units)
            tail = nn.Linear(512 * 7 * 7, 512), nn.BatchNorm1d(512)
            self.output_layer = nn.Sequential(nn.BatchNorm2d(512), nn.Dropout(), nn.Flatten(), *tail)

    def forward(self, faces: Tensor) -> Tensor:
        """(N, 3, 112, 112) RGB in [0, 1] to (N, 512)."""
        vectors: Tensor = self.output_layer(self.body(self.input_layer(2 * faces - 1)))
        return vectors


class ArcFace(FaceNetwork):
    """IR-SE50 as facexlib offers it, trained on MS-Celeb-1M.

    Raises:
        UserError: the file is missing, damaged, or does not hold this network.
    """

    def __init__(self, weights: str | None = None) -> None:
        super().__init__()
        self.network = IR50(attention=True)
        load_frozen(self.network, "arcface", weights)
        self.eval()

    def forward(self, faces: Tensor) -> Tensor:
        """(N, 3, 112, 112) aligned RGB faces in [0, 1] to (N, 512)."""
        vectors: Tensor = self.network(faces)
        return vectors


class _GreyUnit(nn.Module):
    """A residual unit of `ArcFace18`: one activation for both places."""

    def __init__(self, in_ch: int, out_ch: int, stride: int) -> None:
        super().__init__()
        self.bn0, self.bn1, self.bn2 = nn.BatchNorm2d(in_ch), nn.BatchNorm2d(in_ch), nn.BatchNorm2d(out_ch)
        self.conv1 = nn.Conv2d(in_ch, in_ch, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(in_ch, out_ch, 3, stride, padding=1, bias=False)
        self.prelu = nn.PReLU()
        self.downsample: nn.Module = nn.Identity()
        if in_ch != out_ch:
            convolution = nn.Conv2d(in_ch, out_ch, 1, stride, bias=False)
            self.downsample = nn.Sequential(convolution, nn.BatchNorm2d(out_ch))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.prelu(self.bn1(self.conv1(self.bn0(x))))))
        z: Tensor = self.prelu(y + self.downsample(x))
        return z


class ArcFace18(FaceNetwork):
    """The ResNet-18 that GFPGAN's identity loss looks through, grey; keys are those of `arcface_resnet18.pth`.

    Faces are placed as in FFHQ's frame, as GFPGAN's pictures are. No hash of the file is published, so that it is given
    by its path.

    Raises:
        UserError: no file is given, or it is missing, damaged, or does not hold this network.
    """

    size = (128, 128)
    template = ((48.268, 61.132), (78.732, 61.132), (63.5, 79.948), (49.996, 92.812), (77.004, 92.812))
    grey: ClassVar[tuple[float, float, float]] = (0.2989, 0.5870, 0.1140)

    def __init__(self, weights: str | None = None) -> None:
        super().__init__()
        if weights is None:
            raise UserError("arcface18: needs `weights: FILE`: arcface_resnet18.pth, of GFPGAN's release v0.1.0")
        with torch.device("meta"):
            self._lay_out()
        load_frozen(self, "arcface18", weights)

    def _lay_out(self) -> None:
        self.conv1, self.bn1, self.prelu = nn.Conv2d(1, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.PReLU()
        self.maxpool = nn.MaxPool2d(2)
        self.layer1 = nn.Sequential(_GreyUnit(64, 64, 1), _GreyUnit(64, 64, 1))
        self.layer2 = nn.Sequential(_GreyUnit(64, 128, 2), _GreyUnit(128, 128, 1))
        self.layer3 = nn.Sequential(_GreyUnit(128, 256, 2), _GreyUnit(256, 256, 1))
        self.layer4 = nn.Sequential(_GreyUnit(256, 512, 2), _GreyUnit(512, 512, 1))
        self.bn4, self.fc5, self.bn5 = nn.BatchNorm2d(512), nn.Linear(512 * 8 * 8, 512), nn.BatchNorm1d(512)

    def forward(self, faces: Tensor) -> Tensor:
        """(N, 3, 128, 128) aligned RGB faces in [0, 1] to (N, 512)."""
        grey = (faces * faces.new_tensor(self.grey).view(3, 1, 1)).sum(1, keepdim=True)
        x = self.maxpool(self.prelu(self.bn1(self.conv1(2 * grey - 1))))
        x = self.bn4(self.layer4(self.layer3(self.layer2(self.layer1(x)))))
        vectors: Tensor = self.bn5(self.fc5(x.flatten(1)))
        return vectors
