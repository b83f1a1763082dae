"""RetinaFace: faces and their five landmarks (Deng et al., CVPR 2020)."""

import numpy as np
from numpy.typing import NDArray

from restore.faces.detector import Detector, distinct, resized
from restore.faces.face import Face
from restore.ranges import Positive, Share
from restore.registry import DETECTORS


@DETECTORS.register
class retinaface(Detector):
    """RetinaFace-MobileNet0.25, in PyTorch.

    Args:
        threshold: lowest score.
        side: pictures are brought to that longer side.
        weights: another file of that network, in the place of the registered one; `random` for tests.

    Raises:
        UserError: the weights are neither here nor can be fetched, or are another network's.
    """

    def __init__(self, threshold: Share = 0.8, side: Positive = 640, weights: str | None = None) -> None:
        from restore.features.retinaface import RetinaFace

        super().__init__()
        self.threshold, self.side = threshold, side
        self.network = RetinaFace(weights)

    def find(self, picture: NDArray[np.uint8]) -> list[Face]:
        """See `Detector.find`."""
        import torch

        bgr, ratio = resized(picture, self.side)
        with torch.no_grad():
            found = self.network(torch.from_numpy(bgr).permute(2, 0, 1)[None].float())
        scores, boxes, landmarks = (values[0].numpy() for values in found)
        sure = scores >= self.threshold
        scores, boxes, landmarks = scores[sure], boxes[sure] * np.tile(ratio, 2) - 0.5, landmarks[sure] * ratio - 0.5
        faces = []
        for index in distinct(boxes, scores):
            x0, y0, x1, y1 = boxes[index].tolist()
            faces.append(Face((x0, y0, x1, y1), landmarks[index], float(scores[index])))
        return faces
