"""A picture in sizes that halve, so that no pixel of it is skipped where little of it is seen."""

from typing import Any, TypeVar

import cv2
from numpy.typing import NDArray

Pixels = TypeVar("Pixels", bound=NDArray[Any])


def at_most(picture: Pixels, side: int) -> Pixels:
    """The picture, shrunk to that many pixels a side where it has more."""
    scale = side / max(picture.shape[:2])
    if scale >= 1:
        return picture
    smaller: Pixels = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return smaller


def halves(picture: Pixels) -> list[Pixels]:
    """The picture, and halves of it down to 16 pixels."""
    sizes = [picture]
    while min(sizes[-1].shape[:2]) >= 32:
        height, width = sizes[-1].shape[:2]
        half: Pixels = cv2.resize(sizes[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        sizes.append(half)
    return sizes
