"""Brings faces into one pose: similarity transforms between points, and pictures warped by them, with gradients."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Kernel = Literal["bilinear", "bicubic"]
FINER, PAD = 3, 3


def similarity(source: Tensor, target: Tensor) -> Tensor:
    """The turn, scale and shift without mirroring that bring points nearest to others, in the sense of least squares.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns" (PAMI 1991). In the
    plane it needs no decomposition: with points as complex numbers the turn and scale are one quotient.

    Args:
        source: (N, K, 2), x and y.
        target: (N, K, 2) or (K, 2).

    Returns:
        (N, 2, 3): `target ~ matrix[:, :2] @ source + matrix[:, 2]`.
    """
    center, aim = source.mean(-2, keepdim=True), target.mean(-2, keepdim=True)
    p, q = source - center, target - aim
    spread = p.square().sum((-2, -1)).clamp(min=1e-12)  # points in one place have no turn
    cosine = (p * q).sum((-2, -1)) / spread
    sine = (p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]).sum(-1) / spread
    return turned(cosine, sine, center[..., 0, :], aim.expand_as(center)[..., 0, :])


def turned(cosine: Tensor, sine: Tensor, center: Tensor, aim: Tensor) -> Tensor:
    """The matrices (N, 2, 3) that scale and turn by (N,) cosines and sines, and bring `center` (N, 2) to `aim`."""
    turn = torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], -2)
    shift = aim - _times(turn, center)
    return torch.cat([turn, shift.unsqueeze(-1)], -1)


def warp(
    pictures: Tensor, matrices: Tensor, size: tuple[int, int], samples: int = 1, kernel: Kernel = "bilinear"
) -> Tensor:
    """Pictures moved by matrices, as `cv2.warpAffine` does; the border goes on outside.

    Args:
        pictures: (N, C, H, W).
        matrices: (N, 2, 3), from pixels of the pictures to those of the results, centres being at whole numbers.
        size: height and width of the results.
        samples: points a side that are averaged in each pixel: against aliasing, where pictures get smaller.
        kernel: "bilinear", or "bicubic", near that of Keys (1981) with a = -0.5, which keeps more of what is fine.

    Returns:
        (N, C, height, width), float32 at least. Gradients reach the pictures.
    """
    height, width = size
    dtype = torch.promote_types(pictures.dtype, torch.float32)
    y, x = (_points(length, samples, pictures.device, dtype) for length in size)
    wanted = torch.stack([x.expand(len(y), -1), y.unsqueeze(-1).expand(-1, len(x))], -1).view(1, -1, 2)
    turn, shift = matrices[..., :2].to(dtype), matrices[..., 2].to(dtype)
    places = _times(_inverse(turn).unsqueeze(-3), wanted - shift.unsqueeze(-2))
    found = (_bilinear if kernel == "bilinear" else _bicubic)(pictures.to(dtype), places)
    return found.view(*pictures.shape[:2], height, samples, width, samples).mean((3, 5))


def _times(matrix: Tensor, point: Tensor) -> Tensor:
    """The product (..., 2), without `@`: autocast would round places in a picture to 8 bits."""
    return (matrix * point.unsqueeze(-2)).sum(-1)


def _inverse(turn: Tensor) -> Tensor:
    """Of matrices (N, 2, 2), numbers even where there is none; without the wait for the device of `linalg.inv`."""
    a, b, c, d = turn.flatten(-2).unbind(-1)
    scale = a * d - b * c
    adjugate = torch.stack([d, -b, -c, a], -1).view(turn.shape)
    return adjugate / scale.where(scale.abs() > 1e-12, torch.full_like(scale, 1e-12)).view(-1, 1, 1)


def _points(length: int, samples: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(length * samples,): the places within each pixel."""
    return (torch.arange(length * samples, device=device, dtype=dtype) + 0.5) / samples - 0.5


def _bilinear(pictures: Tensor, places: Tensor) -> Tensor:
    """The values (N, C, P) of pictures (N, C, H, W) at places (N, P, 2).

    By indexing, whose backward pass has a deterministic form on every device; `grid_sample`'s has none on CUDA.
    """
    number, channels, height, width = pictures.shape
    limits = places.new_tensor([width - 1, height - 1])
    places = torch.minimum(places.clamp(min=0), limits)
    corner = torch.minimum(places.floor(), (limits - 1).clamp(min=0))
    right, down = (places - corner).unsqueeze(-1).unbind(-2)
    x, y = corner.long().unbind(-1)
    flat = pictures.permute(0, 2, 3, 1).reshape(number * height * width, channels)
    first = (torch.arange(number, device=pictures.device).unsqueeze(-1) * height + y) * width + x
    beside, below = int(width > 1), width * int(height > 1)
    top = flat[first] * (1 - right) + flat[first + beside] * right
    bottom = flat[first + below] * (1 - right) + flat[first + below + beside] * right
    return (top * (1 - down) + bottom * down).transpose(1, 2)


def _bicubic(pictures: Tensor, places: Tensor) -> Tensor:
    """The same as `_bilinear`, of the picture enlarged `FINER` times by cubic convolution.

    Of waves of 8 pixels that is off by 1.3 % of their height, where the convolution itself is by 0.6 %, and several
    times as fast as by indexing. (`grid_sample`'s own cubic kernel has a = -0.75, which bends even ramps: 4.8 %.)
    """
    padded = F.pad(pictures, (PAD,) * 4, mode="replicate")
    height, width = (FINER * side for side in padded.shape[-2:])
    finer = F.interpolate(padded, (height, width), mode="bicubic", antialias=True)  # a = -0.5 only with antialias
    share = (places + (PAD + 0.5)) * FINER / places.new_tensor([width, height])
    found = F.grid_sample(finer, (2 * share - 1).unsqueeze(1), "bilinear", padding_mode="border", align_corners=False)
    return found.squeeze(2)
