"""Gaussian and Poisson noise, coloured or gray."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from restore.degradations.fields import normals, poisson
from restore.degradations.pictures import Degradation, Pictures
from restore.keyed import Draws
from restore.ranges import Limits, Share
from restore.registry import DEGRADATIONS

_LUMA = (0.2989, 0.587, 0.114)  # torchvision's, which BasicSR uses
Level = Annotated[float, Field(ge=0)]


@DEGRADATIONS.register
class GaussianNoise(Degradation):
    """Adds normal noise, and clips to [0, 1].

    Args:
        sigma: range of the standard deviation, in levels of 8 bits.
        gray_probability: how often the three channels get the same noise.
    """

    def __init__(self, sigma: Limits[Level] = (1.0, 30.0), gray_probability: Share = 0.4) -> None:
        self.sigma, self.gray_probability = sigma, gray_probability

    def __call__(self, pictures: Pictures, draws: Sequence[Draws]) -> Pictures:
        drawn = Drawn.of(self.sigma, self.gray_probability, draws)
        noise = drawn.field(pictures.canvas).mul_(drawn.strength(pictures.canvas) / 255)
        return pictures.filled(noise.add(pictures.canvas).clamp_(0, 1))


@DEGRADATIONS.register
class PoissonNoise(Degradation):
    """Adds shot noise, and clips to [0, 1].

    Args:
        scale: range of the factor on the noise that counting as many photons as there are levels would have.
        gray_probability: how often the three channels get the same noise, that of the luma.
    """

    def __init__(self, scale: Limits[Level] = (0.05, 3.0), gray_probability: Share = 0.4) -> None:
        self.scale, self.gray_probability = scale, gray_probability

    def __call__(self, pictures: Pictures, draws: Sequence[Draws]) -> Pictures:
        canvas, drawn = pictures.canvas, Drawn.of(self.scale, self.gray_probability, draws)
        levels = drawn.source(canvas).mul(255).round_().clamp_(0, 255)
        photons = _photons(levels, pictures).to(canvas.device)[:, None, None, None] / 255
        noise = poisson(levels * photons, drawn.field(canvas)).div_(photons).sub_(levels)
        noise.mul_(drawn.strength(canvas) / 255)
        return pictures.filled(noise.add(canvas).clamp_(0, 1))


@dataclass(frozen=True)
class Drawn:
    """What was drawn for each picture: the strength of its noise, whether it is gray, and the seed of its field."""

    strengths: list[float]
    gray: list[bool]
    seeds: list[int]

    @classmethod
    def of(cls, strength: tuple[float, float], gray_probability: float, draws: Sequence[Draws]) -> "Drawn":
        """Draws from each picture's generator."""
        rows = [(r.uniform(*strength), r.random() < gray_probability, int(r.integers(1 << 63))) for r in draws]
        strengths, gray, seeds = (list(column) for column in zip(*rows, strict=True))
        return cls(strengths, gray, seeds)

    def strength(self, canvas: Tensor) -> Tensor:
        """The strengths as (N, 1, 1, 1)."""
        return _each(self.strengths, canvas)

    def field(self, canvas: Tensor) -> Tensor:
        """Standard normal numbers (N, 3, H, W), alike in the channels where gray; (N, 1, H, W) if all are gray."""
        channels = 1 if all(self.gray) else canvas.shape[1]
        numbers = normals(self.seeds, channels, (canvas.shape[2], canvas.shape[3]), canvas.device)
        return self._mixed(numbers[:, :1], numbers)

    def source(self, canvas: Tensor) -> Tensor:
        """The canvas, in luma where the noise is gray: (N, 3, H, W), or (N, 1, H, W) if all are gray."""
        if not any(self.gray):
            return canvas
        luma = sum(weight * canvas[:, i : i + 1] for i, weight in enumerate(_LUMA))
        assert isinstance(luma, Tensor)
        return self._mixed(luma, luma if all(self.gray) else canvas)

    def _mixed(self, gray: Tensor, colour: Tensor) -> Tensor:
        if all(self.gray) or not any(self.gray):
            return colour
        return torch.where(_each(self.gray, colour).bool(), gray, colour)


def _each(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).to(like.device, non_blocking=True)[:, None, None, None]


def _photons(levels: Tensor, pictures: Pictures) -> Tensor:
    """How many photons white is, for each picture: its number of different levels, rounded up to a power of 2."""
    own = [levels[i, :, :h, :w] for i, (h, w) in enumerate(pictures.sizes)]
    shades = torch.stack([_shades(picture) for picture in own])
    return torch.exp2(torch.log2(shades).ceil())


def _shades(levels: Tensor) -> Tensor:
    """How many of the levels 0 to 255 occur."""
    if levels.device.type == "cpu":
        import cv2

        flat = levels.to(torch.uint8).reshape(1, -1).numpy()
        return torch.tensor(float(np.count_nonzero(cv2.calcHist([flat], [0], None, [256], [0, 256]))))
    seen = torch.zeros(256, device=levels.device)
    return seen.index_fill_(0, levels.reshape(-1).long(), 1.0).sum()
