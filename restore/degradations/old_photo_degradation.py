"""What time does to a print: it fades, it is scratched, and dust lies on it. Drawn by this program."""

import math
from collections.abc import Sequence
from typing import Annotated

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from restore.degradations.pictures import Degradation, Pictures, Size
from restore.keyed import Draws
from restore.ranges import Count, Limits, Share
from restore.registry import DEGRADATIONS

Floats = NDArray[np.float32]
Thickness = Annotated[float, Field(gt=0, le=0.1)]

_FRACTION = 4  # bits of a pixel that OpenCV's drawing gets
_SEPIA = ((0.393, 0.769, 0.189), (0.349, 0.686, 0.168), (0.272, 0.534, 0.131))  # the matrix in common use
_LIGHT, _DARK = 0.94, 0.08  # bare paper, and dirt


@DEGRADATIONS.register
class Fade(Degradation):
    """Fades the dyes: less colour, blacks lifted and whites yellowed, sepia mixed in, unevenly over the picture.

    Args:
        strength: range of the loss of contrast, as a share.
        sepia: range of the share of sepia in the picture.
        probability: how often.
    """

    def __init__(
        self,
        strength: Limits[Share] = (0.1, 0.5),
        sepia: Limits[Share] = (0.0, 1.0),
        probability: Share = 0.9,
    ) -> None:
        self.strength = strength
        self.sepia = sepia
        self.probability = probability

    def __call__(self, pictures: Pictures, draws: Sequence[Draws]) -> Pictures:
        drawn = [(d.random() < self.probability, self.draw(d)) for d in draws]
        chosen = [n for n, (is_chosen, _) in enumerate(drawn) if is_chosen]
        if not chosen:
            return pictures
        part = pictures.select(chosen)
        numbers = np.array([drawn[n][1] for n in chosen])
        strength, sepia, red, green, blue, slope, angle = (
            torch.from_numpy(column).to(part.canvas).view(-1, 1, 1, 1) for column in numbers.T
        )
        weights = part.canvas.new_tensor(_SEPIA)
        brown = torch.stack([(part.canvas * w.view(3, 1, 1)).sum(1) for w in weights], 1).clamp(max=1)
        toned = part.canvas + sepia * (brown - part.canvas)
        paper = torch.cat([red, green, blue], 1)
        faded = toned + strength * (1 + slope * _ramp(part, angle)) * (paper - toned)
        return pictures.replaced(chosen, part.filled(faded.clamp(0, 1)))

    def draw(self, draws: Draws) -> list[float]:
        """Strength, sepia, the paper's red, green and blue, and how much more one side has faded, and which."""
        base = draws.uniform(0.45, 0.75)
        paper = [
            base * (1 + tint) for tint in (draws.uniform(0, 0.15), draws.uniform(-0.02, 0.08), -draws.uniform(0, 0.2))
        ]
        uneven = [draws.uniform(0, 0.6), draws.uniform(-math.pi, math.pi)]
        return [float(v) for v in (draws.uniform(*self.strength), draws.uniform(*self.sepia), *paper, *uneven)]


class _Marks(Degradation):
    """Base of light and dark marks on some pictures; they are drawn on the CPU, so that devices agree."""

    probability: float

    def __call__(self, pictures: Pictures, draws: Sequence[Draws]) -> Pictures:
        chosen = [n for n, d in enumerate(draws) if d.random() < self.probability]
        if not chosen:
            return pictures
        part = pictures.select(chosen)
        opacity = np.zeros((len(chosen), 2, *part.canvas.shape[2:]), np.float32)
        for layers, number, (height, width) in zip(opacity, chosen, part.sizes, strict=True):
            light, dark = np.zeros((2, height, width), np.float32)
            self.paint(light, dark, draws[number])
            layers[:, :height, :width] = light, dark
        white, black = torch.from_numpy(opacity).to(part.canvas.device)[:, :, None].unbind(1)
        lit = part.canvas + white * (_LIGHT - part.canvas)
        return pictures.replaced(chosen, part.filled(lit + black * (_DARK - lit)))

    def paint(self, light: Floats, dark: Floats, draws: Draws) -> None:
        """Adds the marks of one picture (H, W) to its opacities of light and of dark ones."""
        raise NotImplementedError


@DEGRADATIONS.register
class Scratches(_Marks):
    """Thin lines, mostly upright and wobbling, that come and go: white where the emulsion went, else dark.

    Args:
        count: the fewest and the most of them.
        thickness: range of their width, as a share of the picture's shorter side.
        strength: range of their opacity.
        probability: how often there are any.
    """

    def __init__(
        self,
        count: Limits[Count] = (1, 8),
        thickness: Limits[Thickness] = (0.001, 0.004),
        strength: Limits[Share] = (0.3, 0.9),
        probability: Share = 0.8,
    ) -> None:
        self.count = count
        self.thickness = thickness
        self.strength = strength
        self.probability = probability

    def paint(self, light: Floats, dark: Floats, draws: Draws) -> None:
        side = min(light.shape)
        for _ in range(int(draws.integers(self.count[0], self.count[1] + 1))):
            layer = light if draws.random() < 0.75 else dark
            width, strength = draws.uniform(*self.thickness) * side, draws.uniform(*self.strength)
            _stroke(layer, _wobbling(draws, light.shape), width, strength, draws)


@DEGRADATIONS.register
class Dust(_Marks):
    """Specks, blotches and curled lint, light or dark.

    Args:
        specks: the fewest and the most specks.
        lint: the fewest and the most fibres.
        radius: range of a speck's radius, as a share of the picture's shorter side; small ones are likelier.
        strength: range of the opacity.
        probability: how often there is any.
    """

    def __init__(
        self,
        specks: Limits[Count] = (5, 60),
        lint: Limits[Count] = (0, 4),
        radius: Limits[Thickness] = (0.001, 0.016),
        strength: Limits[Share] = (0.3, 0.95),
        probability: Share = 0.8,
    ) -> None:
        self.specks = specks
        self.lint = lint
        self.radius = radius
        self.strength = strength
        self.probability = probability

    def paint(self, light: Floats, dark: Floats, draws: Draws) -> None:
        side = min(light.shape)
        for _ in range(int(draws.integers(self.specks[0], self.specks[1] + 1))):
            layer = light if draws.random() < 0.6 else dark
            place = draws.random(2) * light.shape[::-1]
            radius = self.radius[0] * (self.radius[1] / self.radius[0]) ** (draws.random() ** 2) * side
            _speck(layer, place, radius, draws.uniform(*self.strength), draws)
        for _ in range(int(draws.integers(self.lint[0], self.lint[1] + 1))):
            layer = light if draws.random() < 0.6 else dark
            _stroke(layer, _curled(draws, light.shape), 0.002 * side, draws.uniform(*self.strength), draws)


def _ramp(pictures: Pictures, angle: torch.Tensor) -> torch.Tensor:
    """From -1 to 1 across each picture in the direction `angle` (N, 1, 1, 1): (N, 1, H, W)."""
    height, width = pictures.canvas.shape[2:]
    heights, widths = (torch.tensor(n).to(pictures.canvas).view(-1, 1, 1, 1) for n in zip(*pictures.sizes, strict=True))
    y = torch.arange(height, device=pictures.canvas.device).view(-1, 1) * 2 / heights - 1
    x = torch.arange(width, device=pictures.canvas.device) * 2 / widths - 1
    return ((x * angle.cos() + y * angle.sin()) / math.sqrt(2)).clamp(-1, 1)


def _wobbling(draws: Draws, size: Size) -> NDArray[np.float64]:
    """A nearly upright path (P, 2) in x, y that crosses much of the picture."""
    height, width = size
    start, length = draws.uniform(-0.3, 0.6) * height, draws.uniform(0.2, 1.3) * height
    along = np.linspace(0, 1, 24)
    drift = np.cumsum(draws.normal(0, 0.003 * width, len(along)))
    x = draws.random() * width + along * draws.normal(0, 0.06) * length + drift
    return np.stack([x, start + along * length], 1)


def _curled(draws: Draws, size: Size) -> NDArray[np.float64]:
    """A short path (P, 2) whose direction turns steadily and a little at random."""
    steps = 24
    turn = draws.normal(0, 0.12) + draws.normal(0, 0.1, steps)
    heading = draws.uniform(-math.pi, math.pi) + np.cumsum(turn)
    step = draws.uniform(0.02, 0.15) * min(size) / steps
    path = np.cumsum(np.stack([np.cos(heading), np.sin(heading)], 1) * step, 0)
    return path + draws.random(2) * size[::-1]


def _stroke(layer: Floats, path: NDArray[np.float64], width: float, strength: float, draws: Draws) -> None:
    """Draws the path as pieces whose opacity varies; a line thinner than a pixel is a pixel wide and fainter."""
    opacity = strength * min(width, 1.0) * np.clip(draws.normal(0.8, 0.35, len(path) - 1), 0, 1)
    corners = _fixed(path)
    for start, end, alpha in zip(corners[:-1], corners[1:], opacity, strict=True):
        _lay(layer, np.array([start, end]), alpha, max(1, round(width)))


def _speck(layer: Floats, place: NDArray[np.float64], radius: float, strength: float, draws: Draws) -> None:
    """An irregular blot: a circle whose radius varies around it, fainter by what smooth edges add to its area."""
    angles = np.linspace(0, 2 * math.pi, 12, endpoint=False)
    radii = radius * np.clip(draws.normal(1, 0.25, len(angles)), 0.3, 2)
    outline = place + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    _lay(layer, _fixed(outline), strength * (radius / (radius + 0.5)) ** 2, None)


def _lay(layer: Floats, points: NDArray[np.int32], alpha: float, thickness: int | None) -> None:
    """Draws a line of that thickness, or a filled outline, where it makes `layer` more opaque."""
    reach = (thickness or 1) + 1
    low = np.maximum((points.min(0) >> _FRACTION) - reach, 0)
    high = np.minimum((points.max(0) >> _FRACTION) + reach + 1, layer.shape[::-1])
    if (high <= low).any():
        return
    window = layer[low[1] : high[1], low[0] : high[0]]
    shape = np.zeros(window.shape, np.uint8)
    moved = points - (low.astype(np.int32) << _FRACTION)
    if thickness is None:
        cv2.fillPoly(shape, [moved], 255, cv2.LINE_AA, _FRACTION)
    else:
        cv2.polylines(shape, [moved], False, 255, thickness, cv2.LINE_AA, _FRACTION)
    np.maximum(window, shape * np.float32(alpha / 255), out=window)


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Pixels as OpenCV's drawing takes them: integers with some bits for the fraction."""
    return np.rint(points * (1 << _FRACTION)).astype(np.int32)
