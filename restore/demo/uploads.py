"""What visitors upload: measured before it is decoded, and told in one line where it will not do."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from restore.errors import UserError
from restore.image_header import header
from restore.images import eight_bits
from restore.occlusions.occlusion import Mask
from restore.photos import Photo, decode_photo

PREVIEW = 1024  # pixels, the longer side of the picture that one paints on


@dataclass(frozen=True)
class Limits:
    """How much a photo may have: `mb` million bytes, `pixels` pixels. Of a result only the pixels are counted."""

    mb: float = 20
    pixels: int = 24_000_000

    @property
    def bytes(self) -> int:
        return round(self.mb * 1e6)

    def require_bytes(self, size: int, what: str) -> None:
        """Raises `UserError` for too large a file."""
        if size > self.bytes:
            raise UserError(f"{what} has {size / 1e6:.1f} MB; this page takes {self.mb:g} MB")

    def require(self, width: int, height: int, what: str) -> None:
        """Raises `UserError` for too many pixels."""
        if width * height > self.pixels:
            most, side = self.pixels / 1e6, math.isqrt(self.pixels)
            raise UserError(
                f"{what} has {width} x {height} pixels; this page takes {most:g} million, such as {side} x {side}"
            )


def open_photo(path: Path | None, limits: Limits, what: str = "photo") -> Photo:
    """The photo in an uploaded file.

    Args:
        path: None where nothing was uploaded.
        what: it is meant to be, for the message.

    Raises:
        UserError: there is none, or none any more; it is too large; it is no picture.
    """
    if path is None:
        raise UserError(f"choose a {what} first")
    try:
        size = path.stat().st_size
        limits.require_bytes(size, path.name)
        data = path.read_bytes()
    except OSError:
        raise UserError(f"the {what} is no longer here: files are deleted after ten minutes; choose it again") from None
    known = header(data)
    if known:
        limits.require(known.width, known.height, path.name)
    photo = decode_photo(data, path.name, path.suffix.lower())
    limits.require(photo.pixels.shape[1], photo.pixels.shape[0], path.name)  # of a format whose head does not say
    return photo


def open_mask(path: Path | None, limits: Limits, shape: tuple[int, int]) -> Mask:
    """The mask in an uploaded black-and-white picture, white being missing. Raises `UserError`."""
    picture = open_photo(path, limits, "mask").pixels
    if picture.shape[:2] != shape:
        (height, width), (h, w) = shape, picture.shape[:2]
        raise UserError(f"the mask has {w} x {h} pixels, the photo {width} x {height}; they must be the same")
    return require_hole(picture.max(axis=2) > np.iinfo(picture.dtype).max // 2)


def painted_mask(layers: Sequence[Path], limits: Limits, shape: tuple[int, int]) -> Mask:
    """What was painted on layers, PNG files with alpha, brought to the photo's (height, width). Raises `UserError`."""
    import cv2

    painted = np.zeros(shape, np.bool_)
    for path in layers:
        layer = open_photo(path, limits, "painting")
        if layer.alpha is None:
            raise UserError("what was painted cannot be told from the photo; paint it again")
        alpha = eight_bits(layer.alpha)
        painted |= cv2.resize(alpha, shape[::-1], interpolation=cv2.INTER_LINEAR) > 127
    return require_hole(painted)


def require_hole(mask: Mask) -> Mask:
    """The mask. Raises `UserError` for one that marks nothing."""
    if not mask.any():
        raise UserError("nothing is marked; paint over what is to be rebuilt, or choose a mask that is white there")
    return mask


def plain(error: Exception) -> str:
    """An error's message for visitors: no folders of the server, no remedy that is an option of a command."""
    text = re.sub(r"(?<![\w:/])(?:/[^/\s:;,'\"`]+)+/(?=[^/\s:;,'\"`])", "", str(error))
    parts = [part for part in text.split("; ") if not re.search(r"(^|\s|`)--?\w", part)]
    return "; ".join(parts) or "this cannot be done"
