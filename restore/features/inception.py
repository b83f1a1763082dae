"""The Inception of FID: TensorFlow's graph of 2015-12-05 (Szegedy et al., CVPR 2016), with its own way to pool.

Keys are those of the file that pytorch-fid and torch-fidelity share. It differs from torchvision's network: averages
leave the padding out, the last block takes a maximum where an average is meant, and the picture is resized as
TensorFlow 1 did, without centring pixels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restore.features.load import Frozen, load_frozen

SIZE = 299


class Conv(nn.Module):
    """Convolution without bias, batch normalisation, ReLU."""

    def __init__(self, channels: int, width: int, kernel: int | tuple[int, int], stride: int = 1, pad: bool = True):
        super().__init__()
        height, length = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (height // 2, length // 2) if pad else 0
        self.conv = nn.Conv2d(channels, width, (height, length), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(width, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu_(self.bn(self.conv(x)))


def _mean3(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def _max3(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, 1, 1)


class Block5(nn.Module):
    """35x35: 1x1, 5x5, two 3x3, pooling."""

    def __init__(self, channels: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = Conv(channels, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = Conv(channels, 48, 1), Conv(48, 64, 5)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(channels, 64, 1), Conv(64, 96, 3)
        self.branch3x3dbl_3 = Conv(96, 96, 3)
        self.branch_pool = Conv(channels, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        wide = self.branch5x5_2(self.branch5x5_1(x))
        return torch.cat((self.branch1x1(x), wide, double, self.branch_pool(_mean3(x))), 1)


class Shrink6(nn.Module):
    """35x35 to 17x17."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch3x3 = Conv(channels, 384, 3, 2, pad=False)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(channels, 64, 1), Conv(64, 96, 3)
        self.branch3x3dbl_3 = Conv(96, 96, 3, 2, pad=False)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat((self.branch3x3(x), double, F.max_pool2d(x, 3, 2)), 1)


class Block6(nn.Module):
    """17x17: 7x7 convolutions taken apart into 1x7 and 7x1."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        flat, tall = (1, 7), (7, 1)
        self.branch1x1 = Conv(channels, 192, 1)
        self.branch7x7_1, self.branch7x7_2 = Conv(channels, inner, 1), Conv(inner, inner, flat)
        self.branch7x7_3 = Conv(inner, 192, tall)
        self.branch7x7dbl_1, self.branch7x7dbl_2 = Conv(channels, inner, 1), Conv(inner, inner, tall)
        self.branch7x7dbl_3, self.branch7x7dbl_4 = Conv(inner, inner, flat), Conv(inner, inner, tall)
        self.branch7x7dbl_5 = Conv(inner, 192, flat)
        self.branch_pool = Conv(channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat((self.branch1x1(x), single, double, self.branch_pool(_mean3(x))), 1)


class Shrink7(nn.Module):
    """17x17 to 8x8."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = Conv(channels, 192, 1), Conv(192, 320, 3, 2, pad=False)
        self.branch7x7x3_1, self.branch7x7x3_2 = Conv(channels, 192, 1), Conv(192, 192, (1, 7))
        self.branch7x7x3_3, self.branch7x7x3_4 = Conv(192, 192, (7, 1)), Conv(192, 192, 3, 2, pad=False)

    def forward(self, x: Tensor) -> Tensor:
        long = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat((self.branch3x3_2(self.branch3x3_1(x)), long, F.max_pool2d(x, 3, 2)), 1)


class Block7(nn.Module):
    """8x8: 3x3 convolutions spread into 1x3 and 3x1 side by side."""

    def __init__(self, channels: int, last: bool) -> None:
        super().__init__()
        flat, tall = (1, 3), (3, 1)
        self.pool = _max3 if last else _mean3
        self.branch1x1 = Conv(channels, 320, 1)
        self.branch3x3_1 = Conv(channels, 384, 1)
        self.branch3x3_2a, self.branch3x3_2b = Conv(384, 384, flat), Conv(384, 384, tall)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(channels, 448, 1), Conv(448, 384, 3)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = Conv(384, 384, flat), Conv(384, 384, tall)
        self.branch_pool = Conv(channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        spread = (
            self.branch3x3_2a(single),
            self.branch3x3_2b(single),
            self.branch3x3dbl_3a(double),
            self.branch3x3dbl_3b(double),
        )
        return torch.cat((self.branch1x1(x), *spread, self.branch_pool(self.pool(x))), 1)


class _Trunk(nn.Sequential):
    """The convolutions under the names of the file."""

    def __init__(self) -> None:
        super().__init__()
        parts = {
            "Conv2d_1a_3x3": Conv(3, 32, 3, 2, pad=False),
            "Conv2d_2a_3x3": Conv(32, 32, 3, pad=False),
            "Conv2d_2b_3x3": Conv(32, 64, 3),
            "MaxPool_1": nn.MaxPool2d(3, 2),
            "Conv2d_3b_1x1": Conv(64, 80, 1),
            "Conv2d_4a_3x3": Conv(80, 192, 3, pad=False),
            "MaxPool_2": nn.MaxPool2d(3, 2),
            "Mixed_5b": Block5(192, 32),
            "Mixed_5c": Block5(256, 64),
            "Mixed_5d": Block5(288, 64),
            "Mixed_6a": Shrink6(288),
            "Mixed_6b": Block6(768, 128),
            "Mixed_6c": Block6(768, 160),
            "Mixed_6d": Block6(768, 160),
            "Mixed_6e": Block6(768, 192),
            "Mixed_7a": Shrink7(768),
            "Mixed_7b": Block7(1280, last=False),
            "Mixed_7c": Block7(2048, last=True),
        }
        for name, part in parts.items():
            self.add_module(name, part)


class Inception(Frozen):
    """The 2,048 numbers of a picture that FID compares.

    Args:
        weights: see `load_frozen`; the file is `inception`.
    """

    def __init__(self, weights: str | None = None) -> None:
        super().__init__()
        with torch.device("meta"):
            self.trunk = _Trunk()
        load_frozen(self.trunk, "inception", weights)

    @torch.no_grad()
    def forward(self, pictures: Tensor) -> Tensor:
        """(N, 3, H, W) RGB in [0, 1], rounded to 8 bits here, to (N, 2048) float32."""
        with torch.autocast(pictures.device.type, enabled=False):
            levels = pictures.float().clamp(0, 1).mul(255).round()
            x = (resize_as_tensorflow_1(levels, SIZE) - 128) / 128
            features: Tensor = self.trunk(x).mean(dim=(2, 3))
        return features


def resize_as_tensorflow_1(picture: Tensor, size: int) -> Tensor:
    """Bilinear to `size` x `size`, with pixel 0 on pixel 0 (`tf.image.resize_bilinear(align_corners=False)`).

    A shrinking picture is sampled, not averaged: aliasing is part of the protocol.
    """
    for dim in (3, 2):
        length = picture.shape[dim]
        places = torch.arange(size, dtype=torch.float32, device=picture.device) * (length / size)
        low = places.long()
        high = (low + 1).clamp_max(length - 1)
        share = (places - low).view(-1, *[1] * (3 - dim))
        first = picture.index_select(dim, low)
        picture = first + (picture.index_select(dim, high) - first) * share
    return picture
