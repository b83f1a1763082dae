"""How much of a picture is noise at each time. Ho et al., "Denoising diffusion probabilistic models" (NeurIPS 2020),
with the linear betas; Nichol & Dhariwal, "Improved denoising diffusion probabilistic models" (ICML 2021), the cosine's.
"""

import math
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["linear", "cosine"]

_OFFSET = 0.008  # keeps the first betas of the cosine from vanishing
_LARGEST_BETA = 0.999  # of the cosine, whose last would be 1


class Schedule:
    """x_t = sqrt(alphas[t]) x_0 + sqrt(1 - alphas[t]) noise, for t = 0 (nearly clean) to num_train - 1 (nearly noise).

    Pictures are in [-1, 1] and the noise is standard normal. All of it is reckoned in float64 and rounded to the
    pictures' precision at the end: near t = 0, float32 leaves 1 - alphas[t] three digits.

    Args:
        kind: "linear", betas evenly spread; or "cosine", whose alphas fall as a squared cosine.
        num_train: how many times there are.
        beta_start: the linear schedule's first beta, the variance that a step adds; the cosine has no use for it.
        beta_end: the linear schedule's last.

    Attributes:
        alphas: the products of 1 - beta up to each time, float64, (num_train,).

    Raises:
        ValueError: `num_train` is not positive, or not 0 < beta_start <= beta_end < 1.
    """

    def __init__(
        self, kind: Kind = "linear", num_train: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02
    ) -> None:
        if num_train < 1 or not 0 < beta_start <= beta_end < 1:
            raise ValueError(
                f"{num_train} times, betas {beta_start} to {beta_end}: 1 or more, 0 < start <= end < 1 needed"
            )
        linear = torch.linspace(beta_start, beta_end, num_train, dtype=torch.float64)
        betas = linear if kind == "linear" else _cosine_betas(num_train)
        self.num_train = num_train
        self.alphas = (1 - betas).cumprod(0)

    def timesteps(self, num_steps: int, first: int | None = None) -> list[int]:
        """The times of `num_steps` calls of the network: from `first` (the last of all by default) evenly down to 0.

        These are Nichol & Dhariwal's "respaced" times. A single step stands at `first`.

        Raises:
            ValueError: there are fewer times than steps, or no step.
        """
        first = self.num_train - 1 if first is None else first
        if not 1 <= num_steps <= first + 1:
            raise ValueError(f"num_steps is {num_steps}: from time {first} down there are 1 to {first + 1}")
        return [round(first - first * i / max(num_steps - 1, 1)) for i in range(num_steps)]

    def noised(self, x0: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """The picture (N, C, H, W) at `time`, (N,) integers."""
        signal, spread = self._shares(time, x0)
        return signal * x0 + spread * noise

    def clean(self, x_t: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """The picture that `noise` would have made `x_t` of at `time`: `noised` undone, not clipped."""
        signal, spread = self._shares(time, x_t)
        return (x_t - spread * noise) / signal

    def _shares(self, time: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """The factors of picture and noise, (N, 1, 1, 1) each."""
        shares = torch.stack((self.alphas, 1 - self.alphas)).sqrt().to(like.device, like.dtype)
        signal, spread = shares[:, time].reshape(2, -1, *[1] * (like.ndim - 1))
        return signal, spread


def _cosine_betas(num_train: int) -> Tensor:
    angles = (torch.arange(num_train + 1, dtype=torch.float64) / num_train + _OFFSET) / (1 + _OFFSET) * math.pi / 2
    squares = angles.cos().square()
    return (1 - squares[1:] / squares[:-1]).clamp(max=_LARGEST_BETA)
