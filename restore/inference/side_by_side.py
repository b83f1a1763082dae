"""A picture that shows others beside each other: before, what was hidden, after."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from restore import images
from restore.fitting import joined, resized, size_within
from restore.images import Image
from restore.occlusions.occlusion import Mask

LONGEST = 1024  # side of a picture in a comparison
TINT = (255, 0, 160)


def side_by_side(pictures: Sequence[Image]) -> NDArray[np.uint8]:
    """Pictures in a row, of the height of the last one: a smaller one is enlarged as bicubic does, to compare with."""
    shape = pictures[-1].shape
    size = size_within(shape, min(LONGEST, max(shape[:2])))
    return joined([resized(images.eight_bits(picture), size) for picture in pictures], axis=1)


def tinted(picture: Image, mask: Mask) -> NDArray[np.uint8]:
    """The picture, in 8 bits, with the mask's pixels in a colour that no face has."""
    shown = images.eight_bits(picture)
    result = shown.copy()
    result[mask] = (shown[mask] * 0.6 + np.array(TINT) * 0.4).astype(np.uint8)
    return result
