"""Plain downsampling as a degradation: the two kernels that face models were trained with."""

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from restore.degradations.pictures import Degradation, Pictures, Size, stack
from restore.degradations.resize import TIE, resize_matrix
from restore.keyed import Draws
from restore.registry import DEGRADATIONS


@DEGRADATIONS.register
class bicubic(Degradation):
    """MATLAB's antialiased `imresize` of an 8-bit picture to the LQ's size: the classical benchmark's LQ, to the bit.

    Needs float64, which CPUs and CUDA have.
    """

    def __call__(self, pictures: Pictures, draws: Sequence[Draws]) -> Pictures:
        return _to_target(pictures, _imresize)


@DEGRADATIONS.register
class aliased_cv2(Degradation):
    """OpenCV's `INTER_CUBIC` (a = -0.75) to the LQ's size: no antialiasing, as several published face models had it."""

    def __call__(self, pictures: Pictures, draws: Sequence[Draws]) -> Pictures:
        return _to_target(pictures, _inter_cubic)


def _to_target(pictures: Pictures, resize: Callable[[Tensor, Size], Tensor]) -> Pictures:
    if pictures.even:
        resized = resize(pictures.canvas, pictures.target)
        return Pictures(resized, (pictures.target,) * len(resized), pictures.target)
    cut = [row[None, :, :h, :w] for row, (h, w) in zip(pictures.canvas, pictures.sizes, strict=True)]
    return stack([resize(picture, pictures.target)[0] for picture in cut], pictures.target)


def _imresize(batch: Tensor, size: Size) -> Tensor:
    """Rows, rounded, then columns, rounded, as `restore.degradations.resize.shrink`."""
    down, across = (_matrix(*lengths, str(batch.device)) for lengths in zip(batch.shape[2:], size, strict=True))
    levels = batch.clamp(0, 1).mul(255).round().double()
    return (_rounded(_rounded(down @ levels) @ across.T) / 255).to(batch.dtype)


@lru_cache(maxsize=32)
def _matrix(n_in: int, n_out: int, device: str) -> Tensor:
    return torch.tensor(resize_matrix(n_in, n_out), device=device)


def _rounded(levels: Tensor) -> Tensor:
    return (levels + (0.5 + TIE)).floor().clamp(0, 255)


def _inter_cubic(batch: Tensor, size: Size) -> Tensor:
    return F.interpolate(batch, size, mode="bicubic", align_corners=False).clamp(0, 1)
