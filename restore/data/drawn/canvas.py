"""The scene: a canvas with its coordinates and its noise, soft masks on it, and the two ways to paint through them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from restore.data.drawn.curves import Bytes, Floats, vec
from restore.data.drawn.traits import Traits

COARSE = 128  # side of the grid for smooth fields (relief, light): they carry no detail, and cost a tenth there
_NOISE = 512  # side of the noise tile, the same for every size, so that a larger picture shows the same face


@dataclass(frozen=True)
class Patch:
    """A soft mask `alpha` (h, w) in [0, 1] over `rows` and `cols` of the canvas."""

    rows: slice
    cols: slice
    alpha: Floats

    def thinned(self, share: Floats) -> Patch:
        """The same place, with `share` (h, w) of its mask."""
        return Patch(self.rows, self.cols, self.alpha * share)


class Scene:
    """The canvas of one face, its traits, and the way from face coordinates to pixels.

    `image` (3, side, side) is RGB in [0, 1]: planes, not pixels, lie together, for masks then multiply whole rows at
    once, which is several times faster. `grain` and `pores` (side, side) are noise in [-0.5, 0.5], sharp and a little
    blurred. `u` and `v` (COARSE, COARSE) are the head coordinates of the coarse grid.
    """

    def __init__(self, traits: Traits, rng: np.random.Generator, side: int) -> None:
        self.traits, self.rng, self.side = traits, rng, side
        self.image: Floats = np.zeros((3, side, side), np.float32)
        self._way = _head_to_pixels(traits, side)
        self._back = np.asarray(cv2.invertAffineTransform(self._way), np.float32)
        self._tile: Bytes = np.frombuffer(rng.bytes(_NOISE * _NOISE), np.uint8).reshape(_NOISE, _NOISE)
        self.grain = self._texture(self._tile)
        self.pores = self._texture(np.asarray(cv2.GaussianBlur(self._tile, (0, 0), 0.75), np.uint8))
        y, x = (np.mgrid[:COARSE, :COARSE].astype(np.float32) + 0.5) * side / COARSE - 0.5
        self.u, self.v = self._head(x, y)

    # -- coordinates

    def turn(self, points: ArrayLike, out: float = 0.0) -> Floats:
        """Face to head coordinates: rotate the ellipsoid of the head; `out` is how far a feature stands out of it."""
        head = np.array(points, np.float32)
        x, y = head[..., 0], head[..., 1]
        depth = 0.95 * np.sqrt(np.maximum(0.02, 1 - (x / 1.25) ** 2 - (y / 2.2) ** 2)) + out
        head[..., 0] = x * np.cos(self.traits.yaw) + depth * np.sin(self.traits.yaw)
        return head

    def pixels(self, head: ArrayLike) -> Floats:
        """Head coordinates to canvas pixels."""
        return np.asarray(np.asarray(head, np.float32) @ self._way[:, :2].T + self._way[:, 2], np.float32)

    def coordinates(self, patch: Patch) -> tuple[Floats, Floats]:
        """Head coordinates of every pixel of a patch."""
        y, x = np.mgrid[patch.rows, patch.cols].astype(np.float32)
        return self._head(x, y)

    def length(self, units: float) -> float:
        """A length in canvas pixels."""
        return units * self.traits.scale * self.side

    def _head(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Canvas pixels back to head coordinates."""
        (a, b, p), (c, d, q) = self._back
        return a * x + b * y + p, c * x + d * y + q

    # -- noise and smooth fields

    def _texture(self, tile: Bytes) -> Floats:
        """Noise at the size of the canvas, in [-0.5, 0.5]."""
        how = cv2.INTER_AREA if self.side < _NOISE else cv2.INTER_CUBIC
        sized = cv2.resize(tile, (self.side, self.side), interpolation=how)
        return np.asarray(sized.astype(np.float32) * np.float32(1 / 255) - np.float32(0.5), np.float32)

    def clouds(self, cells: int, side: int) -> Floats:
        """Smooth noise (side, side), about in [-0.5, 0.5], with `cells` lumps across."""
        step = _NOISE // cells
        few = self._tile[::step, ::step].astype(np.float32) / 255 - 0.5
        return np.asarray(cv2.resize(few, (side, side), interpolation=cv2.INTER_CUBIC), np.float32)

    def spread(self, coarse: Floats, patch: Patch) -> Floats:
        """A field on the coarse grid, interpolated onto a patch."""
        step = COARSE / self.side
        x, y = ((start + 0.5) * step - 0.5 for start in (patch.cols.start, patch.rows.start))
        scaling = np.array([[step, 0, x], [0, step, y]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        fine = cv2.warpAffine(coarse, scaling, patch.alpha.shape[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(fine, np.float32)

    # -- masks

    def shape(self, *polygons: Floats, soft: float = 0.0, inside: Patch | None = None) -> Patch:
        """Mask of closed polygons (n, 2) in head coordinates, its edge blurred by `soft` units; cut by `inside`."""
        return self._mask(polygons, None, soft, inside)

    def lines(
        self, curves: Sequence[Floats] | Floats, width: float, soft: float = 0.0, inside: Patch | None = None
    ) -> Patch:
        """Mask of open curves, (n, 2) each, `width` units wide; else as `shape`."""
        return self._mask(curves, width, soft, inside)

    def _mask(self, curves: Sequence[Floats] | Floats, width: float | None, soft: float, inside: Patch | None) -> Patch:
        points = self.pixels(np.concatenate([*curves]))
        sigma = self.length(soft)
        thick = max(1, round(self.length(width or 0)))
        rows, cols = (inside.rows, inside.cols) if inside else self._region(points, 3 * sigma + thick)
        mask = np.zeros((rows.stop - rows.start, cols.stop - cols.start), np.uint8)
        local = fixed(points - vec(cols.start, rows.start))
        strokes = [local[a:b] for a, b in pairwise(accumulate(map(len, curves), initial=0))]
        if width is None:
            cv2.fillPoly(mask, strokes, 255, cv2.LINE_AA, 4)
        else:
            cv2.polylines(mask, strokes, False, 255, thick, cv2.LINE_AA, 4)
        if sigma > 0.3:
            mask = cv2.GaussianBlur(mask, (0, 0), sigma)
        # a line thinner than a pixel is drawn as one, paler: the picture keeps its tone at every size
        thin = 1.0 if width is None else min(1.0, self.length(width))
        patch = Patch(rows, cols, mask.astype(np.float32) * np.float32(thin / 255))
        return patch.thinned(inside.alpha) if inside else patch

    def _region(self, points: Floats, margin: float) -> tuple[slice, slice]:
        """Rows and columns of the canvas that hold the pixels (n, 2) and a margin around them."""
        low = np.floor(points.min(0) - margin).astype(int).clip(0, self.side - 1)
        high = np.ceil(points.max(0) + margin + 1).astype(int).clip(low + 1, self.side)
        return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))

    # -- paint

    def paint(self, patch: Patch, colour: ArrayLike, opacity: float = 1.0) -> None:
        """Cover a patch with one colour, or with a picture of its shape."""
        under = self.image[:, patch.rows, patch.cols]
        change = planes(colour) - under
        change *= patch.alpha if opacity == 1 else patch.alpha * np.float32(opacity)
        under += change

    def tint(self, patch: Patch, factor: ArrayLike, opacity: float = 1.0) -> None:
        """Multiply a patch by a colour: shadow and make-up keep what is under them."""
        under = self.image[:, patch.rows, patch.cols]
        change = (planes(factor) - 1) * np.float32(opacity) * patch.alpha
        change += 1
        under *= change


def planes(colour: ArrayLike) -> Floats:
    """A colour (3,) made to broadcast over planes; a picture (3, h, w) as it is."""
    array = np.asarray(colour, np.float32)
    return array[:, None, None] if array.ndim == 1 else array


def fixed(pixels: ArrayLike) -> NDArray[np.int32]:
    """Pixels in sixteenths, as OpenCV takes them with `shift=4`."""
    return np.asarray(np.rint(np.asarray(pixels) * 16), np.int32)


def _head_to_pixels(traits: Traits, side: int) -> Floats:
    """(2, 3): the affine map that tilts, scales and moves the head onto the canvas."""
    zoom = traits.scale * side
    c, s = zoom * np.cos(traits.roll), zoom * np.sin(traits.roll)
    tilt = np.array([[c, -s], [s, c]])
    # a turned head is centred by its features, not by its outline: take most of their shift back
    middle = np.array([0.65 * np.sin(traits.yaw), 0.45])
    origin = (np.array([0.5, 0.575]) + traits.offset) * side - 0.5 - tilt @ middle
    return np.column_stack([tilt, origin]).astype(np.float32)
