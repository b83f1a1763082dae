"""Skin under light, and what age and sun leave on it."""

from __future__ import annotations

import numpy as np

from restore.data.drawn.canvas import COARSE, Patch, Scene, planes
from restore.data.drawn.curves import SIDES, Floats, bump, curve, mirror, vec

_FOLD = (0.72, 0.58, 0.52)
_FRECKLE = (0.7, 0.55, 0.45)


def redness(scene: Scene) -> Floats:
    """How red the skin is, over the coarse grid: cheeks, nose, chin, and blotches."""
    red = 0.25 * scene.clouds(32, COARSE)
    spots = (  # x, y, strength, width, height
        (0.62, 0.5, 0.62, 0.3, 0.26),
        (-0.62, 0.5, 0.62, 0.3, 0.26),
        (0.0, scene.traits.nose_length, 0.3, 0.17, 0.14),
        (0.0, 1.5, 0.25, 0.3, 0.2),
    )
    for x, y, strength, sx, sy in spots:
        red += strength * bump(scene.u, scene.v, float(scene.turn((x, y))[0]), y, sx, sy)
    return np.asarray(0.16 * scene.traits.blush * red, np.float32)


def paint_skin(scene: Scene, patch: Patch, red: Floats, shade: Floats, gloss: Floats | float = 0.0) -> None:
    """Skin over a patch: tone, `redness` and pores; `red`, `shade` and `gloss` are fields on the coarse grid."""
    traits = scene.traits
    # light that entered the skin leaves it red: shadows lose less of the red than of the blue
    dark = np.log(np.maximum(shade, 1e-3))
    r = np.exp(0.88 * dark) * (1 + 0.2 * red)
    g = np.exp(1.03 * dark) * (1 - 0.75 * red)
    b = np.exp(1.1 * dark) * (1 - 0.65 * red)
    lit = np.stack([r, g, b]) * planes(traits.skin) + np.asarray(gloss) * planes((1, 0.97, 0.92))
    picture = np.stack([scene.spread(plane, patch) for plane in lit.astype(np.float32)])
    picture *= 1 + scene.pores[patch.rows, patch.cols] * np.float32(0.12 + 0.08 * traits.age)
    scene.paint(patch, picture)


def paint_marks(scene: Scene) -> None:
    """Folds, wrinkles and freckles."""
    for s in SIDES:
        _folds(scene, s)
    if scene.traits.age > 0.4:
        _wrinkles(scene)
    if scene.traits.freckled:
        _freckles(scene)


def _folds(scene: Scene, s: float) -> None:
    """From the nose around the mouth, and below the eye."""
    traits = scene.traits
    nose = (traits.nose_width * 1.15, traits.nose_length - 0.04)
    cheek = (0.36, traits.nose_length + 0.14)
    mouth = (traits.mouth_width + 0.1, traits.mouth_height - 0.08)
    laugh = scene.turn(curve(mirror([nose, cheek, mouth], s)))
    scene.tint(scene.lines([laugh], 0.03, 0.025), _FOLD, 0.25 + 0.35 * traits.age + 0.2 * max(0.0, traits.smile))
    bag = scene.turn(curve(mirror([(0.28, 0.1), (0.42, 0.2), (0.62, 0.18), (0.74, 0.08)], s)))
    scene.tint(scene.lines([bag], 0.03, 0.022), _FOLD, 0.25 + 0.35 * traits.age)


def _wrinkles(scene: Scene) -> None:
    """Across the forehead, and crow's feet."""
    brow = [[(-0.6, y + 0.04), (-0.25, y), (0.2, y + 0.01), (0.55, y + 0.05)] for y in (-0.62, -0.74, -0.86)]
    crow = [[(0.78, d), (0.86, -0.02 + 2.2 * d), (0.93, 0.01 + 3.2 * d)] for d in (-0.03, 0.0, 0.03)]
    wrinkles = [scene.turn(curve(np.asarray(row) + 0.015 * scene.rng.standard_normal((4, 2)))) for row in brow]
    wrinkles += [scene.turn(curve(mirror(foot, s))) for foot in crow for s in SIDES]
    scene.tint(scene.lines(wrinkles, 0.012, 0.008), _FOLD, 0.75 * (scene.traits.age - 0.25))


def _freckles(scene: Scene) -> None:
    """Short strokes over cheeks and nose, every other one fainter."""
    rng, strength = scene.rng, scene.traits.freckled
    at = np.stack([rng.normal(0, 0.5, 150), 0.42 + 0.2 * rng.standard_normal(150)], -1)
    dots = scene.turn(at.clip((-0.85, -0.1), (0.85, 1.2)))[:, None] + vec([0, 0], [0.008, 0.004])
    scene.tint(scene.lines(dots[::2], 0.017, 0.005), _FRECKLE, 0.7 * strength)
    scene.tint(scene.lines(dots[1::2], 0.012, 0.004), _FRECKLE, 0.5 * strength)
