"""ResNet-50 for faces, from a file of one's own: which of its kinds the file holds, its names tell."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from restore import pretrained
from restore.errors import UserError
from restore.features.arcface import IR50, STAGES
from restore.features.face_network import FaceNetwork
from restore.features.layers import IMAGENET_MEAN, IMAGENET_STD
from restore.features.load import RANDOM, load_frozen
from restore.weights import read_weights

OBJECTS = 1000  # what ImageNet's networks tell apart
# torchvision's files of ResNet-50, by the first eight digits of their SHA-256, which are in their names.
IMAGENET_HASHES = ("0676ba61", "11ad3fa6", "19c8e357")
VGGFACE2_MEAN = (131.0912, 103.8827, 91.4953)  # of R, G, B in [0, 255]

# Of the average face in a crop as VGGFace2's authors make it: its box 1.3 times as large, the shorter side brought to
# 256 px, and of that the middle 224.
_LOOSE = ((66.4, 78.7), (156.6, 78.7), (111.5, 134.4), (71.5, 172.5), (151.5, 172.5))


class _Unit(nn.Module):
    """A residual unit of `_IResNet50`."""

    def __init__(self, in_ch: int, out_ch: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.bn2, self.bn3 = nn.BatchNorm2d(in_ch), nn.BatchNorm2d(out_ch), nn.BatchNorm2d(out_ch)
        self.conv1 = nn.Conv2d(in_ch, out_ch, 3, padding=1, bias=False)
        self.prelu = nn.PReLU(out_ch)
        self.conv2 = nn.Conv2d(out_ch, out_ch, 3, stride, padding=1, bias=False)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1:
            convolution = nn.Conv2d(in_ch, out_ch, 1, stride, bias=False)
            self.downsample = nn.Sequential(convolution, nn.BatchNorm2d(out_ch))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn3(self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x)))))) + self.downsample(x)
        return y


class _IResNet50(nn.Module):
    """IResNet-50 with InsightFace's keys (`arcface_torch`: ms1mv3, glint360k), on the meta device."""

    def __init__(self) -> None:
        super().__init__()
        with torch.device("meta"):
            self.conv1, self.bn1, self.prelu = (
                nn.Conv2d(3, 64, 3, padding=1, bias=False),
                nn.BatchNorm2d(64),
                nn.PReLU(64),
            )
            width = 64
            for number, (channels, count) in enumerate(STAGES, 1):
                units = [_Unit(width, channels, 2), *(_Unit(channels, channels, 1) for _ in range(count - 1))]
                self.add_module(f"layer{number}", nn.Sequential(*units))
                width = channels
            self.bn2, self.fc, self.features = nn.BatchNorm2d(512), nn.Linear(512 * 7 * 7, 512), nn.BatchNorm1d(512)

    def forward(self, faces: Tensor) -> Tensor:
        """(N, 3, 112, 112) RGB in [0, 1] to (N, 512)."""
        x = self.prelu(self.bn1(self.conv1(2 * faces - 1)))
        for number in range(1, len(STAGES) + 1):
            x = self.get_submodule(f"layer{number}")(x)
        vectors: Tensor = self.features(self.fc(self.bn2(x).flatten(1)))
        return vectors


class _Torchvision(nn.Module):
    """torchvision's ResNet-50 with a head for `people`, which is loaded and left aside, on the meta device.

    With `caffe` it is the one that VGGFace2's authors trained: strides in the first convolution of a unit, pooling
    without a border, RGB less a mean. Otherwise pictures are normalised as torchvision does.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, people: int, caffe: bool) -> None:
        from torchvision.models import resnet50

        super().__init__()
        with torch.device("meta"):
            network: Any = resnet50(num_classes=people)
        if caffe:
            network.maxpool = nn.MaxPool2d(3, 2, ceil_mode=True)
            for stage in (network.layer2, network.layer3, network.layer4):
                stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
        for name, module in network.named_children():
            self.add_module(name, module)
        mean, std = (VGGFACE2_MEAN, (1.0, 1.0, 1.0)) if caffe else (IMAGENET_MEAN, IMAGENET_STD)
        self.range = 255 if caffe else 1
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, faces: Tensor) -> Tensor:
        """(N, 3, 224, 224) RGB in [0, 1] to (N, 2048)."""
        x = (self.range * faces - self.mean) / self.std
        if self.range == 255:
            x = x.flip(1)  # to BGR
        for name, module in self.named_children():
            if name != "fc":
                x = module(x)
        return x.flatten(1)


class ResNet50(FaceNetwork):
    """A ResNet-50 that was trained to tell people apart, from a file of its tensors by name.

    The file may hold InsightFace's IResNet-50, IR-50 with or without attention as face.evoLVe and facexlib write it, or
    torchvision's ResNet-50 with a head of as many classes as it knows people; of that one the 2,048 pooled features are
    the vector. Weights that were trained on ImageNet know objects, and are refused.

    Args:
        weights: the file; there is no default. `random` makes an IResNet-50 of numbers that mean nothing.

    Raises:
        UserError: no file is given, or it is damaged, of another network, or not about faces.
    """

    def __init__(self, weights: str | None = None) -> None:
        super().__init__()
        self.network = _IResNet50() if weights == RANDOM else _network_in(_path_of("resnet50", weights))
        if isinstance(self.network, _Torchvision):
            self.size, self.template, self.frame = (224, 224), _LOOSE, 320
        load_frozen(self.network, "resnet50", weights)
        self.eval()

    def forward(self, faces: Tensor) -> Tensor:
        """(N, 3, *size) aligned RGB faces in [0, 1] to (N, 512) or (N, 2048)."""
        vectors: Tensor = self.network(faces)
        return vectors


class VGGFace2(FaceNetwork):
    """The ResNet-50 of VGGFace2 (Cao et al., FG 2018) in torchvision's names, as its Caffe weights are converted.

    Args:
        weights: the file; there is no default. `random` makes numbers that mean nothing.

    Raises:
        UserError: as for `ResNet50`.
    """

    size = (224, 224)
    template = _LOOSE
    frame = 320

    def __init__(self, weights: str | None = None) -> None:
        super().__init__()
        people = 8631 if weights == RANDOM else _people_in(_path_of("vggface2", weights))
        self.network = _Torchvision(people, caffe=True)
        load_frozen(self.network, "vggface2", weights)
        self.eval()

    def forward(self, faces: Tensor) -> Tensor:
        """(N, 3, 224, 224) aligned RGB faces in [0, 1] to (N, 2048)."""
        vectors: Tensor = self.network(faces)
        return vectors


def _path_of(name: str, weights: str | None) -> Path:
    if weights is None:
        raise UserError(f"{name}: has no registered file; give `weights: FILE` of a ResNet-50 trained on faces")
    return Path(weights).expanduser()


def _network_in(path: Path) -> nn.Module:
    """The network, without weights, whose names are in the file."""
    tensors = read_weights(path).tensors
    networks: tuple[nn.Module, ...] = (_IResNet50(), IR50(attention=True), IR50(attention=False))
    for network in networks:
        if _weights_of(network.state_dict()) == _weights_of(tensors):
            return network
    if "layer1.0.conv3.weight" in tensors:
        return _Torchvision(_people_in(path), caffe=False)
    kinds = "InsightFace's IResNet-50, IR-50, IR-SE50, or torchvision's ResNet-50 with a head"
    raise UserError(f"{path}: holds no ResNet-50 for faces that is known here; name a file with {kinds}")


def _weights_of(tensors: dict[str, Tensor]) -> set[str]:
    return {name for name in tensors if not name.endswith("num_batches_tracked")}


def _people_in(path: Path) -> int:
    """How many people the head of a ResNet-50 in torchvision's names tells apart."""
    head = read_weights(path).tensors.get("fc.weight")
    if head is None:
        raise UserError(
            f"{path}: has no head (fc.weight) to tell whether it knows people or objects; name a file with its head"
        )
    if len(head) == OBJECTS or pretrained.sha256_of(path)[:8] in IMAGENET_HASHES:
        raise UserError(
            f"{path}: was trained on ImageNet's {OBJECTS:,} kinds of objects, which says nothing about who a face is; "
            "name a ResNet-50 that was trained on faces"
        )
    return len(head)
