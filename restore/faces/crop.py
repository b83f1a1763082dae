"""A face cut out of a picture, upright and in the frame of FFHQ, and what was made of it put back."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restore.faces.align import similarity, warp
from restore.faces.face import LANDMARKS, Face
from restore.images import Image
from restore.images import to_unit as unit_of

MOST_SAMPLES = 8  # points a side that are averaged: beyond that many pixels to one, a little aliasing is left
FAINTEST = 0.02  # a pixel of the crop is missing when that share of it is; less is the rounding of the warp

Window = tuple[slice, slice]  # rows and columns of a picture


@dataclass(frozen=True, eq=False)
class Crop:
    """A square of `size` pixels in which a face stands as in FFHQ; `matrix` (2, 3) takes the picture's pixels there."""

    matrix: NDArray[np.float64]
    size: int

    @classmethod
    def of(cls, face: Face, size: int) -> "Crop":
        """The crop in which the face's landmarks come nearest to those of the average aligned face."""
        template = torch.from_numpy(LANDMARKS).double() * size - 0.5
        matrix = similarity(torch.from_numpy(face.landmarks).double()[None], template)[0]
        return cls(matrix.numpy(), size)

    @property
    def scale(self) -> float:
        """Pixels of the crop to one of the picture."""
        return float(np.hypot(*self.matrix[:, 0]))

    def cut(self, picture: Image) -> Tensor:
        """The crop out of a picture (H, W, 3): (1, 3, size, size) in [0, 1]. The border goes on where the picture ends.

        Bilinear; where the crop has fewer pixels than the picture they are averaged.
        """
        window = self._reach(picture.shape[0], picture.shape[1])
        part: Image = picture[window]
        pixels = unit_of(part)
        return warp(pixels, self._from(window), (self.size, self.size), _samples(1 / self.scale))

    def cut_mask(self, mask: NDArray[np.bool_]) -> Tensor:
        """The same of a mask (H, W): (1, 1, size, size), 1 where any of what is missing has come to."""
        window = self._reach(mask.shape[0], mask.shape[1])
        pixels = torch.from_numpy(mask[window].astype(np.float32))[None, None]
        share = warp(pixels, self._from(window), (self.size, self.size), _samples(1 / self.scale))
        return (share > FAINTEST).float()

    def back(self, crop: Tensor, window: Window) -> Tensor:
        """What a crop (1, C, size, size) looks like in that window (h, w) of the picture: (1, C, h, w), bilinear."""
        rows, columns = window
        size = rows.stop - rows.start, columns.stop - columns.start
        own = self._from(window)[0].double()
        inverse = torch.linalg.inv(own[:, :2])
        matrix = torch.cat([inverse, -inverse @ own[:, 2:]], dim=1)
        return warp(crop, matrix[None], size, _samples(self.scale))

    def holds(self, window: Window) -> NDArray[np.bool_]:
        """Which pixels of that window of the picture (h, w) lie in the crop."""
        y, x = np.mgrid[window]
        places = np.einsum("ij,jhw->ihw", self.matrix[:, :2], np.stack([x, y])) + self.matrix[:, 2, None, None]
        inside: NDArray[np.bool_] = ((places >= -0.5) & (places <= self.size - 0.5)).all(axis=0)
        return inside

    def _reach(self, height: int, width: int) -> Window:
        """The part of the picture that the crop looks at; never empty, since the border goes on."""
        ends = np.array([[x, y] for x in (-1, self.size) for y in (-1, self.size)], np.float64)
        corners = (ends - self.matrix[:, 2]) @ np.linalg.inv(self.matrix[:, :2]).T
        x0, y0 = np.floor(corners.min(0) - 1).astype(int).tolist()
        x1, y1 = np.ceil(corners.max(0) + 2).astype(int).tolist()
        return _within(y0, y1, height), _within(x0, x1, width)

    def _from(self, window: Window) -> Tensor:
        """(1, 2, 3): the matrix, of pixels that count from the window's corner."""
        origin = np.array([window[1].start, window[0].start], np.float64)
        shift = self.matrix[:, 2] + self.matrix[:, :2] @ origin
        return torch.from_numpy(np.column_stack([self.matrix[:, :2], shift])).float()[None]


def _within(start: int, stop: int, length: int) -> slice:
    first = min(max(start, 0), length - 1)
    return slice(first, max(min(stop, length), first + 1))


def _samples(pixels: float) -> int:
    """Points a side to average where one pixel of the result spans that many of the source."""
    return min(max(math.ceil(pixels - 0.05), 1), MOST_SAMPLES)
