"""Face masks, drawn: surgical ones, sewn ones and respirators, worn by a face however it is turned."""

from typing import Literal

import numpy as np

from restore.faces.face import Face, Floats
from restore.images import Image
from restore.keyed import Draws
from restore.occlusions import cloth
from restore.occlusions.canvas import Canvas, lowered
from restore.occlusions.cloth import PATTERNS, Pattern, Place
from restore.occlusions.light import Light
from restore.occlusions.occlusion import Occluded, Occlusion
from restore.occlusions.pose import Pose
from restore.occlusions.region import Colour
from restore.occlusions.sheet import Sheet, drawn_form
from restore.occlusions.straps import WIDTHS, straps_of
from restore.occlusions.textures import Textures
from restore.occlusions.worn import contact_shadow
from restore.options.paths import DataPath, resolve
from restore.registry import OCCLUSIONS

Kind = Literal["surgical", "cloth", "n95"]
Color = tuple[float, float, float]  # in [0, 1]
KINDS: tuple[Kind, ...] = ("surgical", "cloth", "n95")
_WHITE, _BLACK = (0.94, 0.95, 0.95), (0.10, 0.10, 0.11)
COLORS: dict[str, tuple[Color, ...]] = {  # what is commonly worn
    "surgical": ((0.60, 0.79, 0.88), (0.60, 0.79, 0.88), (0.64, 0.85, 0.80), _WHITE, _BLACK, (0.93, 0.76, 0.80)),
    "cloth": (
        _BLACK,
        (0.88, 0.87, 0.83),
        (0.16, 0.22, 0.38),
        (0.62, 0.14, 0.16),
        (0.45, 0.47, 0.50),
        (0.20, 0.42, 0.36),
        (0.80, 0.62, 0.42),
        (0.55, 0.42, 0.62),
    ),
    "n95": (_WHITE, _WHITE, (0.86, 0.87, 0.85), (0.17, 0.17, 0.18)),
}


@OCCLUSIONS.register
class FaceMask(Occlusion):
    """A face mask, drawn and lit as the picture is, over nose, mouth and chin.

    It hangs on the five landmarks by a model of the head: a turned, nodding or tilted face wears it turned.

    Args:
        kind: `surgical` (pleated), `cloth` (sewn), `n95` (a moulded respirator), or `random`.
        colors: RGB of levels in 0..255, one of them for each mask, a second for its pattern; empty: as commonly worn.
        pattern: on cloth: `plain`, `stripes`, `checks`, `dots` or `random`.
        texture: folder of pictures that masks are printed with, instead of colours.
        straps: whether ear loops or head bands are drawn.
        shadow: whether the mask darkens the skin beside it. Where it does belongs to the hole.
    """

    def __init__(
        self,
        kind: Literal["surgical", "cloth", "n95", "random"] = "random",
        colors: list[Colour] = [],  # noqa: B006
        pattern: Literal["plain", "stripes", "checks", "dots", "random"] = "random",
        texture: DataPath | None = None,
        straps: bool = True,
        shadow: bool = True,
    ) -> None:
        self.kinds: tuple[Kind, ...] = KINDS if kind == "random" else (kind,)
        self.patterns: tuple[Pattern, ...] = PATTERNS if pattern == "random" else (pattern,)
        self.textures = Textures(resolve(texture)) if texture else None
        self.colors: list[Color] = [(r / 255, g / 255, b / 255) for r, g, b in colors]
        self.straps, self.shadow = straps, shadow

    def __call__(self, picture: Image, face: Face, draws: Draws) -> Occluded:
        kind = self.kinds[int(draws.integers(len(self.kinds)))]
        pose = Pose.of(face)
        sheet = Sheet.of(drawn_form(kind, draws), pose)
        lines = straps_of(kind, sheet, pose) if self.straps else []
        places = np.concatenate([sheet.places.reshape(-1, 2), *lines])
        canvas = Canvas(picture, places, 0.2 * pose.unit)
        if canvas.empty or not (sheet.facing > 0).any():
            return canvas.finish()
        cover = canvas.cover(sheet.quads())
        light = Light.of(canvas, cover)
        colour = self._color(kind, draws)
        if self.shadow:
            contact_shadow(canvas, cover, pose.unit)
        if lines:
            self._paint_straps(canvas, lines, kind, colour, light, pose.unit)
        cloth_picture = self._cloth(canvas, sheet, kind, colour, light, pose, draws)
        light.add_grain(cloth_picture, draws)
        canvas.paint(cover, cloth_picture)
        return canvas.finish()

    def _color(self, kind: Kind, draws: Draws) -> Color:
        colors = self.colors or COLORS[kind]
        return colors[int(draws.integers(len(colors)))]

    def _cloth(
        self, canvas: Canvas, sheet: Sheet, kind: Kind, colour: Color, light: Light, pose: Pose, draws: Draws
    ) -> Floats:
        """(h, w, 3): the mask everywhere in the window, lit."""
        toward = np.array([0.8 * light.slope[0], 0.8 * light.slope[1] - 0.35, 1.0], np.float32)
        s, t, shade = sheet.fields(*canvas.axes(), sheet.shade(toward))
        place = Place(s.clip(-1.2, 1.2), t.clip(-0.2, 1.2), pose.unit)
        base = self._print(kind, colour, place, draws)
        amount = (np.float32(0.56) + np.float32(0.44) * shade.clip(0, 1)) * light.gain * np.float32(light.exposure)
        if kind == "surgical":
            amount *= cloth.pleats(place, draws) * cloth.creases(place, 0.04, draws)
        elif kind == "cloth":
            amount *= cloth.seam(place, draws) * cloth.creases(place, 0.055, draws)
        else:
            amount *= cloth.cup(place, draws) * cloth.creases(place, 0.012, draws)
            base = base + cloth.metal(place)[..., None] * (np.float32(0.72) - base)
        lit: Floats = base * amount[..., None]
        return lit

    def _print(self, kind: Kind, colour: Color, place: Place, draws: Draws) -> Floats:
        """(h, w, 3): the colours of the mask in even light."""
        if self.textures:
            return self.textures.drawn(place, draws)
        pattern = self.patterns[int(draws.integers(len(self.patterns)))] if kind == "cloth" else "plain"
        amount = cloth.pattern_of(pattern, place, draws)
        return cloth.two_colours(colour, self._second(kind, colour, draws), amount)

    def _second(self, kind: Kind, colour: Color, draws: Draws) -> Color:
        """Another of the colours, or a shade of the only one."""
        others = [other for other in self.colors or COLORS[kind] if other != colour]
        chosen = int(draws.integers(max(len(others), 1)))
        if others:
            return others[chosen]
        add, keep = (0.0, 0.55) if sum(colour) > 1.5 else (0.5, 0.5)
        red, green, blue = colour
        return add + keep * red, add + keep * green, add + keep * blue

    def _paint_straps(
        self, canvas: Canvas, lines: list[Floats], kind: Kind, colour: Color, light: Light, unit: float
    ) -> None:
        width = WIDTHS[kind] * unit
        cover = canvas.strokes(lines, width)
        canvas.darken(lowered(cover, round(0.6 * width)) * np.float32(0.3))
        white = self.textures is not None or (kind == "surgical" and sum(colour) > 0.6)
        canvas.paint(cover, np.array(_WHITE if white else colour) * (0.92 * light.exposure * light.gain)[..., None])
