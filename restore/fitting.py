"""Pictures to look at: brought to a size, into cells on white, beside each other, with a line of text."""

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

GAP = 4  # pixels between pictures

Rgb = NDArray[np.uint8]


def size_within(shape: Sequence[int], width: int, height: int | None = None) -> tuple[int, int]:
    """The (height, width) of a picture of that shape as large as fits; `height` is `width` where it is left out."""
    ratio = min(width / shape[1], (height or width) / shape[0])
    return max(1, round(shape[0] * ratio)), max(1, round(shape[1] * ratio))


def resized(picture: NDArray[Any], size: tuple[int, int], pixels: bool = False) -> NDArray[Any]:
    """The picture in a size (height, width): averaged where it shrinks, else bicubic, or with its pixels to be seen.

    It is the same array where it has that size.
    """
    if picture.shape[:2] == size:
        return picture
    larger = cv2.INTER_NEAREST_EXACT if pixels else cv2.INTER_CUBIC
    how = cv2.INTER_AREA if size[1] < picture.shape[1] else larger
    return np.asarray(cv2.resize(np.ascontiguousarray(picture), size[::-1], interpolation=how), picture.dtype)


def fitted(picture: Rgb, side: int, pixels: bool = False) -> Rgb:
    """The picture with `side` as its longer side; see `resized`."""
    return resized(picture, size_within(picture.shape, side), pixels)


def celled(picture: Rgb, width: int, height: int | None = None) -> Rgb:
    """The picture in the middle of a white cell, in which it has to fit; `height` is `width` where it is left out."""
    cell = np.full((height or width, width, 3), 255, np.uint8)
    y, x = ((whole - own) // 2 for whole, own in zip(cell.shape[:2], picture.shape[:2], strict=True))
    cell[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
    return cell


def joined(parts: Sequence[Rgb], axis: int, gap: int = GAP) -> Rgb:
    """Parts below (0) or beside (1) each other, with white gaps between."""
    shape = list(parts[0].shape)
    shape[axis] = gap
    white: Rgb = np.full(shape, 255, np.uint8)
    return np.concatenate([piece for part in parts for piece in (white, part)][1:], axis=axis)


def tiled(cells: Sequence[Rgb], columns: int | None = None) -> Rgb:
    """Cells of one size in rows, with gaps; without `columns` as many as make a square of them."""
    columns = columns or math.ceil(math.sqrt(len(cells)))
    blank = np.full_like(cells[0], 255)
    rows = [[*cells[start : start + columns]] for start in range(0, len(cells), columns)]
    return joined([joined(row + [blank] * (columns - len(row)), axis=1) for row in rows], axis=0)


def text_line(text: str, width: int, height: int, font_size: int, colour: str | tuple[int, int, int] = "black") -> Rgb:
    """A line of text in the middle of a white strip; what does not fit is cut off."""
    from PIL import Image, ImageDraw, ImageFont

    canvas, font = Image.new("RGB", (width, height), "white"), ImageFont.load_default(size=font_size)
    while font.getlength(text) > width:
        text = text[:-1]
    ImageDraw.Draw(canvas).text((width // 2, height // 2), text, fill=colour, font=font, anchor="mm")
    return np.asarray(canvas)
