"""Occlusions that are a region and what it is filled with."""

from typing import Annotated, Any, Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from restore.faces.face import LANDMARKS, Box, Face
from restore.images import Image
from restore.keyed import Draws
from restore.occlusions.occlusion import Mask, Occluded, Occlusion

Level = Annotated[int, Field(ge=0, le=255)]
Colour = tuple[Level, Level, Level]
Fill = Annotated[
    Literal["black", "white", "grey", "mean", "random", "noise"]
    | Colour
    | Annotated[list[Colour], Field(min_length=1)],
    Field(
        description="black, white, grey, mean, random, noise, an RGB colour such as [200, 30, 30] of levels in 0..255, "
        "or a list of such colours"
    ),
]

_NAMED: dict[str, Colour] = {"black": (0, 0, 0), "white": (255, 255, 255), "grey": (128, 128, 128)}
_BITS = 4  # of a coordinate's fraction, in OpenCV's polygons


class RegionOcclusion(Occlusion):
    """Base of the occlusions that hide a region behind one colour or noise; subclasses say which region.

    Args:
        fill: "black", "white", "grey"; "mean", the mean colour of what stays to be seen; "random", a colour drawn
            anew for each picture; "noise", each sample drawn; an RGB colour of levels in 0..255; or a list of such
            colours, one of which is drawn. 16-bit pictures get the same colours.
    """

    def __init__(self, fill: Fill = "black") -> None:
        self.fill = fill

    def region(self, height: int, width: int, face: Face, draws: Draws) -> Mask:
        """What to hide in a picture of that size, as (height, width); what lies beyond its edges is left out."""
        raise NotImplementedError

    def __call__(self, picture: Image, face: Face, draws: Draws) -> Occluded:
        height, width = picture.shape[:2]
        mask = self.region(height, width, face, draws)
        return Occluded(filled(picture, mask, self.fill, draws), mask)


def filled(picture: Image, mask: Mask, fill: Fill, draws: Draws) -> Image:
    """A copy of the picture (H, W, 3) whose masked part is filled; for `fill` see `RegionOcclusion`."""
    top = np.iinfo(picture.dtype).max
    if fill == "noise":
        return replaced(picture, mask, draws.integers(0, top, picture.shape, picture.dtype, endpoint=True))
    if fill == "mean":
        return replaced(picture, mask, np.rint(cv2.mean(picture, (~mask).view(np.uint8))[:3]).astype(picture.dtype))
    colour = np.array(_drawn_colour(fill, draws)) * (top // 255)
    return replaced(picture, mask, colour.astype(picture.dtype))


def replaced(picture: Image, mask: Mask, other: NDArray[Any]) -> Image:
    """A copy of the picture (H, W, 3) that shows `other`, a picture or a colour of its type, inside the mask."""
    copy = picture.copy()
    np.copyto(copy, other, where=mask[:, :, None])
    return copy


def rectangle(height: int, width: int, box: Box) -> Mask:
    """The pixels of a picture of that size whose centres are in the box."""
    x0, y0, x1, y1 = box
    mask = np.zeros((height, width), np.bool_)
    mask[_inside(y0, y1), _inside(x0, x1)] = True
    return mask


def polygon(height: int, width: int, points: ArrayLike) -> Mask:
    """The pixels of a picture of that size in or on the polygon through the points (K, 2), x and y, in their order."""
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.rint(np.asarray(points) * 2**_BITS).astype(np.int32)], (1,), cv2.LINE_8, _BITS)
    return mask.view(np.bool_)


def eye_distance(face: Face) -> float:
    """How far the eyes of the average face are apart at this one's scale, in pixels; a turned head keeps its scale."""
    return float(np.hypot(*face.pose[:, 0]) * (LANDMARKS[1, 0] - LANDMARKS[0, 0]))


def _inside(first: float, last: float) -> slice:
    """The whole numbers from `first` to `last` that are not negative."""
    return slice(max(0, int(np.ceil(first))), max(0, int(np.floor(last)) + 1))


def _drawn_colour(fill: Any, draws: Draws) -> Colour:
    if fill == "random":
        red, green, blue = draws.integers(0, 255, 3, endpoint=True).tolist()
        return red, green, blue
    if isinstance(fill, str):
        return _NAMED[fill]
    colour: Colour = fill if isinstance(fill, tuple) else fill[draws.integers(len(fill))]
    return colour
