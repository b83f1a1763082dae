"""LaMa's generator of fast Fourier convolutions (Suvorov et al., WACV 2022, arXiv:2109.07161)."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from restore.ranges import Depth, Positive
from restore.registry import ARCHS

Split = tuple[int, int]  # channels of a local and of a global part
Pair = tuple[Tensor, Tensor | None]  # features in those two parts; None where there are no global ones

NEIGHBOURS = {"kernel_size": 3, "padding": 1, "padding_mode": "reflect", "bias": False}


class FourierUnit(nn.Module):
    """A 1x1 convolution of the spectrum: each value that comes out has seen the whole picture.

    The spectrum is float32 whatever surrounds it: its mean grows with the picture's side, beyond what half precision
    can hold.
    """

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.conv_layer = nn.Conv2d(2 * num_feat, 2 * num_feat, 1, bias=False)  # real and imaginary parts, in turns
        self.bn = nn.BatchNorm2d(2 * num_feat)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape and type."""
        with torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False):  # `meta` knows no autocast
            spectrum = torch.fft.rfft2(x.float(), norm="ortho")
            parts = torch.view_as_real(spectrum).movedim(-1, 2).flatten(1, 2)
            parts = torch.relu(self.bn(self.conv_layer(parts.to(self.conv_layer.weight.dtype)))).float()
            spectrum = torch.view_as_complex(parts.unflatten(1, (-1, 2)).movedim(2, -1).contiguous())
            return torch.fft.irfft2(spectrum, s=x.shape[-2:], norm="ortho").to(x.dtype)


class SpectralTransform(nn.Module):
    """From global features to global features: narrowed, through the spectrum, widened.

    With `lfu` a quarter of the channels goes through the spectrum of each quadrant too (Chi et al., NeurIPS 2020).
    """

    def __init__(self, num_feat: int, lfu: bool) -> None:
        super().__init__()
        half = num_feat // 2
        if lfu and half % 4:
            raise ValueError(f"lfu needs a multiple of 8 global channels, not {num_feat}: mend num_feat or ratio")
        self.conv1 = nn.Sequential(nn.Conv2d(num_feat, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU(True))
        self.fu = FourierUnit(half)
        self.lfu = FourierUnit(half) if lfu else None
        self.conv2 = nn.Conv2d(half, num_feat, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        seen = x + self.fu(x)
        if self.lfu is not None:
            quarter = x[:, : x.shape[1] // 4]
            for dim in (2, 3):
                quarter = torch.cat(quarter.chunk(2, dim), 1)
            seen = seen + self.lfu(quarter).tile(1, 1, 2, 2)
        return self.conv2(seen)


class FFC(nn.Module):
    """A fast Fourier convolution: four ways between local and global features, of which one is spectral."""

    def __init__(self, ins: Split, outs: Split, lfu: bool = False, **conv: object) -> None:
        super().__init__()
        self.convl2l = nn.Conv2d(ins[0], outs[0], **conv)
        if outs[1]:
            self.convl2g = nn.Conv2d(ins[0], outs[1], **conv)
        if ins[1]:
            self.convg2l = nn.Conv2d(ins[1], outs[0], **conv)
            self.convg2g = SpectralTransform(ins[1], lfu)
        self.splits = bool(outs[1])

    def forward(self, pair: Pair) -> Pair:
        near, far = pair
        out_near, out_far = self.convl2l(near), self.convl2g(near) if self.splits else None
        if far is not None:
            out_near, out_far = out_near + self.convg2l(far), out_far + self.convg2g(far)
        return out_near, out_far


class FFCNormReLU(nn.Module):
    """A fast Fourier convolution, normalised, with ReLU."""

    def __init__(self, ins: Split, outs: Split, lfu: bool = False, **conv: object) -> None:
        super().__init__()
        self.ffc = FFC(ins, outs, lfu, **conv)
        self.bn_l = nn.BatchNorm2d(outs[0])
        self.bn_g = nn.BatchNorm2d(outs[1]) if outs[1] else None

    def forward(self, pair: Pair) -> Pair:
        near, far = self.ffc(pair)
        return torch.relu_(self.bn_l(near)), None if far is None else torch.relu_(self.bn_g(far))


class FFCBlock(nn.Module):
    """Two fast Fourier convolutions, added to what came in."""

    def __init__(self, split: Split, lfu: bool) -> None:
        super().__init__()
        self.conv1 = FFCNormReLU(split, split, lfu, **NEIGHBOURS)
        self.conv2 = FFCNormReLU(split, split, lfu, **NEIGHBOURS)

    def forward(self, pair: Pair) -> Pair:
        near, far = self.conv2(self.conv1(pair))
        return pair[0] + near, pair[1] + far


class Enter(nn.ReflectionPad2d):
    """Pads; from here on features come in pairs."""

    def forward(self, x: Tensor) -> Pair:
        return super().forward(x), None


class Join(nn.Module):
    """The local features, then the global ones, in one tensor."""

    def forward(self, pair: Pair) -> Tensor:
        return torch.cat(pair, 1)


@ARCHS.register
class FFCGenerator(nn.Module):
    """LaMa: residual blocks of fast Fourier convolutions, so that every layer sees the whole picture.

    The defaults are big-lama; LaMa-Fourier has `num_block: 9`. State-dict keys are those that LaMa's checkpoints
    have behind `generator.` (docs/archs.md says how to load them). What the mask covers is blackened here.

    Args:
        num_feat: channels at full size; each halving of the size doubles them.
        num_down: halvings.
        num_block: residual blocks of two convolutions.
        ratio: share of global channels in the blocks.
        lfu: look at the quadrants' spectra too; no published LaMa does.
        mask_channel: see the mask beside the picture.
    """

    def __init__(
        self,
        num_feat: Positive = 64,
        num_down: Annotated[int, Field(ge=1, le=10)] = 3,
        num_block: Depth = 18,
        ratio: Annotated[float, Field(gt=0, lt=1)] = 0.75,
        lfu: bool = False,
        mask_channel: bool = True,
    ) -> None:
        super().__init__()
        self.mask_channel = mask_channel
        self.fold = 2**num_down * (2 if lfu else 1)  # what the sides have to be divisible by
        widths = [num_feat * 2**number for number in range(num_down + 1)]
        far = int(widths[-1] * ratio)
        split = (widths[-1] - far, far)
        if far < 2 or split[0] < 1:
            raise ValueError(f"ratio {ratio:g} of {widths[-1]} channels leaves {split[0]} local and {far} global ones")
        layers = [Enter(3), FFCNormReLU((3 + mask_channel, 0), (num_feat, 0), kernel_size=7, bias=False)]
        for number, width in enumerate(widths[:-1], 1):
            outs = (widths[number], 0) if number < num_down else split
            layers.append(FFCNormReLU((width, 0), outs, stride=2, **NEIGHBOURS))
        layers += [*(FFCBlock(split, lfu) for _ in range(num_block)), Join()]
        for width in reversed(widths[:-1]):
            larger = nn.ConvTranspose2d(2 * width, width, 3, stride=2, padding=1, output_padding=1)
            layers += [larger, nn.BatchNorm2d(width), nn.ReLU(True)]
        self.model = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(num_feat, 3, 7))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(N, 3, H, W) and (N, 1, H, W), 1 = missing, to (N, 3, H, W) in [0, 1].

        Raises:
            ValueError: it has a mask channel and there is no mask.
        """
        height, width = x.shape[-2:]
        dtype = x.dtype
        if self.mask_channel:
            if mask is None:
                raise ValueError("FFCGenerator sees the mask: give it one, or set mask_channel: false")
            x = torch.cat([x * (1 - mask), mask], 1)
        for dim in (2, 3):
            x = mirrored(x, dim, self.padded(x.shape[dim]))
        return torch.sigmoid(self.model(x)[..., :height, :width].to(dtype))  # in the input's precision

    def padded(self, side: int) -> int:
        """The side that a picture is continued to: it folds, and its smallest features can be reflected."""
        return max(-(-side // self.fold) * self.fold, 2 * self.fold)


def mirrored(x: Tensor, dim: int, side: int) -> Tensor:
    """Continues a picture to `side` by mirroring it, edge pixels included, as LaMa's own prediction does."""
    length = x.shape[dim]
    if not torch.compiler.is_exporting() and side == length:  # an exported network has no branches
        return x
    period = torch.arange(2 * length, 2 * length + 1, device=x.device)  # a tensor, which ONNX can divide by
    places = torch.arange(side, device=x.device) % period
    return x.index_select(dim, torch.minimum(places, 2 * length - 1 - places))
