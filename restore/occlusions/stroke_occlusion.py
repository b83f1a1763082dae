"""Free-form regions anywhere in the picture: brush strokes, boxes, irregular shapes, and LaMa's mixtures.

Yu et al., "Free-form image inpainting with gated convolution" (ICCV 2019): the strokes.
Suvorov et al., "Resolution-robust large mask inpainting with Fourier convolutions" (WACV 2022), LaMa: the mixtures.
"""

from typing import Annotated, Any, ClassVar, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from restore.faces.face import Face
from restore.keyed import Draws
from restore.occlusions.occlusion import Mask
from restore.occlusions.region import Fill, RegionOcclusion, polygon
from restore.ranges import Limits, Positive, Share
from restore.registry import OCCLUSIONS

Floats = NDArray[np.float64]
Inset = Annotated[float, Field(ge=0, le=0.4)]

_TRIES = 20
_OUTLINE = 48  # corners of a blob
_SETTLED = 3  # rounds that bring patches to the area that was drawn for them


class FreeForm(RegionOcclusion):
    """Base of the regions that are drawn again until their share of the picture is right.

    When 20 tries have missed it, the nearest one is grown or shrunk evenly, until it is just inside.

    Args:
        area: range of the share of the picture that is hidden.
        fill: see `RegionOcclusion`.
    """

    def __init__(self, area: Limits[Share] = (0.0, 1.0), fill: Fill = "black") -> None:
        super().__init__(fill)
        self.area = area

    def attempt(self, height: int, width: int, draws: Draws) -> Mask:
        """A region of whatever area, but not empty."""
        raise NotImplementedError

    def region(self, height: int, width: int, face: Face, draws: Draws) -> Mask:
        low, high = self.area
        missed = []
        for _ in range(_TRIES):
            mask = self.attempt(height, width, draws)
            if low <= mask.mean() <= high:
                return mask
            missed.append(mask)
        nearest = min(missed, key=lambda mask: abs(mask.mean() - np.clip(mask.mean(), low, high)))
        return of_size(nearest, int(np.clip(nearest.sum(), np.ceil(low * nearest.size), np.floor(high * nearest.size))))


@OCCLUSIONS.register
class Strokes(FreeForm):
    """Strokes of a round brush, each a chain of straight pieces.

    Each other stroke turns the other way. Directions are whole radians, as in LaMa's code.

    Args:
        count: range of the number of strokes.
        pieces: range of the number of pieces of a stroke.
        angle: a piece goes down, turned by 0 to `angle - 1` radians.
        length: range of a piece's length, as shares of the picture's shorter side.
        width: range of the brush's width, as shares of that side.
        area: range of the share of the picture that is hidden; when 20 draws miss it, the nearest is grown or shrunk.
        fill: see `RegionOcclusion`.
    """

    def __init__(
        self,
        count: Limits[Positive] = (1, 6),
        pieces: Limits[Positive] = (1, 5),
        angle: Positive = 4,
        length: Limits[Share] = (0.04, 0.8),
        width: Limits[Share] = (0.02, 0.4),
        area: Limits[Share] = (0.0, 1.0),
        fill: Fill = "black",
    ) -> None:
        super().__init__(area, fill)
        self.count, self.pieces, self.angle, self.length, self.width = count, pieces, angle, length, width

    def attempt(self, height: int, width: int, draws: Draws) -> Mask:
        mask = np.zeros((height, width), np.uint8)
        for stroke in range(_whole(self.count, draws)):
            x, y = int(draws.integers(width)), int(draws.integers(height))
            for _ in range(_whole(self.pieces, draws)):
                angle = (0.01 + int(draws.integers(self.angle))) * (1 if stroke % 2 else -1)
                length, brush = (_pixels(limits, mask, draws) for limits in (self.length, self.width))
                end_x = min(max(int(x + length * np.sin(angle)), 0), width)
                end_y = min(max(int(y + length * np.cos(angle)), 0), height)
                cv2.line(mask, (x, y), (end_x, end_y), (1,), brush)
                x, y = end_x, end_y
        return mask.view(np.bool_)


@OCCLUSIONS.register
class Boxes(FreeForm):
    """Upright rectangles, which may overlap.

    Args:
        count: range of their number.
        size: range of their width and of their height, as shares of the picture's shorter side.
        inset: how far they stay from the picture's edges, as a share of that side.
        area: range of the share of the picture that is hidden; when 20 draws miss it, the nearest is grown or shrunk.
        fill: see `RegionOcclusion`.
    """

    def __init__(
        self,
        count: Limits[Positive] = (1, 3),
        size: Limits[Share] = (0.12, 0.6),
        inset: Inset = 0.04,
        area: Limits[Share] = (0.0, 1.0),
        fill: Fill = "black",
    ) -> None:
        super().__init__(area, fill)
        self.count, self.size, self.inset = count, size, inset

    def attempt(self, height: int, width: int, draws: Draws) -> Mask:
        mask = np.zeros((height, width), np.bool_)
        inset = int(self.inset * min(height, width))
        for _ in range(_whole(self.count, draws)):
            w, h = (min(_pixels(self.size, mask, draws), n - 2 * inset) for n in (width, height))
            x, y = (inset + int(draws.integers(n - 2 * inset + 1)) for n in (width - w, height - h))
            mask[y : y + h, x : x + w] = True
        return mask


@OCCLUSIONS.register
class Shapes(FreeForm):
    """Irregular patches: polygons with sharp corners, or blobs.

    Args:
        shape: which; "random" draws it for each patch.
        count: range of their number; together they are about as large as one would be.
        area: range of the share of the picture that is hidden; when 20 draws miss it, the nearest is grown or shrunk.
        fill: see `RegionOcclusion`.
    """

    def __init__(
        self,
        shape: Literal["polygon", "blob", "random"] = "random",
        count: Limits[Positive] = (1, 3),
        area: Limits[Share] = (0.1, 0.4),
        fill: Fill = "black",
    ) -> None:
        super().__init__(area, fill)
        self.shape, self.count = shape, count

    def attempt(self, height: int, width: int, draws: Draws) -> Mask:
        wanted = draws.uniform(*self.area) * height * width
        outlines = [self._outline(draws) for _ in range(_whole(self.count, draws))]
        centres = draws.uniform((0, 0), (width, height), (len(outlines), 2))
        scale = np.sqrt(wanted / len(outlines) / np.pi)
        for _ in range(_SETTLED):
            mask = np.zeros((height, width), np.bool_)
            for centre, outline in zip(centres, outlines, strict=True):
                mask |= polygon(height, width, centre + outline * scale)
            scale *= np.sqrt(wanted / max(1, int(mask.sum())))  # they overlap, and the picture's edge cuts them
        return mask

    def _outline(self, draws: Draws) -> Floats:
        """(K, 2): corners around the origin, about 1 away from it."""
        is_blob = draws.random() < 0.5 if self.shape == "random" else self.shape == "blob"
        radii, angles = _blob(draws) if is_blob else _polygon(draws)
        return np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None]


class Lama(FreeForm):
    """Base of LaMa's evaluation masks: strokes, or for 3 of 13 pictures boxes where it has any, at most half in all.

    The numbers are those of its `configs/data_gen/random_*_256.yaml` as its code reads them (one more stroke than
    `max_times`), as shares of a side of 256; the published sets for 512 are not these scaled up.

    Args:
        area: range of the share of the picture that is hidden; when 20 draws miss it, the nearest is grown or shrunk.
        fill: see `RegionOcclusion`.
    """

    strokes: ClassVar[Strokes]
    boxes: ClassVar[Boxes | None] = None

    def __init__(self, area: Limits[Share] = (0.0, 0.5), fill: Fill = "black") -> None:
        super().__init__(area, fill)

    def attempt(self, height: int, width: int, draws: Draws) -> Mask:
        if self.boxes and draws.random() < 0.3 / 1.3:
            return self.boxes.attempt(height, width, draws)
        return self.strokes.attempt(height, width, draws)


@OCCLUSIONS.register
class LamaThin(Lama):
    """LaMa's thin masks: many short, narrow strokes."""

    strokes = Strokes((4, 51), length=(10 / 256, 50 / 256), width=(5 / 256, 15 / 256))


@OCCLUSIONS.register
class LamaMedium(Lama):
    """LaMa's medium masks: a few strokes of middling width, or up to five small boxes."""

    strokes = Strokes((4, 6), length=(10 / 256, 110 / 256), width=(5 / 256, 55 / 256))
    boxes = Boxes((1, 5), size=(10 / 256, 51 / 256), inset=0)


@OCCLUSIONS.register
class LamaThick(Lama):
    """LaMa's thick masks: a few long, broad strokes, or up to three large boxes."""

    strokes = Strokes((1, 6), length=(10 / 256, 210 / 256), width=(5 / 256, 105 / 256))
    boxes = Boxes((1, 3), size=(30 / 256, 151 / 256), inset=10 / 256)


def of_size(mask: Mask, count: int) -> Mask:
    """The mask grown or shrunk evenly until it has so many pixels."""
    inside = mask.view(np.uint8)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    chosen = np.argsort(-depth, axis=None, kind="stable")[:count]
    sized = np.zeros(mask.size, np.bool_)
    sized[chosen] = True
    return sized.reshape(mask.shape)


def _whole(limits: tuple[int, int], draws: Draws) -> int:
    return int(draws.integers(*limits, endpoint=True))


def _pixels(shares: tuple[float, float], mask: NDArray[Any], draws: Draws) -> int:
    """A length in whole pixels, drawn from shares of the shorter side."""
    return max(1, int(draws.uniform(*shares) * min(mask.shape)))


def _blob(draws: Draws) -> tuple[Floats, Floats]:
    """The radii and angles of a round outline with a few lobes."""
    angles = np.linspace(0, 2 * np.pi, _OUTLINE, endpoint=False)
    waves = np.arange(2, 6)[:, None]
    heights, phases = draws.uniform(0, 0.5, waves.shape) / waves, draws.uniform(0, 2 * np.pi, waves.shape)
    return np.maximum(1 + (heights * np.cos(waves * angles + phases)).sum(0), 0.2), angles


def _polygon(draws: Draws) -> tuple[Floats, Floats]:
    """The radii and angles of 5 to 9 corners, none of which lies more than half a turn before the next."""
    corners = _whole((5, 9), draws)
    angles = (np.arange(corners) + draws.uniform(-0.45, 0.45, corners)) * 2 * np.pi / corners
    return draws.uniform(0.5, 1.5, corners), angles
