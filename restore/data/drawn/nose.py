"""The nose: the relief of the head carries it; here are the nostrils, the creases and the shadow below."""

from __future__ import annotations

from restore.data.drawn.canvas import Scene
from restore.data.drawn.curves import SIDES, curve, mirror, vec


def paint_nose(scene: Scene) -> None:
    """Shadow below the tip, then nostrils and the creases behind the wings."""
    traits = scene.traits
    w, y = traits.nose_width, traits.nose_length
    below = [(-w, y + 0.1), (0, y + 0.15), (w, y + 0.1), (0.6 * w, y + 0.22), (-0.6 * w, y + 0.22)]
    shadow = scene.turn(curve(below, 6, closed=True), 0.1) + vec(-0.12 * traits.light[0], 0.0)
    scene.tint(scene.shape(shadow, soft=0.05), (0.66, 0.52, 0.48), 0.7)
    upper = [(0.16 * w, y + 0.115), (0.36 * w, y + 0.075), (0.62 * w, y + 0.085)]
    lower = [(0.68 * w, y + 0.12), (0.4 * w, y + 0.135)]
    nostril = curve(upper + lower, 6, closed=True)
    wing = curve([(0.84 * w, y - 0.1), (1.04 * w, y), (1.0 * w, y + 0.1), (0.78 * w, y + 0.125)])
    for s in SIDES:
        hole = scene.shape(scene.turn(mirror(nostril, s), 0.2), soft=0.012)
        scene.paint(hole, traits.skin * (0.24, 0.15, 0.13), 0.9)
        crease = scene.lines([scene.turn(mirror(wing, s), 0.1)], 0.022, 0.014)
        scene.tint(crease, (0.62, 0.47, 0.42), 0.75)
