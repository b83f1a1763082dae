"""Flips and rotations, the same for every picture of a sample and for its landmarks."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from restore.data.sample import PICTURES, Sample
from restore.keyed import Draws
from restore.ranges import Share
from restore.registry import TRANSFORMS

Change = Callable[[NDArray[Any]], NDArray[Any]]

_SIDES_SWAPPED = [1, 0, 2, 4, 3]  # of landmarks: in a mirror, a left eye is a right one


def mirror_x(sample: Sample) -> Sample:
    """Left becomes right."""
    return _mirrored(sample, lambda picture: picture[:, ::-1], lambda points, size: points * (-1, 1) + (size[1] - 1, 0))


def mirror_y(sample: Sample) -> Sample:
    """Up becomes down."""
    return _mirrored(sample, lambda picture: picture[::-1], lambda points, size: points * (1, -1) + (0, size[0] - 1))


def transpose(sample: Sample) -> Sample:
    """Rows become columns."""
    return _mirrored(sample, lambda picture: picture.swapaxes(0, 1), lambda points, size: points[:, ::-1])


def _mirrored(sample: Sample, change: Change, move: Callable[[NDArray[Any], tuple[int, ...]], NDArray[Any]]) -> Sample:
    """The sample with every picture changed and the landmarks moved, given the size of the GT before."""
    changed = {name: change(cast(NDArray[Any], value)) if name in PICTURES else value for name, value in sample.items()}
    if "landmarks" in sample:
        moved = move(sample["landmarks"], sample["gt"].shape)[_SIDES_SWAPPED]
        changed["landmarks"] = moved.astype(np.float32)
    return cast(Sample, changed)


def rotated(sample: Sample, quarters: int) -> Sample:
    """Turned counterclockwise by 90, 180 or 270 degrees: two mirrors make a turn."""
    if quarters == 1:
        return mirror_y(transpose(sample))
    return mirror_y(mirror_x(sample)) if quarters == 2 else transpose(mirror_y(sample))


@TRANSFORMS.register
class RandomFlip:
    """Mirrors left to right, and upside down, each with its probability."""

    def __init__(self, horizontal: Share = 0.5, vertical: Share = 0.0) -> None:
        self.horizontal = horizontal
        self.vertical = vertical

    def __call__(self, sample: Sample, draws: Draws) -> Sample:
        flip_x, flip_y = draws.random(2) < (self.horizontal, self.vertical)
        if flip_x:
            sample = mirror_x(sample)
        return mirror_y(sample) if flip_y else sample


@TRANSFORMS.register
class RandomRotate90:
    """Turns by 90, 180 or 270 degrees, equally likely, with a probability; pictures must be square or uncropped."""

    def __init__(self, probability: Share = 0.75) -> None:
        self.probability = probability

    def __call__(self, sample: Sample, draws: Draws) -> Sample:
        turn, quarter = draws.random() < self.probability, int(draws.integers(1, 4))
        return rotated(sample, quarter) if turn else sample


@TRANSFORMS.register
class RandomTranspose:
    """Mirrors at the diagonal with a probability; after `RandomFlip` with both at 0.5, all 8 poses are as likely."""

    def __init__(self, probability: Share = 0.5) -> None:
        self.probability = probability

    def __call__(self, sample: Sample, draws: Draws) -> Sample:
        return transpose(sample) if draws.random() < self.probability else sample
