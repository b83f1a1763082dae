"""A part of a picture to paint on, which knows what was touched."""

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from restore.faces.face import Floats
from restore.images import Image
from restore.occlusions.occlusion import Occluded

FAINTEST = 0.2  # coverage below this is none: it would make the hole larger, and hardly be seen


class Canvas:
    """The window of a picture that holds some places; what is painted there is put back by `finish`.

    `image` (h, w, 3) is RGB in [0, 1], `touched` (h, w) the pixels painted on, `origin` the first pixel's x and y.
    """

    def __init__(self, picture: Image, places: Floats, margin: float) -> None:
        """`places` (..., 2) in pixels, and how far beyond them the window reaches. It may turn out empty."""
        self.picture = picture
        height, width = picture.shape[:2]
        points, limits = places.reshape(-1, 2), np.array([width, height])
        low = np.floor(points.min(0) - margin).clip(0, limits).astype(int)
        high = np.ceil(points.max(0) + margin + 1).clip(low, limits).astype(int)
        self.window = slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))
        self.origin = low.astype(np.float32)
        self.full = float(np.iinfo(picture.dtype).max)
        self.image = picture[self.window].astype(np.float32) * np.float32(1 / self.full)
        self.touched = np.zeros(self.image.shape[:2], bool)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the window."""
        rows, columns = self.window
        return rows.stop - rows.start, columns.stop - columns.start

    @property
    def empty(self) -> bool:
        """Whether no pixel of the picture is near the places."""
        return self.touched.size == 0

    def axes(self) -> tuple[Floats, Floats]:
        """The window's columns (w,) and rows (h,), in pixels of the picture."""
        height, width = self.size
        x, y = (np.arange(length, dtype=np.float32) for length in (width, height))
        return x + self.origin[0], y + self.origin[1]

    def luminance(self) -> Floats:
        """(h, w): of what is there now."""
        return np.asarray(cv2.cvtColor(self.image, cv2.COLOR_RGB2GRAY), np.float32)

    def cover(self, polygons: Floats) -> Floats:
        """How much of each pixel convex polygons (m, n, 2) cover together: (h, w) in [0, 1], what is faintest cut.

        One by one: drawn at once, those that overlap would cut holes into each other.
        """
        big, times = self._enlarged()
        for polygon in self._fixed(polygons, times):
            cv2.fillConvexPoly(big, polygon, 255, cv2.LINE_8, 4)
        return self._shrunk(big)

    def strokes(self, lines: Iterable[Floats], width: float) -> Floats:
        """As `cover`, of lines (n, 2) `width` pixels wide; a quarter of a pixel at least."""
        big, times = self._enlarged()
        thick = max(1, round(width * times))
        for line in lines:
            cv2.polylines(big, [self._fixed(line, times)], False, 255, thick, cv2.LINE_8, 4)
        return self._shrunk(big)

    def paint(self, alpha: Floats, colour: ArrayLike) -> None:
        """Lays a colour (3,) or a picture (h, w, 3) over the window, as opaque as `alpha` (h, w)."""
        self.image += (np.asarray(colour, np.float32) - self.image) * alpha[..., None]
        self.touched |= alpha > 0

    def darken(self, amount: Floats) -> None:
        """Takes a share (h, w) of the light away; less than 2 % is none."""
        amount = np.where(amount < 0.02, np.float32(0), amount)
        self.image *= 1 - amount[..., None]
        self.touched |= amount > 0

    def finish(self) -> Occluded:
        """The whole picture, and where it was touched."""
        picture, mask = self.picture.copy(), np.zeros(self.picture.shape[:2], bool)
        levels = np.rint(self.image.clip(0, 1) * np.float32(self.full)).astype(picture.dtype)
        np.copyto(picture[self.window], levels, where=self.touched[..., None])
        mask[self.window] = self.touched
        return Occluded(picture, mask)

    def _enlarged(self) -> tuple[NDArray[np.uint8], int]:
        """A window to draw on whose pixels are averaged later, and how many times larger it is."""
        height, width = self.size
        times = 4 if height * width < 1 << 17 else 2
        return np.zeros((height * times, width * times), np.uint8), times

    def _fixed(self, places: Floats, times: int) -> NDArray[np.int32]:
        """Pixels of the picture on the enlarged window, in sixteenths, as OpenCV takes them with `shift=4`."""
        inside = (places - self.origin + np.float32(0.5)) * times - np.float32(0.5)
        return np.asarray(np.rint(inside.clip(-1e5, 1e5) * 16), np.int32)

    def _shrunk(self, big: NDArray[np.uint8]) -> Floats:
        height, width = self.size
        share = cv2.resize(big, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) * np.float32(1 / 255)
        return np.where(share < FAINTEST, np.float32(0), share)


def blurred(field: Floats, sigma: float) -> Floats:
    """A field (h, w) smoothed by a Gaussian."""
    if sigma < 0.2:
        return field
    return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma), np.float32)


def lowered(field: Floats, down: int) -> Floats:
    """A field (h, w) moved down by so many pixels; the first row goes on above."""
    return np.concatenate([field[:1].repeat(down, 0), field[:-down]])[: len(field)] if down else field


def noise(field: Floats, u: Floats, v: Floats) -> Floats:
    """Random numbers on a grid (n, m), smooth between, at u and v (h, w) in [0, 1] across it; it repeats beyond."""
    fine = cv2.resize(field, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)  # then linear is smooth, and quick
    height, width = fine.shape
    smooth = cv2.remap(fine, u * width, v * height, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return np.asarray(smooth, np.float32)
