"""The head: its outline, the relief of the face and the light on it, and the ears."""

from __future__ import annotations

import cv2
import numpy as np

from restore.data.drawn.canvas import COARSE, Scene
from restore.data.drawn.curves import SIDES, Floats, bump, curve, mirror, vec
from restore.data.drawn.skin import paint_skin, redness
from restore.data.drawn.traits import Traits


def face_outline(traits: Traits, top: float = -1.66) -> Floats:
    """Closed outline of the head in head coordinates, cut off above `top`."""
    w, jaw, chin = traits.width, traits.jaw, traits.chin
    k = 1.0 if traits.hair_style == "bald" else 0.92  # hair is to cover the skull, wherever it is parted
    skull = [(0.0, -1.66 * k), (0.55 * k, -1.53 * k), (0.92 * k, -1.12 * k)]
    cheek = [(w, -0.5), (w * 1.01, 0.1), (w * 0.96, 0.6)]
    below = [(jaw, 1.12), (jaw * 0.71, 1.49), (0.3, chin - 0.05), (0.0, chin)]
    half = skull + cheek + below
    outline = curve(np.concatenate([mirror(half, 1), mirror(half[-2:0:-1], -1)]), closed=True)
    outline[:, 1] = np.maximum(outline[:, 1], top)
    return outline


def paint_head(scene: Scene) -> None:
    """Ears, then the lit skin of the face."""
    red = redness(scene)
    shade, gloss = _light(scene, _relief(scene))
    for s in SIDES:
        _ear(scene, s, red, float(shade.mean()))
    shade = np.asarray(cv2.GaussianBlur(shade.astype(np.float32), (0, 0), 0.8), np.float32)
    paint_skin(scene, scene.shape(face_outline(scene.traits), soft=0.006), red, shade, 0.12 * gloss)


def _relief(scene: Scene) -> Floats:
    """Height of the face over the coarse grid: an ellipsoid and the hills and hollows of a face on it."""
    traits = scene.traits
    inside = 1 - (scene.u / (traits.width * 1.12)) ** 2 - ((scene.v - 0.1) / 1.98) ** 2
    height = 1.05 * np.sqrt(np.maximum(inside, 0.015))
    for tall, x, y, sx, sy, out in _hills(traits):
        height += tall * bump(scene.u, scene.v, float(scene.turn((x, y), out)[0]), y, sx, sy)
    return np.asarray(height, np.float32)


def _hills(traits: Traits) -> list[tuple[float, float, float, float, float, float]]:
    """Height, x, y, width and height of each hill or hollow, and how far it stands out of the ellipsoid."""
    bold, nose, mouth = 0.7 + 0.5 * traits.strong, traits.nose_width, traits.mouth_height
    length = traits.nose_length
    middle = [
        (0.15, 0.0, 0.30 * length, 0.1, 0.3, 0.1),  # bridge of the nose
        (0.15, 0.0, 0.66 * length, 0.11, 0.24, 0.2),
        (0.22, 0.0, length - 0.01, 0.14, 0.12, 0.28),  # its tip
        (-0.02, 0.0, 0.5 * (length + mouth) + 0.02, 0.045, 0.09, 0.1),  # philtrum
        (0.07, 0.0, mouth - 0.05, 0.42, 0.26, 0.0),  # lips
        (-0.045, 0.0, mouth + 0.25, 0.26, 0.07, 0.0),  # below them
        (0.1 * bold, 0.0, traits.chin - 0.24, 0.24, 0.17, 0.0),  # chin
        (0.04, 0.0, -0.7, 0.6, 0.3, 0.0),  # forehead
    ]
    paired = [
        (0.06 * bold, 0.46, -0.3, 0.34, 0.1, 0.0),  # brow
        (-0.11, 0.4, -0.03, 0.26, 0.15, 0.0),  # eye socket
        (0.055, 0.5, 0.0, 0.17, 0.12, 0.0),  # eyeball
        (0.12, nose * 0.82, length + 0.02, 0.085, 0.08, 0.12),  # wing of the nose
        (0.07, 0.66, 0.46, 0.28, 0.22, 0.0),  # cheekbone
        (-0.05 * (0.4 + traits.age), 0.62, 0.9, 0.16, 0.3, 0.0),  # hollow of the cheek
        (-0.05, 0.98, -0.4, 0.2, 0.4, 0.0),  # temple
        (-0.03, 0.5, 0.2, 0.22, 0.06, 0.0),  # below the eye
    ]
    return middle + [(tall, s * x, y, sx, sy, out) for tall, x, y, sx, sy, out in paired for s in SIDES]


def _light(scene: Scene, height: Floats) -> tuple[Floats, Floats]:
    """Shade and gloss of the face over the coarse grid."""
    traits, light = scene.traits, scene.traits.light
    # the grid is tilted against the head by the roll, and so is the gradient; the light is given in the picture's frame
    step = np.float32(1 / (COARSE * traits.scale))
    dy, dx = np.gradient(height, step)
    norm = 1 / np.sqrt(1 + dx**2 + dy**2)
    facing = (-dx * light[0] - dy * light[1] + light[2]) * norm
    shade = traits.ambient + 0.64 * np.maximum(facing, 0)
    # hollows see less of the sky: the difference to the surroundings stands in for ambient occlusion
    shade *= 1 + np.clip(1.1 * (height - cv2.GaussianBlur(height, (0, 0), 6)), -0.22, 0.1)
    half = light + vec(0, 0, 1)  # half-way between the light and the viewer, as in Blinn's highlights
    half /= np.linalg.norm(half)
    mirrored = (-dx * half[0] - dy * half[1] + half[2]) * norm
    return shade, np.exp(24 * np.log(np.maximum(1e-3, mirrored)))


def _ear(scene: Scene, s: float, red: Floats, shade: float) -> None:
    traits = scene.traits
    away = s * np.sin(traits.yaw)  # the ear on the side turned away hides behind the cheek
    root = (traits.width + 0.01 - 0.6 * max(0.0, away), 0.08)
    rim = [(0, -0.12), (0.1, -0.2), (0.2, -0.1), (0.18, 0.16), (0.1, 0.4), (0.03, 0.5), (-0.05, 0.42)]
    patch = scene.shape(mirror(curve(np.asarray(rim) + root, closed=True), s), soft=0.006)
    paint_skin(scene, patch, red, np.full_like(red, shade * (0.92 + 0.3 * s * traits.light[0])))
    fold = curve(np.asarray([(0.03, -0.08), (0.12, -0.1), (0.13, 0.1), (0.07, 0.28)]) + root)
    scene.tint(scene.lines([mirror(fold, s)], 0.035, 0.014), (0.62, 0.5, 0.46))
    scene.tint(scene.lines([mirror(fold - vec(0.06, -0.02), s)], 0.05, 0.03), (0.7, 0.55, 0.5))
