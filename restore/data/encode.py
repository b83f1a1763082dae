"""From a picture to the records that an LMDB keeps of it: squares, sub-images, and their bytes."""

from typing import Any

import cv2
import numpy as np

from restore.data.lmdb_store import Record
from restore.images import Image, UnreadableImage

_PNG_LEVEL = 3  # 98 KB for a face of 256 px where 6 gives 95 and takes twice as long


def square(image: Image, size: int, where: str) -> Image:
    """The middle of the picture after its shorter side was brought to `size` by area averaging: (size, size, 3).

    Raises:
        UnreadableImage: the picture is smaller. Enlarging it would teach a network to blur.
    """
    height, width = image.shape[:2]
    if min(height, width) < size:
        raise UnreadableImage(f"{where}: {width}x{height} is smaller than --size {size}; take a smaller --size")
    scale = size / min(height, width)
    scaled = (max(size, round(width * scale)), max(size, round(height * scale)))
    # BGR is how `images.decode` got it: no copy here, which would cost as much as decoding did.
    small: Any = cv2.resize(np.ascontiguousarray(image[:, :, ::-1]), scaled, interpolation=cv2.INTER_AREA)
    left, top = (scaled[0] - size) // 2, (scaled[1] - size) // 2
    kept: Image = small[top : top + size, left : left + size, ::-1]
    return kept


def sub_images(image: Image, crop: int, step: int, thresh: int, where: str) -> list[Image]:
    """Overlapping crops of `crop` pixels every `step`, row by row, as BasicSR's extract_subimages.py orders them.

    Where more than `thresh` pixels remain at the right or lower edge, one more crop ends flush with it.

    Raises:
        UnreadableImage: the picture is smaller than one crop.
    """
    height, width = image.shape[:2]
    if min(height, width) < crop:
        raise UnreadableImage(f"{where}: {width}x{height} is smaller than --crop {crop}; take a smaller --crop")
    rows, columns = _starts(height, crop, step, thresh), _starts(width, crop, step, thresh)
    return [image[y : y + crop, x : x + crop] for y in rows for x in columns]


def _starts(length: int, crop: int, step: int, thresh: int) -> list[int]:
    starts = list(range(0, length - crop + 1, step))
    return [*starts, length - crop] if length - crop - starts[-1] > thresh else starts


def encode(key: str, image: Image, compact: bool) -> Record:
    """The record of a picture: BMP, which decodes at once; PNG when `compact`, and for 16 bits, which BMP lacks."""
    bgr = image[:, :, ::-1]
    if compact or image.dtype == np.uint16:
        level, ext, flags = _PNG_LEVEL, "png", [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL]
    else:
        level, ext, flags = 0, "bmp", []
    data = cv2.imencode(f".{ext}", bgr, flags)[1].tobytes()
    height, width, channels = image.shape
    return Record(key, data, (height, width, channels), level, ext)
