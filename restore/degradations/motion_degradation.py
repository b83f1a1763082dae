"""Blur that the camera makes: by its motion, and by its lens out of focus."""

import math
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from restore.degradations.convolution import Convolved
from restore.degradations.kernels import Kernel
from restore.keyed import Draws
from restore.ranges import Limits, Share
from restore.registry import DEGRADATIONS

Length = Annotated[float, Field(ge=0, le=99)]
Angle = Annotated[float, Field(ge=-math.pi, le=math.pi)]

_STEPS = 8  # samples a pixel, along a line and across a disk


@DEGRADATIONS.register
class MotionBlur(Convolved):
    """Smears each picture along a straight line, as a camera does that moves evenly while the shutter is open.

    Args:
        length: range of the path's length, in pixels.
        angle: range of its direction, in radians from x towards y.
        probability: how often.
    """

    def __init__(
        self,
        length: Limits[Length] = (3.0, 15.0),
        angle: Limits[Angle] = (-math.pi / 2, math.pi / 2),
        probability: Share = 1.0,
    ) -> None:
        self.length = length
        self.angle = angle
        self.probability = probability

    def kernel(self, rng: Draws) -> Kernel | None:
        is_chosen, length, angle = rng.random() < self.probability, *_drawn(rng, self.length, self.angle)
        return Kernel(motion_kernel(length, angle)) if is_chosen else None


@DEGRADATIONS.register
class DefocusBlur(Convolved):
    """Spreads each pixel over a disk, as a lens with a round aperture does that is focused nearer or farther.

    Args:
        radius: range of the disk's radius, in pixels.
        probability: how often.
    """

    def __init__(self, radius: Limits[Length] = (1.0, 5.0), probability: Share = 1.0) -> None:
        self.radius = radius
        self.probability = probability

    def kernel(self, rng: Draws) -> Kernel | None:
        is_chosen, radius = rng.random() < self.probability, *_drawn(rng, self.radius)
        return Kernel(disk_kernel(radius)) if is_chosen else None


def motion_kernel(length: float, angle: float) -> NDArray[np.float32]:
    """Where a point goes that moves `length` pixels at `angle`: (k, k), sum 1, centred, k odd."""
    along = length * (np.arange(count := max(1, math.ceil(length * _STEPS))) + 0.5) / count - length / 2
    return _splatted(along * math.cos(angle), along * math.sin(angle))


def disk_kernel(radius: float) -> NDArray[np.float32]:
    """A disk of that radius, its edge pixels by the share that lies inside: (k, k), sum 1, k odd."""
    reach = math.ceil(radius - 0.5) if radius > 0.5 else 0
    line = (np.arange((2 * reach + 1) * _STEPS) + 0.5) / _STEPS - reach - 0.5
    inside = np.hypot(line[:, None], line) <= max(radius, 0.5)
    shares = inside.reshape(2 * reach + 1, _STEPS, 2 * reach + 1, _STEPS).mean((1, 3))
    kernel: NDArray[np.float32] = (shares / shares.sum()).astype(np.float32)
    return kernel


def _splatted(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float32]:
    """Points, each shared out between its four neighbours by nearness."""
    reach = math.ceil(max(np.abs(x).max(), np.abs(y).max()))
    kernel = np.zeros((2 * reach + 3, 2 * reach + 3))
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    for dx in (0, 1):
        for dy in (0, 1):
            weights = (1 - np.abs(x - left - dx)) * (1 - np.abs(y - top - dy))
            np.add.at(kernel, (top + dy + reach + 1, left + dx + reach + 1), weights)
    return (kernel / len(x)).astype(np.float32)


def _drawn(rng: Draws, *ranges: tuple[float, float]) -> tuple[float, ...]:
    return tuple(float(rng.uniform(*limits)) for limits in ranges)
