"""Finds faces and their five landmarks, with YuNet (Wu et al., Machine Intelligence Research 2023)."""

import cv2
import numpy as np

from restore import pretrained
from restore.faces.face import Face, Floats
from restore.images import Image

WEIGHTS = "yunet"
OVERLAP = 0.3  # of boxes, from which on they are one face


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
