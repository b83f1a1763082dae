"""The curves of experiments as numbers: every value in a CSV file, and a summary of each curve as a table."""

import csv
import io
import math
import statistics
from collections.abc import Sequence

from restore.apps.curves import Curve, Curves
from restore.registry import METRICS

COLUMNS = ("min", "max", "mean", "std", "first", "best", "at", "last", "first to best")


def values_csv(experiments: Sequence[Curves], tags: Sequence[str]) -> str:
    """A row for each iteration of each experiment that has a value of one of the tags, which are the columns."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["experiment", "iteration", *tags])
    for experiment in experiments:
        points = {tag: _points(experiment.curves[tag]) for tag in tags if tag in experiment.curves}
        for iteration in sorted({iteration for own in points.values() for iteration in own}):
            cells = (points.get(tag, {}).get(iteration, "") for tag in tags)
            writer.writerow([experiment.name, iteration, *cells])
    return buffer.getvalue()


def summary_markdown(experiments: Sequence[Curves], tags: Sequence[str]) -> str:
    """A row for each curve: its extremes, mean and standard deviation, and how far it came from first to best.

    The best value is the highest of a metric that says so of itself, the lowest of any other curve. The improvement is
    in percent of the first value. What is no finite number is left out.
    """
    lines = [f"| experiment | curve | {' | '.join(COLUMNS)} |", f"|{' --- |' * (len(COLUMNS) + 2)}"]
    for experiment in experiments:
        for tag in tags:
            if tag in experiment.curves:
                cells = _summary(experiment.curves[tag], _higher_is_better(tag))
                lines.append(f"| {experiment.name} | {tag} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _summary(curve: Curve, higher: bool) -> list[str]:
    points = {i: value for i, value in _points(curve).items() if math.isfinite(value)}
    if not points:
        return ["-"] * len(COLUMNS)
    values = list(points.values())
    at = (max if higher else min)(points, key=lambda iteration: points[iteration])
    first, best = values[0], points[at]
    change = f"{(best - first) / abs(first):+.1%}" if first else "-"
    figures = [min(values), max(values), statistics.fmean(values), statistics.pstdev(values), first, best]
    return [*(f"{figure:.4g}" for figure in figures), str(at), f"{values[-1]:.4g}", change]


def _points(curve: Curve) -> dict[int, float]:
    return dict(zip(curve.iterations, curve.values, strict=True))


def _higher_is_better(tag: str) -> bool:
    """Of a tag such as `metrics/celebahq/psnr`."""
    name = tag.rpartition("/")[2]
    return tag.startswith("metrics/") and name in METRICS and bool(METRICS.get(name).build.higher_is_better)  # type: ignore[attr-defined]
