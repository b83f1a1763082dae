"""Rectangles over the face or the picture, and over single parts of the face."""

from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from restore.faces.face import Box, Face
from restore.keyed import Draws
from restore.occlusions.occlusion import Mask
from restore.occlusions.region import Fill, RegionOcclusion, eye_distance, polygon, rectangle
from restore.ranges import Share
from restore.registry import OCCLUSIONS

Side = Literal["left", "right", "top", "bottom"]
Outline = Literal["box", "ellipse"]
Margin = Annotated[float, Field(ge=0, le=2)]

_SIDES: tuple[Side, ...] = ("left", "right", "top", "bottom")
_OUTLINES: dict[Outline, NDArray[np.float64]] = {
    "box": np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float64),
    "ellipse": np.array([[np.cos(a), np.sin(a)] for a in np.linspace(0, 2 * np.pi, 72, endpoint=False)]),
}


@OCCLUSIONS.register
class LowerFace(RegionOcclusion):
    """A rectangle over the lower part of the face's box, which hides what a face mask hides.

    Its sides are the box's, and so never slanted; in a picture that is turned by a quarter it lies where the chin is.

    Args:
        top: where it begins, as a share of the box from forehead to chin; 0.55 hides the lower 45 %.
        fill: see `RegionOcclusion`.
    """

    def __init__(self, top: Share = 0.55, fill: Fill = "black") -> None:
        super().__init__(fill)
        self.top = top

    def region(self, height: int, width: int, face: Face, draws: Draws) -> Mask:
        return rectangle(height, width, lower_box(face, self.top))


@OCCLUSIONS.register
class Centre(RegionOcclusion):
    """The middle of the picture, as Pathak et al., "Context encoders" (CVPR 2016).

    Args:
        share: of each side of the picture; 0.5 hides a quarter of it.
        fill: see `RegionOcclusion`.
    """

    def __init__(self, share: Share = 0.5, fill: Fill = "black") -> None:
        super().__init__(fill)
        self.share = share

    def region(self, height: int, width: int, face: Face, draws: Draws) -> Mask:
        h, w = round(self.share * height), round(self.share * width)
        y, x = (height - h) // 2, (width - w) // 2
        return rectangle(height, width, (x, y, x + w - 1, y + h - 1))


@OCCLUSIONS.register
class Half(RegionOcclusion):
    """One half of the picture.

    Args:
        side: which; "random" draws it for each picture.
        fill: see `RegionOcclusion`.
    """

    def __init__(self, side: Side | Literal["random"] = "random", fill: Fill = "black") -> None:
        super().__init__(fill)
        self.side = side

    def region(self, height: int, width: int, face: Face, draws: Draws) -> Mask:
        side = _SIDES[draws.integers(len(_SIDES))] if self.side == "random" else self.side
        return rectangle(height, width, _cut((0, 0, width - 1, height - 1), side, 0.5))


class FacePart(RegionOcclusion):
    """Base of the regions around landmarks: they turn and grow with the face.

    A subclass tells a line between two points of the face, each a mean of landmarks, and the part's extent around it
    without any margin, in distances between the eyes.

    Args:
        shape: a box, or the ellipse of the same length and width.
        margin: how much to hide around the part, in distances between the eyes.
        fill: see `RegionOcclusion`.
    """

    ends: ClassVar[tuple[tuple[float, ...], ...]]  # weights (2, 5) of the landmarks
    beyond: ClassVar[float]  # each end
    beside: ClassVar[float]  # the line, to either side

    def __init__(self, shape: Outline = "box", margin: Margin = 0.1, fill: Fill = "black") -> None:
        super().__init__(fill)
        self.shape: Outline = shape
        self.margin = margin

    def region(self, height: int, width: int, face: Face, draws: Draws) -> Mask:
        unit = eye_distance(face)
        first, last = np.array(self.ends) @ face.landmarks
        length = max(float(np.hypot(*(last - first))), 1e-6)
        direction = (last - first) / length
        along = direction * (length / 2 + (self.beyond + self.margin) * unit)
        across = direction[::-1] * (-1, 1) * (self.beside + self.margin) * unit
        return polygon(height, width, (first + last) / 2 + _OUTLINES[self.shape] @ np.stack([along, across]))


@OCCLUSIONS.register
class Eyes(FacePart):
    """Both eyes, in one piece."""

    ends = ((1, 0, 0, 0, 0), (0, 1, 0, 0, 0))
    beyond = 0.28
    beside = 0.18


@OCCLUSIONS.register
class Nose(FacePart):
    """The nose, from between the eyes to below its tip."""

    ends = ((0.5, 0.5, 0, 0, 0), (0, 0, 1, 0, 0))
    beyond = 0.12
    beside = 0.26


@OCCLUSIONS.register
class Mouth(FacePart):
    """The mouth with its lips."""

    ends = ((0, 0, 0, 1, 0), (0, 0, 0, 0, 1))
    beyond = 0.06
    beside = 0.2


def lower_box(face: Face, top: float) -> Box:
    """What is left of the face's box when the share `top` of it, above the chin, is taken away."""
    x, y = face.landmarks[3:].mean(0) - face.landmarks[:2].mean(0)  # from the eyes to the mouth
    if abs(y) >= abs(x):
        return _cut(face.box, "bottom" if y >= 0 else "top", 1 - top)
    return _cut(face.box, "right" if x >= 0 else "left", 1 - top)


def _cut(box: Box, side: Side, share: float) -> Box:
    """The part of a box that lies at that side of it."""
    x0, y0, x1, y1 = box
    w, h = (x1 - x0) * share, (y1 - y0) * share
    if side in ("left", "right"):
        return (x0, y0, x0 + w, y1) if side == "left" else (x1 - w, y0, x1, y1)
    return (x0, y0, x1, y0 + h) if side == "top" else (x0, y1 - h, x1, y1)
