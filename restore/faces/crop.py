"""A face cut out of a picture, upright and in the frame of FFHQ, and what was made of it put back."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from restore.faces.align import Kernel, similarity, warp
from restore.faces.face import LANDMARKS, Face
from restore.images import Image
from restore.images import to_unit as unit_of

MARGIN = 5  # pixels of the crop: what the bicubic kernels of shrinking and of sampling reach together
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

    def resized(self, size: int) -> "Crop":
        """What the crop shows, in that many pixels a side."""
        return Crop(_scaled(size / self.size, size / self.size) @ _square(self.matrix), size)

    def scaled(self, x: float, y: float | None = None) -> "Crop":
        """The crop of the same face in a picture enlarged `x` times across and `y` times down, by default the same."""
        return Crop(self.matrix @ np.linalg.inv(_square(_scaled(x, x if y is None else y))), self.size)

    def cut(self, picture: Image, kernel: Kernel = "bilinear") -> Tensor:
        """The crop out of a picture (H, W, 3): (1, 3, size, size) in [0, 1]. The border goes on where the picture ends.

        Where the crop has fewer pixels than the picture they are averaged. With "bicubic", values may leave [0, 1].
        """
        window = self.reach(picture.shape[0], picture.shape[1], MARGIN if kernel == "bicubic" else 1)
        part: Image = picture[window]
        return _warped(unit_of(part), self._from(window), (self.size, self.size), 1 / self.scale, kernel)

    def cut_mask(self, mask: NDArray[np.bool_]) -> Tensor:
        """The same of a mask (H, W): (1, 1, size, size), 1 where any of what is missing has come to."""
        window = self.reach(mask.shape[0], mask.shape[1])
        pixels = torch.from_numpy(mask[window].astype(np.float32))[None, None]
        share = _warped(pixels, self._from(window), (self.size, self.size), 1 / self.scale, "bilinear")
        return (share > FAINTEST).float()

    def back(self, crop: Tensor, window: Window, kernel: Kernel = "bilinear") -> Tensor:
        """What a crop (1, C, size, size) looks like in that window (h, w) of the picture: (1, C, h, w)."""
        rows, columns = window
        size = rows.stop - rows.start, columns.stop - columns.start
        own = self._from(window)[0].double()
        inverse = torch.linalg.inv(own[:, :2])
        matrix = torch.cat([inverse, -inverse @ own[:, 2:]], dim=1)
        return _warped(crop, matrix[None].float(), size, self.scale, kernel)

    def places(self, window: Window) -> NDArray[np.float64]:
        """(2, h, w): where in the crop, x and y, the pixels of that window of the picture come to lie."""
        y, x = np.ogrid[window]
        across, down, shift = self.matrix[:, :, None, None].swapaxes(0, 1)
        places: NDArray[np.float64] = across * x + (down * y + shift)
        return places

    def holds(self, window: Window) -> NDArray[np.bool_]:
        """Which pixels of that window of the picture (h, w) lie in the crop."""
        places = self.places(window)
        inside: NDArray[np.bool_] = np.all((places >= -0.5) & (places <= self.size - 0.5), axis=0)
        return inside

    def reach(self, height: int, width: int, margin: int = 1) -> Window:
        """The part of the picture that the crop and a margin of its pixels look at; never empty: the border goes on."""
        ends = np.array([[x, y] for x in (-margin, self.size - 1 + margin) for y in (-margin, self.size - 1 + margin)])
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


def _scaled(x: float, y: float) -> NDArray[np.float64]:
    """(2, 3): from pixels to those of a picture enlarged that much; pixel centres are at whole numbers in both."""
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2]])


def _square(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.vstack([matrix, [0, 0, 1]])


def _warped(pixels: Tensor, matrix: Tensor, size: tuple[int, int], span: float, kernel: Kernel) -> Tensor:
    """`pixels` warped by a matrix (1, 2, 3) that brings `span` of them to one.

    Many are brought nearer to the result's size first: sampled alone they would take points by the square of `span`.
    For "bilinear" in blocks, for "bicubic" by that kernel, stretched, which leaves waves of 12 pixels as they are.
    """
    if kernel == "bicubic" and span > 1:
        border = math.ceil(MARGIN * span)  # the border goes on, where `interpolate` would forget what is beyond it
        pixels = F.pad(pixels, (border,) * 4, mode="replicate")
        height, width = (max(1, round(side / span)) for side in pixels.shape[-2:])
        small = F.interpolate(pixels, (height, width), mode="bicubic", antialias=True)
        turn, shift = matrix[..., :2], matrix[..., 2:]
        matrix = torch.cat([turn, shift - border * turn.sum(-1, keepdim=True)], -1)
        return warp(small, _of_shrunk(matrix, pixels.shape, small.shape), size, kernel=kernel)
    if (block := int(span / 2)) > 1:
        height, width = pixels.shape[-2:]
        pixels = F.pad(pixels, (0, -width % block, 0, -height % block), mode="replicate")
        small = F.avg_pool2d(pixels, block)
        matrix, pixels, span = _of_shrunk(matrix, pixels.shape, small.shape), small, span / block
    return warp(pixels, matrix, size, max(math.ceil(span - 0.05), 1), kernel)


def _of_shrunk(matrix: Tensor, old: torch.Size, new: torch.Size) -> Tensor:
    """A matrix (1, 2, 3) of pictures (..., H, W), for the same pictures in another size."""
    ratio = matrix.new_tensor([old[-1] / new[-1], old[-2] / new[-2]])
    turn, shift = matrix[..., :2], matrix[..., 2:]
    return torch.cat([turn * ratio, shift + (turn * ((ratio - 1) / 2)).sum(-1, keepdim=True)], -1)
