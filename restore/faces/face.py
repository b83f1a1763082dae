"""Where a face is in a picture."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Box = tuple[float, float, float, float]  # x0, y0, x1, y1

# An upright face in a picture that FFHQ's and CelebA-HQ's frame was cut to, as shares of its side: the means of YuNet's
# landmarks and boxes over 120 CelebA-HQ faces, made even left and right. Their spread is 0.012 to 0.026 of the side.
LANDMARKS = np.array([[0.381, 0.4815], [0.619, 0.4815], [0.5, 0.6285], [0.3945, 0.729], [0.6055, 0.729]], np.float32)
BOX = np.array([0.24, 0.215, 0.76, 0.921], np.float32)
_CORNERS = BOX[[0, 1, 2, 1, 2, 3, 0, 3]].reshape(4, 2)


@dataclass(frozen=True, eq=False)
class Face:
    """One face: `box`, and `landmarks` (5, 2), both in pixels as in `restore.faces`; `score` is in [0, 1]."""

    box: Box
    landmarks: Floats
    score: float = 1.0

    @property
    def area(self) -> float:
        """Of the box, in square pixels."""
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])

    @cached_property
    def pose(self) -> Floats:
        """(2, 3): brings the unit frame, in which the average face is `LANDMARKS` and `BOX`, onto this face."""
        import torch

        from restore.faces.align import similarity

        matrix: Floats = similarity(torch.from_numpy(LANDMARKS)[None], torch.from_numpy(self.landmarks))[0].numpy()
        return matrix

    @classmethod
    @lru_cache(maxsize=64)  # with its pose: of small pictures, reckoning it took a third of a sample's time
    def aligned(cls, height: int, width: int) -> "Face":
        """The average face of a picture that was cut to FFHQ's frame: for sets where each face stands like that."""
        side = np.float32(min(height, width))
        shift = (np.array([width, height], np.float32) - side) / 2 - np.float32(0.5)
        x0, y0, x1, y1 = (BOX * side + np.tile(shift, 2)).tolist()
        return cls((x0, y0, x1, y1), (LANDMARKS * side + shift).astype(np.float32))

    @classmethod
    def of_landmarks(cls, landmarks: Floats) -> "Face":
        """The face that has these landmarks; its box is the upright one around the average face's, laid onto them."""
        face = cls((0, 0, 0, 0), landmarks)
        corners = _CORNERS @ face.pose[:, :2].T + face.pose[:, 2]
        (x0, y0), (x1, y1) = corners.min(0).tolist(), corners.max(0).tolist()
        return cls((x0, y0, x1, y1), landmarks)

    @classmethod
    def of_box(cls, box: Box, score: float = 1.0) -> "Face":
        """The face that a detector without landmarks found: those of the average face, stretched to its box."""
        x0, y0, x1, y1 = box
        size = np.array([x1 - x0, y1 - y0], np.float32)
        landmarks = (LANDMARKS - BOX[:2]) / (BOX[2:] - BOX[:2]) * size + np.array([x0, y0], np.float32)
        return cls(box, landmarks.astype(np.float32), score)
