"""The figures of a comparison, with intervals, and the files they are written as."""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from restore import __version__
from restore.apps.statistics import CONFIDENCE, RESAMPLES, Estimate, Values, estimates
from restore.engine.validation import Metric, Table
from restore.keyed import Draws

FEW = 20  # pictures, below which an interval is told to be too narrow
BOOTSTRAP = {"interval": "percentile, over pictures", "resamples": RESAMPLES, "confidence": CONFIDENCE}


@dataclass
class Comparison:
    """What methods score on one test set.

    Args:
        data: which pictures, for the heading and the JSON file.
        metrics: the metrics by name.
        reference: the method that the others' differences are to.
        methods: by name, facts about it: `weights` and their `sha256` for a model, `ms` a picture.
        means: by method and metric.
        differences: to the reference, by method and metric, paired by picture.
        table: the scores, once measured.
    """

    data: Mapping[str, Any]
    metrics: Mapping[str, Metric]
    reference: str
    methods: Mapping[str, Mapping[str, Any]]
    table: Table = field(default_factory=Table)
    means: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    differences: dict[str, dict[str, Estimate]] = field(default_factory=dict)

    def measure(self, table: Table, draws: Draws) -> None:
        """Fills in means and differences. A metric of whole sets has no value per picture, and so no interval."""
        self.table = table
        values = {name: _columns(table.rows[name]) for name in self.methods}
        per_picture = list(table.rows[self.reference][0])
        with np.errstate(invalid="ignore"):  # two infinite values have no difference
            apart = [own - values[self.reference] for own in values.values()]
        found = iter(estimates(np.hstack([*values.values(), *apart]), draws))
        for name in values:
            means = {key: Estimate(mean) for key, mean in table.means(name).items()}
            self.means[name] = means | {key: next(found) for key in per_picture}
        for name in values:
            self.differences[name] = {key: next(found) for key in per_picture}

    def markdown(self) -> str:
        """Means, differences, and what was measured how, as a Markdown page."""
        arrows = {name: "↑" if metric.higher_is_better else "↓" for name, metric in self.metrics.items()}
        titles = [f"{name} {arrow}" for name, arrow in arrows.items()]
        means = [
            [name, *(shown(self.means[name][key]) for key in self.metrics), f"{facts['ms']:.1f}"]
            for name, facts in self.methods.items()
        ]
        differences = [
            [name, *(_marked(row[key]) if key in row else "" for key in self.metrics)]
            for name, row in self.differences.items()
            if name != self.reference
        ]
        return "\n\n".join(
            [
                f"# {self.data['gt']}: {len(self.table.keys)} pictures, x{self.data['scale']}",
                markdown_table([["method", *titles, "ms"], *means]),
                f"Difference to {self.reference} on the same pictures (**bold**: the interval excludes 0):",
                markdown_table([["method", *titles], *differences]),
                "\n".join(f"- {line}" for line in self._notes()),
            ]
        )

    def summary_csv(self) -> str:
        """A row per method and metric."""
        header = ["method", "metric", "mean", "low", "high", "difference", "difference_low", "difference_high"]
        rows = []
        for name, means in self.means.items():
            for key, mean in means.items():
                apart = self.differences[name].get(key, Estimate(math.nan))
                rows.append([name, key, mean.mean, mean.low, mean.high, apart.mean, apart.low, apart.high])
        return _csv([header, *rows])

    def json(self) -> str:
        """Everything but the single pictures; `null` where there is no finite number."""
        methods = {
            name: {
                **facts,
                "metrics": {key: asdict(value) for key, value in self.means[name].items()},
                "difference": {
                    key: {**asdict(value), "excludes_zero": value.excludes_zero}
                    for key, value in self.differences[name].items()
                },
            }
            for name, facts in self.methods.items()
        }
        facts = {
            "restore": __version__,
            "data": self.data,
            "pictures": len(self.table.keys),
            "set_aside": self.table.set_aside,
            "notes": self.table.notes,
            "protocols": {name: metric.protocol for name, metric in self.metrics.items()},
            "bootstrap": BOOTSTRAP,
            "reference": self.reference,
            "methods": methods,
        }
        return json.dumps(finite(facts), indent=1, ensure_ascii=False)

    def _notes(self) -> Iterator[str]:
        yield from how_sure(len(self.table.keys))
        for name, metric in self.metrics.items():
            yield f"{name}: {metric.protocol}"
        yield from self.table.notes
        yield f"LQ: {self.data['lq']}"
        yield f"ms: median time a picture on {self.data['device']}"
        for name, facts in self.methods.items():
            if "weights" in facts:
                yield f"{name}: {facts['network']['type']}, {facts['weights']}, sha256 {facts['sha256']}"


def scores_csv(table: Table) -> str:
    """A row per method and picture, with the share that is missing where pictures have masks."""
    metrics = list(next(iter(table.rows.values()))[0]) if table.rows else []
    holes = not all(map(math.isnan, table.hole_areas))
    rows = [
        [key, method, *([area] if holes else []), *row.values()]
        for method, scores in table.rows.items()
        for key, area, row in zip(table.keys, table.hole_areas, scores, strict=True)
    ]
    return _csv([["key", "method", *(["hole_area"] if holes else []), *metrics], *rows])


def how_sure(pictures: int) -> Iterator[str]:
    """What readers of intervals over so many pictures should know."""
    yield f"[low, high]: {CONFIDENCE:.0%} percentile bootstrap over pictures, {RESAMPLES:,} resamples"
    if pictures < FEW:
        yield f"with only {pictures} pictures these intervals are too narrow: read them as a hint"


def _columns(rows: list[dict[str, float]]) -> Values:
    return np.array([list(row.values()) for row in rows], dtype=np.float64)


def shown(value: Estimate) -> str:
    """A mean with its interval, where it has one."""
    interval = "" if math.isnan(value.low) else f" [{value.low:.4f}, {value.high:.4f}]"
    return f"{value.mean:.4f}{interval}"


def _marked(value: Estimate) -> str:
    interval = "" if math.isnan(value.low) else f" [{value.low:+.4f}, {value.high:+.4f}]"
    text = f"{value.mean:+.4f}{interval}"
    return f"**{text}**" if value.excludes_zero else text


def markdown_table(rows: list[list[str]]) -> str:
    """A Markdown table whose columns also line up on a terminal."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    header, *body = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    rule = ["-" * width for width in widths]
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, rule, *body])


def _csv(rows: list[list[Any]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def finite(value: Any) -> Any:
    """Plain data without NaN and infinity, which JSON has not."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
