"""One picture at a time, as in a worker, beside a batch of several sizes, as on a device."""

import torch

from restore.degradations.pictures import Degradation, Pictures, Size, stack
from restore.keyed import draws

SIZES: tuple[Size, ...] = ((70, 90), (33, 41), (12, 64), (5, 4))
TARGET: Size = (20, 30)


def pictures(seed: int = 0, sizes: tuple[Size, ...] = SIZES) -> list[torch.Tensor]:
    """Pictures (3, h, w) with detail at several scales, and black and white among it."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for size in sizes:
        coarse = torch.rand(1, 3, 4, 4, generator=generator)
        smooth = torch.nn.functional.interpolate(coarse, size, mode="bicubic")[0]
        made.append((smooth + 0.2 * torch.rand(3, *size, generator=generator)).mul(1.3).sub(0.2).clamp(0, 1))
    return made


def assert_same_alone_and_in_a_batch(degradation: Degradation, atol: float = 1e-4, rounds: int = 12) -> None:
    """The same draws give the same picture, whatever lies beside it or outside it on the canvas."""
    own = pictures()
    for turn in range(rounds):
        batch = stack(own, TARGET)
        outside = torch.ones_like(batch.canvas)
        for row, (height, width) in zip(outside, batch.sizes, strict=True):
            row[:, :height, :width] = 0
        batch = batch.filled(torch.where(outside.bool(), 0.77, batch.canvas))
        together = degradation(batch, [draws(turn, index) for index in range(len(own))])
        for index, picture in enumerate(own):
            alone = degradation(Pictures.of(picture[None].clone(), TARGET), [draws(turn, index)])
            assert alone.sizes[0] == together.sizes[index]
            height, width = alone.sizes[0]
            assert tuple(alone.canvas.shape[2:]) == (height, width)
            difference = (alone.canvas[0] - together.canvas[index, :, :height, :width]).abs()
            assert (difference > atol).float().mean() < 1e-3
