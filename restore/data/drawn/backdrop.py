"""What is behind the person: mostly out of focus, sometimes a wall with texture."""

from __future__ import annotations

import cv2
import numpy as np

from restore.data.drawn.canvas import Scene
from restore.data.drawn.curves import Floats, smoothstep

_SIDE = 96  # of the small picture that is blown up: out of focus, it has no detail to lose


def paint_backdrop(scene: Scene) -> None:
    """Fill the whole canvas: this is the first layer."""
    kind = scene.traits.backdrop
    small = _gradient(scene.traits.backdrop_colours)
    if kind in ("bokeh", "leaves"):
        small = _discs(scene, small)
        small = np.asarray(cv2.GaussianBlur(small, (0, 0), 0.9 if kind == "bokeh" else 2.4), np.float32)
    for plane, few in zip(scene.image, cv2.split(small), strict=True):
        plane[:] = cv2.resize(few, plane.shape, interpolation=cv2.INTER_LINEAR)
    if kind == "plaster":
        scene.image *= 1 + 0.5 * (1.1 * scene.pores + 0.3 * scene.clouds(24, scene.side))
    elif kind == "bricks":
        scene.image *= _bricks(scene)
    elif kind == "blinds":
        scene.image *= _blinds(scene)


def _gradient(colours: Floats) -> Floats:
    """(_SIDE, _SIDE, 3): one colour above, going over into two below."""
    ramp = np.linspace(0, 1, _SIDE, dtype=np.float32)
    across, down = ramp[None, :, None], ramp[:, None, None]
    below = colours[1] * (1 - across) + colours[2] * across
    return np.ascontiguousarray(colours[0] * (1 - down) + below * down, np.float32)


def _discs(scene: Scene, small: Floats) -> Floats:
    """Lay discs over the picture that let some of it through."""
    rng = scene.rng
    for k in range(36):
        x, y = rng.uniform(0, _SIDE, 2)
        radius = rng.uniform(2, 12)
        colour = scene.traits.backdrop_colours[k % 6].tolist()
        layer = small.copy()
        cv2.circle(layer, (int(x * 16), int(y * 16)), int(radius * 16), colour, -1, cv2.LINE_8, 4)
        strength = float(rng.uniform(0.2, 0.8))
        small = np.asarray(cv2.addWeighted(layer, strength, small, 1 - strength, 0), np.float32)
    return small


def _blinds(scene: Scene) -> Floats:
    """(side, 1): the slats of a blind, each brighter towards its lower edge."""
    phase = np.arange(scene.side, dtype=np.float32) / scene.side * 17 % 1
    slats = 0.72 + 0.4 * smoothstep(0.0, 0.9, phase) * smoothstep(1.0, 0.94, phase)
    return np.asarray(slats[:, None], np.float32)


def _bricks(scene: Scene) -> Floats:
    """(side, side): courses of bricks, every one of its own tone, and the joints between them."""
    along = np.arange(scene.side, dtype=np.float32) / scene.side
    course = (along * 13).astype(int)
    y = along * 13 % 1
    x = along * 6 + np.array([[0.0], [0.5]], np.float32)  # every other course is shifted by half
    upright = smoothstep(0.015, 0.05, np.minimum(x % 1, 1 - x % 1))
    level = smoothstep(0.03, 0.1, np.minimum(y, 1 - y))
    tones = scene.rng.uniform(0.08, 0.48, (13, 7)).astype(np.float32)
    bricks = np.stack([tones[k, x[k % 2].astype(int)] * upright[k % 2] for k in range(13)])
    wall = 0.72 + bricks[course] * level[:, None]
    return np.asarray(wall * (1 + 0.5 * scene.pores), np.float32)
