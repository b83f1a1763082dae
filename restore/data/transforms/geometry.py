"""Flips and rotations, the same for every picture of a sample."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from restore.data.sample import PICTURES, Sample
from restore.keyed import Draws
from restore.ranges import Share
from restore.registry import TRANSFORMS


def on_pictures(sample: Sample, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Sample:
    """The sample with every picture in it changed."""
    changed = {name: change(cast(NDArray[Any], value)) if name in PICTURES else value for name, value in sample.items()}
    return cast(Sample, changed)


@TRANSFORMS.register
class RandomFlip:
    """Mirrors left to right, and upside down, each with its probability."""

    def __init__(self, horizontal: Share = 0.5, vertical: Share = 0.0) -> None:
        self.horizontal = horizontal
        self.vertical = vertical

    def __call__(self, sample: Sample, draws: Draws) -> Sample:
        flip_x, flip_y = draws.random(2) < (self.horizontal, self.vertical)
        if not flip_x and not flip_y:
            return sample
        return on_pictures(sample, lambda picture: picture[:: -1 if flip_y else 1, :: -1 if flip_x else 1])


@TRANSFORMS.register
class RandomRotate90:
    """Turns by 90, 180 or 270 degrees, equally likely, with a probability; pictures must be square or uncropped."""

    def __init__(self, probability: Share = 0.75) -> None:
        self.probability = probability

    def __call__(self, sample: Sample, draws: Draws) -> Sample:
        turn, quarter = draws.random() < self.probability, int(draws.integers(1, 4))
        return on_pictures(sample, lambda picture: np.rot90(picture, quarter)) if turn else sample


@TRANSFORMS.register
class RandomTranspose:
    """Mirrors at the diagonal with a probability; after `RandomFlip` with both at 0.5, all 8 poses are as likely."""

    def __init__(self, probability: Share = 0.5) -> None:
        self.probability = probability

    def __call__(self, sample: Sample, draws: Draws) -> Sample:
        turn = draws.random() < self.probability
        return on_pictures(sample, lambda picture: picture.swapaxes(0, 1)) if turn else sample
