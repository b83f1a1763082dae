"""The light and the grain of a picture, for what is painted into it."""

from dataclasses import dataclass

import cv2
import numpy as np

from restore.faces.face import Floats
from restore.keyed import Draws
from restore.occlusions.canvas import Canvas

_CELLS = 8  # a side: coarser than mouth and nostrils, finer than a face lit from the side
_GRAIN = 96  # side of the tile of noise
_WHITE = 0.85  # luminance of the brightest parts of a well exposed picture


@dataclass(frozen=True, eq=False)
class Light:
    """`gain` (h, w): how bright the covered face is, about 1 on average. `exposure`: of white cloth in that picture.

    `slope` (2,): which way, right and down, the face gets brighter. `grain`: standard deviation of the noise.
    """

    gain: Floats
    exposure: float
    slope: Floats
    grain: float

    @classmethod
    def of(cls, canvas: Canvas, cover: Floats) -> "Light":
        """What is seen where `cover` (h, w) of the window is."""
        gray = canvas.luminance()
        mean, low = _smooth(gray, cover)
        relative = low / max(mean, 0.02)
        right, down = (float(np.diff(relative, axis=axis).mean()) * _CELLS for axis in (1, 0))
        gain = cv2.resize(np.clip(relative, 0.3, 1.6) ** 0.7, gray.shape[::-1], interpolation=cv2.INTER_LINEAR)
        apart = max(1, min(canvas.picture.shape[:2]) // 48)
        bright = float(np.percentile(canvas.picture[::apart, ::apart], 96)) / canvas.full
        exposure = float(np.clip(0.7 * bright / _WHITE + 0.3 * mean / 0.55, 0.3, 1.1))
        return cls(gain, exposure, np.array([right, down], np.float32), _noise_level(gray))

    def add_grain(self, picture: Floats, draws: Draws) -> None:
        """Adds noise to (h, w, 3) in place, as the picture around has it, gray."""
        tile = draws.standard_normal((_GRAIN, _GRAIN), np.float32) * np.float32(self.grain)
        height, width = picture.shape[:2]
        rows, columns = -(-height // _GRAIN), -(-width // _GRAIN)
        picture += np.tile(tile, (rows, columns))[:height, :width, None]


def _smooth(gray: Floats, cover: Floats) -> tuple[float, Floats]:
    """The mean where covered, and a grid (_CELLS, _CELLS) of the luminance there; around it, the nearest."""
    size = (_CELLS, _CELLS)
    weight = cv2.resize(cover, size, interpolation=cv2.INTER_AREA) + np.float32(1e-6)
    total = cv2.resize(gray * cover, size, interpolation=cv2.INTER_AREA)
    mean = float(total.sum() / weight.sum())
    weight, total = weight + np.float32(0.02), total + np.float32(0.02 * mean)
    grid = cv2.GaussianBlur(total, (0, 0), 1.0) / cv2.GaussianBlur(weight, (0, 0), 1.0)
    return mean, np.asarray(grid, np.float32)


def _noise_level(gray: Floats) -> float:
    """The median of mixed second differences, which smooth shading does not have (each sums four pixels)."""
    part = gray[len(gray) // 4 :, gray.shape[1] // 4 :][:128, :128]
    if min(part.shape) < 2:
        return 0.0
    mixed = np.abs(part[1:, 1:] - part[:-1, 1:] - part[1:, :-1] + part[:-1, :-1])
    return min(float(np.median(mixed)) / (2 * 0.6745) * 0.7, 0.02)  # a part of it is detail of the face
