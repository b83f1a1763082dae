"""Blur: random Gaussian, generalised Gaussian, plateau and sinc kernels, as BasicSR mixes them."""

import math
from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from restore.degradations.convolution import Convolved
from restore.degradations.kernels import Kernel, Profile, bivariate, isotropic, sinc
from restore.errors import UserError
from restore.keyed import Draws
from restore.ranges import Limits, Share
from restore.registry import DEGRADATIONS

Shape = Literal["iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso"]
Weight = Annotated[float, Field(ge=0)]
Sigma = Annotated[float, Field(gt=0)]
KernelSize = Annotated[int, Field(ge=1, le=101)]
_PROFILES: Mapping[Shape, Profile] = {
    "iso": "gaussian",
    "aniso": "gaussian",
    "generalized_iso": "generalized",
    "generalized_aniso": "generalized",
    "plateau_iso": "plateau",
    "plateau_aniso": "plateau",
}
_LONG_SINC = 13  # kernels from this side on also get lower cut-offs
MIXED: Mapping[Shape, float] = {
    "iso": 0.45,
    "aniso": 0.25,
    "generalized_iso": 0.12,
    "generalized_aniso": 0.03,
    "plateau_iso": 0.12,
    "plateau_aniso": 0.03,
}


@DEGRADATIONS.register
class Blur(Convolved):
    """Convolves each picture with a random kernel, its border mirrored.

    Args:
        kernels: the shapes of kernels, each with its weight.
        kernel_size: the smallest and the largest side of a kernel, odd; all odd numbers between are as likely.
        sigma: range of the standard deviations in pixels.
        rotation: range of the angle of anisotropic kernels, in radians.
        beta_gaussian: range of the exponent of generalised Gaussians, around 1; below and above 1 are as likely.
        beta_plateau: the same for plateaus.
        sinc_probability: how often a circular low-pass (ringing) takes the place of `kernels`.
        probability: how often there is a blur at all.
    """

    def __init__(
        self,
        kernels: Mapping[Shape, Weight] = MIXED,
        kernel_size: Limits[KernelSize] = (7, 21),
        sigma: Limits[Sigma] = (0.2, 3.0),
        rotation: Limits[float] = (-math.pi, math.pi),
        beta_gaussian: Limits[Sigma] = (0.5, 4.0),
        beta_plateau: Limits[Sigma] = (1.0, 2.0),
        sinc_probability: Share = 0.1,
        probability: Share = 1.0,
    ) -> None:
        _check_odd("Blur", kernel_size)
        if sum(kernels.values()) <= 0:
            raise UserError("Blur: kernels need at least one weight above 0")
        for name, (low, high) in (("beta_gaussian", beta_gaussian), ("beta_plateau", beta_plateau)):
            if not low <= 1 <= high:
                raise UserError(f"Blur: {name} {[low, high]} must enclose 1: below and above it are drawn as often")
        self.shapes, weights = tuple(kernels), tuple(kernels.values())
        self.probabilities = [weight / sum(weights) for weight in weights]
        self.kernel_size, self.sigma, self.rotation = kernel_size, sigma, rotation
        self.beta: Mapping[Profile, tuple[float, float]] = {"generalized": beta_gaussian, "plateau": beta_plateau}
        self.sinc_probability, self.probability = sinc_probability, probability

    def kernel(self, rng: Draws) -> Kernel | None:
        if rng.random() >= self.probability:
            return None
        size = odd_size(self.kernel_size, rng)
        if rng.random() < self.sinc_probability:
            lowest = math.pi / 3 if size < _LONG_SINC else math.pi / 5
            return Kernel(sinc(size, rng.uniform(lowest, math.pi))[0].astype(np.float32))
        shape = self.shapes[rng.choice(len(self.shapes), p=self.probabilities)]
        return self._gaussian_like(shape, size, rng)

    def _gaussian_like(self, shape: Shape, size: int, rng: Draws) -> Kernel:
        sigma_x = sigma_y = rng.uniform(*self.sigma)
        theta, beta, profile = 0.0, 1.0, _PROFILES[shape]
        if shape.endswith("aniso"):
            sigma_y, theta = rng.uniform(*self.sigma), rng.uniform(*self.rotation)
        if profile in self.beta:
            low, high = self.beta[profile]
            beta = rng.uniform(low, 1) if rng.random() < 0.5 else rng.uniform(1, high)
        if shape == "iso":
            return isotropic(size, sigma_x)
        return Kernel(bivariate(profile, size, sigma_x, sigma_y, theta, beta)[0].astype(np.float32))


@DEGRADATIONS.register
class Sinc(Convolved):
    """A random circular low-pass: the ringing and overshoot that cameras and sharpening leave.

    Args:
        kernel_size: as for `Blur`.
        cutoff: range of the cut-off frequency, in radians a pixel.
        probability: how often it is applied.
    """

    def __init__(
        self,
        kernel_size: Limits[KernelSize] = (7, 21),
        cutoff: Limits[Sigma] = (math.pi / 3, math.pi),
        probability: Share = 0.8,
    ) -> None:
        _check_odd("Sinc", kernel_size)
        self.kernel_size, self.cutoff, self.probability = kernel_size, cutoff, probability

    def kernel(self, rng: Draws) -> Kernel | None:
        if rng.random() >= self.probability:
            return None
        size = odd_size(self.kernel_size, rng)
        return Kernel(sinc(size, rng.uniform(*self.cutoff))[0].astype(np.float32))


def _check_odd(part: str, sizes: tuple[int, int]) -> None:
    if sizes[0] % 2 == 0 or sizes[1] % 2 == 0:
        raise UserError(f"{part}: kernel_size {list(sizes)} must be odd, so that a kernel has a centre")


def odd_size(sizes: tuple[int, int], rng: Draws) -> int:
    """One of the odd numbers of a range, ends included, all as likely."""
    return int(rng.integers(sizes[0] // 2, sizes[1] // 2 + 1)) * 2 + 1
