"""Random resizing, as `torch.nn.functional.interpolate` does it: without antialiasing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from restore.degradations.pictures import Degradation, Pictures, Size
from restore.degradations.separable import Matrix, apply_matrices, band
from restore.errors import UserError
from restore.keyed import Draws
from restore.ranges import Limits
from restore.registry import DEGRADATIONS

Mode = Literal["area", "bilinear", "bicubic"]
Factor = Annotated[float, Field(gt=0, le=64)]
Weight = Annotated[float, Field(ge=0)]
Modes = Annotated[tuple[Mode, ...], Field(min_length=1)]
MODES: Modes = ("area", "bilinear", "bicubic")


@DEGRADATIONS.register
class Resize(Degradation):
    """Enlarges, shrinks or keeps each picture, by a random factor.

    Args:
        scale: the smallest factor (at most 1) and the largest (at least 1).
        probabilities: weights of enlarging (by 1 to the largest), shrinking (by the smallest to 1) and keeping.
        modes: the interpolations, all as likely.
        of: what the factor multiplies: the size the picture has, or the size it will have in the end (the LQ's).
    """

    def __init__(
        self,
        scale: Limits[Factor] = (0.15, 1.5),
        probabilities: tuple[Weight, Weight, Weight] = (0.2, 0.7, 0.1),
        modes: Modes = MODES,
        of: Literal["picture", "target"] = "picture",
    ) -> None:
        if not scale[0] <= 1 <= scale[1] or sum(probabilities) <= 0:
            raise UserError(f"Resize: scale {list(scale)} must enclose 1, and one of the probabilities be above 0")
        self.scale, self.modes, self.of = scale, modes, of
        self.probabilities = [weight / sum(probabilities) for weight in probabilities]

    def __call__(self, pictures: Pictures, draws: Sequence[Draws]) -> Pictures:
        plans = []
        for size, rng in zip(pictures.sizes, draws, strict=True):
            factor = self._factor(rng)
            height, width = size if self.of == "picture" else pictures.target
            wanted = (max(int(height * factor), 1), max(int(width * factor), 1))
            # as `interpolate` does: a factor of the picture's own size sets the distance of samples, too
            step = 1 / factor if self.of == "picture" else None
            plans.append(Plan(wanted, _mode(self.modes, rng), step))
        return resize(pictures, plans)

    def _factor(self, rng: Draws) -> float:
        kind = rng.choice(3, p=self.probabilities)
        lowest, highest = ((1.0, self.scale[1]), (self.scale[0], 1.0), (1.0, 1.0))[kind]
        return float(rng.uniform(lowest, highest))


@DEGRADATIONS.register
class Downsample(Degradation):
    """Divides the sides of each picture by a random number, as GFPGAN does.

    Args:
        factor: range of the divisor; below 1 enlarges.
        modes: the interpolations, all as likely.
    """

    def __init__(self, factor: Limits[Factor] = (0.8, 8.0), modes: Modes = ("bilinear",)) -> None:
        self.factor, self.modes = factor, modes

    def __call__(self, pictures: Pictures, draws: Sequence[Draws]) -> Pictures:
        plans = []
        for (height, width), rng in zip(pictures.sizes, draws, strict=True):
            factor = rng.uniform(*self.factor)
            wanted = (max(int(height // factor), 1), max(int(width // factor), 1))
            plans.append(Plan(wanted, _mode(self.modes, rng)))
        return resize(pictures, plans)


@DEGRADATIONS.register
class ResizeToTarget(Degradation):
    """Brings each picture to the size that it has in the end: the LQ's.

    Args:
        modes: the interpolations, all as likely.
    """

    def __init__(self, modes: Modes = MODES) -> None:
        self.modes = modes

    def __call__(self, pictures: Pictures, draws: Sequence[Draws]) -> Pictures:
        return resize(pictures, [Plan(pictures.target, _mode(self.modes, rng)) for rng in draws])


@dataclass(frozen=True)
class Plan:
    """What one picture becomes: its size, how, and the distance of its samples in the old ones (None: by the sizes)."""

    size: Size
    mode: Mode
    step: float | None = None

    def matrices(self, size: Size) -> tuple[Matrix, Matrix]:
        """For the rows and the columns of a picture. One that keeps its size keeps its pixels, as in `interpolate`."""
        if size == self.size:
            return np.eye(size[0], dtype=np.float32), np.eye(size[1], dtype=np.float32)
        rows, columns = (matrix(*lengths, self.mode, self.step) for lengths in zip(size, self.size, strict=True))
        return rows, columns


def resize(pictures: Pictures, plans: Sequence[Plan]) -> Pictures:
    """Each picture resized as planned for it."""
    if all(plan.size == size for plan, size in zip(plans, pictures.sizes, strict=True)):
        return pictures
    if len(plans) == 1 and pictures.canvas.device.type == "cpu" and plans[0].step is None and plans[0].mode != "area":
        return _resize_one(pictures, plans[0])
    pairs = [plan.matrices(size) for plan, size in zip(plans, pictures.sizes, strict=True)]
    return apply_matrices(pictures, [rows for rows, _ in pairs], [columns for _, columns in pairs])


def _resize_one(pictures: Pictures, plan: Plan) -> Pictures:
    """OpenCV's, whose kernels and positions are PyTorch's, in half the time of matrix products."""
    import cv2

    flag = cv2.INTER_LINEAR if plan.mode == "bilinear" else cv2.INTER_CUBIC
    height, width = pictures.sizes[0]
    planes = pictures.canvas[0, :, :height, :width].numpy()
    canvas = torch.empty(1, len(planes), *plan.size)
    for plane, out in zip(planes, canvas[0].numpy(), strict=True):
        cv2.resize(plane, plan.size[::-1], dst=out, interpolation=flag)
    return Pictures(canvas, (plan.size,), pictures.target)


def matrix(n_in: int, n_out: int, mode: Mode, step: float | None = None) -> Matrix:
    """One axis of `torch.nn.functional.interpolate`, as a matrix (n_out, n_in).

    Args:
        step: the distance of neighbouring samples in old ones, which `interpolate` computes from its `scale_factor`;
            by default the quotient of the lengths. Areas do without.
    """
    if mode == "area":
        return _area(n_in, n_out)
    # in float32, as PyTorch computes: far from the origin the rounding of positions shows in the fifth digit
    distance = np.float32(step if step is not None else n_in / n_out)
    position = distance * (np.arange(n_out, dtype=np.float32)[:, None] + np.float32(0.5)) - np.float32(0.5)
    if mode == "bilinear":
        position = np.maximum(position, np.float32(0))
    first = np.floor(position).astype(np.int64)
    t = position - first.astype(np.float32)
    if mode == "bilinear":
        return band(np.minimum(first + np.arange(2), n_in - 1), np.concatenate((1 - t, t), axis=1), n_in)
    taps = np.clip(first + np.arange(-1, 3), 0, n_in - 1)
    return band(taps, _cubic(np.abs(t - np.arange(-1, 3, dtype=np.float32))), n_in)


def _area(n_in: int, n_out: int) -> Matrix:
    """Means over the samples that an output pixel touches."""
    number = np.arange(n_out)[:, None]
    first, end = number * n_in // n_out, -(-(number + 1) * n_in // n_out)
    column = np.arange(n_in)
    inside = (column >= first) & (column < end)
    return (inside / (end - first)).astype(np.float32)


def _cubic(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Keys' kernel with a = -0.75, PyTorch's and OpenCV's."""
    a = np.float32(-0.75)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, far)


def _mode(modes: Sequence[Mode], rng: Draws) -> Mode:
    return modes[int(rng.integers(len(modes)))]
