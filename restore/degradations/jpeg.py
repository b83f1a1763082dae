"""JPEG as libjpeg computes it, in tensor operations: the very integers of its code, held exactly in floating point.

ITU-T T.81 (1992) for the format; the fixed-point constants and roundings are those of libjpeg's default settings
(accurate integer DCT, 4:2:0, triangle-filtered upsampling of the chroma), so that the result is libjpeg's to the bit.
Pictures of up to 4 pixels across are the exception: there libjpeg repeats the chroma instead of filtering it.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restore.degradations.pictures import Size

_BLOCK = 8
_MCU = 16  # pixels a side that one unit of 4:2:0 covers

# Annex K of T.81, row by row.
_LUMA = """16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"""
_CHROMA = """17 18 24 47 99 99 99 99 18 21 26 66 99 99 99 99 24 26 56 99 99 99 99 99 47 66 99 99 99 99 99 99
99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99"""
_TABLES = np.array([_LUMA.split(), _CHROMA.split()], np.int64).reshape(2, _BLOCK, _BLOCK)

# One pass of the accurate DCT: sqrt(8) 2^13 times the orthonormal one, with the errors of libjpeg's own 13-bit
# constants. The other half of each row follows by symmetry: even rows mirrored, odd ones mirrored and negated.
_HALF = [
    [8192, 8192, 8192, 8192],
    [11363, 9633, 6437, 2260],
    [10703, 4433, -4433, -10703],
    [9633, -2259, -11362, -6436],
    [8192, -8192, -8192, 8192],
    [6437, -11362, 2261, 9633],
    [4433, -10704, 10704, -4433],
    [2260, -6436, 9633, -11363],
]
_DCT = [[*row, *(value * (-1) ** k for value in reversed(row))] for k, row in enumerate(_HALF)]


def jpeg(canvas: Tensor, sizes: Sequence[Size], quality: Sequence[int]) -> Tensor:
    """What is left of each picture after its compression and decompression.

    Where `canvas` wants a gradient, it passes every rounding as if there were none (a straight-through estimator).

    Args:
        canvas: (N, 3, H, W), RGB float in [0, 1], rounded to 8 bits first.
        sizes: the height and width of each picture, in its upper left corner; past them the result means nothing.
        quality: of each picture, 1 to 100.

    Returns:
        (N, 3, H, W), levels of 8 bits over 255.
    """
    height, width = canvas.shape[2:]
    heights, widths = (torch.tensor(lengths, device=canvas.device) for lengths in zip(*sizes, strict=True))
    tables = torch.from_numpy(np.stack([quantization(q) for q in quality])).to(canvas.device)
    with torch.autocast(canvas.device.type, enabled=False):
        levels = _through(canvas.clamp(0, 1) * 255, torch.round)
        levels = _framed(levels, 2, heights - 1, -(-height // _MCU) * _MCU)
        levels = _framed(levels, 3, widths - 1, -(-width // _MCU) * _MCU)
        luma, chroma = _ycc(levels)
        bottom, right = (heights - 1) // 2, (widths - 1) // 2
        chroma = _framed(_halved(chroma), 2, bottom, chroma.shape[2] // 2)
        luma, chroma = _coded(luma, tables[:, :1]), _coded(chroma, tables[:, 1:])
        return _rgb(luma, _doubled(chroma, bottom, right))[:, :, :height, :width] / 255


@lru_cache(maxsize=100)
def quantization(quality: int) -> NDArray[np.float64]:
    """The steps of luma and chroma, (2, 8, 8): the standard's tables scaled as libjpeg scales them.

    Raises:
        ValueError: no such quality.
    """
    if not 1 <= quality <= 100:
        raise ValueError(f"JPEG quality {quality}: from 1 to 100")
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((_TABLES * percent + 50) // 100).clip(1, 255).astype(np.float64)


def _through(values: Tensor, rounding: Callable[[Tensor], Tensor]) -> Tensor:
    """`rounding(values)`, whose gradient is that of `values`."""
    if not values.requires_grad:
        return rounding(values)
    return values + (rounding(values) - values).detach()


def _floor(values: Tensor) -> Tensor:
    return _through(values, torch.floor)


def _framed(planes: Tensor, axis: int, last: Tensor, length: int, shift: int = 0) -> Tensor:
    """The samples of each picture from `shift` on, its first and its `last` one going on beyond its edges."""
    index = (torch.arange(length, device=planes.device) + shift).clamp(min=0)
    index = torch.minimum(index, last[:, None])
    return torch.take_along_dim(planes, index[:, None, :, None] if axis == 2 else index[:, None, None, :], axis)


def _ycc(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """(N, 1, H, W) and (N, 2, H, W); 16-bit fixed point, whose sums stay below 2^24: exact in float32."""
    red, green, blue = rgb.unbind(1)
    y = 19595 * red + 38470 * green + 7471 * blue + 32768
    cb = 32768 * blue - 11059 * red - 21709 * green + (128 * 65536 + 32767)
    cr = 32768 * red - 27439 * green - 5329 * blue + (128 * 65536 + 32767)
    return _floor(y / 65536)[:, None], _floor(torch.stack([cb, cr], 1) / 65536)


def _rgb(luma: Tensor, chroma: Tensor) -> Tensor:
    y, (cb, cr) = luma[:, 0], (chroma - 128).unbind(1)
    red = y + _floor((91881 * cr + 32768) / 65536)
    green = y + _floor((32768 - 22554 * cb - 46802 * cr) / 65536)
    blue = y + _floor((116130 * cb + 32768) / 65536)
    return torch.stack([red, green, blue], 1).clamp(0, 255)


def _halved(chroma: Tensor) -> Tensor:
    """The mean of 2x2 samples, ties down and up by turns, so that they cancel."""
    rows = chroma[:, :, ::2] + chroma[:, :, 1::2]
    bias = 1 + torch.arange(chroma.shape[3] // 2, device=chroma.device) % 2
    return _floor((rows[..., ::2] + rows[..., 1::2] + bias) / 4)


def _doubled(chroma: Tensor, bottom: Tensor, right: Tensor) -> Tensor:
    """Each new sample is 3/4 of the nearer old one and 1/4 of the farther, along both axes."""
    near = 3 * chroma
    shifts = (-1, 1)
    tall = [near + _framed(chroma, 2, bottom, chroma.shape[2], shift) for shift in shifts]
    rows = torch.stack(tall, 3).flatten(2, 3)
    near = 3 * rows
    wide = [near + _framed(rows, 3, right, rows.shape[3], shift) for shift in shifts]
    return torch.stack([_floor((wide[0] + 8) / 16), _floor((wide[1] + 7) / 16)], 4).flatten(3, 4)


def _coded(planes: Tensor, tables: Tensor) -> Tensor:
    """(N, C, H, W) levels through DCT, quantisation and back; in float64, whose 53 bits hold every sum exactly."""
    matrix = torch.tensor(_DCT, dtype=torch.float64, device=planes.device)
    tall = (*planes.shape[:2], planes.shape[2] // _BLOCK, _BLOCK, planes.shape[3])
    blocks = (*tall[:4], planes.shape[3] // _BLOCK, _BLOCK)
    steps = tables[:, :, None, :, None, :]

    rows = _scaled((planes.double() - 128).reshape(blocks) @ matrix.T, 11)
    coefficients = _scaled(matrix @ rows.reshape(tall), 15).reshape(blocks)  # 8 times those of the orthonormal DCT
    counts = _floor(coefficients.abs() / (8 * steps) + 0.5) * coefficients.sign()
    columns = _scaled(matrix.T @ (counts * steps).reshape(tall), 11)
    samples = _scaled(columns.reshape(blocks) @ matrix, 18)
    return (samples.reshape(planes.shape) + 128).clamp(0, 255).to(planes.dtype)


def _scaled(values: Tensor, bits: int) -> Tensor:
    """Divided by 2^bits and rounded, ties upwards."""
    return _floor(values * 2.0**-bits + 0.5)
