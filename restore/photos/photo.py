"""A photo: its pixels, and everything else that its file carries."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from restore.fitting import resized
from restore.images import Image

Plane = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True)
class Lossy:
    """How finely a JPEG or WebP was compressed.

    `quality` is in [1, 100]; `subsampling` of the chroma is Pillow's 0 (4:4:4), 1 (4:2:2) or 2 (4:2:0); `tables` are
    the quantisation tables, luma's first, 64 steps each in reading order. A WebP has only the quality.
    """

    quality: int
    subsampling: int = 0
    tables: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Photo:
    """Pixels, upright, and what is written back beside them.

    Attributes:
        pixels: (H, W, 3) RGB, `uint8` or `uint16`.
        alpha: (H, W) of the same depth, full scale is opaque; None without transparency.
        exif: a TIFF structure, without JPEG's `Exif` before it; as in the file.
        icc: the colour profile that the pixels are to be shown with. They are never converted.
        xmp: an XMP packet, as in the file.
        dpi: dots per inch along x and y.
        suffix: names the format that a result is written in: that of the content, whatever the file was called.
        lossy: None for a lossless file.
        grey: whether the file held a single channel.
        extra: parts of the file that only its own format has (a PNG's text, a JPEG's comment), ready to be put back.
        notes: what was left behind in reading, in words.
    """

    pixels: Image
    alpha: Plane | None = None
    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    suffix: str = ".png"
    lossy: Lossy | None = None
    grey: bool = False
    extra: bytes = b""
    notes: tuple[str, ...] = ()

    def with_pixels(self, pixels: Image) -> "Photo":
        """The same photo of other pixels; its alpha is resized to them, and brought to their depth."""
        return replace(self, pixels=pixels, alpha=None if self.alpha is None else _fitted(self.alpha, pixels))


def _fitted(alpha: Plane, pixels: Image) -> Plane:
    alpha = resized(alpha, pixels.shape[:2])
    if alpha.dtype == pixels.dtype:
        return alpha
    return (alpha >> 8).astype(np.uint8) if pixels.dtype == np.uint8 else alpha.astype(np.uint16) * np.uint16(257)
