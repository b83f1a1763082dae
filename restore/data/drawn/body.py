"""The neck, and the clothes on the shoulders."""

from __future__ import annotations

import numpy as np

from restore.data.drawn.canvas import Patch, Scene, planes
from restore.data.drawn.curves import SIDES, Floats, curve, mirror, mirrored, smoothstep, vec
from restore.data.drawn.skin import paint_skin, redness


def paint_neck(scene: Scene) -> None:
    """Neck, lit as a cylinder, with the shadow the chin casts on it."""
    traits, light = scene.traits, scene.traits.light
    u, v = scene.u, scene.v
    wide = 0.56 + 0.14 * traits.strong
    half = [(wide + 0.08, 0.9), (wide, 1.45), (wide + 0.04, 1.9), (wide + 0.5, 2.25), (wide + 0.9, 2.9)]
    patch = scene.shape(mirrored(curve(half)), soft=0.006)
    across = np.clip(u / (wide * 1.25), -0.98, 0.98)
    shade = traits.ambient + 0.75 * np.maximum(0, across * light[0] + np.sqrt(1 - across**2) * light[2])
    below_chin = smoothstep(traits.chin + 0.55, traits.chin - 0.1, v + 0.35 * (u + 0.6 * light[0]) ** 2)
    paint_skin(scene, patch, redness(scene), np.asarray(shade * (1 - 0.52 * below_chin), np.float32))


def paint_clothes(scene: Scene) -> None:
    """Shoulders and a collar."""
    colour = scene.traits.clothes
    drop = 0.1 * scene.traits.strong
    collar = [(0.0, 2.35), (0.35, 2.25), (0.66, 1.98 - drop), (0.85, 1.9 - drop)]
    shoulder = [(1.5, 2.08 - drop), (2.3, 2.35), (2.7, 3.2)]
    patch = scene.shape(mirrored(curve(collar + shoulder)))
    scene.paint(patch, _cloth(scene, patch))
    seam = [curve(mirror(collar, s)) for s in SIDES]
    scene.tint(scene.lines([side + vec(0, 0.035) for side in seam], 0.07, 0.012), (0.66, 0.66, 0.68))
    scene.paint(scene.lines(seam, 0.02, 0.004), np.clip(colour * 1.25 + 0.05, 0, 1), 0.8)


def _cloth(scene: Scene, patch: Patch) -> Floats:
    """(3, h, w): a pattern of two colours, folds, and the weave or the knit."""
    traits = scene.traits
    u, v = scene.coordinates(patch)
    cloth = planes(traits.clothes) + planes(traits.accent - traits.clothes) * _pattern(traits.pattern, u, v)
    rib = np.sin(u * 95 + 1.5 * np.sin(v * 60)) if traits.pattern == "knit" else np.sin(u * 130) * np.sin(v * 130)
    folds = 0.1 * np.sin(u * 5 + 3 * v) - 0.12 * np.abs(u) + 0.22 * traits.light[0] * u
    weave = scene.grain[patch.rows, patch.cols]
    shade = (0.86 + folds) * (1 + 0.13 * rib + 0.5 * weave)
    return np.asarray(cloth * shade, np.float32)


def _pattern(kind: str, u: Floats, v: Floats) -> Floats:
    """How much of the second colour there is; laid out in head coordinates, so that it scales with the picture."""
    if kind == "stripes":
        return smoothstep(-0.15, 0.15, np.sin(v * 28 + 2 * u))
    if kind == "checks":
        return 0.5 * (smoothstep(-0.15, 0.15, np.sin(v * 22)) + smoothstep(-0.15, 0.15, np.sin(u * 22)))
    if kind == "dots":
        return smoothstep(0.62, 0.72, np.sin(u * 26) * np.sin(v * 26))
    return np.zeros_like(u)
