"""Hair strand by strand: locks laid along guides, the shadow they cast, and the light on them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from restore.data.drawn.canvas import COARSE, Patch, Scene, fixed, planes
from restore.data.drawn.curves import Bytes, Floats, curve
from restore.data.drawn.head import face_outline


class Strands:
    """Strands under way: `layer` (side, side, 3) holds tone and coverage in its first two channels."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        # three channels although two are used: OpenCV antialiases lines only on one or three
        self.layer: Bytes = np.zeros((scene.side, scene.side, 3), np.uint8)

    def lock(
        self,
        guides: ArrayLike,
        count: int,
        span: float = 1.0,
        wave: float = 0.0,
        turns: float = 2.0,
        bed: float | None = 0.5,
        loose: float = 0.03,
    ) -> None:
        """Fill the sheet that guides (g, k, 2) span in head coordinates, with `count` strands running along k.

        A strand covers a `span` of its guide's length, winds `turns` times with amplitude `wave`, strays by `loose`.
        `bed` is the tone of what lies between the strands; None leaves the skin there.
        """
        scene, rng = self.scene, self.scene.rng
        sheet = curve(np.swapaxes(curve(guides, 6), 0, 1), 4).swapaxes(0, 1)
        if bed is not None:
            rim = np.concatenate([sheet[0], sheet[1:, -1], sheet[-1][::-1], sheet[::-1, 0]])
            cv2.fillPoly(self.layer, [fixed(scene.pixels(rim))], (int(bed * 255), 255, 0), cv2.LINE_AA, 4)
        across = rng.beta(0.9, 0.9, count)
        clump = np.interp(across * 23, np.arange(24), rng.standard_normal(24))  # neighbours look and wind alike
        tone = 0.52 + 0.07 * clump + 0.1 * rng.standard_normal(count)
        start = rng.uniform(-0.04, 1.04 - 0.8 * span, count) if span < 1 else rng.uniform(-0.02, 0.04, count)
        steps = round(5 + 8 * span + 8 * span * turns * (wave > 0.03))
        t = start[:, None] + np.linspace(0, 1, steps) * span * rng.uniform(0.72, 1, (count, 1))
        points = _sample(sheet, across.astype(np.float32), t.astype(np.float32))
        phase = 2 * np.pi * (turns * t + 0.45 * clump[:, None])
        phase += 0.8 * rng.standard_normal((count, 1))
        stray = loose * rng.standard_normal((count, 1, 2), np.float32) * (0.25 + t[..., None])
        points += stray + wave * np.stack([np.sin(phase), 0.5 * np.cos(phase)], -1)
        self._draw(fixed(scene.pixels(points)), tone)

    def _draw(self, strands: NDArray[np.int32], tone: NDArray[np.float64]) -> None:
        # OpenCV draws many lines at a time, but of one colour; coats of all tones, the lowest darkest, mix them again
        thick = max(1, round(self.scene.length(0.009)))
        level = np.clip(np.rint(tone * 12), 2, 11).astype(int)
        coat = np.arange(len(strands)) % 3
        for low in range(3):
            for step in self.scene.rng.permutation(np.arange(2, 12)):
                chosen = list(strands[(level == step) & (coat == low)])
                cv2.polylines(self.layer, chosen, False, (int(step) * (17 + 3 * low), 255, 0), thick, cv2.LINE_AA, 4)

    def shadow(self) -> None:
        """Darken the face below the hair, on the side away from the light."""
        scene, light = self.scene, self.scene.traits.light
        cover = cv2.resize(self.layer[..., 1], (COARSE, COARSE), interpolation=cv2.INTER_AREA)
        reach = scene.traits.scale * COARSE * 0.09
        shift = np.array([[1, 0, -reach * light[0]], [0, 1, reach]], np.float32)
        cover = cv2.GaussianBlur(cv2.warpAffine(cover, shift, (COARSE, COARSE)), (0, 0), 0.7 * reach)
        face = scene.shape(face_outline(scene.traits))
        dark = scene.spread(np.asarray(cover, np.float32) / np.float32(255), face)
        scene.tint(face.thinned(dark), (0.6, 0.5, 0.47), 0.8)

    def comb(self, brightness: float = 1.0) -> None:
        """Light the strands as they lie around the head, and lay them over the canvas."""
        scene, colour = self.scene, self.scene.traits.hair
        x, y, w, h = cv2.boundingRect(self.layer[..., 1])
        rows, cols = slice(y, y + h), slice(x, x + w)
        tone = self.layer[rows, cols, 0].astype(np.float32) * np.float32(1 / 128)
        patch = Patch(rows, cols, self.layer[rows, cols, 1].astype(np.float32) * np.float32(1 / 255))
        lit, band = (scene.spread(field, patch) for field in self._light())
        level = tone * lit * np.float32(brightness)
        sheen = tone * tone * band * np.float32(0.13 * brightness)
        scene.paint(patch, level * planes(colour) + sheen * planes(0.5 + 0.5 * colour))

    def _light(self) -> tuple[Floats, Floats]:
        """Shade of the hair, and the band of sheen around it, over the coarse grid: the head as an ellipsoid."""
        light = self.scene.traits.light
        u, v = self.scene.u / 1.45, (self.scene.v + 0.05) / 1.95
        z = np.sqrt(np.clip(1 - u**2 - v**2, 0.04, 1))
        lit = 0.5 + 0.62 * np.maximum(0, u * light[0] + np.minimum(v, 0.2) * light[1] + z * light[2])
        band = np.exp(-(((v + 0.62 - 0.25 * u**2) / 0.13) ** 2)) * np.maximum(0, 0.6 + u * light[0])
        return lit.astype(np.float32), band.astype(np.float32)


def _sample(sheet: Floats, across: Floats, along: Floats) -> Floats:
    """Points (n, m, 2) of a sheet (g, k, 2) at `across` (n,) and `along` (n, m): bilinear in [0, 1], and a little
    outside it extrapolated.
    """
    g, k = sheet.shape[0] - 1, sheet.shape[1] - 1
    row, col = across[:, None] * g, along * k
    i, j = np.clip(row.astype(int), 0, g - 1), np.clip(col.astype(int), 0, k - 1)
    a, b = (row - i)[..., None], (col - j)[..., None]
    near = sheet[i, j] * (1 - b) + sheet[i, j + 1] * b
    far = sheet[i + 1, j] * (1 - b) + sheet[i + 1, j + 1] * b
    return np.asarray(near * (1 - a) + far * a, np.float32)
