"""What a mask is made of: its colours and patterns, and the light on its folds, as functions of the place on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from restore.faces.face import Floats
from restore.keyed import Draws
from restore.occlusions.canvas import noise

Pattern = Literal["plain", "stripes", "checks", "dots"]
PATTERNS: tuple[Pattern, ...] = ("plain", "stripes", "checks", "dots")


@dataclass(frozen=True, eq=False)
class Place:
    """Where on the mask each pixel (h, w) lies: `s` in [-1, 1] across it, `t` in [0, 1] down it.

    `u` and `v` are about the same in distances of the eyes, `unit` is that distance in pixels.
    """

    s: Floats
    t: Floats
    unit: float

    @property
    def u(self) -> Floats:
        return self.s * np.float32(1.1)

    @property
    def v(self) -> Floats:
        return self.t * np.float32(1.5)


def ridge(x: Floats, width: float) -> Floats:
    """A bump of height 1 and about that width where x is 0."""
    hill: Floats = 1 / (1 + np.square(x * np.float32(1.6 / width))) ** 2
    return hill


def step(x: Floats, width: float) -> Floats:
    """From 0 to 1 about x = 0, over that width."""
    return (x * np.float32(1 / width) + np.float32(0.5)).clip(0, 1)


def pattern_of(kind: Pattern, place: Place, draws: Draws) -> Floats:
    """(h, w): how much of the second colour there is."""
    angle, period, share = draws.uniform([-0.5, 0.12, 0.25], [0.5, 0.4, 0.55])
    if kind == "plain":
        return np.zeros_like(place.s)
    turned = angle + (np.pi / 2 if draws.random() < 0.5 else 0)
    c, s = np.float32(np.cos(turned) / period), np.float32(np.sin(turned) / period)
    x, y = c * place.u + s * place.v, c * place.v - s * place.u
    sharp = max(period * place.unit, 1.0)  # pixels in a period: an edge is one pixel soft
    if kind == "stripes":
        return _bars(x, share, sharp)
    if kind == "checks":
        return (_bars(x, share, sharp) + _bars(y, share, sharp)) * np.float32(0.5)
    x = x + np.float32(0.5) * (np.floor(y) % 2)
    radius = np.hypot(x - np.floor(x) - np.float32(0.5), y - np.floor(y) - np.float32(0.5))
    return step(np.float32(0.6 * share + 0.05) - radius, 1 / sharp)


def _bars(x: Floats, share: float, sharp: float) -> Floats:
    """Bars of period 1 that take that share."""
    within = np.abs(x - np.floor(x) - np.float32(0.5))
    return step(np.float32(share / 2) - within, 1 / sharp)


def two_colours(first: Sequence[float], second: Sequence[float], amount: Floats) -> Floats:
    """(h, w, 3): the first colour, with that much (h, w) of the second."""
    one, other = np.array(first, np.float32), np.array(second, np.float32)
    return one + amount[..., None] * (other - one)


def creases(place: Place, depth: float, draws: Draws) -> Floats:
    """(h, w): factor on the light. Soft creases that run from the corners to the middle, and dents."""
    long, small = (draws.standard_normal(shape, np.float32) for shape in ((4, 9), (7, 9)))
    lean = draws.uniform(-0.25, 0.25)
    u = (place.s + 1) * np.float32(0.4)
    spread = place.t - np.float32(0.5)
    fan = spread / (np.float32(1.25) - np.abs(place.s) * np.float32(0.45)) + np.float32(0.5 + lean) * u
    soft = noise(long.T, fan * np.float32(0.8), u * np.float32(0.35))
    dents = noise(small, u, place.t * np.float32(0.8))
    return 1 + np.float32(depth) * (soft + np.float32(0.6) * dents).clip(-2, 2)


def pleats(place: Place, draws: Draws) -> Floats:
    """(h, w): factor on the light. Three folds across a surgical mask, its seams, and the wire over the nose."""
    s, t = place.s, place.t
    thin = max(0.022, 0.8 / place.unit)
    light = np.ones_like(s)
    rows = np.array([0.27, 0.45, 0.63]) + draws.uniform(-0.025, 0.025, 3)
    deep = draws.uniform(0.75, 1.25, 3)
    for row, depth in zip(rows, deep, strict=True):
        below = t - np.float32(row) - np.float32(0.02) * s * s
        shadow = np.where(below > 0, ridge(below, 2.2 * thin), ridge(below, 0.5 * thin))
        light -= np.float32(0.22 * depth) * shadow
        light += np.float32(0.07 * depth) * ridge(below + np.float32(2 * thin), 2 * thin)
    wide = np.abs(s)
    light -= np.float32(0.16) * ridge(wide - np.float32(0.93), thin)
    light -= np.float32(0.10) * ridge(t - np.float32(0.075), thin)
    light -= np.float32(0.10) * ridge(t - np.float32(0.945), thin)
    wire = step(np.float32(0.42) - wide, 0.1)
    light += np.float32(0.09) * wire * (ridge(t - np.float32(0.035), 1.2 * thin) - ridge(t - np.float32(0.10), thin))
    return light


def seam(place: Place, draws: Draws) -> Floats:
    """(h, w): factor on the light. A sewn mask: the seam down the middle, and hems with their stitches."""
    s, t = place.s, place.t
    thin = max(0.02, 0.8 / place.unit)
    light = np.ones_like(s)
    if draws.random() < 0.6:
        light -= np.float32(0.2) * ridge(s, thin)
        light += np.float32(0.06) * (
            ridge(s - np.float32(2 * thin), 1.5 * thin) + ridge(s + np.float32(2 * thin), thin)
        )
    stitch = np.float32(0.5) + np.float32(0.5) * np.sin(s * np.float32(90))
    for hem in (t - np.float32(0.055), np.float32(0.95) - t):
        light -= np.float32(0.09) * ridge(hem, thin) * (stitch if place.unit > 60 else np.float32(0.6))
    light -= np.float32(0.12) * ridge(np.abs(s) - np.float32(0.92), thin)
    return light


def cup(place: Place, draws: Draws) -> Floats:
    """(h, w): factor on the light. A moulded respirator: its flat rim, and either a fold or a ring around the cup."""
    s, t = place.s, place.t
    thin = max(0.022, 0.8 / place.unit)
    light = np.ones_like(s)
    rim = np.minimum(np.minimum(t, 1 - t), (1 - np.abs(s)) * np.float32(0.7))
    light -= np.float32(0.17) * ridge(rim - np.float32(0.075), 1.2 * thin)
    light += np.float32(0.05) * step(np.float32(0.07) - rim, 0.03)
    if draws.random() < 0.5:  # folded flat when new
        light -= np.float32(0.22) * ridge(s, thin)
        light += np.float32(0.05) * np.sign(s) * step(np.abs(s), 0.3) * step(1 - np.abs(s), 0.6)
    else:
        across = np.hypot(s * np.float32(1.05), (t - np.float32(0.52)) * np.float32(2.0))
        light -= np.float32(0.10) * ridge(across - np.float32(0.66), 2 * thin)
        light += np.float32(0.05) * ridge(across - np.float32(0.58), 2 * thin)
    return light


def metal(place: Place) -> Floats:
    """(h, w): where the nose clip of a respirator is, and how it shines, in [0, 1]."""
    band = step(np.float32(0.022) - np.abs(place.t - np.float32(0.105)), max(0.012, 1 / place.unit))
    return band * step(np.float32(0.36) - np.abs(place.s), max(0.02, 1 / place.unit))
