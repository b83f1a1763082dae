"""What distinguishes one face from another, and how each trait is distributed."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from restore.data.drawn.curves import Floats


def _palette(colours: str) -> NDArray[np.float64]:
    """(n, 3) in 0 ... 255, from hexadecimal RRGGBB; neighbours are to mix well."""
    return np.array(list(bytes.fromhex(colours)), np.float64).reshape(-1, 3)


_SKINS = _palette("f8d6c1 f3cbb2 eec0a2 e5b694 deaa82 d09870 be8660 a8724e 8e5e40 744c36 5c3c2c")
_HAIRS = _palette("1e1918 2c211c 3e2b20 543926 704c2e 946a40 bc9662 d6ba8c 8c4222 a85a32 96928e ceccc8")
_IRISES = _palette("462a18 603c20 7a542c 78703e 56745c 5c8098 7898b4")
_CLOTHES = _palette("28304a 70242a e2ded6 34363a 4e6856 96a0b4 c49660 426ea0 96546e 181a1e ceba46")


@dataclass(frozen=True)
class Traits:
    """All that distinguishes one face, save for textures. Lengths are in units of the distance between the eyes."""

    scale: float  # distance between the eyes / width of the picture
    roll: float  # radians
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

    @property
    def mouth_corner(self) -> float:
        """How far below the eyes the corners of the mouth are."""
        return self.mouth_height - 0.012 - 0.042 * self.smile

    @classmethod  # a table of distributions, one line a trait: splitting it would only scatter it
    def draw(cls, rng: np.random.Generator) -> Traits:
        """Draw the traits of one face; their order here is the order of the draws, and so part of every face."""
        chance = _Chance(rng)
        between, bell, one, colour = chance.between, chance.bell, chance.one, chance.colour
        strong = between(0, 1)
        age = between(0, 1) ** 1.5
        tone = between(0, len(_SKINS) - 1)
        dark = tone > 5
        grey = age > 0.7 and between(0, 1) < 0.55
        hair_at = between(9.6, 11) if grey else between(0, 2) if dark else between(0, 9)
        light = np.array([bell(0, 0.5), between(-0.75, -0.2), between(0.7, 1.1)])
        long_haired = (1 - strong) ** 2
        return cls(
            scale=between(0.222, 0.242),
            roll=float(np.radians(bell(0, 4.5))),
            yaw=float(np.radians(bell(0, 6))),
            offset=np.array([bell(0, 0.008), bell(0, 0.008)], np.float32),
            light=(light / np.linalg.norm(light)).astype(np.float32),
            ambient=between(0.3, 0.44),
            strong=strong,
            age=age,
            skin=colour(_SKINS, tone, 0.008),
            blush=between(0.3, 1),
            freckled=between(0.4, 1) if tone < 4 and between(0, 1) < 0.22 else 0.0,
            width=bell(1.05, 0.03) + 0.03 * strong,
            jaw=bell(0.83, 0.03) + 0.08 * strong,
            chin=bell(1.76, 0.04) + 0.05 * strong,
            eye_width=bell(0.245, 0.012),
            eye_open=bell(0.48, 0.05) - 0.05 * strong,
            eye_slant=bell(0.06, 0.06),
            iris=colour(_IRISES, between(0, 1) if dark else between(0, len(_IRISES) - 1)),
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
            hair_style=one(
                short=1.6 * strong,
                parted=0.9,
                long=1.8 * long_haired,
                fringe=1.1 * long_haired + 0.1,
                curly=0.5,
                bob=1.1 * long_haired,
                bald=0.6 * strong**2 * (0.4 + age),
            ),
            hair=colour(_HAIRS, hair_at, 0.01),
            hairline=bell(-1.0, 0.05) - 0.08 * strong * age,
            volume=between(0, 0.14),
            part=bell(0, 0.22),
            wave=between(0, 1) ** 2,
            # drawn even where it is certain, or all that follows would depend on it
            beard=one(none=0.5, stubble=0.25, moustache=0.1, full=0.25) if strong > 0.55 else one(none=1),
            glasses=one(none=0.8, round=0.1, square=0.1),
            clothes=colour(_CLOTHES, between(0, len(_CLOTHES) - 1)),
            accent=colour(_CLOTHES, between(0, len(_CLOTHES) - 1)),
            pattern=one(plain=1, stripes=1, checks=0.8, dots=0.6, knit=0.8),
            backdrop=one(gradient=0.8, bokeh=1.3, plaster=0.9, bricks=0.5, blinds=0.5, leaves=0.7),
            backdrop_colours=_backdrop_colours(rng),
        )


class _Chance:
    """The distributions traits are drawn from."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def between(self, low: float, high: float) -> float:
        """Uniform."""
        return float(self.rng.uniform(low, high))

    def bell(self, mean: float, spread: float) -> float:
        """Normal, but never more than two standard deviations from the mean."""
        return mean + spread * float(np.clip(self.rng.standard_normal(), -2, 2))

    def one(self, **weights: float) -> str:
        """One of the names, by its weight."""
        chances = np.array([*weights.values()]) / sum(weights.values())
        return [*weights][int(self.rng.choice(len(weights), p=chances))]

    def colour(self, palette: NDArray[np.float64], at: float, jitter: float = 0.02) -> Floats:
        """(3,) in [0, 1]: the palette mixed at a place between two of its colours, and a little off."""
        low = min(int(at), len(palette) - 2)
        mixed = palette[low] * (1 - at + low) + palette[low + 1] * (at - low)
        strayed = mixed / 255 + jitter * self.rng.standard_normal(3)
        return np.asarray(np.clip(strayed, 0.02, 0.98), np.float32)


def _backdrop_colours(rng: np.random.Generator) -> Floats:
    """(6, 3) muted colours around one hue, as the things behind one person are lit by one light."""
    hue, spread, value = rng.uniform(0, 360), rng.uniform(10, 60), rng.uniform(0.25, 0.85)
    hsv = np.empty((1, 6, 3), np.float32)
    hsv[..., 0] = (hue + spread * rng.standard_normal(6)) % 360
    hsv[..., 1] = rng.uniform(0.03, 0.34, 6)
    hsv[..., 2] = np.clip(value + rng.uniform(-0.22, 0.22, 6), 0.08, 1)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0], np.float32)
