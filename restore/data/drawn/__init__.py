"""Faces drawn by this package: data for the quickstart and the tests that needs no file, no licence and no network.

A face is a set of traits drawn once from its key, then painted back to front. Three coordinate systems meet here:

- *face*: origin between the eyes, one unit is the distance between the eyes, y points down; features are laid out here;
- *head*: face coordinates after the head turned about its vertical axis (yaw); outline, hair and relief live here;
- *pixels*: head coordinates tilted, scaled and moved onto the canvas, which is twice the size of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from restore.data.drawn.backdrop import paint_backdrop
from restore.data.drawn.beard import paint_beard
from restore.data.drawn.body import paint_clothes, paint_neck
from restore.data.drawn.canvas import Scene
from restore.data.drawn.curves import SIDES, Bytes, Floats
from restore.data.drawn.eyes import paint_brows, paint_eyes
from restore.data.drawn.glasses import paint_glasses
from restore.data.drawn.hair import paint_hair, paint_hair_behind
from restore.data.drawn.head import face_outline, paint_head
from restore.data.drawn.mouth import paint_mouth
from restore.data.drawn.nose import paint_nose
from restore.data.drawn.skin import paint_marks
from restore.data.drawn.traits import Traits
from restore.keyed import draws

_SUPER = 2  # canvas pixels per picture pixel: the area average at the end is what makes every edge clean
_LAYERS = (  # back to front
    paint_backdrop,
    paint_hair_behind,
    paint_neck,
    paint_clothes,
    paint_head,
    paint_marks,
    paint_nose,
    paint_mouth,
    paint_eyes,
    paint_brows,
    paint_beard,
    paint_hair,
    paint_glasses,
)


@dataclass(frozen=True)
class DrawnFace:
    """One drawn face and where its parts are.

    `image` is (size, size, 3) RGB. `landmarks` is (5, 2), x and y in pixels: left eye, right eye, nose tip, left and
    right mouth corner, left being the smaller x (the order of FFHQ and YuNet). `box` is x0, y0, x1, y1 in pixels, from
    the hairline to the chin and from ear to ear, inside the picture. Pixels count from the picture's corner, so that
    twice the size doubles them.
    """

    image: Bytes
    landmarks: Floats
    box: tuple[float, float, float, float]


def draw_face(seed: int, index: int, size: int = 256) -> DrawnFace:
    """Draw face number `index` of the series `seed`: the same key gives the same face, at whatever `size` >= 32."""
    if size < 32:
        raise ValueError(f"draw_face: size is {size}; a face needs at least 32 pixels")
    rng = draws(seed, "drawn", index)
    scene = Scene(Traits.draw(rng), rng, size * _SUPER)
    for paint_layer in _LAYERS:
        paint_layer(scene)
    small = [cv2.resize(plane, (size, size), interpolation=cv2.INTER_AREA) for plane in scene.image]
    image = (np.clip(np.stack(small, -1), 0, 1) * 255 + 0.5).astype(np.uint8)
    landmarks = (_landmarks(scene) + 0.5) / _SUPER
    x0, y0, x1, y1 = (float(edge) for edge in np.clip((_box(scene) + 0.5) / _SUPER, 0, size))
    return DrawnFace(image, landmarks.astype(np.float32), (x0, y0, x1, y1))


def _landmarks(scene: Scene) -> Floats:
    """(5, 2) in canvas pixels, in the order of `DrawnFace`."""
    traits = scene.traits
    eyes = scene.turn([(-0.5, 0), (0.5, 0)])
    nose = scene.turn([(0, traits.nose_length - 0.03)], 0.3)
    corners = scene.turn([(s * traits.mouth_width, traits.mouth_corner) for s in SIDES], 0.06)
    return scene.pixels(np.concatenate([eyes, nose, corners]))


def _box(scene: Scene) -> Floats:
    """x0, y0, x1, y1 of the face below the hairline, in canvas pixels."""
    outline = scene.pixels(face_outline(scene.traits, top=scene.traits.hairline))
    return np.concatenate([outline.min(0), outline.max(0)])
