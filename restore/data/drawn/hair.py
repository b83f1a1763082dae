"""Hair styles: which guides the strands follow, and how."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from restore.data.drawn.canvas import Scene
from restore.data.drawn.curves import SIDES
from restore.data.drawn.strands import Strands
from restore.data.drawn.traits import Traits

_FALLS = {  # how far down hair falls, how much it flares there, and its distance from the head
    "parted": (0.1, -0.35, 0.04),
    "long": (2.7, 0.1, 0.1),
    "fringe": (2.7, 0.05, 0.1),
    "bob": (1.25, 0.02, 0.1),
}


def paint_hair_behind(scene: Scene) -> None:
    """Long hair hangs behind the neck as well."""
    traits = scene.traits
    if traits.hair_style not in ("long", "fringe", "bob"):
        return
    end = 1.5 if traits.hair_style == "bob" else 2.9
    out = traits.width + 0.16 + traits.volume
    guides = [[(0.7 * x, -1.25), (0.97 * x, -0.5), (x, 0.4), (x, end)] for x in np.linspace(-out, out, 5)]
    hair = Strands(scene)
    hair.lock(guides, 260, bed=0.32, wave=0.03 * traits.wave)
    hair.comb(0.55)


def paint_hair(scene: Scene) -> None:
    """The hair on the head, with its shadow on the face."""
    traits, style = scene.traits, scene.traits.hair_style
    if style == "bald":
        return
    hair = Strands(scene)
    if style == "short":
        hair.lock(_cap(traits, 0.12, 0.1), 1000, span=0.5, bed=0.38, loose=0.025, wave=0.01)
    elif style == "curly":
        hair.lock(_cap(traits, 0.35, 0.36), 1050, span=0.4, wave=0.035, turns=4, bed=0.36, loose=0.04)
    else:
        curl = traits.wave
        for s in SIDES:
            guides = _side(traits, s, *_FALLS[style])
            hair.lock(guides, 380, wave=0.05 * curl, turns=3, bed=0.34, loose=0.02 + 0.02 * curl)
    if style == "fringe" or (style == "bob" and traits.part > 0):
        hair.lock(_fringe(traits), 380, bed=0.36, loose=0.025)
    hair.shadow()
    hair.comb()


def _side(traits: Traits, s: float, end: float, flare: float, room: float) -> NDArray[np.float64]:
    """Guides (2, k, 2) of the hair that falls from the parting over one side: the hairline and the outline."""
    w, line, out = traits.width, traits.hairline, traits.width + room + traits.volume
    top, part = -1.69 - traits.volume, traits.part
    inner = [(part, line - 0.04), (0.5 * part + 0.42 * s, line + 0.05), (0.86 * s, line + 0.36), (w * s, -0.22)]
    angles = np.linspace(0, 0.5 * np.pi, 4)
    x, y = (out + 0.04) * np.sin(angles), -0.3 + (top + 0.3) * np.cos(angles)
    outer = [(s * a + 0.6 * part * np.cos(angle) ** 3, b) for a, b, angle in zip(x, y, angles, strict=True)]
    for y in np.linspace(-0.22, end, 4)[1:]:
        below = max(0.0, y)
        inner.append((s * (w * 1.02 - 0.1 * np.sin(0.8 * y) + 0.5 * flare * below), y))
        outer.append((s * (out + 0.05 + 0.12 * np.sin(0.7 * below) + flare * (y + 0.22)), y + 0.05))
    return np.array([inner, outer])


def _cap(traits: Traits, sides: float, height: float) -> NDArray[np.float64]:
    """Guides (g, k, 2) that rise from the hairline all around to the outline of short hair."""
    w, line, out = traits.width, traits.hairline, height + traits.volume
    half = [  # root at the hairline, and tip on the outline
        ((w * 1.01, sides), (w + 0.02, sides + 0.02)),
        ((w * 0.99, -0.25), (w + 0.06 + 0.4 * out, -0.3)),
        ((w * 0.93, -0.5), (w + 0.05 + 0.5 * out, -0.72)),
        ((0.84, -0.68), (0.98 + 0.6 * out, -1.12)),
        ((0.68, line + 0.16), (0.72 + 0.5 * out, -1.46 - 0.6 * out)),
        ((0.36, line), (0.38, -1.64 - out)),
    ]
    middle = [((0.0, line + 0.02), (0.0, -1.69 - out))]
    left = [((-a[0], a[1]), (-b[0], b[1])) for a, b in half]
    ends = np.array([*left, *middle, *half[::-1]])
    ends[:, 1, 0] += 0.5 * traits.part * (ends[:, 0, 1] < -0.6)  # swept to one side on top
    root, tip = ends[:, 0], ends[:, 1]
    bow = ends.mean(1) + np.stack([0.05 * np.sign(root[:, 0]), np.full(len(ends), -0.05)], -1)
    return np.stack([root, bow, tip], 1)


def _fringe(traits: Traits) -> NDArray[np.float64]:
    """Guides (7, 3, 2) of the hair that falls over the forehead down to the brows."""
    lean, brow = 0.3 * traits.part, traits.brow_height - 0.13
    across = np.linspace(-0.92, 0.92, 7)
    return np.array([[(0.45 * x, -1.6), (0.8 * x + lean, -1.1), (x + 2 * lean, brow + 0.12 * abs(x))] for x in across])
