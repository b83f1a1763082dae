"""A picture that shows others beside each other: before, what was hidden, after."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from restore import images
from restore.images import Image
from restore.occlusions.occlusion import Mask

LONGEST = 1024  # side of a picture in a comparison
GAP = 4
TINT = (255, 0, 160)


def side_by_side(pictures: Sequence[Image]) -> NDArray[np.uint8]:
    """Pictures in a row, of the height of the last one: a smaller one is enlarged as bicubic does, to compare with."""
    height, width = pictures[-1].shape[:2]
    scale = min(1.0, LONGEST / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    columns = [_fitted(images.eight_bits(picture), size) for picture in pictures]
    gap = np.full((size[1], GAP, 3), 255, np.uint8)
    return np.hstack([piece for column in columns for piece in (gap, column)][1:])


def tinted(picture: Image, mask: Mask) -> NDArray[np.uint8]:
    """The picture, in 8 bits, with the mask's pixels in a colour that no face has."""
    shown = images.eight_bits(picture)
    result = shown.copy()
    result[mask] = (shown[mask] * 0.6 + np.array(TINT) * 0.4).astype(np.uint8)
    return result


def _fitted(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    if picture.shape[1::-1] == size:
        return picture
    how = cv2.INTER_AREA if size[0] < picture.shape[1] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(np.ascontiguousarray(picture), size, interpolation=how), np.uint8)
