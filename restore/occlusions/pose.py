"""How a head is turned: the camera that takes places on the average head to places in the picture."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from restore.faces.face import LANDMARKS, Face, Floats

# On the average head, x runs to the right, y down and z out of the face towards who looks; the origin lies between the
# eyes and their distance is 1 (63 mm). Five landmarks show depth by the nose alone, which stands out by `_DEPTHS[2]`.
_DEPTHS = np.array([0, 0, 0.45, 0.08, 0.08], np.float32)
_ORIGIN, _UNIT = LANDMARKS[:2].mean(0), LANDMARKS[1, 0] - LANDMARKS[0, 0]
_HEAD = np.column_stack([(LANDMARKS - _ORIGIN) / _UNIT, _DEPTHS, np.ones(5)])
# Noses differ: a part of what the nose is off is taken for its own, not for a turn of the head.
_RIDGE = np.diag([0, 0, 0.03, 0])
_SOLVE = np.linalg.solve(_HEAD.T @ _HEAD + _RIDGE, _HEAD.T)


@dataclass(frozen=True, eq=False)
class Pose:
    """An affine camera: `matrix` (4, 2) takes (x, y, z, 1) on the average head to pixels."""

    matrix: Floats

    @classmethod
    def of(cls, face: Face) -> "Pose":
        """The camera that brings the average head's landmarks nearest to a face's: turned, nodding, tilted as it is."""
        return cls((_SOLVE @ face.landmarks).astype(np.float32))

    def pixels(self, head: ArrayLike) -> Floats:
        """Places (..., 3) on the head as pixels (..., 2)."""
        places: Floats = np.asarray(head, np.float32) @ self.matrix[:3] + self.matrix[3]
        return places

    @cached_property
    def unit(self) -> float:
        """The distance of the eyes in pixels, had the head not been turned."""
        return float(max(np.hypot(*self.matrix[0]), np.hypot(*self.matrix[1]), 1e-3))

    @cached_property
    def yaw(self) -> float:
        """The tangent of the angle by which the nose is turned to the right of the picture, negative for the left."""
        across, out = self.matrix[0], self.matrix[2]
        return float(across @ out / max(across @ across, 1e-6))
