"""The mouth: lips over the relief, by tinting, and the teeth of an open one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from restore.data.drawn.canvas import Scene, planes
from restore.data.drawn.curves import SIDES, Floats, between, both_sides, curve, smoothstep, vec


class _Lips(NamedTuple):
    """Four curves in head coordinates from corner to corner, from above to below."""

    bow: Floats
    upper_seam: Floats
    lower_seam: Floats
    rim: Floats


def paint_mouth(scene: Scene) -> None:
    """Shadow below the lip, teeth, lips, the line between them, and the dimples at the corners."""
    traits = scene.traits
    lips = _lips(scene)
    red = np.clip(vec(0.92, 0.68, 0.66) - vec(0.04, 0.22, 0.16) * traits.made_up, 0, 1)
    scene.tint(scene.lines([lips.rim + vec(0, 0.045)], 0.07, 0.035), (0.74, 0.62, 0.58), 0.6)
    seams = [lips.upper_seam]
    if traits.gape:
        _teeth(scene, between(lips.upper_seam, lips.lower_seam))
        seams.append(lips.lower_seam)
    scene.tint(scene.shape(between(lips.bow, lips.upper_seam), soft=0.008), red * vec(0.9, 0.84, 0.84))
    scene.tint(scene.shape(between(lips.lower_seam, lips.rim), soft=0.008), red)
    scene.tint(scene.lines(seams, 0.018, 0.008), (0.4, 0.24, 0.22), 0.85)
    corners = [scene.turn((s * traits.mouth_width, traits.mouth_corner), 0.06) for s in SIDES]
    scene.tint(scene.shape(*[_dot(corner, 0.03) for corner in corners], soft=0.02), (0.6, 0.45, 0.4), 0.7)
    _gloss(scene, lips.lower_seam)


def _lips(scene: Scene) -> _Lips:
    traits = scene.traits
    w, y, full, gap = traits.mouth_width, traits.mouth_height, traits.lips, _gap(scene)
    corner = (w, traits.mouth_corner)
    above = y - 0.35 * gap + 0.01 * traits.smile
    below = y + 0.65 * gap + 0.02 * max(0.0, traits.smile)
    halves = (
        [corner, (0.5 * w, above - 0.72 * full), (0.17 * w, above - full), (0, above - 0.82 * full)],
        [corner, (0.5 * w, above + 0.004), (0, above + 0.014)],
        [corner, (0.5 * w, below - 0.25 * gap), (0, below + 0.012)],
        [corner, (0.55 * w, below + 0.85 * full), (0, below + 1.32 * full)],
    )
    return _Lips(*(scene.turn(curve(both_sides(half)), 0.06) for half in halves))


def _gap(scene: Scene) -> float:
    """How far the lips are apart."""
    return 0.11 * scene.traits.gape


def _teeth(scene: Scene, opening: Floats) -> None:
    """The upper row, between dark and dark."""
    traits, y, gap = scene.traits, scene.traits.mouth_height, _gap(scene)
    patch = scene.shape(opening)
    u, v = scene.coordinates(patch)
    middle = float(scene.turn((0.0, y), 0.06)[0])
    x = (u - middle) / 0.088
    x = np.sign(x) * np.abs(x) ** 1.12  # teeth narrow towards the corners
    beside = x - np.rint(x)  # from the middle of a tooth, in its widths
    row = smoothstep(0.0, 0.05, np.abs(beside)) * 0.3 + 0.7
    fade = np.clip(1.08 - 0.9 * ((u - middle) / traits.mouth_width) ** 2, 0.25, 1)
    tooth = planes((0.93, 0.89, 0.83)) * row * fade * (0.9 + 0.1 * np.cos(beside * 5))
    edge = y + 0.42 * gap - 0.1 * (np.abs(beside) - 0.5) ** 2 * gap
    bite = smoothstep(0.012, -0.012, v - edge)
    dark = planes((0.3, 0.1, 0.1))
    scene.paint(patch, dark + (tooth - dark) * bite)


def _gloss(scene: Scene, seam: Floats) -> None:
    """Fine creases and the light on the lower lip."""
    traits, rng, many = scene.traits, scene.rng, 26
    at = rng.integers(6, len(seam) - 6, many)
    root = seam[at] + vec(0, 0.012)
    fan = (at / (len(seam) - 1) - 0.5)[:, None] * vec(0.06, 0)
    down = vec(0, 0.75 * traits.lips) * rng.uniform(0.5, 1, (many, 1)).astype(np.float32)
    creases = np.stack([root, root + fan + down], 1)
    scene.tint(scene.lines(creases, 0.008, 0.003), (0.8, 0.7, 0.7), 0.55)
    shine = seam[9:-9] + vec(0.03 * traits.light[0], 0.5 * traits.lips)
    scene.paint(scene.lines([shine], 0.035, 0.022), (1, 0.93, 0.9), 0.2 + 0.25 * traits.made_up)


def _dot(centre: Floats, radius: float) -> Floats:
    """A circle as a polygon."""
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    return np.asarray(centre + radius * np.stack([np.cos(angle), np.sin(angle)], -1), np.float32)
