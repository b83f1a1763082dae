"""Shrinking a picture to its low-quality (LQ) counterpart, and enlarging one as a baseline.

"Bicubic" names three different results. MATLAB's `imresize` is what super-resolution benchmarks are made with; Pillow's
treats the borders and the rounding otherwise; OpenCV's does not antialias at all.

Keys, "Cubic convolution interpolation for digital image processing" (1981): the kernel, with a = -0.5.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from restore.degradations.separable import blocks
from restore.images import Image

Downsample = Literal["bicubic", "bicubic_pil", "aliased_cv2"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
Window = tuple[int, int, int, int]

# Lifts a tie that summation left a hair too low, so that it rounds up whatever the order of the additions. The values
# are multiples of 1 / (16 scale^4), their errors below 1e-9.
TIE = 2.0**-28

_TOP = {np.dtype(kind): np.iinfo(kind).max for kind in (np.uint8, np.uint16)}


@lru_cache(maxsize=32)
def resize_matrix(n_in: int, n_out: int) -> NDArray[np.float64]:
    """MATLAB's `imresize(..., "bicubic")` along one axis, as a read-only matrix of shape (n_out, n_in).

    Shrinking widens the kernel by the scale (antialiasing); the picture goes on mirrored beyond its border, the border
    sample being repeated; each row sums to 1. Both axes: `resize_matrix(h, h2) @ x @ resize_matrix(w, w2).T`.

    Raises:
        ValueError: a length is not positive.
    """
    if n_in < 1 or n_out < 1:
        raise ValueError(f"cannot resize {n_in} samples to {n_out}: both must be at least 1")
    step = n_in / n_out
    stretch = max(step, 1.0)
    center = (np.arange(n_out)[:, None] + 0.5) * step - 0.5
    taps = np.floor(center - 2 * stretch).astype(np.int64) + np.arange(int(np.ceil(4 * stretch)) + 2)
    weights = _cubic((taps - center) / stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    turned = taps % (2 * n_in)
    matrix = np.zeros((n_out, n_in))
    np.add.at(matrix, (np.arange(n_out)[:, None], np.minimum(turned, 2 * n_in - 1 - turned)), weights)
    matrix.flags.writeable = False
    return matrix


def shrink(image: Image, scale: int, kernel: Downsample = "bicubic", window: Window | None = None) -> Image:
    """The LQ of a picture (H, W, 3), or the `window` (y, x, height, width) of it, in LQ pixels.

    A window is byte for byte what a crop of the whole LQ would be, at little more than its share of the cost (with
    Pillow, at the cost of the whole). The samples are rounded to the 8 or 16 bits of `image`, as a saved file would be.

    Args:
        image: RGB `uint8` or `uint16`, its sides multiples of `scale`.
        scale: how many times smaller the LQ is.
        kernel: "bicubic" as MATLAB resizes an 8-bit picture, "bicubic_pil" as Pillow, "aliased_cv2" as
            `cv2.resize(..., INTER_CUBIC)`.
        window: inside the LQ; all of it by default.

    Raises:
        ValueError: the sides are no multiples of `scale`, or the window leaves the LQ.
    """
    height, width = image.shape[:2]
    if scale < 1 or height % scale or width % scale:
        raise ValueError(f"cannot shrink {height}x{width} by {scale}: crop the picture to multiples of it first")
    y, x, h, w = window or (0, 0, height // scale, width // scale)
    if min(y, x) < 0 or min(h, w) < 1 or (y + h) * scale > height or (x + w) * scale > width:
        raise ValueError(f"window {(y, x, h, w)} leaves the LQ of {height // scale}x{width // scale}")
    return _SHRINK[kernel](image, scale, (y, x, h, w))


def upscale(image: Image, size: int | tuple[int, int], method: Interpolation = "bicubic") -> NDArray[np.uint8]:
    """An interpolation baseline: the picture (H, W, 3) enlarged by Pillow, as papers quote it, in 8 bits.

    Args:
        image: RGB `uint8`, or `uint16`, which is rounded to 8 bits first.
        size: the scale, or the (height, width) of the result.
        method: Pillow's filter of that name.

    Raises:
        ValueError: the size is not positive.
    """
    from PIL import Image as Pillow

    height, width = (image.shape[0] * size, image.shape[1] * size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise ValueError(f"cannot resize to {height}x{width}: both sides must be at least 1")
    levels: NDArray[Any] = np.rint(image / 257).astype(np.uint8) if image.dtype == np.uint16 else image
    return np.asarray(Pillow.fromarray(levels).resize((width, height), Pillow.Resampling[method.upper()]))


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((2.5 - 0.5 * x) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _shrink_matlab(image: Image, scale: int, window: Window) -> Image:
    """Rows first, rounded, then columns, rounded: only so do MATLAB's own files come out to the last bit."""
    y, x, h, w = window
    down = _band(image.shape[0], scale, y, h)
    across = _band(image.shape[1], scale, x, w)
    part = image[down.used, across.used].astype(np.float64, order="C")
    height, width, channels = part.shape
    rows = _round(down @ part.reshape(height, -1), image.dtype)
    turned = np.ascontiguousarray(rows.reshape(h, width, channels).swapaxes(0, 1))
    columns = _round(across @ turned.reshape(width, -1), image.dtype)
    lq: NDArray[Any] = columns.reshape(w, h, channels).swapaxes(0, 1).astype(image.dtype, order="C")
    return lq


@dataclass(frozen=True)
class _Band:
    """Some rows of a `resize_matrix`, as the blocks in which they are not zero; `used` are the samples they need."""

    used: slice
    length: int
    blocks: list[tuple[slice, slice, NDArray[np.float64]]]  # rows, their columns within `used`, and what stands there

    def __matmul__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        out = np.empty((self.length, values.shape[1]))
        for rows, columns, weights in self.blocks:
            np.matmul(weights, values[columns], out=out[rows])
        return out


@lru_cache(maxsize=128)  # as many as crops of 64 px have places for their edge in 512 px, at 10 KB each
def _band(length: int, scale: int, start: int, count: int) -> _Band:
    matrix = resize_matrix(length, length // scale)[start : start + count]
    found = [(rows, used, np.ascontiguousarray(matrix[rows, used])) for rows, used in blocks(matrix)]
    first, last = found[0][1].start, found[-1][1].stop
    moved = [(rows, slice(used.start - first, used.stop - first), weights) for rows, used, weights in found]
    return _Band(slice(first, last), count, moved)


def _round(values: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[np.float64]:
    """The nearest levels of `dtype`, ties upwards as in MATLAB; works in place."""
    values += 0.5 + TIE
    np.maximum(values, 0, out=values)
    np.minimum(values, _TOP[dtype], out=values)
    return np.floor(values, out=values)


def _shrink_pillow(image: Image, scale: int, window: Window) -> Image:
    """All of it, then the window: since Pillow 13 the shape decides which axis goes first, and so how it rounds."""
    from PIL import Image as Pillow

    y, x, h, w = window
    size = image.shape[1] // scale, image.shape[0] // scale

    # Pillow has no 16-bit RGB
    parts = [image] if image.dtype == np.uint8 else [image[:, :, channel] for channel in range(3)]
    lq = np.dstack([np.asarray(Pillow.fromarray(p).resize(size, Pillow.Resampling.BICUBIC)) for p in parts])
    return np.ascontiguousarray(lq[y : y + h, x : x + w])


def _shrink_opencv(image: Image, scale: int, window: Window) -> Image:
    """OpenCV's vector and scalar code round differently, so a strip keeps its full width and only saves rows."""
    y, x, h, w = window
    top, bottom = max(y - 1, 0), min(y + h + 1, len(image) // scale)  # the kernel reaches two samples
    strip: NDArray[Any] = np.ascontiguousarray(image[top * scale : bottom * scale])
    lq: NDArray[Any] = cv2.resize(strip, (image.shape[1] // scale, bottom - top), interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(lq[y - top : y - top + h, x : x + w])


_SHRINK = {"bicubic": _shrink_matlab, "bicubic_pil": _shrink_pillow, "aliased_cv2": _shrink_opencv}
