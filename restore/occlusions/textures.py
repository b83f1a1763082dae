"""Pictures that cloth is printed with."""

from pathlib import Path

import cv2
import numpy as np

from restore import images
from restore.errors import UserError
from restore.faces.face import Floats
from restore.keyed import Draws
from restore.occlusions.cloth import Place
from restore.occlusions.halves import at_most, halves

_LARGEST = 512  # pixels a side that are kept


class Textures:
    """The pictures of a folder, each in `halves`."""

    def __init__(self, folder: Path) -> None:
        """Raises `UserError`: no pictures there, or one that cannot be read."""
        files = list(images.find(folder))
        if not files:
            raise UserError(f"{folder}: no pictures in this folder of textures")
        self._sizes = [halves(_as_float(images.read(file))) for file in files]

    def drawn(self, place: Place, draws: Draws) -> Floats:
        """(h, w, 3): one of them, mirrored again and again over the mask at some size, angle and shift."""
        sizes = self._sizes[int(draws.integers(len(self._sizes)))]
        across, angle, left, top = draws.uniform(
            [0.8, -0.4, 0, 0], [2.2, 0.4, 1, 1]
        )  # of the picture, in eye distances
        pixels = max(sizes[0].shape[1] / (across * place.unit), 1.0)  # of the texture in one of the picture's
        level = sizes[min(round(float(np.log2(pixels))), len(sizes) - 1)]
        scale = level.shape[1] / across
        c, s = np.float32(np.cos(angle) * scale), np.float32(np.sin(angle) * scale)
        x = c * place.u + s * place.v + np.float32(left * level.shape[1])
        y = c * place.v - s * place.u + np.float32(top * level.shape[0])
        printed = cv2.remap(level, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        return np.asarray(printed, np.float32)


def _as_float(picture: images.Image) -> Floats:
    kept = at_most(picture, _LARGEST)
    return kept.astype(np.float32) / np.float32(np.iinfo(kept.dtype).max)
