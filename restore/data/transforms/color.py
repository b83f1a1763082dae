"""Brightness and contrast, the same for LQ and GT: what a network has to keep, it must not be taught to undo."""

from typing import Annotated, Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from restore.data.sample import Picture, Sample
from restore.keyed import Draws
from restore.ranges import Limits, Share
from restore.registry import TRANSFORMS

Factor = Annotated[float, Field(ge=0)]


class _Scaled:
    """Base: the distance from some level is multiplied by a random factor, now and then."""

    def __init__(self, factor: Limits[Factor] = (0.7, 1.3), probability: Share = 0.5) -> None:
        self.factor = factor
        self.probability = probability

    def __call__(self, sample: Sample, draws: Draws) -> Sample:
        is_chosen, factor = draws.random() < self.probability, draws.uniform(*self.factor)
        return scaled(sample, factor, self.center(sample)) if is_chosen else sample

    def center(self, sample: Sample) -> float:
        """The level that stays as it is, as a share of white."""
        raise NotImplementedError


@TRANSFORMS.register
class RandomBrightness(_Scaled):
    """Multiplies every level by a random factor, with a probability: Pillow's `ImageEnhance.Brightness`.

    Args:
        factor: range of the factor; 1 changes nothing.
        probability: how often.
    """

    def center(self, sample: Sample) -> float:
        return 0.0


@TRANSFORMS.register
class RandomContrast(_Scaled):
    """Multiplies the distance from the picture's mean gray by a random factor: Pillow's `ImageEnhance.Contrast`.

    The mean is that of the GT, where there is one, for the LQ as well.

    Args:
        factor: range of the factor; 1 changes nothing.
        probability: how often.
    """

    def center(self, sample: Sample) -> float:
        return mean_gray(sample["gt"] if "gt" in sample else sample["lq"])


def mean_gray(picture: Picture) -> float:
    """The mean luma (ITU-R BT.601) of an RGB picture (H, W, 3), as a share of white."""
    red, green, blue, _ = cv2.mean(np.ascontiguousarray(picture))
    return (0.299 * red + 0.587 * green + 0.114 * blue) / float(np.iinfo(picture.dtype).max)


def scaled(sample: Sample, factor: float, center: float) -> Sample:
    """The sample with `center + factor * (x - center)` for every x of its pictures, as shares of white."""
    changed: dict[str, Any] = dict(sample)
    for name in ("lq", "gt"):
        if name in sample:
            picture = cast(NDArray[Any], changed[name])
            top = np.iinfo(picture.dtype).max
            levels = center * top + factor * (np.arange(top + 1) - center * top)
            changed[name] = np.rint(levels.clip(0, top)).astype(picture.dtype)[picture]
    return cast(Sample, changed)
