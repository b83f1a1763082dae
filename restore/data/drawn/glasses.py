"""Glasses: a frame, the shadow it casts, and the light on the lenses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from restore.data.drawn.canvas import Scene
from restore.data.drawn.curves import SIDES, Floats, curve, vec
from restore.data.drawn.traits import Traits


def paint_glasses(scene: Scene) -> None:
    """Two rims, the bridge between them, and the arms as far as the ears."""
    traits = scene.traits
    if traits.glasses == "none":
        return
    rims = [scene.turn(_rim(traits) + (0.52 * s, 0.06), 0.12) for s in SIDES]
    closed = [np.concatenate([rim, rim[:2]]) for rim in rims]
    bridge = scene.turn(curve([(-0.15, 0.0), (0.0, -0.06), (0.15, 0.0)]), 0.25)
    arms = [np.concatenate([scene.turn([(0.9 * s, -0.02)], 0.12), [(s * (traits.width + 0.02), -0.06)]]) for s in SIDES]
    frame = [*closed, bridge, *arms]
    shadow = [part + vec(-0.04 * traits.light[0], 0.05) for part in frame]
    scene.tint(scene.lines(shadow, 0.04, 0.03), (0.7, 0.6, 0.58), 0.7)
    for rim in rims:
        _lens(scene, rim)
    colour = traits.accent * 0.45
    scene.paint(scene.lines(frame, 0.045, 0.003), colour)
    edge = [part + vec(0.0, -0.008) for part in frame]
    scene.paint(scene.lines(edge, 0.012, 0.004), np.clip(colour + 0.35, 0, 1), 0.6)


def _rim(traits: Traits) -> NDArray[np.float64]:
    """A superellipse around the origin, rounder or squarer."""
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    power = 0.9 if traits.glasses == "round" else 0.45
    ring = np.stack([np.copysign(np.abs(wave) ** power, wave) for wave in (np.cos(angle), np.sin(angle))], -1)
    return np.asarray(ring * (0.38, 0.31), np.float64)


def _lens(scene: Scene, rim: Floats) -> None:
    """A pale veil, and the streak of a window."""
    glass = scene.shape(rim)
    scene.paint(glass, (0.9, 0.95, 1.0), 0.05)
    streak = rim.mean(0) + vec((-0.3, 0.1), (0.05, -0.4), (0.2, -0.4), (-0.25, 0.25))
    scene.paint(scene.shape(streak, soft=0.02, inside=glass), (1, 1, 1), 0.13)
