"""MobileFaceNet (Chen et al., CCBR 2018): whose face it is, as 128 numbers."""

from pathlib import Path

import torch
from torch import Tensor, nn

from restore import pretrained
from restore.features.face_network import FaceNetwork
from restore.features.load import RANDOM, load_frozen
from restore.weights import load_weights

ENTRY = "net_state_dict"  # where the published file keeps the weights

# Expansion, channels, number of blocks, stride of the first: table 1 of the paper.
_STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))


class _Convolution(nn.Module):
    """A convolution without bias, normalised, and PReLU unless it is `linear`."""

    def __init__(self, in_ch: int, out_ch: int, kernel: tuple[int, int], linear: bool, **how: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_ch, out_ch, kernel, bias=False, **how)  # type: ignore[arg-type]
        self.bn = nn.BatchNorm2d(out_ch)
        self.prelu = nn.Identity() if linear else nn.PReLU(out_ch)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.prelu(self.bn(self.conv(x)))
        return y


class _Bottleneck(nn.Module):
    """Widens, filters each channel by itself, and narrows without a nonlinearity; added to its input where it can."""

    def __init__(self, in_ch: int, out_ch: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = in_ch * expansion
        self.adds = stride == 1 and in_ch == out_ch
        self.conv = nn.Sequential(
            nn.Conv2d(in_ch, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.PReLU(width),
            nn.Conv2d(width, width, 3, stride, padding=1, groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.PReLU(width),
            nn.Conv2d(width, out_ch, 1, bias=False),
            nn.BatchNorm2d(out_ch),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.adds else y


class MobileFaceNet(FaceNetwork):
    """MobileFaceNet, frozen and in evaluation; state-dict keys are those of the published file.

    Args:
        weights: None takes the registered file, a path another one, `random` numbers that mean nothing.

    Raises:
        UserError: the file is missing, damaged, or does not hold this network.
    """

    file = "mobilefacenet"
    size = (112, 96)
    template = ((30.2946, 51.6963), (65.5318, 51.5014), (48.0252, 71.7366), (33.5493, 92.3655), (62.7299, 92.2041))

    def __init__(self, weights: str | None = None) -> None:
        super().__init__()
        with torch.device("meta"):  # no time and no random numbers spent on weights that are replaced
            self._lay_out()
        if weights == RANDOM:
            load_frozen(self, self.file, weights)
        else:
            path = Path(weights).expanduser() if weights else pretrained.find(self.file)
            load_weights(self.to_empty(device="cpu"), path, ENTRY)
        self.requires_grad_(False).eval()

    def _lay_out(self) -> None:
        self.conv1 = _Convolution(3, 64, (3, 3), linear=False, stride=2, padding=1)
        self.dw_conv1 = _Convolution(64, 64, (3, 3), linear=False, padding=1, groups=64)
        blocks, channels = [], 64
        for expansion, width, count, stride in _STAGES:
            for number in range(count):
                blocks.append(_Bottleneck(channels, width, 1 if number else stride, expansion))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.conv2 = _Convolution(channels, 512, (1, 1), linear=False)
        self.linear7 = _Convolution(512, 512, (7, 6), linear=True, groups=512)
        self.linear1 = _Convolution(512, 128, (1, 1), linear=True)

    def forward(self, faces: Tensor) -> Tensor:
        """(N, 3, 112, 96) aligned RGB faces in [0, 1] to (N, 128), of any length: their angles tell people apart."""
        x = self.dw_conv1(self.conv1(faces * (255 / 128) - 127.5 / 128))
        vectors: Tensor = self.linear1(self.linear7(self.conv2(self.blocks(x)))).flatten(1)
        return vectors
