"""Beards: stubble is a shade with dots; a beard has strands over it."""

from __future__ import annotations

import numpy as np

from restore.data.drawn.canvas import Scene
from restore.data.drawn.curves import SIDES, Floats, between, mirror
from restore.data.drawn.head import face_outline
from restore.data.drawn.strands import Strands
from restore.data.drawn.traits import Traits


def paint_beard(scene: Scene) -> None:
    """The shade of what is shaved or what lies below, then the hairs."""
    kind = scene.traits.beard
    if kind == "none":
        return
    lip = [scene.turn(sheet) for sheet in _moustache(scene.traits)]
    jaw = _jaw(scene.traits) if kind != "moustache" else []
    _shade(scene, lip + jaw, 0.45 if kind == "stubble" else 0.85)
    if kind == "stubble":
        return
    hair = Strands(scene)
    for sheet in lip:
        hair.lock(sheet, 130, span=0.55, bed=None, wave=0.012, loose=0.025)
    for sheet in jaw:
        hair.lock(sheet, 420, span=0.4, bed=None, wave=0.012, loose=0.025)
    hair.comb(0.85)


def _shade(scene: Scene, sheets: list[Floats], opacity: float) -> None:
    rims = [between(sheet[:, 0], sheet[:, -1]) for sheet in sheets]
    patch = scene.shape(*rims, soft=0.05, inside=scene.shape(face_outline(scene.traits)))
    dots = np.clip(0.6 + 2.2 * scene.grain[patch.rows, patch.cols], 0, 1)
    scene.tint(patch.thinned(dots), np.clip(0.35 + 0.5 * scene.traits.hair, 0, 1), opacity)


def _moustache(traits: Traits) -> list[Floats]:
    """Guides (3, 2, 2) of either half, from the nose down to the lip, in face coordinates."""
    mouth = traits.mouth_height
    middle = [(0.02, 0.78), (0.05, mouth - 0.1)]
    wing = [(0.2, 0.8), (0.28, mouth - 0.1)]
    tip = [(0.38, 0.88), (0.53, mouth + 0.12)]
    return [mirror([middle, wing, tip], s) for s in SIDES]


def _jaw(traits: Traits) -> list[Floats]:
    """Guides (6, 2, 2) of either half, from the cheek outwards and from the ear to the chin, in head coordinates."""
    chin, mouth = traits.chin, traits.mouth_height
    inner = [(1.0, 0.2), (0.88, 0.66), (0.66, 0.95), (0.55, mouth + 0.06), (0.3, mouth + 0.27), (0.0, mouth + 0.24)]
    outer = [(1.06, 0.25), (1.0, 0.75), (0.93, 1.16), (0.7, 1.56), (0.33, chin + 0.05), (0.0, chin + 0.09)]
    return [mirror(np.stack([inner, outer], 1), s) for s in SIDES]
