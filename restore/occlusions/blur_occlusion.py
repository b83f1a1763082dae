"""Parts of the face made unrecognisable, as in pictures that are to name nobody: blurred, or in coarse blocks."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from restore.faces.face import BOX, Face
from restore.images import Image
from restore.keyed import Draws
from restore.occlusions.box_occlusion import Eyes, LowerFace, Mouth, Nose
from restore.occlusions.occlusion import Mask, Occluded, Occlusion
from restore.occlusions.region import RegionOcclusion, eye_distance, polygon, replaced
from restore.ranges import Limits
from restore.registry import OCCLUSIONS

Where = Literal["all", "face", "lower", "eyes", "nose", "mouth"]
Size = Annotated[float, Field(gt=0, le=2)]


_FINE = 3.0  # standard deviation that a picture is at most shrunk to, in pixels
_RESIZED = 1 / 12 + 1 / 6  # variance of a pixel's square and of bilinear interpolation, which blur as well


class Whole(RegionOcclusion):
    """All of the picture."""

    def region(self, height: int, width: int, face: Face, draws: Draws) -> Mask:
        return np.ones((height, width), np.bool_)


class Oval(RegionOcclusion):
    """The face's oval, from its forehead to its chin: the ellipse in the average face's box, laid onto this face."""

    def region(self, height: int, width: int, face: Face, draws: Draws) -> Mask:
        angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
        middle, half = (BOX[2:] + BOX[:2]) / 2, (BOX[2:] - BOX[:2]) / 2
        points = middle + np.stack([np.cos(angles), np.sin(angles)], 1) * half
        return polygon(height, width, points @ face.pose[:, :2].T + face.pose[:, 2])


_REGIONS: dict[Where, Callable[[], RegionOcclusion]] = {
    "all": Whole,
    "face": Oval,
    "lower": LowerFace,
    "eyes": Eyes,
    "nose": Nose,
    "mouth": Mouth,
}


class Coarse(Occlusion):
    """Base of the occlusions that show a region of the picture coarser than it is.

    Args:
        region: "all" of the picture, the "face"'s oval, or what `LowerFace`, `Eyes`, `Nose` and `Mouth` hide.
        size: range of how coarse, in distances between the eyes.
    """

    def __init__(self, region: Where, size: Limits[Size]) -> None:
        self.region = _REGIONS[region]()
        self.size = size

    def __call__(self, picture: Image, face: Face, draws: Draws) -> Occluded:
        height, width = picture.shape[:2]
        mask = self.region.region(height, width, face, draws)
        size = draws.uniform(*self.size) * eye_distance(face)
        return Occluded(replaced(picture, mask, self.coarse(picture, mask, size)), mask)

    def coarse(self, picture: Image, mask: Mask, size: float) -> NDArray[Any]:
        """The picture, coarser by `size` pixels inside the mask, whatever outside."""
        raise NotImplementedError


@OCCLUSIONS.register
class Blur(Coarse):
    """Gaussian blur of the picture or a part of the face.

    Args:
        region: "all" of the picture, the "face"'s oval, or what `LowerFace`, `Eyes`, `Nose` and `Mouth` hide.
        sigma: range of the standard deviation, in distances between the eyes.
    """

    def __init__(self, region: Where = "face", sigma: Limits[Size] = (0.1, 0.3)) -> None:
        super().__init__(region, sigma)

    def coarse(self, picture: Image, mask: Mask, size: float) -> NDArray[Any]:
        factor = max(1, int(size / _FINE))  # a wide blur is as good, and many times quicker, on a smaller picture
        if factor == 1:
            return cv2.GaussianBlur(picture, (0, 0), max(size, 0.1), borderType=cv2.BORDER_REFLECT)
        height, width = picture.shape[:2]
        small = cv2.resize(picture, (-(-width // factor), -(-height // factor)), interpolation=cv2.INTER_AREA)
        sigma = np.sqrt((size / factor) ** 2 - _RESIZED)
        small = cv2.GaussianBlur(small, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
        return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


@OCCLUSIONS.register
class Pixelate(Coarse):
    """Square blocks of one colour each, over the picture or a part of the face.

    Args:
        region: "all" of the picture, the "face"'s oval, or what `LowerFace`, `Eyes`, `Nose` and `Mouth` hide.
        block: range of a block's side, in distances between the eyes.
    """

    def __init__(self, region: Where = "face", block: Limits[Size] = (0.15, 0.4)) -> None:
        super().__init__(region, block)

    def coarse(self, picture: Image, mask: Mask, size: float) -> NDArray[Any]:
        height, width = picture.shape[:2]
        blocks = tuple(max(1, round(side / max(size, 1.0))) for side in (width, height))
        small = cv2.resize(picture, blocks, interpolation=cv2.INTER_AREA)
        return cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
