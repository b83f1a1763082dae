"""A network that is right, where pictures come from a normal distribution, and pictures to try it on."""

import torch

from restore.diffusion.operators import AreaDown, BicubicDown, Compose, Mask


class Normal:
    """E[noise | x_t] for pictures whose pixels are independent and normal with `mean` and `std`, in [-1, 1].

    With std 0, the picture is known: the noise is what is left of x_t. Bayes' rule for two normal variables, written
    down apart from `Schedule`. `calls` are the times that it was asked for.
    """

    def __init__(self, mean, std=0.0, betas=None):
        betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64) if betas is None else betas
        self.mean, self.std = mean, std
        self.alphas = torch.exp(torch.cumsum(torch.log1p(-betas), 0))
        self.calls = []

    def __call__(self, x, time):
        assert time.shape == (len(x),)
        assert time.dtype == torch.int64
        self.calls.append(int(time[0]))
        alpha = float(self.alphas[time[0]])
        spread = (1 - alpha) ** 0.5
        return (x - alpha**0.5 * self.mean) * spread / (alpha * self.std**2 + spread**2)


def pictures(count=2, size=16, seed=0, dtype=torch.float32):
    """Smooth pictures (count, 3, size, size) in [0, 1]."""
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return torch.nn.functional.interpolate(coarse, size, mode="bilinear")


def hole(count=2, size=16):
    """A mask (count, 1, size, size) with another box in each."""
    mask = torch.zeros(count, 1, size, size)
    for i in range(count):
        mask[i, :, size // 4 : size // 2 + i, size // 4 + i : size * 3 // 4] = 1
    return mask


OPERATORS = {
    "mask": lambda: Mask(hole()),
    "area": lambda: AreaDown(4),
    "bicubic": lambda: BicubicDown(4, (16, 16)),
    "area then mask": lambda: Compose(AreaDown(4), Mask(hole(size=4))),
    "bicubic then mask": lambda: Compose(BicubicDown(4, (16, 16)), Mask(hole(size=4))),
}
