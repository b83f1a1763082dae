"""YuNet: faces and their five landmarks (Wu et al., Machine Intelligence Research 2023)."""

import numpy as np
from numpy.typing import NDArray

from restore import pretrained
from restore.faces.detector import OVERLAP, Detector, resized
from restore.faces.face import Face, Floats
from restore.ranges import Positive, Share
from restore.registry import DETECTORS

WEIGHTS = "yunet"


@DETECTORS.register
class yunet(Detector):
    """YuNet through OpenCV, 4 or 5: faces of 10 px and more, with landmarks, in milliseconds.

    Args:
        threshold: lowest score.
        side: pictures are brought to that longer side, at which landmarks are best.

    Raises:
        UserError: the weights are neither here nor can be fetched.
    """

    def __init__(self, threshold: Share = 0.6, side: Positive = 640) -> None:
        import cv2

        super().__init__()
        self.side = side
        path = str(pretrained.find(WEIGHTS))
        self.network = cv2.FaceDetectorYN.create(path, "", (side, side), threshold, OVERLAP)

    def find(self, picture: NDArray[np.uint8]) -> list[Face]:
        """See `Detector.find`."""
        bgr, ratio = resized(picture, self.side)
        self.network.setInputSize(bgr.shape[1::-1])
        rows = self.network.detect(bgr)[1]
        return [] if rows is None else [_face(row, ratio) for row in np.asarray(rows, np.float32)]


def _face(row: Floats, ratio: Floats) -> Face:
    """A row of YuNet's: x, y, width, height, five points, score; in pixels of the resized picture."""
    corners = np.stack([row[:2], row[:2] + row[2:4]])
    x0, y0, x1, y1 = ((corners + 0.5) * ratio - 0.5).ravel().tolist()
    landmarks = (row[4:14].reshape(5, 2) + 0.5) * ratio - 0.5
    return Face((x0, y0, x1, y1), landmarks.astype(np.float32), float(row[14]))
