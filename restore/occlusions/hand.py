"""The form of a hand: limbs made of tapered rods, and how they are seen."""

from dataclasses import dataclass

import numpy as np

from restore.faces.face import Floats
from restore.keyed import Draws
from restore.occlusions.canvas import FAINTEST
from restore.occlusions.pose import Pose

# In distances of the eyes; x runs from the wrist to the finger tips, y from the thumb to the little finger.
_KNUCKLES = np.array([(0.72, -0.42), (0.80, -0.14), (0.75, 0.14), (0.62, 0.40)])
_LENGTHS = np.array([1.12, 1.24, 1.14, 0.90])
_RADII = np.array([0.150, 0.155, 0.145, 0.125])
_LAMP = np.array([-0.35, -0.55], np.float32)  # the light comes from above, a little from the left


@dataclass(frozen=True, eq=False)
class Limb:
    """Rods from joint to joint: `joints` (n, 2) in pixels, `radii` (n,) there; `nail`: a finger, which ends in one."""

    joints: Floats
    radii: Floats
    nail: bool = False

    def near(self, x: Floats, y: Floats) -> tuple[slice, slice]:
        """Of the columns x (w,) and rows y (h,), the rows and columns that it can reach."""
        return _within(self.joints, float(self.radii.max()), x, y)

    def seen(self, x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
        """At columns x (w,) and rows y (h,): how much of each pixel it covers, the light there, and how red it is."""
        depth = np.full((len(y), len(x)), -np.inf, np.float32)
        total, light, red = (np.full_like(depth, tiny) for tiny in (1e-6, 1e-6, 0))
        soft = np.float32(1 / max(0.15 * float(self.radii[-1]), 0.5))
        for number in range(len(self.joints) - 1):
            ends, reach = self.joints[number : number + 2], float(self.radii[number : number + 2].max())
            rows, columns = _within(ends, reach, x, y)
            inside, shade, blush = self._rod(number, x[columns], y[rows])
            weight = np.exp((inside * soft).clip(-12, 30))  # rods that meet run into each other
            total[rows, columns] += weight
            light[rows, columns] += weight * shade
            red[rows, columns] += weight * blush
            np.maximum(depth[rows, columns], inside, out=depth[rows, columns])
        cover = (depth + np.float32(0.5)).clip(0, 1)
        return np.where(cover < FAINTEST, np.float32(0), cover), light / total, red / total

    def _rod(self, number: int, x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
        """How far (h, w) lies inside a rod, in pixels; the light on it; the red of joints and of a nail's bed."""
        start, end = self.joints[number : number + 2]
        thick, thin = self.radii[number : number + 2]
        axis = end - start
        length = max(float(np.hypot(*axis)), 1e-3)
        dx, dy = x[None] - start[0], y[:, None] - start[1]
        share = ((dx * axis[0] + dy * axis[1]) / np.float32(length**2)).clip(0, 1)
        px, py = dx - share * axis[0], dy - share * axis[1]
        radius = thick + (thin - thick) * share
        distance = np.sqrt(px * px + py * py)
        round_ = (distance / radius).clip(0, 1)
        light = np.float32(0.70) + np.float32(0.34) * np.sqrt(1 - np.float32(0.96) * round_**2)
        light += np.float32(0.14) * round_ * (px * _LAMP[0] + py * _LAMP[1]) / np.maximum(distance, np.float32(1e-3))
        joint = np.exp(-np.square((1 - share) * np.float32(length / thin / 0.16)))
        last = number == len(self.joints) - 2
        red = joint * np.float32(0.4 if self.nail and not last else 0)
        if last and self.nail:
            beyond = (dx * axis[0] + dy * axis[1]) / np.float32(length) - np.float32(length)
            across = (dx * axis[1] - dy * axis[0]) / np.float32(length)
            oval = np.hypot((beyond - 0.15 * thin) / (0.62 * thin), across / (0.58 * thin))
            nail = ((1 - oval) * np.float32(thin * 0.6) + np.float32(0.5)).clip(0, 1)
            light += np.float32(0.10) * nail
            red = red + np.float32(0.35) * nail
        return (radius - distance).astype(np.float32), light.astype(np.float32), red.astype(np.float32)


@dataclass(frozen=True, eq=False)
class HandShape:
    """The limbs of a hand, the lowest first: arm and palm, thumb, fingers."""

    limbs: list[Limb]

    def places(self, reach: float) -> Floats:
        """All joints (n, 2), those no farther than `reach` pixels from the palm."""
        joints = np.concatenate([limb.joints for limb in self.limbs])
        kept: Floats = joints[np.hypot(*(joints - self.limbs[0].joints[1]).T) < reach]
        return kept


def drawn_hand(size: tuple[float, float], pose: Pose, draws: Draws) -> HandShape:
    """A hand whose fingers reach a place on the lower or middle face, from below or from a side."""
    target = pose.pixels((draws.uniform(-0.6, 0.6), draws.uniform(0.2, 1.5), 0.3))
    scale = float(draws.uniform(*size)) * pose.unit
    heading = draws.uniform(-np.pi, 0)  # of the fingers: to the left, up, to the right
    spread, curl, mirror = draws.uniform(0.0, 0.13), draws.uniform(0.75, 1.0), 1 if draws.random() < 0.5 else -1
    c, s = np.cos(heading), np.sin(heading)
    turn = scale * np.array([[c, s], [-mirror * s, mirror * c]])

    def limb(joints: Floats, radii: Floats, nail: bool = False) -> Limb:
        places = target + (joints - [1.1, 0.0]) @ turn
        return Limb(places.astype(np.float32), (radii * scale).astype(np.float32), nail)

    arm = np.array([(-9.0, 0.0), (-0.55, 0.0), (0.0, 0.0), (0.35, 0.0)])
    limbs = [limb(arm, np.array([0.75, 0.42, 0.50, 0.46]))]
    for knuckle in _KNUCKLES:  # the back of the hand: one pad for each finger
        limbs[0] = _joined(limbs[0], limb(np.array([(0.1, 0.6 * knuckle[1]), knuckle]), np.array([0.30, 0.19])))
    bend = draws.uniform(-0.2, 0.5)
    thumb = np.array([(0.0, -0.38), (0.38, -0.72 - 0.1 * bend), (0.80, -0.86 - 0.2 * bend)])
    limbs.append(limb(thumb, np.array([0.23, 0.17, 0.13]), True))
    for number, (knuckle, length, radius) in enumerate(zip(_KNUCKLES, _LENGTHS * curl, _RADII, strict=True)):
        angle = (number - 1.5) * (spread + 0.03) + draws.normal(0, 0.03)
        joints, at = [knuckle], knuckle
        for share in (0.46, 0.30, 0.24):
            at = at + length * share * np.array([np.cos(angle), np.sin(angle)])
            joints.append(at)
            angle += draws.normal(0, 0.05)
        limbs.append(limb(np.stack(joints), radius * np.array([1.08, 1.0, 0.92, 0.80]), True))
    return HandShape(limbs)


def _joined(one: Limb, other: Limb) -> Limb:
    """Both as one limb; the rod between them is hidden inside."""
    return Limb(np.concatenate([one.joints, other.joints]), np.concatenate([one.radii, other.radii]))


def _within(places: Floats, reach: float, x: Floats, y: Floats) -> tuple[slice, slice]:
    """The rows and columns, of those at y and x, that lie so near to places (n, 2)."""
    (left, top), (right, bottom) = places.min(0) - reach - 1, places.max(0) + reach + 1
    first, end = np.searchsorted(y, [top, bottom]).tolist()
    start, stop = np.searchsorted(x, [left, right]).tolist()
    return slice(first, end), slice(start, stop)
