"""Linear operations that act on rows and columns apart: two products with matrices that are zero off a band.

Resizing is one, and so is a blur whose kernel separates. A matrix holds what happens at the border, too.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restore.degradations.pictures import Pictures

Matrix = NDArray[np.float32]

# Rows that one product makes: enough to keep BLAS busy, few enough that it meets few zeros of the band.
_BLOCK = 32


def mirrored(positions: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Positions inside [0, length) for any: the signal goes on mirrored at its last samples, which are not repeated."""
    if length == 1:
        return np.zeros_like(positions)
    turned = positions % (2 * length - 2)
    return np.minimum(turned, 2 * length - 2 - turned)


def band(taps: NDArray[np.int64], weights: NDArray[Any], length: int) -> Matrix:
    """The matrix whose row i has `weights[i]` at the columns `taps[i]`; weights of the same column add up."""
    columns = taps + length * np.arange(len(taps))[:, None]
    sums = np.bincount(columns.ravel(), np.broadcast_to(weights, taps.shape).ravel(), len(taps) * length)
    return sums.reshape(len(taps), length).astype(np.float32)


def blur_matrix(weights: NDArray[Any], length: int) -> Matrix:
    """Convolution of a line of `length` samples with symmetric weights (k,), mirrored at both ends."""
    reach = len(weights) // 2
    taps = np.arange(length)[:, None] + np.arange(-reach, reach + 1)
    return band(mirrored(taps, length), weights, length)


def apply_matrices(pictures: Pictures, rows: Sequence[Matrix], columns: Sequence[Matrix]) -> Pictures:
    """`rows[i] @ picture @ columns[i].T` for picture i; its size becomes the matrices'."""
    sizes = tuple((len(down), len(across)) for down, across in zip(rows, columns, strict=True))
    canvas = pictures.canvas
    if len(sizes) == 1 and canvas.device.type == "cpu":
        height, width = pictures.sizes[0]
        planes = canvas[0, :, :height, :width].numpy()
        return replace(pictures, canvas=torch.from_numpy(_banded(planes, rows[0], columns[0]))[None], sizes=sizes)
    down, across = (_stacked(matrices, canvas, axis) for axis, matrices in ((2, rows), (3, columns)))
    with _full_precision(canvas.device):
        canvas = down[:, None] @ canvas @ across[:, None].mT
    return replace(pictures, canvas=canvas, sizes=sizes)


def _banded(planes: NDArray[np.float32], rows: Matrix, columns: Matrix) -> NDArray[np.float32]:
    """Both products for (C, H, W), the one that leaves less to the other first."""
    if len(rows) * planes.shape[2] <= planes.shape[1] * len(columns):
        return _across(_down(planes, rows), columns)
    return _down(_across(planes, columns), rows)


def _down(planes: NDArray[np.float32], matrix: Matrix) -> NDArray[np.float32]:
    out = np.empty((len(planes), len(matrix), planes.shape[2]), np.float32)
    for rows, used in blocks(matrix):
        np.matmul(matrix[rows, used], planes[:, used], out=out[:, rows])
    return out


def _across(planes: NDArray[np.float32], matrix: Matrix) -> NDArray[np.float32]:
    out = np.empty((planes.shape[0] * planes.shape[1], len(matrix)), np.float32)
    flat = planes.reshape(-1, planes.shape[2])
    for rows, used in blocks(matrix):
        np.matmul(flat[:, used], matrix[rows, used].T, out=out[:, rows])
    return out.reshape(*planes.shape[:2], -1)


def blocks(matrix: NDArray[Any]) -> Iterator[tuple[slice, slice]]:
    """Some rows of a band matrix at a time, with the columns that they use."""
    for start in range(0, len(matrix), _BLOCK):
        rows = slice(start, start + _BLOCK)
        used = np.flatnonzero(matrix[rows].any(axis=0))
        yield rows, slice(int(used[0]), int(used[-1]) + 1)


def _stacked(matrices: Sequence[Matrix], canvas: Tensor, axis: int) -> Tensor:
    """(N, longest, canvas) on the canvas' device; the zeros around a matrix hide what lies outside its picture."""
    stacked = np.zeros((len(matrices), max(map(len, matrices)), canvas.shape[axis]), np.float32)
    for row, matrix in zip(stacked, matrices, strict=True):
        row[: matrix.shape[0], : matrix.shape[1]] = matrix
    return torch.from_numpy(stacked).to(canvas.device, non_blocking=True)


@contextlib.contextmanager
def _full_precision(device: torch.device) -> Iterator[None]:
    """Without autocast and TF32, whose 10 bits would show."""
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = allowed
