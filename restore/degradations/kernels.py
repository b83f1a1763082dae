"""Blur kernels: Gaussian, generalised Gaussian, plateau and sinc; many at once, each with parameters of its own.

Their definitions are BasicSR's, so that published ranges of parameters mean the same. Pascal et al., "Parameter
estimation for multivariate generalized Gaussian distributions" (IEEE TSP 2013).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Profile = Literal["gaussian", "generalized", "plateau"]


@dataclass(frozen=True)
class Kernel:
    """Weights (k, k), k odd, and, where the kernel is a product of two vectors, these: columns' and rows' (k,)."""

    weights: NDArray[np.float32]
    factors: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None


def bivariate(
    profile: Profile,
    size: int,
    sigma_x: float | Floats,
    sigma_y: float | Floats,
    theta: float | Floats = 0.0,
    beta: float | Floats = 1.0,
) -> Floats:
    """Kernels of (N, size, size) that sum to 1, of the squared Mahalanobis distance d from the centre.

    exp(-d / 2), exp(-d^beta / 2) or 1 / (1 + d^beta). Parameters are numbers or of shape (N,): standard deviations in
    pixels along two axes, the first turned by `theta` radians from x towards y.
    """
    along, across, angle, power = (np.reshape(value, (-1, 1, 1)) for value in (sigma_x, sigma_y, theta, beta))
    x, y = _grid(size)
    cos, sin = np.cos(angle), np.sin(angle)
    distance = ((cos * x + sin * y) / along) ** 2 + ((cos * y - sin * x) / across) ** 2
    if profile == "plateau":
        kernels = 1 / (1 + distance**power)
    else:
        kernels = np.exp(-0.5 * (distance if profile == "gaussian" else distance**power))
    return _normalised(kernels)


def gaussian(size: int, sigma: float) -> Floats:
    """A Gaussian (size,) that sums to 1; with itself it makes the isotropic bivariate one."""
    x = np.arange(size) - size // 2
    weights = np.exp(-0.5 * (x / sigma) ** 2)
    normalised: Floats = weights / weights.sum()
    return normalised


def sinc(size: int, cutoff: float | Floats) -> Floats:
    """Circular low-passes of (N, size, size) that sum to 1; `cutoff` in radians a pixel, at most pi, number or (N,)."""
    omega = np.reshape(cutoff, (-1, 1, 1))
    x, y = _grid(size)
    radius = np.hypot(x, y)
    radius[size // 2, size // 2] = 1  # the centre, whose limit is put in below
    bessel = torch.special.bessel_j1(torch.from_numpy(omega * radius)).numpy()
    kernels = omega * bessel / (2 * math.pi * radius)
    kernels[:, size // 2, size // 2] = omega[:, 0, 0] ** 2 / (4 * math.pi)
    return _normalised(kernels)


def isotropic(size: int, sigma: float) -> Kernel:
    """A Gaussian alike in all directions, which separates."""
    line = gaussian(size, sigma).astype(np.float32)
    return Kernel(np.outer(line, line), (line, line))


def centred(kernels: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Kernels of several odd sizes as (N, k, k), zeros around the smaller ones."""
    size = max((len(kernel) for kernel in kernels), default=1)
    stacked = np.zeros((len(kernels), size, size), np.float32)
    for row, kernel in zip(stacked, kernels, strict=True):
        edge = (size - len(kernel)) // 2
        row[edge : size - edge, edge : size - edge] = kernel
    return stacked


def trimmed(weights: NDArray[Any], loss: float = 1e-6) -> NDArray[Any]:
    """The middle of a kernel (k, k) or (k,), without what changes a picture in [0, 1] by less than `loss`."""
    radius = len(weights) // 2
    near = np.abs(np.arange(len(weights)) - radius)
    ring = near if weights.ndim == 1 else np.maximum.outer(near, near)
    sums = np.bincount(ring.ravel(), np.abs(weights).ravel())
    beyond = np.cumsum(sums[::-1])[::-1]  # of each ring and those outside it
    keep = max(int(np.count_nonzero(beyond > loss)) - 1, 0)
    middle = slice(radius - keep, radius + keep + 1)
    return weights[(middle,) * weights.ndim]


def _grid(size: int) -> tuple[Floats, Floats]:
    if size % 2 == 0:
        raise ValueError(f"a kernel of {size} pixels has no centre: its side must be odd")
    line = np.arange(size, dtype=np.float64) - size // 2
    return line[None, :].repeat(size, 0), line[:, None].repeat(size, 1)


def _normalised(kernels: Floats) -> Floats:
    normalised: Floats = kernels / kernels.sum(axis=(1, 2), keepdims=True)
    return normalised
