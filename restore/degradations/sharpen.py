"""Unsharp masking, as Real-ESRGAN sharpens its targets (Wang et al., ICCV Workshops 2021)."""

import torch
from torch import Tensor

from restore.degradations.kernels import gaussian
from restore.degradations.pictures import Pictures
from restore.degradations.separable import apply_matrices, blur_matrix

_SIZE, _SIGMA = 51, 8.0  # OpenCV's sigma for a side of 51: 0.3 (25 - 1) + 0.8
_WEIGHT, _THRESHOLD = 0.5, 10 / 255


def usm_sharpen(batch: Tensor) -> Tensor:
    """Sharpens (N, 3, H, W) in [0, 1] where it differs from its blur by more than 10 levels of 8 bits.

    Half of the difference from the blur is added, under a mask that is blurred too. Both blurs separate: 102 products
    for a pixel where the 51 x 51 kernel takes 2601.
    """
    difference = batch - _blur(batch)
    mask = _blur((difference.abs() > _THRESHOLD).to(batch.dtype))
    sharp = torch.add(batch, difference, alpha=_WEIGHT).clamp_(0, 1)
    return torch.lerp(batch, sharp, mask)


def _blur(batch: Tensor) -> Tensor:
    weights = gaussian(_SIZE, _SIGMA)
    down, across = (blur_matrix(weights, length) for length in batch.shape[2:])
    size = (batch.shape[2], batch.shape[3])
    return apply_matrices(Pictures.of(batch, size), [down] * len(batch), [across] * len(batch)).canvas
