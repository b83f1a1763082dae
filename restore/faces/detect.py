"""Finds faces and their five landmarks, with YuNet (Wu et al., Machine Intelligence Research 2023)."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from restore import pretrained
from restore.images import Image

Floats = NDArray[np.float32]

WEIGHTS = "yunet"
OVERLAP = 0.3  # of boxes, from which on they are one face


@dataclass(frozen=True)
class Face:
    """One face: `box` is x0, y0, x1, y1, `landmarks` is (5, 2), both in pixels as in `restore.faces`."""

    box: tuple[float, float, float, float]
    landmarks: Floats
    score: float  # in [0, 1]

    @property
    def area(self) -> float:
        """Of the box, in square pixels."""
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])


class FaceDetector:
    """YuNet through OpenCV, 4 or 5. Not for several threads at once: each builds its own."""

    def __init__(self, threshold: float = 0.6, side: int = 640) -> None:
        """`threshold`: lowest score. `side`: pictures are brought to that longer side, at which landmarks are best.

        Raises:
            UserError: the weights are neither here nor can be fetched.
        """
        self.side = side
        path = str(pretrained.find(WEIGHTS))
        self.network = cv2.FaceDetectorYN.create(path, "", (side, side), threshold, OVERLAP)

    def __call__(self, picture: Image) -> list[Face]:
        """The faces in an RGB picture (H, W, 3), the largest first."""
        if picture.dtype == np.uint16:
            picture = (picture >> 8).astype(np.uint8)
        height, width = picture.shape[:2]
        scale = self.side / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        bgr = cv2.resize(np.ascontiguousarray(picture[:, :, ::-1]), size, interpolation=how)
        self.network.setInputSize(size)
        rows = self.network.detect(bgr)[1]
        if rows is None:
            return []
        ratio = np.array([width / size[0], height / size[1]], np.float32)
        return sorted((_face(row, ratio) for row in np.asarray(rows, np.float32)), key=lambda face: -face.area)


def _face(row: Floats, ratio: Floats) -> Face:
    """A row of YuNet's: x, y, width, height, five points, score; in pixels of the resized picture."""
    corners = np.stack([row[:2], row[:2] + row[2:4]])
    x0, y0, x1, y1 = ((corners + 0.5) * ratio - 0.5).ravel().tolist()
    landmarks = (row[4:14].reshape(5, 2) + 0.5) * ratio - 0.5
    return Face((x0, y0, x1, y1), landmarks.astype(np.float32), float(row[14]))
