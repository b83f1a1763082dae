"""The figures of a test set with their intervals, whole and by the size of the hole, and the files they make."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from restore import keyed
from restore.apps.comparison import BOOTSTRAP, finite, how_sure, markdown_table, shown
from restore.apps.statistics import CONFIDENCE, Estimate, estimates
from restore.engine.validation import Metric, Table
from restore.keyed import Draws

BINS = ((0.0, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.4), (0.4, 0.5), (0.5, 1.0))  # shares of the picture
Figures = dict[str, dict[str, Estimate]]  # by method and metric


@dataclass
class Bin:
    """The pictures whose hole has a share of the picture from `low` to below `high`, and what methods score on them."""

    low: float
    high: float
    pictures: int
    figures: Figures

    def __str__(self) -> str:
        return f"{self.low:.0%} - {self.high:.0%}"


@dataclass
class Scores:
    """What methods score on one test set.

    Args:
        name: of the set.
        table: the scores.
        metrics: by name.
        training: metrics that are training distances (`restore.apps.judges`).
        masks_sha256: of the masks' bytes, 255 where pixels miss and 0 elsewhere, row by row, of the pictures in their
            order; None where there are none.
        figures: of the whole set; those of metrics without a figure for a picture have no interval.
        bins: by the size of the hole, as far as there are pictures.
    """

    name: str
    table: Table
    metrics: Mapping[str, Metric]
    training: Sequence[str] = ()
    masks_sha256: str | None = None
    figures: Figures = field(default_factory=dict)
    bins: list[Bin] = field(default_factory=list)

    def measure(self, seed: int) -> None:
        """Fills in figures and bins. The draws hang on the seed and the set's name alone."""
        rows = self.table.rows
        intervals = _measured(rows, range(len(self.table.keys)), keyed.draws(seed, "bootstrap", self.name))
        for method in rows:
            means = self.table.means(method)
            own = {name: Estimate(mean) for name, mean in means.items()}
            self.figures[method] = own | {
                name: Estimate(means[name], found.low, found.high) for name, found in intervals[method].items()
            }
        for low, high in BINS:
            areas = enumerate(self.table.hole_areas)
            inside = [i for i, area in areas if area > 0 and low <= area and (area < high or high == 1)]
            if inside and rows:
                draws = keyed.draws(seed, "bootstrap", self.name, f"{low:.0%}")
                self.bins.append(Bin(low, high, len(inside), _measured(rows, inside, draws)))

    @property
    def titles(self) -> list[str]:
        """A column's title for each metric."""
        return [f"{name} (training distance)" if name in self.training else name for name in self.metrics]

    def rows(self, intervals: bool) -> list[list[str]]:
        """A row of cells per method."""
        return [_cells(method, self.metrics, figures, intervals) for method, figures in self.figures.items()]

    def summary(self) -> str:
        """The means as a table, for a terminal."""
        if not self.figures:
            return "(no GT: pictures written, nothing scored)"
        return markdown_table([["method", *self.titles], *self.rows(intervals=False)])

    def markdown(self) -> str:
        """Means with intervals, and what was measured how, as a Markdown page."""
        if not self.figures:
            return self.summary()
        table = markdown_table([["method", *self.titles], *self.rows(intervals=True)])
        return _page(f"{self.name}: {len(self.table.keys)} pictures", table, self.notes())

    def notes(self) -> Iterator[str]:
        """What readers of the figures should know."""
        yield from how_sure(len(self.table.keys))
        for name, metric in self.metrics.items():
            yield f"{name}: {metric.protocol}"
        if self.masks_sha256:
            yield f"masks: sha256 {self.masks_sha256}"
        yield from self.table.notes

    def hole_markdown(self) -> str:
        """The figures by the size of the hole, as a Markdown page."""
        rows = [
            [str(part), str(part.pictures), *_cells(method, part.figures[method], part.figures[method], True)]
            for part in self.bins
            for method in part.figures
        ]
        names = [title for name, title in zip(self.metrics, self.titles, strict=True) if name in self._per_picture]
        table = markdown_table([["hole", "pictures", "method", *names], *rows])
        return _page(f"{self.name}: by the share of the picture that is missing", table, self._hole_notes())

    def _hole_notes(self) -> Iterator[str]:
        yield f"[low, high]: {CONFIDENCE:.0%} percentile bootstrap over pictures; few pictures make it too narrow"
        if whole := [name for name in self.metrics if name not in self._per_picture]:
            yield f"not here, since pictures have no figure of their own: {', '.join(whole)}"
        if rest := len(self.table.keys) - sum(part.pictures for part in self.bins):
            yield f"{rest} pictures without a hole are left out"

    @property
    def _per_picture(self) -> list[str]:
        return list(next(iter(self.table.rows.values()))[0])

    def json(self, facts: Mapping[str, Any]) -> str:
        """Everything but the single pictures, behind `facts`; `null` where there is no finite number."""
        own = {
            "pictures": len(self.table.keys),
            "set_aside": self.table.set_aside,
            "masks_sha256": self.masks_sha256,
            "protocols": {name: metric.protocol for name, metric in self.metrics.items()},
            "training_distances": list(self.training),
            "notes": self.table.notes,
            "means": {method: self.table.means(method) for method in self.table.rows},
            "bootstrap": BOOTSTRAP,
            "intervals": {
                method: {name: [value.low, value.high] for name, value in row.items() if not math.isnan(value.low)}
                for method, row in self.figures.items()
            },
        }
        return json.dumps(finite({**facts, **own}), indent=1, ensure_ascii=False)

    def hole_json(self) -> str:
        """The figures by the size of the hole."""
        bins = [asdict(part) for part in self.bins]
        facts = {"set": self.name, "masks_sha256": self.masks_sha256, "bins": bins}
        return json.dumps(finite(facts), indent=1, ensure_ascii=False)


def joint_markdown(sets: Sequence[Scores], intervals: bool = True) -> str:
    """One table of several test sets, which share their metrics."""
    rows = [[scores.name, str(len(scores.table.keys)), *row] for scores in sets for row in scores.rows(intervals)]
    return markdown_table([["set", "pictures", "method", *sets[0].titles], *rows])


def _measured(rows: Mapping[str, list[dict[str, float]]], chosen: Sequence[int], draws: Draws) -> Figures:
    """The means of some of the pictures, with intervals; all methods and metrics see the same resamples."""
    if not rows:
        return {}
    names = list(next(iter(rows.values()))[0])
    columns = [[own[i][name] for i in chosen] for own in rows.values() for name in names]
    found = iter(estimates(np.array(columns, np.float64).T, draws) if columns else [])
    return {method: {name: next(found) for name in names} for method in rows}


def _cells(method: str, names: Mapping[str, Any], figures: Mapping[str, Estimate], intervals: bool) -> list[str]:
    return [method, *(shown(figures[name]) if intervals else f"{figures[name].mean:.4f}" for name in names)]


def _page(title: str, table: str, notes: Iterator[str]) -> str:
    return "\n\n".join([f"# {title}", table, "\n".join(f"- {note}" for note in notes)]) + "\n"
