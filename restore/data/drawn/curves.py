"""Curves, smooth steps and bumps: the arithmetic that needs no scene."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

SIDES = (-1.0, 1.0)  # left and right in the picture; features are laid out for the right and mirrored


def vec(*values: float | Sequence[float]) -> Floats:
    """A vector, or rows of them, that keeps single precision."""
    return np.array(values, np.float32)


def mirror(points: ArrayLike, side: float) -> Floats:
    """Points (..., 2) laid out for the right, on the `side` of SIDES."""
    return np.asarray(points, np.float32) * vec(side, 1)


def curve(points: ArrayLike, steps: int = 8, closed: bool = False) -> Floats:
    """Catmull-Rom curve through points (..., n, 2), `steps` samples a span."""
    p = np.asarray(points, np.float32)
    if closed:
        p = np.concatenate([p[..., -1:, :], p, p[..., :2, :]], -2)
    else:
        before = 2 * p[..., :1, :] - p[..., 1:2, :]
        after = 2 * p[..., -1:, :] - p[..., -2:-1, :]
        p = np.concatenate([before, p, after], -2)
    spans = np.stack([p[..., k : p.shape[-2] - 3 + k, :] for k in range(4)], -2)  # (..., spans, 4, 2)
    smooth = (_basis(steps) @ spans).reshape(*p.shape[:-2], -1, 2)
    return np.asarray(smooth if closed else np.concatenate([smooth, p[..., -2:-1, :]], -2), np.float32)


@cache
def _basis(steps: int) -> Floats:
    """(steps, 4): the weights of four neighbouring points in a Catmull-Rom span."""
    t = np.arange(steps, dtype=np.float32) / steps
    weights = [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2]
    return np.asarray(0.5 * np.stack(weights, -1), np.float32)


def both_sides(half: ArrayLike) -> Floats:
    """The points (n, 2) of a right half, from the rim to the middle, after those of the left half: (2 n - 1, 2)."""
    right = mirror(half, 1)
    return np.concatenate([mirror(right, -1), right[-2::-1]])


def mirrored(half: Floats) -> Floats:
    """A closed outline: down along the right half (n, 2), up along its mirror image."""
    return np.concatenate([half, mirror(half, -1)[::-1]])


def between(one: Floats, other: Floats) -> Floats:
    """The closed outline of what lies between two curves that run the same way."""
    return np.concatenate([one, other[::-1]])


def bump(u: Floats, v: Floats, x: float, y: float, sx: float, sy: float) -> Floats:
    """A Gaussian hill of height 1 at (x, y), `sx` and `sy` wide, over the coordinates u and v."""
    return np.asarray(np.exp(-(((u - x) / sx) ** 2) - ((v - y) / sy) ** 2), np.float32)


def smoothstep(low: float, high: float, x: NDArray[np.floating[Any]]) -> Floats:
    """0 below `low`, 1 above `high`, smooth between; the other way round where `low` is the larger."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)
