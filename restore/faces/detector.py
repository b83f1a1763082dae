"""What finds faces: the base of all detectors, and what several of them need."""

import numpy as np
from numpy.typing import NDArray

from restore.faces.face import Face, Floats
from restore.fitting import size_within
from restore.images import Image, eight_bits

OVERLAP = 0.3  # of two boxes, intersection over union, from which on they are one face


class Detector:
    """Finds the faces in a picture, the largest first. Not for several threads at once: each builds its own.

    No face is an empty list. A face that the picture's edge cuts is found as far as it shows; its box and landmarks may
    then lie outside the picture, and are not moved. What only touches the picture, its middle being outside, is none.
    """

    def __init__(self) -> None:  # spelled out: the signature is the schema of the detector's options
        pass

    def __call__(self, picture: Image) -> list[Face]:
        """The faces in an RGB picture.

        Args:
            picture: (H, W, 3), of 8 bits, or 16, which are looked at as 8; a grey one has three equal channels.

        Raises:
            ValueError: an array that is no such picture.
        """
        if picture.ndim != 3 or picture.shape[2] != 3 or not picture.size or picture.dtype not in (np.uint8, np.uint16):
            raise ValueError(f"a picture is (H, W, 3) of 8 or 16 bits, not {picture.shape} of {picture.dtype}")
        eight = eight_bits(picture)
        height, width = picture.shape[:2]
        return sorted((face for face in self.find(eight) if _shows(face, height, width)), key=lambda face: -face.area)

    def find(self, picture: NDArray[np.uint8]) -> list[Face]:
        """The faces in an RGB picture (H, W, 3) of 8 bits, each once, in any order."""
        raise NotImplementedError


def _shows(face: Face, height: int, width: int) -> bool:
    x0, y0, x1, y1 = face.box
    return 0 <= x0 + x1 <= 2 * width and 0 <= y0 + y1 <= 2 * height


def resized(picture: NDArray[np.uint8], side: int) -> tuple[NDArray[np.uint8], Floats]:
    """A picture as BGR with `side` as its longer side, and how many of its pixels one of the result spans, x and y."""
    import cv2

    height, width = picture.shape[:2]
    size = size_within(picture.shape, side)[::-1]
    how = cv2.INTER_AREA if side < max(height, width) else cv2.INTER_LINEAR
    bgr = cv2.resize(np.ascontiguousarray(picture[:, :, ::-1]), size, interpolation=how)
    return np.asarray(bgr, np.uint8), np.array([width / size[0], height / size[1]], np.float32)


def distinct(boxes: Floats, scores: Floats) -> list[int]:
    """Which of several boxes (N, 4) to keep, so that each face has one: the surest, then the surest of the rest, ..."""
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable").tolist():
        if not kept or overlaps(boxes[index], boxes[kept]).max() <= OVERLAP:
            kept.append(index)
    return kept


def overlaps(box: Floats, others: Floats) -> Floats:
    """Intersection over union of a box (4,) with others (N, 4)."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = sides.clip(0).prod(1)
    areas = (others[:, 2:] - others[:, :2]).prod(1) + (box[2:] - box[:2]).prod() - shared
    share: Floats = shared / np.maximum(areas, 1e-9)
    return share
