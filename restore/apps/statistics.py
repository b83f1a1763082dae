"""How sure a mean over pictures is: bootstrap intervals, of methods and of their paired differences.

Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13: the percentile interval.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from restore.keyed import Draws

RESAMPLES = 10_000
CONFIDENCE = 0.95
_AT_ONCE = 2**22  # picture numbers drawn at a time: 32 MiB, whatever the size of the test set

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval; `low` and `high` are NaN where there is none."""

    mean: float
    low: float = math.nan
    high: float = math.nan

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of 0: of a difference, that it is no accident of the pictures."""
        return self.low > 0 or self.high < 0


def resampled_means(values: Values, draws: Draws, resamples: int = RESAMPLES) -> Values:
    """The means of pictures drawn with replacement, as many as there are.

    Every column sees the same pictures in the same resample, so that the difference of two columns' means is the mean
    of their paired difference.

    Args:
        values: (pictures, columns).
        draws: the generator that the pictures' numbers are drawn from.
        resamples: how many times.

    Returns:
        (resamples, columns); NaN or infinite where a column holds such values.
    """
    count = len(values)
    at_once = max(1, _AT_ONCE // count)
    means = []
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        numbers = draws.integers(0, count, (rows, count)) + count * np.arange(rows)[:, None]
        times_drawn = np.bincount(numbers.ravel(), minlength=rows * count).reshape(rows, count)
        with np.errstate(invalid="ignore"):  # an infinite value not drawn is 0 times infinity
            means.append(times_drawn @ values / count)
    return np.concatenate(means)


def estimates(columns: Values, draws: Draws) -> list[Estimate]:
    """The mean of each column (pictures, columns) with its interval, over the pictures that have a figure there.

    NaN is no figure: a picture without it has no part in a mean, in the resamples as little as in the whole.
    """
    there = ~np.isnan(columns)
    resampled = resampled_means(np.hstack([np.where(there, columns, 0), there]), draws)
    with np.errstate(invalid="ignore"):  # a resample of pictures without a figure has none
        means = np.divide(*np.hsplit(resampled, 2))
    return [estimate(columns[own, i], means[~np.isnan(means[:, i]), i]) for i, own in enumerate(there.T)]


def estimate(values: Values, resampled: Values) -> Estimate:
    """The mean of one column, and the percentile interval of its resampled means.

    No interval for a single picture, nor where a value is infinite, such as the PSNR of equal pictures.
    """
    mean = float(values.mean()) if len(values) else math.nan
    if len(values) < 2 or not np.isfinite(values).all():
        return Estimate(mean)
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(mean, float(low), float(high))
