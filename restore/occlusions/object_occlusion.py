"""Hands and things held before a face."""

from typing import Annotated

import numpy as np
from pydantic import Field

from restore.faces.face import Face, Floats
from restore.images import Image
from restore.keyed import Draws
from restore.occlusions.canvas import Canvas, noise
from restore.occlusions.cloth import Place, two_colours
from restore.occlusions.hand import HandShape, drawn_hand
from restore.occlusions.light import Light
from restore.occlusions.occlusion import Occluded, Occlusion
from restore.occlusions.pose import Pose
from restore.occlusions.textures import Textures
from restore.occlusions.worn import contact_shadow
from restore.options.paths import DataPath, resolve
from restore.ranges import Limits
from restore.registry import OCCLUSIONS

Size = Annotated[float, Field(gt=0, le=4)]
_CORNERS = 72  # of a blob's outline
_LAMP = np.array([-0.35, -0.55, 0.75], np.float32)  # where the light comes from: left, above, in front


@OCCLUSIONS.register
class Hand(Occlusion):
    """A hand-like shape: palm, thumb and four fingers in the colour of the face, reaching in from beyond the picture.

    Args:
        size: range of its size, 1 being that of the face's owner.
        shadow: whether it darkens what is beside it. Where it does belongs to the hole.
    """

    def __init__(self, size: Limits[Size] = (0.7, 1.0), shadow: bool = True) -> None:
        self.size, self.shadow = size, shadow

    def __call__(self, picture: Image, face: Face, draws: Draws) -> Occluded:
        pose = Pose.of(face)
        hand = drawn_hand(self.size, pose, draws)
        canvas = Canvas(picture, hand.places(reach=2.0 * max(picture.shape[:2])), 0.6 * pose.unit)
        if canvas.empty:
            return canvas.finish()
        cover, colour = _painted(hand, _skin(picture, pose), canvas)
        light = Light.of(canvas, cover)
        light.add_grain(colour, draws)
        if self.shadow:
            contact_shadow(canvas, cover, pose.unit)
        canvas.paint(cover, colour)
        return canvas.finish()


@OCCLUSIONS.register
class Blob(Occlusion):
    """An object-like shape: a smooth closed outline, filled with colours that run into each other, or printed.

    Args:
        size: range of its diameter, in distances of the eyes; a face is 2.2 of them wide.
        texture: folder of pictures that it is printed with, instead of colours.
        shadow: whether it darkens what is beside it. Where it does belongs to the hole.
    """

    def __init__(self, size: Limits[Size] = (0.8, 2.0), texture: DataPath | None = None, shadow: bool = True) -> None:
        self.size, self.shadow = size, shadow
        self.textures = Textures(resolve(texture)) if texture else None

    def __call__(self, picture: Image, face: Face, draws: Draws) -> Occluded:
        pose = Pose.of(face)
        center = pose.pixels((draws.uniform(-0.9, 0.9), draws.uniform(-0.4, 1.6), 0.2))
        mean = float(draws.uniform(*self.size)) / 2 * pose.unit
        outline = _outline(draws) * mean
        canvas = Canvas(picture, outline + center, 0.2 * pose.unit)
        if canvas.empty:
            return canvas.finish()
        cover = canvas.cover(_wedges(outline + center))
        x, y = canvas.axes()
        x, y = np.meshgrid((x - center[0]) / mean, (y - center[1]) / mean)
        colour = self._print(Place(x * 0.5, y * 0.5, pose.unit), draws)
        light = Light.of(canvas, cover)
        colour = colour * (_bulge(x, y, outline / mean) * light.gain * np.float32(light.exposure))[..., None]
        light.add_grain(colour, draws)
        if self.shadow:
            contact_shadow(canvas, cover, pose.unit)
        canvas.paint(cover, colour)
        return canvas.finish()

    def _print(self, place: Place, draws: Draws) -> Floats:
        """(h, w, 3): its colours in even light. `place` holds positions in diameters."""
        if self.textures:
            return self.textures.drawn(place, draws)
        first, second = draws.uniform(0.05, 0.95, (2, 3))
        angle, rough = draws.uniform([0, 0.05], [2 * np.pi, 0.5])
        grid = draws.standard_normal((6, 6), np.float32)
        along = place.s * np.float32(np.cos(angle)) + place.t * np.float32(np.sin(angle)) + np.float32(0.5)
        amount = along + np.float32(rough) * noise(
            grid, (place.s + 1) * np.float32(0.5), (place.t + 1) * np.float32(0.5)
        )
        return two_colours(first, second, amount.clip(0, 1))


def _painted(hand: HandShape, skin: Floats, canvas: Canvas) -> tuple[Floats, Floats]:
    """How much of each pixel a hand covers (h, w), and its colours (h, w, 3): one limb over the other."""
    x, y = canvas.axes()
    cover, colour = np.zeros(canvas.size, np.float32), np.tile(skin, (*canvas.size, 1))
    for limb in hand.limbs:
        window = limb.near(x, y)
        share, shade, blush = limb.seen(x[window[1]], y[window[0]])
        tone = skin * (1 - blush[..., None] * np.array([0.02, 0.14, 0.14], np.float32)) * shade[..., None]
        colour[window] += (tone - colour[window]) * share[..., None]
        np.maximum(cover[window], share, out=cover[window])
    return cover, colour


def _outline(draws: Draws) -> Floats:
    """(_CORNERS, 2): a closed curve around the origin, about 1 away, by a few low frequencies."""
    angle = np.arange(_CORNERS) * (2 * np.pi / _CORNERS)
    waves, phases = draws.standard_normal(4) * [0.22, 0.12, 0.07, 0.04], draws.uniform(0, 2 * np.pi, 4)
    radius = 1 + sum(a * np.cos(k * angle + p) for k, (a, p) in enumerate(zip(waves, phases, strict=True), 2))
    ring = np.stack([np.cos(angle), np.sin(angle)], -1) * np.clip(radius, 0.4, 1.7)[:, None]
    return np.asarray(ring, np.float32)


def _wedges(outline: Floats) -> Floats:
    """(_CORNERS, 3, 2): the triangles between the middle and the outline."""
    middle = np.broadcast_to(outline.mean(0), outline.shape)
    return np.stack([middle, outline, np.roll(outline, -1, 0)], 1)


def _bulge(x: Floats, y: Floats, outline: Floats) -> Floats:
    """(h, w): the light on something round of that outline, about 1."""
    radius = np.hypot(*outline.T)
    turn = np.arctan2(y, x) * np.float32(_CORNERS / (2 * np.pi))
    edge = np.interp(turn, np.arange(_CORNERS), radius, period=_CORNERS).astype(np.float32)
    share = (np.hypot(x, y) / edge).clip(0, 1)
    out = np.sqrt(1 - np.float32(0.9) * share**4)
    facing = _LAMP[2] * out + (_LAMP[0] * x + _LAMP[1] * y) * share**2
    return np.asarray(np.float32(0.55) + np.float32(0.6) * facing.clip(0, 1), np.float32)


def _skin(picture: Image, pose: Pose) -> Floats:
    """(3,): the middle colour of cheeks, forehead and nose; a common one where none of them is in the picture."""
    spots = pose.pixels(
        [(-0.5, 0.55, 0.1), (0.5, 0.55, 0.1), (0, -0.45, 0.2), (-0.3, -0.4, 0.2), (0.3, -0.4, 0.2), (0, 0.3, 0.3)]
    )
    x, y = np.rint(spots).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < picture.shape[1]) & (y < picture.shape[0])
    if not inside.any():
        return np.array([0.78, 0.58, 0.48], np.float32)
    found: Floats = np.median(picture[y[inside], x[inside]], axis=0).astype(np.float32)
    found /= np.float32(np.iinfo(picture.dtype).max)
    return found
