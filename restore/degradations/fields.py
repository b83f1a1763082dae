"""Fields of random numbers from a counter hash: the same on every device, for one picture or a batch of them.

A pixel's number depends on its sample's seed and on its row, column and channel, not on the canvas around it.
Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), for the idea; the mixing is Wellons'
"lowbias32", the low half of the seed going in before its first multiplication and the high half after it.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

Size = tuple[int, int]

_ROW, _CHANNEL = 1 << 14, 1 << 28  # counters differ between all pixels of up to 16384 x 16384, 16 channels
_EXACT_BELOW, _MOST = 6.0, 26  # counts of more than 25 at rates below 6: less than one in 10^8
_FIRST, _SECOND = 0x7FEB352D, 0x846CA68B - (1 << 32)


def normals(seeds: Sequence[int], channels: int, size: Size, device: torch.device) -> Tensor:
    """Standard normal numbers (N, channels, height, width), float32, at most 5.7 in size: Box and Muller's.

    Two rows are made of each other's hashes. `seeds`: one number below 2**63 for each sample.
    """
    height, width = size
    bits = hashes(seeds, channels, (height + height % 2, width), device)
    # 23 bits and a half: never 0 or 1, and exact in float32
    uniform = bits.bitwise_right_shift_(9).bitwise_and_(0x7FFFFF).to(torch.float32).add_(0.5).mul_(2.0**-23)
    radius = uniform[:, :, 0::2].log().mul_(-2).sqrt_()
    angle = uniform[:, :, 1::2].mul(2 * math.pi)
    torch.mul(radius, angle.cos(), out=uniform[:, :, 0::2])
    torch.mul(radius, angle.sin_(), out=uniform[:, :, 1::2])
    return uniform[:, :, :height]


def poisson(rates: Tensor, normal: Tensor) -> Tensor:
    """Poisson numbers of the given rates, by inversion: each is the quantile where a standard normal has `normal`.

    Exact below a rate of 6. Above, the Cornish-Fisher expansion that Giles, "Algorithm 955: approximation of the
    inverse Poisson cumulative distribution function" (TOMS 2016), rounds down: at most 5e-4 of the probability moves.
    """
    square = normal * normal
    root = rates.sqrt().clamp_min_(1.0)
    third = (square * 0.5).add_(1).mul_(normal).div_(root).mul_(-1 / 36)
    fourth = (square * 3).add_(7).mul_(square).sub_(16).div_(rates.clamp_min(1.0)).mul_(1 / 810)
    counts = square.add_(2).div_(6).add_(rates).add_(root.mul_(normal)).add_(third).add_(fourth).floor_().clamp_min_(0)
    low = (rates < _EXACT_BELOW).reshape(-1).nonzero()[:, 0]
    few = rates.reshape(-1)[low]
    uniform = normal.reshape(-1)[low].mul_(math.sqrt(0.5)).erf_().add_(1).div_(2)
    counts.view(-1).index_copy_(0, low, _poisson_by_summing(few, uniform))
    return counts


def _poisson_by_summing(rates: Tensor, uniform: Tensor) -> Tensor:
    """How many of the cumulative probabilities are below `uniform`."""
    term = torch.exp(-rates)
    reached, counts = term.clone(), torch.zeros_like(rates)
    for count in range(1, _MOST):
        counts += uniform > reached
        term.mul_(rates).div_(count)
        reached += term
    return counts


def hashes(seeds: Sequence[int], channels: int, size: Size, device: torch.device) -> Tensor:
    """32 random bits for each pixel: int32 of (N, channels, height, width)."""
    low, high = (
        torch.tensor([_signed(seed >> shift) for seed in seeds], dtype=torch.int32).to(device)[:, None, None, None]
        for shift in (0, 32)
    )
    y, x, c = (torch.arange(n, dtype=torch.int32, device=device) for n in (*size, channels))
    bits = (x + y[:, None] * _ROW + c[:, None, None] * _CHANNEL).bitwise_xor(low)
    shifted = torch.empty_like(bits)
    _fold(bits, 16, shifted)
    bits.mul_(_FIRST).bitwise_xor_(high)
    _fold(bits, 15, shifted)
    bits.mul_(_SECOND)
    _fold(bits, 16, shifted)
    return bits


def _fold(bits: Tensor, shift: int, shifted: Tensor) -> None:
    """`bits ^= bits >> shift` for unsigned numbers, which torch has no shift for."""
    torch.bitwise_right_shift(bits, shift, out=shifted)
    bits.bitwise_xor_(shifted.bitwise_and_((1 << (32 - shift)) - 1))


def _signed(number: int) -> int:
    """The low 32 bits as int32 has them."""
    number &= 0xFFFFFFFF
    return number - (1 << 32) if number >> 31 else number
