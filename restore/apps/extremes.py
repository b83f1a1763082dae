"""The pictures of a test set on which a model is worst and best."""

import math
from pathlib import Path

from restore.apps.report import Report
from restore.engine.validation import Scored

COUNT = 3  # of each kind


class Extremes:
    """Keeps the worst and the best pictures by one metric, and draws them in one picture.

    Args:
        method: whose pictures.
        metric: by which figure; pictures without one are passed over.
        higher_is_better: of that metric.
    """

    def __init__(self, method: str, metric: str, higher_is_better: bool) -> None:
        self.method, self.metric, self.sign = method, metric, 1 if higher_is_better else -1
        self.worst: list[tuple[float, Scored]] = []
        self.best: list[tuple[float, Scored]] = []

    def add(self, scored: Scored) -> bool:
        """Takes a picture in. Of equal figures the earlier picture stays. Returns whether it is among them so far."""
        value = scored.scores.get(self.method, {}).get(self.metric, math.nan)
        if math.isnan(value):
            return False
        self.worst = sorted([*self.worst, (value, scored)], key=lambda pair: self.sign * pair[0])[:COUNT]
        self.best = sorted([*self.best, (value, scored)], key=lambda pair: -self.sign * pair[0])[:COUNT]
        return any(kept is scored for _, kept in (*self.worst, *self.best))

    def write(self, path: Path, scale: int) -> None:
        """Draws LQ, the method and GT as rows, the worst first; of a small set no picture twice. Nothing of none."""
        report, drawn = Report(scale, [self.method]), set[str]()
        for kind, pairs in (("worst", self.worst), ("best", self.best)):
            for number, (value, scored) in enumerate(pairs, 1):
                if scored.key not in drawn:
                    drawn.add(scored.key)
                    area = "" if scored.mask is None else f", hole {scored.hole_area:.1%}"
                    report.add(scored, f"{kind} {number}: {scored.key}: {self.metric} {value:.4f}{area}")
        if drawn:
            report.write(path)
