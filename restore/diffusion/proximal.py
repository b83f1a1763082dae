"""The picture between an estimate and what was measured: min over z of |y - A z|^2 + rho |z - x|^2.

Hestenes & Stiefel, "Methods of conjugate gradients for solving linear systems" (1952). For masks and means, whose A A^T
is a multiple of the identity, the first step is the closed form.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from restore.diffusion.operators import Operator

_ENOUGH = 1e-14  # of the residual's square: float32 has no more
_MOST = 50  # shrinking by a bicubic takes about 20


def proximal(operator: Operator, x: Tensor, y: Tensor, rho: float) -> Tensor:
    """z = x + A^T v, where (A A^T + rho) v = y - A x: so solved, it is a system of the small picture's size.

    What A cannot make, as what stands in a mask's hole, plays no part in y. `rho` is positive; without it, see
    `Operator.consistent`.
    """
    right = operator.forward(operator.pinv(y) - x)
    v = _solved(lambda v: operator.forward(operator.adjoint(v)) + rho * v, right)
    return x + operator.adjoint(v)


def _solved(matrix: Callable[[Tensor], Tensor], right: Tensor) -> Tensor:
    """v with `matrix(v) = right`, (N, C, H, W), each picture on its own: one that is done stands still."""
    v, residual, direction = torch.zeros_like(right), right, right
    square = _dot(right, right)
    enough = _ENOUGH * square
    for _ in range(_MOST):
        going = square > enough
        if not going.any():
            break
        image = matrix(direction)
        length = torch.where(going, square / _dot(direction, image), 0)
        v, residual = v + length * direction, residual - length * image
        square, before = _dot(residual, residual), square
        direction = residual + torch.where(going, square / before, 0) * direction
    return v


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """(N, 1, 1, 1), summed picture by picture, so that the others do not decide in which order."""
    return torch.stack([(p * q).sum() for p, q in zip(a, b, strict=True)]).reshape(-1, 1, 1, 1)
