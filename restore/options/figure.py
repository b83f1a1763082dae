"""The figure that decides which checkpoint is the best, and that the points of a sweep are compared by."""

from dataclasses import dataclass, field

from restore.options.schema import Options
from restore.registry import METRICS


@dataclass(frozen=True)
class Figure:
    """A metric on one validation set, which is known by its key and shown by its label."""

    dataset: str = field(compare=False)
    label: str
    metric: str
    higher_is_better: bool


def figure_of(options: Options) -> Figure | None:
    """As `val.best` says, else the first metric on the first validation set; None where nothing is measured."""
    sections, metrics, best = options.datasets.evaluation("val"), options.val.metrics, options.val.best
    if not sections or not metrics:
        return None
    dataset, metric = (best.dataset, best.metric) if best else (next(iter(sections)), next(iter(metrics)))
    higher = bool(METRICS.get(metrics[metric].type).build.higher_is_better)  # type: ignore[attr-defined]
    if best and best.better:
        higher = best.better == "higher"
    return Figure(dataset, sections[dataset].name or dataset, metric, higher)
