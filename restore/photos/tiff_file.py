"""TIFF of 8 or 16 bits with everything beside the pixels: Pillow writes no RGB of 16 bits, OpenCV nothing beside it."""

import io
import struct
import warnings
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import IFDRational, ImageFileDirectory_v2

_STRIP = 1 << 20  # bytes of one strip before compression, about
_DEFLATE, _DIFFERENCES, _INCHES, _STRAIGHT_ALPHA = 8, 2, 2, 2
_EXIF, _GPS = 0x8769, 0x8825
_INTEROPERABILITY = 0xA005

# What a TIFF says of its photo; the other tags of directory 0 say how its pixels are stored.
_ABOUT = {270, 271, 272, 305, 306, 315, 316, 18246, 18249, 33432, *range(40091, 40096)}


def exif_of(image: Image.Image) -> bytes | None:
    """What a TIFF says of its photo, as an EXIF block of its own; None where that is nothing."""
    return exif_block(_about(image.getexif()))


def exif_block(about: dict[int, Any]) -> bytes | None:
    """The EXIF that says it."""
    if not about:
        return None
    file = io.BytesIO()
    _directory(about).save(file)
    return file.getvalue()


def encode_tiff(
    samples: NDArray[Any], exif: bytes | None, icc: bytes | None, xmp: bytes | None, dpi: tuple[float, float] | None
) -> bytes:
    """A TIFF, compressed without loss, of (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA of 8 or 16 bits."""
    height, width = samples.shape[:2]
    channels = samples.shape[2] if samples.ndim == 3 else 1
    rows = max(1, _STRIP // (width * channels * samples.itemsize))
    strips = [zlib.compress(_differences(samples[top : top + rows])) for top in range(0, height, rows)]
    tags: dict[int, Any] = {256: width, 257: height, 258: (8 * samples.itemsize,) * channels, 259: _DEFLATE}
    tags |= {262: 1 if channels == 1 else 2, 277: channels, 278: rows, 284: 1, 317: _DIFFERENCES}
    sizes = [len(strip) for strip in strips]
    tags |= {273: tuple(np.cumsum([0, *sizes[:-1]]).tolist()), 279: tuple(sizes)}
    if channels == 4:
        tags[338] = _STRAIGHT_ALPHA
    if dpi:
        tags |= {282: IFDRational(dpi[0]), 283: IFDRational(dpi[1]), 296: _INCHES}
    tags |= {tag: value for tag, value in ((34675, icc), (700, xmp)) if value}
    file = io.BytesIO()
    _directory(tags | _about_in(exif)).save(file)
    return file.getvalue() + b"".join(strips)


def _differences(samples: NDArray[Any]) -> bytes:
    """Each sample less its left neighbour, modulo its range: TIFF's horizontal predictor."""
    less = samples.astype(samples.dtype.newbyteorder("<"))
    less[:, 1:] -= samples[:, :-1]
    return less.tobytes()


def _about_in(exif: bytes | None) -> dict[int, Any]:
    read = Image.Exif()
    with warnings.catch_warnings(action="ignore"):  # Pillow's, of values that lie past the end; they are left out
        read.load(b"Exif\0\0" + exif if exif else b"")
        return _about(read)


def _about(exif: Image.Exif) -> dict[int, Any]:
    """Tags and their values, of those that Pillow can write again; further directories are dictionaries."""
    about: dict[int, Any] = {tag: exif[tag] for tag in _ABOUT if tag in exif}
    for tag in (_EXIF, _GPS):
        inner = {key: value for key, value in exif.get_ifd(tag).items() if key != _INTEROPERABILITY}
        about[tag] = {key: value for key, value in inner.items() if _can_be_written(key, value, tag)}
    return {tag: value for tag, value in about.items() if value and _can_be_written(tag, value)}


def _can_be_written(tag: int, value: Any, group: int | None = None) -> bool:
    try:
        _directory({tag: value}, group).tobytes()
    except (struct.error, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return False
    return True


def _directory(tags: dict[int, Any], group: int | None = None) -> ImageFileDirectory_v2:
    directory = ImageFileDirectory_v2(b"II*\0\0\0\0\0", group=group)
    for tag, value in tags.items():
        directory[tag] = value
    return directory
