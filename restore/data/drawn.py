"""Faces drawn by this module: data for the quickstart and the tests that needs no file, no licence and no network.

A face is a set of traits drawn once from its key, then painted back to front. Three coordinate systems meet here:

- *face*: origin between the eyes, one unit is the distance between the eyes, y points down; features are laid out here;
- *head*: face coordinates after the head turned about its vertical axis (yaw); outline, hair and relief live here;
- *pixels*: head coordinates tilted, scaled and moved onto the canvas, which is twice the size of the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from restore.keyed import draws

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

SIDES = (-1.0, 1.0)
_SUPER = 2  # canvas pixels per picture pixel: the area average at the end is what makes every edge clean
_NOISE = 512  # side of the noise tile, the same for every size, so that a larger picture shows the same face
_COARSE = 128  # side of the grid for smooth fields (relief, light): they carry no detail, and cost a tenth there

SKINS = (
    (248, 214, 193), (243, 203, 178), (238, 192, 162), (229, 182, 148), (222, 170, 130), (208, 152, 112),
    (190, 134, 96), (168, 114, 78), (142, 94, 64), (116, 76, 54), (92, 60, 44),
)  # fmt: skip
HAIRS = (
    (30, 25, 24), (44, 33, 28), (62, 43, 32), (84, 57, 38), (112, 76, 46), (148, 106, 64), (188, 150, 98),
    (214, 186, 140), (140, 66, 34), (168, 90, 50), (150, 146, 142), (206, 204, 200),
)  # fmt: skip
IRISES = ((70, 42, 24), (96, 60, 32), (122, 84, 44), (120, 112, 62), (86, 116, 92), (92, 128, 152), (120, 152, 180))
CLOTHES = (
    (40, 48, 74), (112, 36, 42), (226, 222, 214), (52, 54, 58), (78, 104, 86), (150, 160, 180), (196, 150, 96),
    (66, 110, 160), (150, 84, 110), (24, 26, 30), (206, 186, 70),
)  # fmt: skip
STYLES = ("short", "parted", "long", "fringe", "curly", "bob", "bald")


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
    scene = _Scene(_Traits.draw(rng), rng, size * _SUPER)
    for layer in _LAYERS:
        layer(scene)
    small = [cv2.resize(plane, (size, size), interpolation=cv2.INTER_AREA) for plane in scene.image]
    image = (np.clip(np.stack(small, -1), 0, 1) * 255 + 0.5).astype(np.uint8)
    landmarks = (scene.landmarks() + 0.5) / _SUPER
    x0, y0, x1, y1 = (float(edge) for edge in np.clip((scene.box() + 0.5) / _SUPER, 0, size))
    return DrawnFace(image, landmarks.astype(np.float32), (x0, y0, x1, y1))


# --------------------------------------------------------------------------------------------------- what varies


@dataclass(frozen=True)
class _Traits:
    """All that distinguishes one face, save for textures. Lengths are in units of the distance between the eyes."""

    scale: float  # distance between the eyes / width of the picture
    roll: float
    yaw: float
    offset: Floats
    light: Floats  # unit vector towards the light: x right, y down, z to the viewer
    ambient: float
    strong: float  # 0 soft ... 1 strong features: jaw, brows and beard hang together
    age: float
    skin: Floats
    blush: float
    freckled: float
    width: float
    jaw: float
    chin: float
    eye_width: float
    eye_open: float
    eye_slant: float
    iris: Floats
    gaze: Floats
    made_up: float
    brow_height: float
    brow_arch: float
    brow_thick: float
    nose_width: float
    nose_length: float
    mouth_width: float
    mouth_height: float
    lips: float
    smile: float
    gape: float
    hair_style: str
    hair: Floats
    hairline: float
    volume: float
    part: float
    wave: float
    beard: str
    glasses: str
    clothes: Floats
    accent: Floats
    pattern: str
    backdrop: str
    backdrop_colours: Floats

    @classmethod  # a table of distributions, one line a trait: splitting it would only scatter it
    def draw(cls, rng: np.random.Generator) -> _Traits:
        def between(low: float, high: float) -> float:
            return float(rng.uniform(low, high))

        def bell(mean: float, spread: float) -> float:
            return mean + spread * float(np.clip(rng.standard_normal(), -2, 2))

        def one(names: Sequence[str], weights: Sequence[float]) -> str:
            return names[int(rng.choice(len(names), p=np.asarray(weights) / sum(weights)))]

        def colour(palette: Sequence[tuple[int, int, int]], at: float, jitter: float = 0.02) -> Floats:
            low = min(int(at), len(palette) - 2)
            mixed = np.asarray(palette[low]) * (1 - at + low) + np.asarray(palette[low + 1]) * (at - low)
            return np.clip(mixed / 255 + jitter * rng.standard_normal(3), 0.02, 0.98).astype(np.float32)

        strong, age, tone = between(0, 1), between(0, 1) ** 1.5, between(0, len(SKINS) - 1)
        dark = tone > 5
        grey = age > 0.7 and between(0, 1) < 0.55
        hair_at = between(9.6, 11) if grey else between(0, 2) if dark else between(0, 9)
        light = np.array([bell(0, 0.5), between(-0.75, -0.2), between(0.7, 1.1)])
        soft, firm = 1 - strong, strong
        styles = (1.6 * firm, 0.9, 1.8 * soft**2, 1.1 * soft**2 + 0.1, 0.5, 1.1 * soft**2, 0.6 * firm**2 * (0.4 + age))
        return cls(
            scale=between(0.222, 0.242),
            roll=float(np.radians(bell(0, 4.5))),
            yaw=float(np.radians(bell(0, 6))),
            offset=np.array([bell(0, 0.008), bell(0, 0.008)], np.float32),
            light=(light / np.linalg.norm(light)).astype(np.float32),
            ambient=between(0.3, 0.44),
            strong=strong,
            age=age,
            skin=colour(SKINS, tone, 0.008),
            blush=between(0.3, 1),
            freckled=between(0.4, 1) if tone < 4 and between(0, 1) < 0.22 else 0.0,
            width=bell(1.05, 0.03) + 0.03 * strong,
            jaw=bell(0.83, 0.03) + 0.08 * strong,
            chin=bell(1.76, 0.04) + 0.05 * strong,
            eye_width=bell(0.245, 0.012),
            eye_open=bell(0.48, 0.05) - 0.05 * strong,
            eye_slant=bell(0.06, 0.06),
            iris=colour(IRISES, between(0, 1) if dark else between(0, len(IRISES) - 1)),
            gaze=np.array([bell(0, 0.1), bell(0, 0.05)], np.float32),
            made_up=between(0.3, 1) if strong < 0.5 and between(0, 1) < 0.7 else 0.0,
            brow_height=bell(-0.33, 0.02) + 0.03 * strong,
            brow_arch=bell(0.07, 0.02) - 0.03 * strong,
            brow_thick=bell(0.05, 0.008) + 0.025 * strong,
            nose_width=bell(0.215, 0.015) + 0.02 * strong + 0.004 * tone,
            nose_length=bell(0.595, 0.018),
            mouth_width=bell(0.41, 0.025),
            mouth_height=bell(1.03, 0.025),
            lips=bell(0.105, 0.015) - 0.02 * strong + 0.004 * tone,
            smile=between(-0.1, 1.1),
            gape=between(0.35, 1) if between(0, 1) < 0.4 else 0.0,
            hair_style=one(STYLES, styles),
            hair=colour(HAIRS, hair_at, 0.01),
            hairline=bell(-1.0, 0.05) - 0.08 * strong * age,
            volume=between(0, 0.14),
            part=bell(0, 0.22),
            wave=between(0, 1) ** 2,
            beard=one(
                ("none", "stubble", "moustache", "full"), (0.5, 0.25, 0.1, 0.25) if strong > 0.55 else (1, 0, 0, 0)
            ),
            glasses=one(("none", "round", "square"), (0.8, 0.1, 0.1)),
            clothes=colour(CLOTHES, between(0, len(CLOTHES) - 1)),
            accent=colour(CLOTHES, between(0, len(CLOTHES) - 1)),
            pattern=one(("plain", "stripes", "checks", "dots", "knit"), (1, 1, 0.8, 0.6, 0.8)),
            backdrop=one(
                ("gradient", "bokeh", "plaster", "bricks", "blinds", "leaves"), (0.8, 1.3, 0.9, 0.5, 0.5, 0.7)
            ),
            backdrop_colours=_backdrop_colours(rng),
        )


def _backdrop_colours(rng: np.random.Generator) -> Floats:
    """(6, 3) muted colours around one hue, as the things behind one person are lit by one light."""
    hue, spread, value = rng.uniform(0, 360), rng.uniform(10, 60), rng.uniform(0.25, 0.85)
    hsv = np.empty((1, 6, 3), np.float32)
    hsv[..., 0] = (hue + spread * rng.standard_normal(6)) % 360
    hsv[..., 1] = rng.uniform(0.03, 0.34, 6)
    hsv[..., 2] = np.clip(value + rng.uniform(-0.22, 0.22, 6), 0.08, 1)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0], np.float32)


# --------------------------------------------------------------------------------------------- canvas and strokes


@dataclass(frozen=True)
class _Patch:
    """A soft mask `alpha` (h, w) in [0, 1] over `rows` and `cols` of the canvas."""

    rows: slice
    cols: slice
    alpha: Floats


@dataclass
class _Scene:
    """The canvas (3, side, side) in [0, 1], the traits, and the way from face coordinates to pixels.

    Planes, not pixels, lie together: masks then multiply whole rows at once, which is several times faster.
    """

    traits: _Traits
    rng: np.random.Generator
    side: int
    image: Floats = field(init=False)
    tile: Bytes = field(init=False)  # (_NOISE, _NOISE), white noise
    grain: Floats = field(init=False)  # (side, side), the tile at the canvas' size, in [-0.5, 0.5]
    pores: Floats = field(init=False)  # the same, a little blurred
    u: Floats = field(init=False)  # head coordinates of the coarse grid
    v: Floats = field(init=False)
    flush: Floats = field(init=False)
    way: Floats = field(init=False)  # (2, 3), head coordinates to pixels
    back: Floats = field(init=False)  # (2, 3), and back

    def __post_init__(self) -> None:
        traits = self.traits
        zoom = traits.scale * self.side
        c, s = zoom * np.cos(traits.roll), zoom * np.sin(traits.roll)
        turn = np.array([[c, -s], [s, c]])
        # a turned head is centred by its features, not by its outline: take most of their shift back
        middle = np.array([0.65 * np.sin(traits.yaw), 0.45])
        origin = (np.array([0.5, 0.575]) + traits.offset) * self.side - 0.5 - turn @ middle
        self.way = np.column_stack([turn, origin]).astype(np.float32)
        self.back = np.asarray(cv2.invertAffineTransform(self.way), np.float32)
        self.image = np.zeros((3, self.side, self.side), np.float32)
        self.tile = np.frombuffer(self.rng.bytes(_NOISE * _NOISE), np.uint8).reshape(_NOISE, _NOISE)
        how = cv2.INTER_AREA if self.side < _NOISE else cv2.INTER_CUBIC
        self.grain, self.pores = (
            cv2.resize(noise, (self.side, self.side), interpolation=how).astype(np.float32) * np.float32(1 / 255)
            - np.float32(0.5)
            for noise in (self.tile, cv2.GaussianBlur(self.tile, (0, 0), 0.75))
        )
        y, x = np.mgrid[:_COARSE, :_COARSE].astype(np.float32)
        x, y = (x + 0.5) * self.side / _COARSE - 0.5, (y + 0.5) * self.side / _COARSE - 0.5
        self.u, self.v = self.head_of(x, y)
        self.flush = _flush(self)

    # -- coordinates

    def turn(self, points: ArrayLike, out: float = 0.0) -> Floats:
        """Face to head coordinates: rotate the ellipsoid of the head; `out` is how far a feature stands out of it."""
        head = np.array(points, np.float32)
        x, y = head[..., 0], head[..., 1]
        depth = 0.95 * np.sqrt(np.maximum(0.02, 1 - (x / 1.25) ** 2 - (y / 2.2) ** 2)) + out
        head[..., 0] = x * np.cos(self.traits.yaw) + depth * np.sin(self.traits.yaw)
        return head

    def pixels(self, head: ArrayLike) -> Floats:
        """Head coordinates to canvas pixels."""
        return np.asarray(np.asarray(head, np.float32) @ self.way[:, :2].T + self.way[:, 2], np.float32)

    def head_of(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Canvas pixels back to head coordinates."""
        (a, b, p), (c, d, q) = self.back
        return a * x + b * y + p, c * x + d * y + q

    def clouds(self, cells: int, side: int) -> Floats:
        """Smooth noise (side, side), about in [-0.5, 0.5], with `cells` lumps across."""
        step = _NOISE // cells
        few = self.tile[::step, ::step].astype(np.float32) / 255 - 0.5
        return np.asarray(cv2.resize(few, (side, side), interpolation=cv2.INTER_CUBIC), np.float32)

    def length(self, units: float) -> float:
        return units * self.traits.scale * self.side

    def landmarks(self) -> Floats:
        """(5, 2) in canvas pixels."""
        traits = self.traits
        corners = [(s * traits.mouth_width, _mouth_corner(traits)) for s in SIDES]
        eyes = self.turn([(-0.5, 0), (0.5, 0)])
        nose = self.turn([(0, traits.nose_length - 0.03)], 0.3)
        return self.pixels(np.concatenate([eyes, nose, self.turn(corners, 0.06)]))

    def box(self) -> Floats:
        outline = self.pixels(_face_outline(self.traits, top=self.traits.hairline))
        return np.concatenate([outline.min(0), outline.max(0)])

    # -- masks

    def _region(self, points: Floats, margin: float) -> tuple[slice, slice]:
        low = np.floor(points.reshape(-1, 2).min(0) - margin).astype(int).clip(0, self.side - 1)
        high = np.ceil(points.reshape(-1, 2).max(0) + margin + 1).astype(int).clip(low + 1, self.side)
        return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))

    def shape(self, *polygons: Floats, soft: float = 0.0, inside: _Patch | None = None) -> _Patch:
        """Mask of closed polygons (n, 2) in head coordinates, its edge blurred by `soft` units; cut by `inside`."""
        return self._mask([self.pixels(p) for p in polygons], None, soft, inside)

    def lines(
        self, curves: Sequence[Floats] | Floats, width: float, soft: float = 0.0, inside: _Patch | None = None
    ) -> _Patch:
        """Mask of open curves, (n, 2) each, `width` units wide; else as `shape`."""
        many = self.pixels(curves) if isinstance(curves, np.ndarray) else [self.pixels(c) for c in curves]
        return self._mask(many, width, soft, inside)

    def _mask(
        self, curves: Sequence[Floats] | Floats, width: float | None, soft: float, inside: _Patch | None
    ) -> _Patch:
        sigma = self.length(soft)
        thick = max(1, round(self.length(width or 0)))
        rows, cols = self._region(np.concatenate(list(curves)), 3 * sigma + thick)
        if inside is not None:
            rows, cols = inside.rows, inside.cols
        mask = np.zeros((rows.stop - rows.start, cols.stop - cols.start), np.uint8)
        origin = np.array([cols.start, rows.start], np.float32)
        if isinstance(curves, np.ndarray):
            fixed = list(_fixed(curves - origin))
        else:
            fixed = [_fixed(c - origin) for c in curves]
        if width is None:
            cv2.fillPoly(mask, fixed, 255, cv2.LINE_AA, 4)
        else:
            cv2.polylines(mask, fixed, False, 255, thick, cv2.LINE_AA, 4)
        if sigma > 0.3:
            mask = cv2.GaussianBlur(mask, (0, 0), sigma)
        # a line thinner than a pixel is drawn as one, paler: the picture keeps its tone at every size
        thin = 1.0 if width is None else min(1.0, self.length(width))
        alpha = mask.astype(np.float32) * np.float32(thin / 255)
        return _Patch(rows, cols, alpha if inside is None else alpha * inside.alpha)

    def coordinates(self, patch: _Patch) -> tuple[Floats, Floats]:
        """Head coordinates of every pixel of a patch."""
        y, x = np.mgrid[patch.rows, patch.cols].astype(np.float32)
        return self.head_of(x, y)

    def spread(self, coarse: Floats, patch: _Patch) -> Floats:
        """A field on the coarse grid, interpolated onto a patch."""
        step = _COARSE / self.side
        scaling = np.array(
            [[step, 0, (patch.cols.start + 0.5) * step - 0.5], [0, step, (patch.rows.start + 0.5) * step - 0.5]]
        )
        size = (patch.cols.stop - patch.cols.start, patch.rows.stop - patch.rows.start)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(
            cv2.warpAffine(coarse, scaling, size, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.float32
        )

    # -- paint

    def paint(self, patch: _Patch, colour: ArrayLike, opacity: float = 1.0) -> None:
        """Cover a patch with one colour, or with a picture of its shape."""
        under = self.image[:, patch.rows, patch.cols]
        change = _planes(colour) - under
        change *= patch.alpha if opacity == 1 else patch.alpha * np.float32(opacity)
        under += change

    def tint(self, patch: _Patch, factor: ArrayLike, opacity: float = 1.0) -> None:
        """Multiply a patch by a colour: shadow and make-up keep what is under them."""
        under = self.image[:, patch.rows, patch.cols]
        change = (_planes(factor) - 1) * np.float32(opacity) * patch.alpha
        change += 1
        under *= change


def _vec(*values: float | Sequence[float]) -> Floats:
    return np.array(values, np.float32)


def _planes(colour: ArrayLike) -> Floats:
    """A colour (3,) made to broadcast over planes; a picture (3, h, w) as it is."""
    array = np.asarray(colour, np.float32)
    return array[:, None, None] if array.ndim == 1 else array


def _fixed(pixels: ArrayLike) -> NDArray[np.int32]:
    """Pixels in sixteenths, as OpenCV takes them with `shift=4`."""
    return np.asarray(np.rint(np.asarray(pixels) * 16), np.int32)


@cache
def _basis(steps: int) -> Floats:
    """(steps, 4): the weights of four neighbouring points in a Catmull-Rom span."""
    t = np.arange(steps, dtype=np.float32) / steps
    weights = [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2]
    return np.asarray(0.5 * np.stack(weights, -1), np.float32)


def _curve(points: ArrayLike, steps: int = 8, closed: bool = False) -> Floats:
    """Catmull-Rom curve through points (..., n, 2), `steps` samples a span."""
    p = np.asarray(points, np.float32)
    if closed:
        p = np.concatenate([p[..., -1:, :], p, p[..., :2, :]], -2)
    else:
        p = np.concatenate([2 * p[..., :1, :] - p[..., 1:2, :], p, 2 * p[..., -1:, :] - p[..., -2:-1, :]], -2)
    spans = np.stack([p[..., k : p.shape[-2] - 3 + k, :] for k in range(4)], -2)  # (..., spans, 4, 2)
    smooth = (_basis(steps) @ spans).reshape(*p.shape[:-2], -1, 2)
    return np.asarray(smooth if closed else np.concatenate([smooth, p[..., -2:-1, :]], -2), np.float32)


def _mirror(points: ArrayLike, side: float) -> Floats:
    return np.asarray(points, np.float32) * np.array([side, 1], np.float32)


def _bump(u: Floats, v: Floats, x: float, y: float, sx: float, sy: float) -> Floats:
    return np.asarray(np.exp(-(((u - x) / sx) ** 2) - ((v - y) / sy) ** 2), np.float32)


def _smoothstep(low: float, high: float, x: NDArray[np.floating[Any]]) -> Floats:
    t = np.clip((x - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


# ------------------------------------------------------------------------------------------ behind and below the face


def _backdrop(scene: _Scene) -> None:
    """What is behind: mostly out of focus, sometimes a wall with texture."""
    traits, rng, side = scene.traits, scene.rng, scene.side
    colours = traits.backdrop_colours
    n = 96
    ramp = np.linspace(0, 1, n, dtype=np.float32)
    across, down = ramp[None, :, None], ramp[:, None, None]
    small = colours[0] * (1 - down) + (colours[1] * (1 - across) + colours[2] * across) * down
    small = np.ascontiguousarray(small, np.float32)
    if traits.backdrop in ("bokeh", "leaves"):
        for k in range(36):
            at, radius = rng.uniform(0, n, 2), rng.uniform(2, 12)
            layer = small.copy()
            centre = (int(at[0] * 16), int(at[1] * 16))
            cv2.circle(layer, centre, int(radius * 16), colours[k % 6].tolist(), -1, cv2.LINE_8, 4)
            strength = float(rng.uniform(0.2, 0.8))
            small = cv2.addWeighted(layer, strength, small, 1 - strength, 0)
        small = cv2.GaussianBlur(small, (0, 0), 0.9 if traits.backdrop == "bokeh" else 2.4)
    scene.image = np.stack([cv2.resize(c, (side, side), interpolation=cv2.INTER_LINEAR) for c in cv2.split(small)])
    if traits.backdrop == "plaster":
        rough = 1.1 * scene.pores + 0.3 * scene.clouds(24, side)
        scene.image *= 1 + 0.5 * rough
    elif traits.backdrop in ("bricks", "blinds"):
        _wall(scene)


def _wall(scene: _Scene) -> None:
    """Courses of bricks, or the slats of a blind."""
    traits, side = scene.traits, scene.side
    along = np.arange(side, dtype=np.float32) / side
    if traits.backdrop == "blinds":
        phase = (along * 17) % 1
        scene.image *= (0.72 + 0.4 * _smoothstep(0.0, 0.9, phase) * _smoothstep(1.0, 0.94, phase))[:, None]
        return
    course = (along * 13).astype(int)
    y, x = along * 13 % 1, along * 6 + np.array([[0.0], [0.5]], np.float32)  # every other course is shifted by half
    joint = _smoothstep(0.015, 0.05, np.minimum(x % 1, 1 - x % 1))
    tones = scene.rng.uniform(0.08, 0.48, (13, 7)).astype(np.float32)
    bricks = np.stack([tones[k, x[k % 2].astype(int)] * joint[k % 2] for k in range(13)])
    wall = 0.72 + bricks[course] * _smoothstep(0.03, 0.1, np.minimum(y, 1 - y))[:, None]
    scene.image *= wall * (1 + 0.5 * scene.pores)


def _neck(scene: _Scene) -> None:
    """Neck, lit as a cylinder, with the shadow the chin casts on it."""
    traits = scene.traits
    wide = 0.56 + 0.14 * traits.strong
    half = [(wide + 0.08, 0.9), (wide, 1.45), (wide + 0.04, 1.9), (wide + 0.5, 2.25), (wide + 0.9, 2.9)]
    outline = np.concatenate([_curve(_mirror(half, 1)), _curve(_mirror(half, -1))[::-1]])
    patch = scene.shape(outline, soft=0.006)
    u, v = scene.u, scene.v
    across = np.clip(u / (wide * 1.25), -0.98, 0.98)
    light = traits.light
    shade = traits.ambient + 0.75 * np.maximum(0, across * light[0] + np.sqrt(1 - across**2) * light[2])
    edge = _smoothstep(traits.chin + 0.55, traits.chin - 0.1, v + 0.35 * (u + 0.6 * light[0]) ** 2)
    _skin(scene, patch, np.asarray(shade * (1 - 0.52 * edge), np.float32), 0)


def _clothing(scene: _Scene) -> None:
    """Shoulders with a collar; the pattern is laid out in head coordinates so that it scales with the picture."""
    traits = scene.traits
    drop = 0.1 * traits.strong
    half = [
        (0.0, 2.35), (0.35, 2.25), (0.66, 1.98 - drop), (0.85, 1.9 - drop), (1.5, 2.08 - drop), (2.3, 2.35),
        (2.7, 3.2),
    ]  # fmt: skip
    outline = np.concatenate([_curve(_mirror(half, 1)), _curve(_mirror(half, -1))[::-1]])
    patch = scene.shape(outline)
    u, v = scene.coordinates(patch)
    weave = scene.grain[patch.rows, patch.cols]
    second = np.zeros_like(u)
    if traits.pattern == "stripes":
        second = _smoothstep(-0.15, 0.15, np.sin(v * 28 + 2 * u))
    elif traits.pattern == "checks":
        second = 0.5 * (_smoothstep(-0.15, 0.15, np.sin(v * 22)) + _smoothstep(-0.15, 0.15, np.sin(u * 22)))
    elif traits.pattern == "dots":
        second = _smoothstep(0.62, 0.72, np.sin(u * 26) * np.sin(v * 26))
    cloth = _planes(traits.clothes) + _planes(traits.accent - traits.clothes) * second
    rib = np.sin(u * 95 + 1.5 * np.sin(v * 60)) if traits.pattern == "knit" else np.sin(u * 130) * np.sin(v * 130)
    folds = 0.1 * np.sin(u * 5 + 3 * v) - 0.12 * np.abs(u) + 0.22 * traits.light[0] * u
    shade = (0.86 + folds) * (1 + 0.13 * rib + 0.5 * weave)
    scene.paint(patch, cloth * shade)
    seam = [_curve(_mirror(half[:4], s)) for s in SIDES]
    scene.tint(scene.lines([c + _vec(0, 0.035) for c in seam], 0.07, 0.012), (0.66, 0.66, 0.68))
    scene.paint(scene.lines(seam, 0.02, 0.004), np.clip(traits.clothes * 1.25 + 0.05, 0, 1), 0.8)


# ------------------------------------------------------------------------------------------------- skin and relief


def _face_outline(traits: _Traits, top: float = -1.66) -> Floats:
    """Closed outline of the head in head coordinates, cut off above `top`."""
    w, jaw, chin = traits.width, traits.jaw, traits.chin
    k = 1.0 if traits.hair_style == "bald" else 0.92  # hair is to cover the skull, wherever it is parted
    half = [(0.0, -1.66 * k), (0.55 * k, -1.53 * k), (0.92 * k, -1.12 * k), (w, -0.5), (w * 1.01, 0.1),
            (w * 0.96, 0.6), (jaw, 1.12), (jaw * 0.71, 1.49), (0.3, chin - 0.05), (0.0, chin)]  # fmt: skip
    points = np.concatenate([_mirror(half, 1), _mirror(half[-2:0:-1], -1)])
    outline = _curve(points, 8, closed=True)
    outline[:, 1] = np.maximum(outline[:, 1], top)
    return outline


def _relief(scene: _Scene) -> Floats:
    """Height of the face over the coarse grid: an ellipsoid and the hills and hollows of a face on it."""
    traits = scene.traits
    u, v = scene.u, scene.v
    wide = 1 - (u / (traits.width * 1.12)) ** 2 - ((v - 0.1) / 1.98) ** 2
    height = 1.05 * np.sqrt(np.maximum(wide, 0.015))
    bold, nose, mouth = 0.7 + 0.5 * traits.strong, traits.nose_width, traits.mouth_height
    length = traits.nose_length
    middle = (  # height, x, y, width, height, stands out
        (0.15, 0.0, 0.30 * length, 0.1, 0.3, 0.1), (0.15, 0.0, 0.66 * length, 0.11, 0.24, 0.2),
        (0.22, 0.0, length - 0.01, 0.14, 0.12, 0.28), (-0.02, 0.0, 0.5 * (length + mouth) + 0.02, 0.045, 0.09, 0.1),
        (0.07, 0.0, mouth - 0.05, 0.42, 0.26, 0.0), (-0.045, 0.0, mouth + 0.25, 0.26, 0.07, 0.0),
        (0.1 * bold, 0.0, traits.chin - 0.24, 0.24, 0.17, 0.0), (0.04, 0.0, -0.7, 0.6, 0.3, 0.0),
    )  # fmt: skip
    paired = (
        (0.06 * bold, 0.46, -0.3, 0.34, 0.1, 0.0), (-0.11, 0.4, -0.03, 0.26, 0.15, 0.0),
        (0.055, 0.5, 0.0, 0.17, 0.12, 0.0), (0.12, nose * 0.82, length + 0.02, 0.085, 0.08, 0.12),
        (0.07, 0.66, 0.46, 0.28, 0.22, 0.0),
        (-0.05 * (0.4 + traits.age), 0.62, 0.9, 0.16, 0.3, 0.0), (-0.05, 0.98, -0.4, 0.2, 0.4, 0.0),
        (-0.03, 0.5, 0.2, 0.22, 0.06, 0.0),
    )  # fmt: skip
    everything = [*middle, *((h, s * x, y, sx, sy, out) for h, x, y, sx, sy, out in paired for s in SIDES)]
    for tall, x, y, sx, sy, out in everything:
        height += tall * _bump(u, v, float(scene.turn((x, y), out)[0]), y, sx, sy)
    return np.asarray(height, np.float32)


def _head(scene: _Scene) -> None:
    """Ears, then the lit skin of the face."""
    traits = scene.traits
    height = _relief(scene)
    step = 1 / (_COARSE * traits.scale)
    # the grid is tilted against the head by the roll, and so is the gradient; the light is given in the picture's frame
    dy, dx = np.gradient(height, np.float32(step))
    norm = 1 / np.sqrt(1 + dx**2 + dy**2)
    facing = (-dx * traits.light[0] - dy * traits.light[1] + traits.light[2]) * norm
    shade = traits.ambient + 0.64 * np.maximum(facing, 0)
    # hollows see less of the sky: the difference to the surroundings stands in for ambient occlusion
    shade *= 1 + np.clip(1.1 * (height - cv2.GaussianBlur(height, (0, 0), 6)), -0.22, 0.1)
    half = traits.light + np.array([0, 0, 1], np.float32)
    half /= np.linalg.norm(half)
    gloss = np.exp(24 * np.log(np.maximum(1e-3, (-dx * half[0] - dy * half[1] + half[2]) * norm)))
    _ears(scene, float(shade.mean()))
    shade = np.asarray(cv2.GaussianBlur(shade.astype(np.float32), (0, 0), 0.8), np.float32)
    _skin(scene, scene.shape(_face_outline(traits), soft=0.006), shade, 0.12 * gloss)


def _flush(scene: _Scene) -> Floats:
    """How red the skin is, over the coarse grid: cheeks, nose, chin, and blotches."""
    traits, u, v = scene.traits, scene.u, scene.v
    red = 0.25 * scene.clouds(32, _COARSE)
    spots = (
        (0.62, 0.5, 0.62, 0.3, 0.26), (-0.62, 0.5, 0.62, 0.3, 0.26), (0.0, traits.nose_length, 0.3, 0.17, 0.14),
        (0.0, 1.5, 0.25, 0.3, 0.2),
    )  # fmt: skip
    for x, y, strength, sx, sy in spots:
        red += strength * _bump(u, v, float(scene.turn((x, y))[0]), y, sx, sy)
    return np.asarray(0.16 * traits.blush * red, np.float32)


def _skin(scene: _Scene, patch: _Patch, shade: Floats, gloss: Floats | float) -> None:
    """Skin over a patch: tone, blush, pores, freckles; `shade` and `gloss` are fields on the coarse grid."""
    traits = scene.traits
    red = scene.flush
    # light that entered the skin leaves it red: shadows lose less of the red than of the blue
    dark = np.log(np.maximum(shade, 1e-3))
    parts = [
        np.exp(0.88 * dark) * (1 + 0.2 * red), np.exp(1.03 * dark) * (1 - 0.75 * red),
        np.exp(1.1 * dark) * (1 - 0.65 * red),
    ]  # fmt: skip
    lit = np.stack(parts) * _planes(traits.skin) + np.asarray(gloss) * _planes((1, 0.97, 0.92))
    picture = np.stack([scene.spread(plane, patch) for plane in lit.astype(np.float32)])
    picture *= 1 + scene.pores[patch.rows, patch.cols] * np.float32(0.12 + 0.08 * traits.age)
    scene.paint(patch, picture)


def _ears(scene: _Scene, shade: float) -> None:
    traits = scene.traits
    for s in SIDES:
        away = s * np.sin(traits.yaw)  # the ear on the side turned away hides behind the cheek
        x = traits.width + 0.01 - 0.6 * max(0.0, away)
        half = [(0, -0.12), (0.1, -0.2), (0.2, -0.1), (0.18, 0.16), (0.1, 0.4), (0.03, 0.5), (-0.05, 0.42)]
        outline = _curve(np.asarray(half) + (x, 0.08), 8, closed=True)
        patch = scene.shape(_mirror(outline, s), soft=0.006)
        level = shade * (0.92 + 0.3 * s * traits.light[0])
        _skin(scene, patch, np.full_like(scene.u, level), 0)
        fold = _curve(np.asarray([(0.03, -0.08), (0.12, -0.1), (0.13, 0.1), (0.07, 0.28)]) + (x, 0.08))
        scene.tint(scene.lines([_mirror(fold, s)], 0.035, 0.014), (0.62, 0.5, 0.46))
        scene.tint(scene.lines([_mirror(fold - _vec(0.06, -0.02), s)], 0.05, 0.03), (0.7, 0.55, 0.5))


def _marks(scene: _Scene) -> None:
    """What age and sun leave on the skin: folds, lines, freckles."""
    traits, rng = scene.traits, scene.rng
    line = (0.72, 0.58, 0.52)
    mouth, length = traits.mouth_height, traits.nose_length
    for s in SIDES:
        fold = [
            (traits.nose_width * 1.15, length - 0.04), (0.36, length + 0.14),
            (traits.mouth_width + 0.1, mouth - 0.08),
        ]  # fmt: skip
        deep = 0.25 + 0.35 * traits.age + 0.2 * max(0.0, traits.smile)
        scene.tint(scene.lines([scene.turn(_curve(_mirror(fold, s)))], 0.03, 0.025), line, deep)
        bag = [(0.28, 0.1), (0.42, 0.2), (0.62, 0.18), (0.74, 0.08)]
        scene.tint(scene.lines([scene.turn(_curve(_mirror(bag, s)))], 0.03, 0.022), line, 0.25 + 0.35 * traits.age)
    if traits.age > 0.4:
        rows = [[(-0.6, y + 0.04), (-0.25, y), (0.2, y + 0.01), (0.55, y + 0.05)] for y in (-0.62, -0.74, -0.86)]
        wrinkles = [scene.turn(_curve(np.asarray(r) + 0.015 * rng.standard_normal((4, 2)))) for r in rows]
        crow = [[(0.78, 0.0 + d), (0.86, -0.02 + 2.2 * d), (0.93, 0.01 + 3.2 * d)] for d in (-0.03, 0.0, 0.03)]
        wrinkles += [scene.turn(_curve(_mirror(c, s))) for c in crow for s in SIDES]
        scene.tint(scene.lines(wrinkles, 0.012, 0.008), line, 0.75 * (traits.age - 0.25))
    if traits.freckled:
        at = np.stack([rng.normal(0, 0.5, 150), 0.42 + 0.2 * rng.standard_normal(150)], -1)
        dots = scene.turn(at.clip((-0.85, -0.1), (0.85, 1.2)))[:, None] + _vec([0, 0], [0.008, 0.004])
        scene.tint(scene.lines(dots[::2], 0.017, 0.005), (0.7, 0.55, 0.45), 0.7 * traits.freckled)
        scene.tint(scene.lines(dots[1::2], 0.012, 0.004), (0.7, 0.55, 0.45), 0.5 * traits.freckled)


# ------------------------------------------------------------------------------------------------------ eyes, brows


def _eyes(scene: _Scene) -> None:
    for s in SIDES:
        upper, lower = _lid_curves(scene, s)
        _eye(scene, s, upper, lower)
        _lids(scene, s, upper, lower)


def _lid_curves(scene: _Scene, s: float) -> tuple[Floats, Floats]:
    """Upper and lower lid in head coordinates, both from the inner to the outer corner."""
    traits = scene.traits
    w, high, tilt = traits.eye_width, traits.eye_open * traits.eye_width, traits.eye_slant * traits.eye_width
    low = high * (0.62 - 0.12 * max(0.0, traits.smile))
    inner, outer = (-w, 0.16 * high + 0.6 * tilt), (w, -tilt)
    upper = [inner, (-0.62 * w, -0.55 * high), (-0.05 * w, -high), (0.55 * w, -0.72 * high - 0.4 * tilt), outer]
    lower = [inner, (-0.55 * w, 0.62 * low), (0.1 * w, low), (0.62 * w, 0.66 * low - 0.4 * tilt), outer]
    centre = np.array([0.5, 0.0])
    above, below = (scene.turn(_mirror(_curve(np.asarray(lid) + centre), s)) for lid in (upper, lower))
    return above, below


def _eye(scene: _Scene, s: float, upper: Floats, lower: Floats) -> None:
    """White, iris and pupil, as one picture cut out by the lids."""
    traits = scene.traits
    scene.tint(scene.shape(np.concatenate([upper, lower[::-1]]), soft=0.05), (0.72, 0.6, 0.56), 0.55)
    patch = scene.shape(np.concatenate([upper, lower[::-1]]))
    u, v = scene.coordinates(patch)
    w = traits.eye_width
    x, y = scene.turn((s * 0.5, 0.0)) + traits.gaze * _vec(0.5, 0.3) * w + _vec(0, -0.12 * w * traits.eye_open)
    r, angle = np.hypot(u - x, v - y) / (0.405 * w), np.arctan2(v - y, u - x)
    pixel = 1 / scene.length(0.405 * w)
    spokes = scene.rng.standard_normal(96)
    fibre = np.interp(angle, np.linspace(-np.pi, np.pi, 97), np.append(spokes, spokes[0])) * _smoothstep(0.3, 0.6, r)
    glow = (
        1 + 0.45 * np.sin(angle) + 0.25 * fibre + 0.35 * _smoothstep(0.75, 0.45, r)
    )  # light gathers opposite the lamp
    glow *= 1 - 0.75 * _smoothstep(0.78, 1.0, r)
    eyeball = 1 - 0.35 * ((u - scene.turn((s * 0.5, 0.0))[0]) / w) ** 2
    white = _planes((0.9, 0.87, 0.85)) * eyeball * (0.55 + 0.45 * traits.ambient + 0.35 * traits.light[2])
    ball = white + (_planes(traits.iris) * glow - white) * _smoothstep(1 + 1.5 * pixel, 1 - 1.5 * pixel, r)
    ball *= 1 - 0.93 * _smoothstep(0.45 + pixel, 0.45 - pixel, r)
    scene.paint(patch, ball)
    pink = scene.turn(_mirror([(0.5 - w, 0.02)], s))[0]
    corner = _Patch(patch.rows, patch.cols, patch.alpha * _bump(u, v, float(pink[0]), float(pink[1]), 0.07, 0.05))
    scene.paint(corner, (0.78, 0.5, 0.46), 0.8)
    # the upper lid and its lashes shade the ball
    scene.tint(scene.lines([upper], 0.07, 0.03, inside=patch), (0.42, 0.38, 0.38), 0.9)
    glint = _vec(x, y) + _vec(0.13 * np.sign(traits.light[0] + 1e-6), -0.15) * w
    spark = glint + _vec((-1, -1), (1, -1), (1, 1), (-1, 1)) * np.float32(0.062 * w)
    scene.paint(scene.shape(_curve(spark, 4, closed=True), soft=0.004), (1, 1, 1), 0.92)


def _lids(scene: _Scene, s: float, upper: Floats, lower: Floats) -> None:
    """Rims, crease and lashes."""
    traits, rng = scene.traits, scene.rng
    dark = _vec(0.1, 0.07, 0.06) + 0.15 * traits.hair
    scene.tint(scene.lines([upper + _vec(0, -0.085)], 0.03, 0.016), (0.62, 0.47, 0.42), 0.9)
    if traits.made_up:
        lid = np.concatenate([upper, (upper + _vec(0, -0.1))[::-1]])
        scene.tint(scene.shape(lid, soft=0.025), traits.accent * 0.5 + 0.4, 0.45 * traits.made_up)
    scene.paint(scene.lines([lower], 0.02, 0.008), np.clip(traits.skin * (0.95, 0.78, 0.74), 0, 1), 0.7)
    scene.paint(scene.lines([upper], 0.022 + 0.016 * traits.made_up, 0.004), dark, 0.92)
    many, longest = 34, 0.04 + 0.02 * (1 - traits.strong) + 0.03 * traits.made_up
    for lid, up, length, opacity in ((upper, -1.0, longest, 0.95), (lower, 0.55, 0.4 * longest, 0.3)):
        at = rng.uniform(0.12, 1, many)
        root = lid[np.rint(at * (len(lid) - 1)).astype(int)]
        size = length * rng.uniform(0.6, 1, many) * (0.55 + 0.6 * at)
        lean = s * (at - 0.3) * 1.1
        bend = root + np.stack([0.35 * lean * size, up * 0.35 * size], -1)
        tip = root + np.stack([lean * size, up * size], -1)
        curves = _curve(np.stack([root, bend, tip], 1), 3)
        scene.paint(scene.lines(curves, 0.006), dark, opacity)


def _brows(scene: _Scene) -> None:
    """Each brow is a soft bed and some hundred hairs that lean outwards."""
    traits, rng = scene.traits, scene.rng
    colour = np.clip(0.62 * traits.hair + 0.12 * traits.skin * (1, 0.8, 0.7), 0, 1) * 0.9
    for s in SIDES:
        y, arch, thick = traits.brow_height, traits.brow_arch, traits.brow_thick
        spine = _curve([(0.2, y + 0.03), (0.4, y - 0.5 * arch), (0.62, y - arch), (0.86, y + 0.05)], 12)
        t = np.linspace(0, 1, len(spine))
        half = thick * (0.85 - 0.1 * t - 0.6 * np.maximum(0, t - 0.55))[:, None] * _vec(0, 1)
        bed = np.concatenate([spine - 0.7 * half, (spine + 0.7 * half)[::-1]])
        scene.paint(scene.shape(scene.turn(_mirror(bed, s)), soft=0.022), colour, 0.62)
        at = rng.integers(0, len(spine), 150)
        root = spine[at] + half[at] * rng.uniform(-1, 1, (150, 1))
        lean = np.stack([0.05 + 0.05 * t[at], -0.075 + 0.13 * t[at]], -1) * rng.uniform(0.6, 1.2, (150, 1))
        hairs = np.stack([root, root + 0.5 * lean + (0, -0.006), root + lean], 1)
        curves = scene.turn(_mirror(hairs, s))
        scene.paint(scene.lines(curves[:90], 0.008), colour * 0.7, 0.75)
        scene.paint(scene.lines(curves[90:], 0.008), np.clip(colour * 1.35, 0, 1), 0.5)


# ------------------------------------------------------------------------------------------------------ nose, mouth


def _nose(scene: _Scene) -> None:
    """The relief carries the nose; here are the nostrils, the wings' creases and the shadow below."""
    traits = scene.traits
    w, y = traits.nose_width, traits.nose_length
    fall = _vec(-0.12 * traits.light[0], 0.0)
    under = _curve(
        [(-w, y + 0.1), (0, y + 0.15), (w, y + 0.1), (0.6 * w, y + 0.22), (-0.6 * w, y + 0.22)], 6, closed=True
    )
    scene.tint(scene.shape(scene.turn(under, 0.1) + fall, soft=0.05), (0.66, 0.52, 0.48), 0.7)
    for s in SIDES:
        hole = [
            (0.16 * w, y + 0.115), (0.36 * w, y + 0.075), (0.62 * w, y + 0.085), (0.68 * w, y + 0.12),
            (0.4 * w, y + 0.135),
        ]  # fmt: skip
        nostril = scene.turn(_mirror(_curve(hole, 6, closed=True), s), 0.2)
        scene.paint(scene.shape(nostril, soft=0.012), traits.skin * (0.24, 0.15, 0.13), 0.9)
        wing = [(0.84 * w, y - 0.1), (1.04 * w, y), (1.0 * w, y + 0.1), (0.78 * w, y + 0.125)]
        scene.tint(scene.lines([scene.turn(_mirror(_curve(wing), s), 0.1)], 0.022, 0.014), (0.62, 0.47, 0.42), 0.75)


def _mouth_corner(traits: _Traits) -> float:
    return traits.mouth_height - 0.012 - 0.042 * traits.smile


def _mouth(scene: _Scene) -> None:
    """Lips over the relief, by tinting; an open mouth shows teeth."""
    traits = scene.traits
    w, y, corner, lips = traits.mouth_width, traits.mouth_height, _mouth_corner(traits), traits.lips
    gap = 0.11 * traits.gape
    above = y - 0.35 * gap + 0.01 * traits.smile
    below = y + 0.65 * gap + 0.02 * max(0.0, traits.smile)
    seam_up = [(-w, corner), (-0.5 * w, above + 0.004), (0, above + 0.014), (0.5 * w, above + 0.004), (w, corner)]
    seam_low = [
        (-w, corner), (-0.5 * w, below - 0.25 * gap), (0, below + 0.012), (0.5 * w, below - 0.25 * gap), (w, corner),
    ]  # fmt: skip
    bow = [(-w, corner), (-0.5 * w, above - 0.72 * lips), (-0.17 * w, above - lips), (0, above - 0.82 * lips),
           (0.17 * w, above - lips), (0.5 * w, above - 0.72 * lips), (w, corner)]  # fmt: skip
    rim = [
        (-w, corner), (-0.55 * w, below + 0.85 * lips), (0, below + 1.32 * lips), (0.55 * w, below + 0.85 * lips),
        (w, corner),
    ]  # fmt: skip
    up, low, top, bottom = (scene.turn(_curve(c), 0.06) for c in (seam_up, seam_low, bow, rim))
    red = np.clip(_vec(0.92, 0.68, 0.66) - _vec(0.04, 0.22, 0.16) * traits.made_up, 0, 1)
    scene.tint(scene.lines([bottom + _vec(0, 0.045)], 0.07, 0.035), (0.74, 0.62, 0.58), 0.6)
    if gap:
        _teeth(scene, np.concatenate([up, low[::-1]]), y, gap)
    scene.tint(scene.shape(np.concatenate([top, up[::-1]]), soft=0.008), red * _vec(0.9, 0.84, 0.84))
    scene.tint(scene.shape(np.concatenate([low, bottom[::-1]]), soft=0.008), red)
    seams = [up, low] if gap else [up]
    scene.tint(scene.lines(seams, 0.018, 0.008), (0.4, 0.24, 0.22), 0.85)
    scene.tint(
        scene.shape(*[_dot(scene.turn((s * w, corner), 0.06), 0.03) for s in SIDES], soft=0.02), (0.6, 0.45, 0.4), 0.7
    )
    _lip_gloss(scene, low, lips)


def _dot(centre: Floats, radius: float) -> Floats:
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    return np.asarray(centre + radius * np.stack([np.cos(angle), np.sin(angle)], -1), np.float32)


def _teeth(scene: _Scene, opening: Floats, y: float, gap: float) -> None:
    patch = scene.shape(opening)
    u, v = scene.coordinates(patch)
    middle = float(scene.turn((0.0, y), 0.06)[0])
    x = (u - middle) / 0.088
    x = np.sign(x) * np.abs(x) ** 1.12  # teeth narrow towards the corners
    between = np.abs(x - np.rint(x))
    row = _smoothstep(0.0, 0.05, between) * 0.3 + 0.7
    edge = y + 0.42 * gap - 0.1 * (between - 0.5) ** 2 * gap
    bite = np.asarray(_smoothstep(0.012, -0.012, np.asarray(v - edge, np.float32)), np.float32)
    fade = np.clip(1.08 - 0.9 * ((u - middle) / scene.traits.mouth_width) ** 2, 0.25, 1)
    tooth = _planes((0.93, 0.89, 0.83)) * row * fade * (0.9 + 0.1 * np.cos((x - np.rint(x)) * 5))
    inside = _planes((0.3, 0.1, 0.1))
    scene.paint(patch, inside + (tooth - inside) * bite)


def _lip_gloss(scene: _Scene, low: Floats, lips: float) -> None:
    """Fine creases and the light on the lower lip."""
    traits, rng = scene.traits, scene.rng
    at = rng.integers(6, len(low) - 6, 26)
    root = low[at] + _vec(0, 0.012)
    fan = (at / (len(low) - 1) - 0.5)[:, None] * _vec(0.06, 0)
    creases = np.stack([root, root + fan + _vec(0, 0.75 * lips) * rng.uniform(0.5, 1, (26, 1)).astype(np.float32)], 1)
    scene.tint(scene.lines(creases, 0.008, 0.003), (0.8, 0.7, 0.7), 0.55)
    shine = low[9:-9] + _vec(0.03 * traits.light[0], 0.5 * lips)
    scene.paint(scene.lines([shine], 0.035, 0.022), (1, 0.93, 0.9), 0.2 + 0.25 * traits.made_up)


# ----------------------------------------------------------------------------------------------------- hair, beard


@dataclass
class _Hair:
    """Strands under way: `layer` (side, side, 3) holds tone and coverage in its first two channels."""

    scene: _Scene
    layer: Bytes = field(init=False)

    def __post_init__(self) -> None:
        # three channels although two are used: OpenCV antialiases lines only on one or three
        self.layer = np.zeros((self.scene.side, self.scene.side, 3), np.uint8)

    def lock(self, guides: ArrayLike, count: int, span: float = 1.0, wave: float = 0.0, turns: float = 2.0,
             bed: float | None = 0.5, loose: float = 0.03) -> None:  # fmt: skip
        """Fill the sheet that guides (g, k, 2) span in head coordinates, with `count` strands running along k.

        A strand covers a `span` of its guide's length, winds `turns` times with amplitude `wave`, strays by `loose`.
        `bed` is the tone of what lies between the strands; None leaves the skin there.
        """
        scene, rng = self.scene, self.scene.rng
        sheet = _curve(np.swapaxes(_curve(guides, 6), 0, 1), 4).swapaxes(0, 1)
        rim = np.concatenate([sheet[0], sheet[1:, -1], sheet[-1][::-1], sheet[::-1, 0]])
        if bed is not None:
            cv2.fillPoly(self.layer, [_fixed(scene.pixels(rim))], (int(bed * 255), 255, 0), cv2.LINE_AA, 4)
        across = rng.beta(0.9, 0.9, count)
        clump = np.interp(across * 23, np.arange(24), rng.standard_normal(24))  # neighbours look and wind alike
        tone = 0.52 + 0.07 * clump + 0.1 * rng.standard_normal(count)
        start = rng.uniform(-0.04, 1.04 - 0.8 * span, count) if span < 1 else rng.uniform(-0.02, 0.04, count)
        steps = round(5 + 8 * span + 8 * span * turns * (wave > 0.03))
        t = start[:, None] + np.linspace(0, 1, steps) * span * rng.uniform(0.72, 1, (count, 1))
        points = _sample(sheet, across.astype(np.float32), t.astype(np.float32))
        phase = 2 * np.pi * (turns * t + 0.45 * clump[:, None])
        phase += 0.8 * rng.standard_normal((count, 1))
        stray = loose * rng.standard_normal((count, 1, 2), np.float32) * (0.25 + t[..., None])
        points += stray + wave * np.stack([np.sin(phase), 0.5 * np.cos(phase)], -1)
        self._draw(_fixed(scene.pixels(points)), tone)

    def _draw(self, strands: NDArray[np.int32], tone: NDArray[np.float64]) -> None:
        # OpenCV draws many lines at a time, but of one colour; coats of all tones, the lowest darkest, mix them again
        thick = max(1, round(self.scene.length(0.009)))
        level = np.clip(np.rint(tone * 12), 2, 11).astype(int)
        coat = np.arange(len(strands)) % 3
        for low in range(3):
            for step in self.scene.rng.permutation(np.arange(2, 12)):
                chosen = list(strands[(level == step) & (coat == low)])
                cv2.polylines(self.layer, chosen, False, (int(step) * (17 + 3 * low), 255, 0), thick, cv2.LINE_AA, 4)

    def shadow(self) -> None:
        """Darken the face below the hair, on the side away from the light."""
        scene, light = self.scene, self.scene.traits.light
        cover = cv2.resize(self.layer[..., 1], (_COARSE, _COARSE), interpolation=cv2.INTER_AREA)
        reach = scene.traits.scale * _COARSE * 0.09
        shift = np.array([[1, 0, -reach * light[0]], [0, 1, reach]], np.float32)
        cover = cv2.GaussianBlur(cv2.warpAffine(cover, shift, (_COARSE, _COARSE)), (0, 0), 0.7 * reach)
        patch = scene.shape(_face_outline(scene.traits))
        dark = patch.alpha * scene.spread(np.asarray(cover, np.float32) / np.float32(255), patch)
        scene.tint(_Patch(patch.rows, patch.cols, dark), (0.6, 0.5, 0.47), 0.8)

    def comb(self, brightness: float = 1.0) -> None:
        """Light the strands as they lie around the head, and lay them over the canvas."""
        scene, traits = self.scene, self.scene.traits
        x, y, w, h = cv2.boundingRect(self.layer[..., 1])
        rows, cols = slice(y, y + h), slice(x, x + w)
        patch = _Patch(rows, cols, self.layer[rows, cols, 1].astype(np.float32) * np.float32(1 / 255))
        u, v = scene.u / 1.45, (scene.v + 0.05) / 1.95
        z = np.sqrt(np.clip(1 - u**2 - v**2, 0.04, 1))
        light = traits.light
        lit = 0.5 + 0.62 * np.maximum(0, u * light[0] + np.minimum(v, 0.2) * light[1] + z * light[2])
        band = np.exp(-(((v + 0.62 - 0.25 * u**2) / 0.13) ** 2)) * np.maximum(0, 0.6 + u * light[0])
        tone = self.layer[rows, cols, 0].astype(np.float32) * np.float32(1 / 128)
        lit_here, band_here = scene.spread(lit.astype(np.float32), patch), scene.spread(band.astype(np.float32), patch)
        level = tone * lit_here * np.float32(brightness)
        sheen = tone * tone * band_here * np.float32(0.13 * brightness)
        scene.paint(patch, level * _planes(traits.hair) + sheen * _planes(0.5 + 0.5 * traits.hair))


def _sample(sheet: Floats, across: Floats, along: Floats) -> Floats:
    """Points of a sheet (g, k, 2) at `across` (n,) and `along` (n, m), both in [0, 1], bilinearly;
    a little outside it is extrapolated."""
    g, k = sheet.shape[0] - 1, sheet.shape[1] - 1
    row, col = across[:, None] * g, along * k
    i, j = np.clip(row.astype(int), 0, g - 1), np.clip(col.astype(int), 0, k - 1)
    a, b = (row - i)[..., None], (col - j)[..., None]
    near, far = sheet[i, j] * (1 - b) + sheet[i, j + 1] * b, sheet[i + 1, j] * (1 - b) + sheet[i + 1, j + 1] * b
    return np.asarray(near * (1 - a) + far * a, np.float32)


def _side(traits: _Traits, s: float, end: float, flare: float, room: float) -> NDArray[np.float64]:
    """Guides (2, k, 2) of the hair that falls from the parting over one side: the hairline and the outline."""
    w, line, out = traits.width, traits.hairline, traits.width + room + traits.volume
    top, part = -1.69 - traits.volume, traits.part
    inner = [(part, line - 0.04), (0.5 * part + 0.42 * s, line + 0.05), (0.86 * s, line + 0.36), (w * s, -0.22)]
    round_ = np.linspace(0, 0.5 * np.pi, 4)
    x, y = (out + 0.04) * np.sin(round_), -0.3 + (top + 0.3) * np.cos(round_)
    outer = [(s * a + 0.6 * part * np.cos(angle) ** 3, b) for a, b, angle in zip(x, y, round_, strict=True)]
    down = np.linspace(-0.22, end, 4)[1:]
    inner += [(s * (w * 1.02 - 0.1 * np.sin(0.8 * y) + 0.5 * flare * max(0.0, y)), y) for y in down]
    outer += [(s * (out + 0.05 + 0.12 * np.sin(0.7 * max(0.0, y)) + flare * (y + 0.22)), y + 0.05) for y in down]
    return np.array([inner, outer])


def _cap(traits: _Traits, sides: float, height: float) -> NDArray[np.float64]:
    """Guides (g, k, 2) that rise from the hairline all around to the outline of short hair."""
    w, line, out = traits.width, traits.hairline, height + traits.volume
    half = [  # root at the hairline, and tip on the outline
        ((w * 1.01, sides), (w + 0.02, sides + 0.02)), ((w * 0.99, -0.25), (w + 0.06 + 0.4 * out, -0.3)),
        ((w * 0.93, -0.5), (w + 0.05 + 0.5 * out, -0.72)), ((0.84, -0.68), (0.98 + 0.6 * out, -1.12)),
        ((0.68, line + 0.16), (0.72 + 0.5 * out, -1.46 - 0.6 * out)), ((0.36, line), (0.38, -1.64 - out)),
    ]  # fmt: skip
    middle = [((0.0, line + 0.02), (0.0, -1.69 - out))]
    left = [((-a[0], a[1]), (-b[0], b[1])) for a, b in half]
    ends = np.array([*left, *middle, *half[::-1]])
    ends[:, 1, 0] += 0.5 * traits.part * (ends[:, 0, 1] < -0.6)  # swept to one side on top
    bow = ends.mean(1) * (1.0, 1.0) + np.stack([0.05 * np.sign(ends[:, 0, 0]), np.full(len(ends), -0.05)], -1)
    return np.stack([ends[:, 0], bow, ends[:, 1]], 1)


def _hair_behind(scene: _Scene) -> None:
    """Long hair hangs behind the neck as well."""
    traits = scene.traits
    if traits.hair_style not in ("long", "fringe", "bob"):
        return
    end = 1.5 if traits.hair_style == "bob" else 2.9
    out = traits.width + 0.16 + traits.volume
    hair = _Hair(scene)
    hair.lock(
        [[(0.7 * x, -1.25), (0.97 * x, -0.5), (x, 0.4), (x, end)] for x in np.linspace(-out, out, 5)],
        260,
        bed=0.32,
        wave=0.03 * traits.wave,
    )
    hair.comb(0.55)


def _hair_front(scene: _Scene) -> None:
    traits = scene.traits
    style, hair, curl = traits.hair_style, _Hair(scene), traits.wave
    if style == "bald":
        return
    if style == "short":
        hair.lock(_cap(traits, 0.12, 0.1), 1000, span=0.5, bed=0.38, loose=0.025, wave=0.01)
    elif style == "curly":
        hair.lock(_cap(traits, 0.35, 0.36), 1050, span=0.4, wave=0.035, turns=4, bed=0.36, loose=0.04)
    else:
        end, flare, room = {
            "parted": (0.1, -0.35, 0.04), "long": (2.7, 0.1, 0.1), "fringe": (2.7, 0.05, 0.1), "bob": (1.25, 0.02, 0.1),
        }[style]  # fmt: skip
        for s in SIDES:
            guides = _side(traits, s, end, flare, room)
            hair.lock(guides, 380, wave=0.05 * curl, turns=3, bed=0.34, loose=0.02 + 0.02 * curl)
    if style in ("fringe", "bob") and (style == "fringe" or traits.part > 0):
        lean, brow = 0.3 * traits.part, traits.brow_height - 0.13
        fall = [
            [(0.45 * x, -1.6), (0.8 * x + lean, -1.1), (x + 2 * lean, brow + 0.12 * abs(x))]
            for x in np.linspace(-0.92, 0.92, 7)
        ]
        hair.lock(fall, 380, bed=0.36, loose=0.025)
    hair.shadow()
    hair.comb()


def _beard(scene: _Scene) -> None:
    """Stubble is a shade with dots; a beard has strands over it."""
    traits = scene.traits
    if traits.beard == "none":
        return
    chin, mouth = traits.chin, traits.mouth_height
    inner = [(1.0, 0.2), (0.88, 0.66), (0.66, 0.95), (0.55, mouth + 0.06), (0.3, mouth + 0.27), (0.0, mouth + 0.24)]
    outer = [(1.06, 0.25), (1.0, 0.75), (0.93, 1.16), (0.7, 1.56), (0.33, chin + 0.05), (0.0, chin + 0.09)]
    lip = [[(0.02, 0.78), (0.05, mouth - 0.1)], [(0.2, 0.8), (0.28, mouth - 0.1)], [(0.38, 0.88), (0.53, mouth + 0.12)]]
    sheets = [scene.turn([_mirror(guide, s) for guide in lip]) for s in SIDES]
    if traits.beard != "moustache":
        jaw = [_mirror(pair, s) for s in SIDES for pair in zip(inner, outer, strict=True)]
        sheets += [np.array(jaw[:6]), np.array(jaw[6:])]
    rims = [np.concatenate([sheet[:, 0], sheet[::-1, -1]]) for sheet in sheets]
    patch = scene.shape(*(rim.astype(np.float32) for rim in rims), soft=0.05, inside=scene.shape(_face_outline(traits)))
    dots = np.clip(0.6 + 2.2 * scene.grain[patch.rows, patch.cols], 0, 1)
    shade = np.clip(0.35 + 0.5 * traits.hair, 0, 1)
    scene.tint(_Patch(patch.rows, patch.cols, patch.alpha * dots), shade, 0.45 if traits.beard == "stubble" else 0.85)
    if traits.beard != "stubble":
        hair = _Hair(scene)
        for k, sheet in enumerate(sheets):
            hair.lock(sheet, 130 if k < 2 else 420, span=0.55 if k < 2 else 0.4, bed=None, wave=0.012, loose=0.025)
        hair.comb(0.85)


def _glasses(scene: _Scene) -> None:
    traits = scene.traits
    if traits.glasses == "none":
        return
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    power = 0.9 if traits.glasses == "round" else 0.45
    ring = np.stack([np.copysign(np.abs(wave) ** power, wave) for wave in (np.cos(angle), np.sin(angle))], -1)
    rims = [scene.turn(ring * (0.38, 0.31) + (0.52 * s, 0.06), 0.12) for s in SIDES]
    closed = [np.concatenate([rim, rim[:2]]) for rim in rims]
    bridge = scene.turn(_curve([(-0.15, 0.0), (0.0, -0.06), (0.15, 0.0)]), 0.25)
    arms = [np.concatenate([scene.turn([(0.9 * s, -0.02)], 0.12), [(s * (traits.width + 0.02), -0.06)]]) for s in SIDES]
    frame = [*closed, bridge, *arms]
    below = [curve + _vec(-0.04 * traits.light[0], 0.05) for curve in frame]
    scene.tint(scene.lines(below, 0.04, 0.03), (0.7, 0.6, 0.58), 0.7)
    for rim in rims:
        glass = scene.shape(rim)
        centre = rim.mean(0)
        scene.paint(glass, (0.9, 0.95, 1.0), 0.05)
        streak = centre + _vec((-0.3, 0.1), (0.05, -0.4), (0.2, -0.4), (-0.25, 0.25))
        scene.paint(scene.shape(streak, soft=0.02, inside=glass), (1, 1, 1), 0.13)
    colour = traits.accent * 0.45
    scene.paint(scene.lines(frame, 0.045, 0.003), colour)
    scene.paint(scene.lines([c + _vec(0.0, -0.008) for c in frame], 0.012, 0.004), np.clip(colour + 0.35, 0, 1), 0.6)


# back to front
_LAYERS = (
    _backdrop, _hair_behind, _neck, _clothing, _head, _marks, _nose, _mouth, _eyes, _brows, _beard,
    _hair_front, _glasses,
)  # fmt: skip
