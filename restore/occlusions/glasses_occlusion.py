"""Glasses and sunglasses, on a head however it is turned."""

from typing import Literal

import numpy as np

from restore.faces.face import Face, Floats
from restore.images import Image
from restore.keyed import Draws
from restore.occlusions.canvas import Canvas, blurred, lowered
from restore.occlusions.light import Light
from restore.occlusions.occlusion import Occluded, Occlusion
from restore.occlusions.pose import Pose
from restore.ranges import Limits, Share
from restore.registry import OCCLUSIONS

Kind = Literal["clear", "sun"]
FRAMES = (
    (0.06, 0.06, 0.07),
    (0.10, 0.09, 0.09),
    (0.30, 0.19, 0.12),
    (0.62, 0.55, 0.38),
    (0.55, 0.56, 0.58),
    (0.45, 0.10, 0.14),
)
TINTS = ((0.05, 0.05, 0.06), (0.08, 0.07, 0.06), (0.17, 0.10, 0.06), (0.07, 0.11, 0.08), (0.08, 0.10, 0.18))


@OCCLUSIONS.register
class Glasses(Occlusion):
    """Two lenses, their frame, its arms, its shadow, and what the lenses mirror.

    Clear lenses hide the eyes only where they mirror; only that, the frame and its shadow are the hole.

    Args:
        kind: `clear`, `sun` (tinted lenses) or `random`.
        tint: range of the opacity of sunglasses at their upper rim; further down they are up to a quarter clearer.
    """

    def __init__(self, kind: Literal["clear", "sun", "random"] = "random", tint: Limits[Share] = (0.75, 0.98)) -> None:
        self.kinds: tuple[Kind, ...] = ("clear", "sun") if kind == "random" else (kind,)
        self.tint = tint

    def __call__(self, picture: Image, face: Face, draws: Draws) -> Occluded:
        kind = self.kinds[int(draws.integers(len(self.kinds)))]
        pose = Pose.of(face)
        rims, lines = _frame(pose, draws)
        thick, tint, clearer, slant = draws.uniform([0.03, self.tint[0], 0, 0.2], [0.085, self.tint[1], 0.25, 0.6])
        frame = np.array(FRAMES[int(draws.integers(len(FRAMES)))], np.float32)
        glass = np.array(TINTS[int(draws.integers(len(TINTS)))], np.float32)
        canvas = Canvas(picture, np.concatenate([*rims, *lines]), 0.2 * pose.unit)
        if canvas.empty:
            return canvas.finish()
        lenses = canvas.cover(np.stack(rims))
        wires = canvas.strokes([*(np.concatenate([rim, rim[:2]]) for rim in rims), *lines], thick * pose.unit)
        light = Light.of(canvas, np.maximum(lenses, wires))
        lit = (light.gain * np.float32(light.exposure))[..., None]
        _shadow(canvas, wires, pose.unit)
        down = _down(canvas, pose)
        if kind == "sun":
            opacity = np.float32(tint) * (1 - np.float32(clearer) * down)
            sky = np.float32(0.16) * (1 - down).clip(0, 1) ** 2
            canvas.paint(lenses * opacity, (glass + sky[..., None]) * lit)
        streak = canvas.cover(np.stack([_streak(rim, pose, slant) for rim in rims]))
        canvas.paint(np.minimum(streak, lenses) * np.float32(0.16), np.array([0.95, 0.97, 1.0], np.float32) * lit)
        canvas.paint(wires, frame * lit)
        shine = canvas.strokes([line - 0.25 * thick * pose.matrix[1] for line in rims], 0.25 * thick * pose.unit)
        canvas.paint(np.minimum(shine, wires) * np.float32(0.35), np.ones(3, np.float32) * lit)
        return canvas.finish()


def _frame(pose: Pose, draws: Draws) -> tuple[list[Floats], list[Floats]]:
    """The rims of both lenses (48, 2), and bridge and arms, in pixels."""
    wide, high, power, drop, low = draws.uniform([0.36, 0.25, 0.45, -0.12, 0.03], [0.44, 0.36, 1.0, 0.12, 0.10])
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    c, s = (np.copysign(np.abs(wave) ** power, wave) for wave in (np.cos(angle), np.sin(angle)))
    x, y = wide * c * (1 - drop * s) + wide + 0.09, high * s + low
    right = np.stack([x, y, 0.30 - 0.22 * x**2], -1)
    mirror = np.array([-1, 1, 1])
    bridge = [(-0.12, low - 0.05, 0.30), (-0.05, low - 0.10, 0.33), (0.05, low - 0.10, 0.33), (0.12, low - 0.05, 0.30)]
    end = 2 * wide + 0.08
    arm = np.array([(end, low - 0.08, 0.30 - 0.22 * end**2), (1.08, low - 0.08, -0.15), (1.12, low - 0.02, -1.0)])
    lines = [pose.pixels(bridge)]
    for side in (arm * mirror, arm):
        line = pose.pixels(side)
        outwards = line[0] - pose.pixels((0, low, 0.3))
        if (line[-1] - line[0]) @ outwards > 0:  # else it is behind the face
            lines.append(line)
    return [pose.pixels(right * mirror), pose.pixels(right)], lines


def _streak(rim: Floats, pose: Pose, slant: float) -> Floats:
    """(4, 2): a band across a lens, as a window is mirrored."""
    across, down = pose.matrix[:2]
    center = rim.mean(0)
    places = np.array([(-0.36, 0.5), (-0.36 + slant, -0.5), (-0.18 + slant, -0.5), (-0.22, 0.5)], np.float32)
    band: Floats = center + places[:, :1] * across + places[:, 1:] * down
    return band


def _shadow(canvas: Canvas, wires: Floats, unit: float) -> None:
    """Of the frame on the face, below it."""
    below = lowered(wires, max(1, round(0.05 * unit)))
    canvas.darken(np.float32(0.25) * blurred(below, 0.03 * unit))


def _down(canvas: Canvas, pose: Pose) -> Floats:
    """(h, w): 0 at the upper rim of the lenses, 1 at the lower one."""
    x, y = canvas.axes()
    down, origin = pose.matrix[1], pose.matrix[3]
    along = np.add.outer((y - origin[1]) * down[1], (x - origin[0]) * down[0]) / max(float(down @ down), 1e-6)
    share: Floats = ((along + np.float32(0.3)) / np.float32(0.7)).clip(0, 1)
    return share
