"""OpenCV's own face detector: SSD (Liu et al., ECCV 2016) over a ResNet of ten layers."""

import numpy as np
from numpy.typing import NDArray

from restore import pretrained
from restore.faces.detector import Detector, distinct
from restore.faces.face import Face
from restore.ranges import Share
from restore.registry import DETECTORS

WEIGHTS, GRAPH = "opencv_ssd", "opencv_ssd_graph"
SIDE = 300  # pixels of its input
MEAN = (104.0, 177.0, 123.0)  # of B, G, R, as it was trained


@DETECTORS.register
class ssd(Detector):
    """OpenCV's DNN SSD in its 8-bit TensorFlow file, which OpenCV 4 and 5 read; 5 has no importer for the Caffe file.

    It finds boxes alone; landmarks are those of the average face, stretched to the box (`Face.of_box`). A face that
    fills the picture gets several shifted boxes, which a border around the picture cures.

    Args:
        threshold: lowest score.
        border: width of that border, as a share of the picture's sides; it repeats the pixels at the edge.

    Raises:
        UserError: the weights are neither here nor can be fetched.
    """

    def __init__(self, threshold: Share = 0.5, border: Share = 0.25) -> None:
        import cv2

        super().__init__()
        self.threshold, self.border = threshold, border
        self.network = cv2.dnn.readNetFromTensorflow(str(pretrained.find(WEIGHTS)), str(pretrained.find(GRAPH)))

    def find(self, picture: NDArray[np.uint8]) -> list[Face]:
        """See `Detector.find`."""
        import cv2

        height, width = picture.shape[:2]
        down, across = round(height * self.border), round(width * self.border)
        framed = cv2.copyMakeBorder(picture, down, down, across, across, cv2.BORDER_REPLICATE)
        blob = cv2.dnn.blobFromImage(framed, 1.0, (SIDE, SIDE), MEAN, swapRB=True)
        self.network.setInput(blob)
        rows = np.asarray(self.network.forward(), np.float32).reshape(-1, 7)  # picture, class, score, box in [0, 1]
        rows = rows[rows[:, 2] >= self.threshold]
        size, shift = np.array([framed.shape[1::-1], (across, down)], np.float32)
        boxes = rows[:, 3:] * np.tile(size, 2) - np.tile(shift, 2) - np.float32(0.5)  # there pixels count from corners
        return [_face(boxes[index].tolist(), float(rows[index, 2])) for index in distinct(boxes, rows[:, 2])]


def _face(box: list[float], score: float) -> Face:
    x0, y0, x1, y1 = box
    return Face.of_box((x0, y0, x1, y1), score)
