"""Eyes and brows."""

from __future__ import annotations

import numpy as np

from restore.data.drawn.canvas import Patch, Scene, planes
from restore.data.drawn.curves import SIDES, Floats, between, bump, curve, mirror, smoothstep, vec


def paint_eyes(scene: Scene) -> None:
    """The ball of each eye as one picture cut out by the lids, then the lids."""
    for s in SIDES:
        upper, lower = _lids(scene, s)
        opening = between(upper, lower)
        scene.tint(scene.shape(opening, soft=0.05), (0.72, 0.6, 0.56), 0.55)
        _ball(scene, s, scene.shape(opening), upper)
        _rims(scene, upper, lower)
        _lashes(scene, s, upper, lower)


def _lids(scene: Scene, s: float) -> tuple[Floats, Floats]:
    """Upper and lower lid in head coordinates, both from the inner to the outer corner."""
    traits = scene.traits
    w, high, tilt = traits.eye_width, traits.eye_open * traits.eye_width, traits.eye_slant * traits.eye_width
    low = high * (0.62 - 0.12 * max(0.0, traits.smile))
    inner, outer = (-w, 0.16 * high + 0.6 * tilt), (w, -tilt)
    upper = [inner, (-0.62 * w, -0.55 * high), (-0.05 * w, -high), (0.55 * w, -0.72 * high - 0.4 * tilt), outer]
    lower = [inner, (-0.55 * w, 0.62 * low), (0.1 * w, low), (0.62 * w, 0.66 * low - 0.4 * tilt), outer]
    above, below = (scene.turn(mirror(curve(np.asarray(lid) + (0.5, 0.0)), s)) for lid in (upper, lower))
    return above, below


def _ball(scene: Scene, s: float, patch: Patch, upper: Floats) -> None:
    """White, iris and pupil; the pink of the inner corner, the shadow of the upper lid, and the glint."""
    traits, w = scene.traits, scene.traits.eye_width
    iris = scene.turn((s * 0.5, 0.0)) + traits.gaze * vec(0.5, 0.3) * w + vec(0, -0.12 * w * traits.eye_open)
    scene.paint(patch, _iris_on_white(scene, s, patch, iris))
    u, v = scene.coordinates(patch)
    x, y = scene.turn(mirror([(0.5 - w, 0.02)], s))[0].tolist()
    scene.paint(patch.thinned(bump(u, v, x, y, 0.07, 0.05)), (0.78, 0.5, 0.46), 0.8)
    scene.tint(scene.lines([upper], 0.07, 0.03, inside=patch), (0.42, 0.38, 0.38), 0.9)
    glint = iris + vec(0.13 * np.sign(traits.light[0] + 1e-6), -0.15) * w
    spark = glint + vec((-1, -1), (1, -1), (1, 1), (-1, 1)) * np.float32(0.062 * w)
    scene.paint(scene.shape(curve(spark, 4, closed=True), soft=0.004), (1, 1, 1), 0.92)


def _iris_on_white(scene: Scene, s: float, patch: Patch, iris: Floats) -> Floats:
    """(3, h, w): the picture of an eyeball with the middle of its iris at `iris`."""
    traits = scene.traits
    w = traits.eye_width
    u, v = scene.coordinates(patch)
    x, y = iris
    r, angle = np.hypot(u - x, v - y) / (0.405 * w), np.arctan2(v - y, u - x)
    pixel = 1 / scene.length(0.405 * w)
    round_ = 1 - 0.35 * ((u - scene.turn((s * 0.5, 0.0))[0]) / w) ** 2
    white = planes((0.9, 0.87, 0.85)) * round_ * (0.55 + 0.45 * traits.ambient + 0.35 * traits.light[2])
    spokes = scene.rng.standard_normal(96)
    fibre = np.interp(angle, np.linspace(-np.pi, np.pi, 97), np.append(spokes, spokes[0])) * smoothstep(0.3, 0.6, r)
    # light gathers opposite the lamp
    glow = 1 + 0.45 * np.sin(angle) + 0.25 * fibre + 0.35 * smoothstep(0.75, 0.45, r)
    glow *= 1 - 0.75 * smoothstep(0.78, 1.0, r)
    ball = white + (planes(traits.iris) * glow - white) * smoothstep(1 + 1.5 * pixel, 1 - 1.5 * pixel, r)
    ball *= 1 - 0.93 * smoothstep(0.45 + pixel, 0.45 - pixel, r)
    return np.asarray(ball, np.float32)


def _rims(scene: Scene, upper: Floats, lower: Floats) -> None:
    """Crease, make-up and the edges of the lids."""
    traits = scene.traits
    scene.tint(scene.lines([upper + vec(0, -0.085)], 0.03, 0.016), (0.62, 0.47, 0.42), 0.9)
    if traits.made_up:
        lid = between(upper, upper + vec(0, -0.1))
        scene.tint(scene.shape(lid, soft=0.025), traits.accent * 0.5 + 0.4, 0.45 * traits.made_up)
    scene.paint(scene.lines([lower], 0.02, 0.008), np.clip(traits.skin * (0.95, 0.78, 0.74), 0, 1), 0.7)
    scene.paint(scene.lines([upper], 0.022 + 0.016 * traits.made_up, 0.004), _lash_colour(scene), 0.92)


def _lashes(scene: Scene, s: float, upper: Floats, lower: Floats) -> None:
    """Dense and long above, sparse and short below; longer and fanned out towards the temple."""
    traits, rng, many = scene.traits, scene.rng, 34
    longest = 0.04 + 0.02 * (1 - traits.strong) + 0.03 * traits.made_up
    for lid, up, length, opacity in ((upper, -1.0, longest, 0.95), (lower, 0.55, 0.4 * longest, 0.3)):
        at = rng.uniform(0.12, 1, many)
        root = lid[np.rint(at * (len(lid) - 1)).astype(int)]
        size = length * rng.uniform(0.6, 1, many) * (0.55 + 0.6 * at)
        lean = s * (at - 0.3) * 1.1
        bend = root + np.stack([0.35 * lean * size, up * 0.35 * size], -1)
        tip = root + np.stack([lean * size, up * size], -1)
        lashes = curve(np.stack([root, bend, tip], 1), 3)
        scene.paint(scene.lines(lashes, 0.006), _lash_colour(scene), opacity)


def _lash_colour(scene: Scene) -> Floats:
    return vec(0.1, 0.07, 0.06) + 0.15 * scene.traits.hair


def paint_brows(scene: Scene) -> None:
    """Each brow is a soft bed and some hundred hairs that lean outwards."""
    traits, rng, many = scene.traits, scene.rng, 150
    colour = np.clip(0.62 * traits.hair + 0.12 * traits.skin * (1, 0.8, 0.7), 0, 1) * 0.9
    y, arch = traits.brow_height, traits.brow_arch
    spine = curve([(0.2, y + 0.03), (0.4, y - 0.5 * arch), (0.62, y - arch), (0.86, y + 0.05)], 12)
    t = np.linspace(0, 1, len(spine))
    half = traits.brow_thick * (0.85 - 0.1 * t - 0.6 * np.maximum(0, t - 0.55))[:, None] * vec(0, 1)
    bed = np.concatenate([spine - 0.7 * half, (spine + 0.7 * half)[::-1]])
    for s in SIDES:
        scene.paint(scene.shape(scene.turn(mirror(bed, s)), soft=0.022), colour, 0.62)
        at = rng.integers(0, len(spine), many)
        root = spine[at] + half[at] * rng.uniform(-1, 1, (many, 1))
        lean = np.stack([0.05 + 0.05 * t[at], -0.075 + 0.13 * t[at]], -1) * rng.uniform(0.6, 1.2, (many, 1))
        hairs = scene.turn(mirror(np.stack([root, root + 0.5 * lean + (0, -0.006), root + lean], 1), s))
        scene.paint(scene.lines(hairs[:90], 0.008), colour * 0.7, 0.75)
        scene.paint(scene.lines(hairs[90:], 0.008), np.clip(colour * 1.35, 0, 1), 0.5)
