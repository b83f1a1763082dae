"""Convolution of each picture of a batch with a kernel of its own, mirrored at the picture's own border."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from restore.degradations.kernels import Kernel, centred, trimmed
from restore.degradations.pictures import Degradation, Pictures
from restore.degradations.separable import apply_matrices, blur_matrix, mirrored
from restore.keyed import Draws

# Sides up to which OpenCV's sums of products beat a transform on one core; 7 takes a third of its time at 256 px.
_DIRECT = 11

# Weights below are left out of sums: subnormal numbers would make them ten times as slow.
_TINY = 1e-20


class Convolved(Degradation):
    """Base of the blurs: each picture is convolved with a kernel that is drawn for it."""

    def __call__(self, pictures: Pictures, draws: Sequence[Draws]) -> Pictures:
        return convolve(pictures, [self.kernel(rng) for rng in draws])

    def kernel(self, rng: Draws) -> Kernel | None:
        """A random kernel; None where the picture stays as it is."""
        raise NotImplementedError


def convolve(pictures: Pictures, kernels: Sequence[Kernel | None]) -> Pictures:
    """Each picture convolved with its kernel; None leaves it as it is.

    One picture on a CPU takes the quickest of three ways: products with band matrices (kernels that separate), sums
    (small kernels), Fourier transforms. Batches take the last. What a kernel has too little of to change a picture by
    1e-6 is left out.
    """
    if all(kernel is None for kernel in kernels):
        return pictures
    if len(kernels) == 1 and kernels[0] is not None and pictures.canvas.device.type == "cpu":
        return _convolve_one(pictures, kernels[0])
    chosen = [i for i, kernel in enumerate(kernels) if kernel is not None]
    part = pictures.select(chosen)
    weights = [trimmed(kernel.weights) for kernel in kernels if kernel is not None]
    return pictures.replaced(chosen, part.filled(_by_transform(part, weights)))


def _convolve_one(pictures: Pictures, kernel: Kernel) -> Pictures:
    if kernel.factors is not None:
        (column, row), (height, width) = kernel.factors, pictures.sizes[0]
        down = blur_matrix(trimmed(column), height)
        across = down if row is column and width == height else blur_matrix(trimmed(row), width)
        return apply_matrices(pictures, [down], [across])
    weights = trimmed(kernel.weights)
    if len(weights) > _DIRECT:
        return pictures.filled(_by_transform(pictures, [weights]))
    import cv2

    planes = pictures.canvas[0].numpy()
    weights = np.where(np.abs(weights) > _TINY, weights, np.float32(0))
    flipped = weights[::-1, ::-1]  # OpenCV correlates
    return pictures.filled(torch.from_numpy(np.stack([cv2.filter2D(plane, -1, flipped) for plane in planes]))[None])


def _by_transform(pictures: Pictures, kernels: Sequence[NDArray[np.float32]]) -> Tensor:
    """The product of the Fourier transforms of the mirrored pictures and the kernels, at a length that suits both."""
    height, width = pictures.canvas.shape[2:]
    reach = max(map(len, kernels)) // 2
    lengths = _smooth(height + 2 * reach), _smooth(width + 2 * reach)
    device = pictures.canvas.device
    weights = torch.from_numpy(centred(kernels)).to(device, non_blocking=True)
    padded = _mirror(pictures, reach, lengths)
    with torch.autocast(device.type, enabled=False):
        # one axis at a time, along memory, and no line that is cut off later: half the time of irfft2 on a CPU
        filters = torch.fft.fft(torch.fft.rfft(weights, n=lengths[1]).mT, n=lengths[0])
        columns = torch.fft.ifft(torch.fft.rfft2(padded).mT.contiguous().mul_(filters[:, None]))
        rows = columns[..., 2 * reach : 2 * reach + height].mT.contiguous()
        own: Tensor = torch.fft.irfft(rows, n=lengths[1])[..., 2 * reach : 2 * reach + width]
    return own.contiguous()


def _mirror(pictures: Pictures, reach: int, lengths: tuple[int, int]) -> Tensor:
    """The pictures with `reach` mirrored pixels before and after them, on a canvas of `lengths`."""
    canvas, (rows, columns) = pictures.canvas, zip(*pictures.sizes, strict=True)
    if pictures.even and reach < min(canvas.shape[2:]):
        after = [n - reach - length for n, length in zip(lengths, canvas.shape[2:], strict=True)]
        if max(after) < min(canvas.shape[2:]):
            return F.pad(canvas, (reach, after[1], reach, after[0]), mode="reflect")
    down, across = (
        torch.from_numpy(np.stack([mirrored(np.arange(-reach, n - reach), size) for size in sizes])).to(canvas.device)
        for n, sizes in ((lengths[0], rows), (lengths[1], columns))
    )
    sample, channel = torch.arange(len(canvas))[:, None, None, None], torch.arange(canvas.shape[1])[:, None, None]
    index = (sample.to(canvas.device), channel.to(canvas.device), down[:, None, :, None], across[:, None, None, :])
    mirrored_canvas: Tensor = canvas[index]
    return mirrored_canvas


def _smooth(length: int) -> int:
    """The next multiple of 16 without prime factors above 7: lengths that transform quickly."""
    length = -(-length // 16)
    while True:
        rest = length
        for prime in (2, 3, 5, 7):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return 16 * length
        length += 1
