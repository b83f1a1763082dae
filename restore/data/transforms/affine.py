"""A face's frame moved, as an inaccurate detector would have it."""

from typing import Annotated, Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from restore.data.sample import PICTURES, Sample
from restore.keyed import Draws
from restore.ranges import Limits, Share
from restore.registry import TRANSFORMS

Zoom = Annotated[float, Field(gt=0, le=4)]
Matrix = NDArray[np.float64]  # (2, 3), of pixels


@TRANSFORMS.register
class RandomAffine:
    """Zooms, turns and shifts every picture of a sample, its mask and its landmarks.

    Where a picture ends its border goes on, as in frames that are cut out of a photo.

    For faces whose place is told by `landmarks`: a data set without them would go on taking the face to be aligned.

    Args:
        zoom: range of the factor on the size of what is seen.
        turn: the largest angle, in degrees.
        shift: the farthest that the middle goes, across and down, as a share of the shorter side.
        probability: how often.
    """

    def __init__(
        self,
        zoom: Limits[Zoom] = (0.8, 1.2),
        turn: Annotated[float, Field(ge=0, le=180)] = 15.0,
        shift: Share = 0.08,
        probability: Share = 1.0,
    ) -> None:
        self.zoom, self.turn, self.shift, self.probability = zoom, turn, shift, probability

    def __call__(self, sample: Sample, draws: Draws) -> Sample:
        is_chosen, zoom, turn = draws.random() < self.probability, draws.uniform(*self.zoom), draws.uniform(-1, 1)
        shift = draws.uniform(-self.shift, self.shift, 2)
        return moved(sample, zoom, turn * self.turn, shift) if is_chosen else sample


def moved(sample: Sample, zoom: float, turn: float, shift: NDArray[np.float64]) -> Sample:
    """The sample zoomed about its middle, turned clockwise by degrees, and shifted by shares of its shorter side."""
    changed: dict[str, Any] = dict(sample)
    for name in PICTURES:
        if name in sample:
            picture = cast(NDArray[Any], changed[name])
            how = cv2.INTER_NEAREST if name == "mask" else cv2.INTER_LINEAR
            height, width = picture.shape[:2]
            matrix = _matrix(height, width, zoom, turn, shift)
            warped = cv2.warpAffine(picture, matrix, (width, height), flags=how, borderMode=cv2.BORDER_REPLICATE)
            changed[name] = warped.reshape(picture.shape)
    if "landmarks" in sample:
        height, width = sample["gt"].shape[:2]
        matrix = _matrix(height, width, zoom, turn, shift)
        changed["landmarks"] = (sample["landmarks"] @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    return cast(Sample, changed)


def _matrix(height: int, width: int, zoom: float, turn: float, shift: NDArray[np.float64]) -> Matrix:
    """Takes the pixels of a picture of that size to where they come to; centres are at whole numbers."""
    angle = np.deg2rad(turn)
    turned = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([width - 1, height - 1]) / 2
    return np.column_stack([turned, middle + shift * min(height, width) - turned @ middle])
