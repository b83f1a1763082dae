"""The table of a sweep: what each point set, its best and last figure, and how it stands."""

import csv
import io
import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restore.apps.curves import Curve, read_curves
from restore.apps.sweep_file import Point, Sweep
from restore.apps.sweep_run import DONE, outcome
from restore.engine.checkpoint import Checkpoints
from restore.errors import UserError
from restore.images import write_atomic
from restore.options.figure import Figure

SEED = "manual_seed"
LOG = "train.log"


@dataclass(frozen=True)
class Row:
    """What is known of a point.

    Args:
        best: the figure that points are compared by, as the newest checkpoint has it; NaN where there is none yet.
        at: its iteration.
        curves: every metric on that validation set, by name.
        state: how its training stands.
    """

    point: Point
    best: float
    at: int | None
    curves: dict[str, Curve]
    state: str


@dataclass(frozen=True)
class SeedGroup:
    """Points that differ by their seed alone: the mean and the standard deviation of their best figures."""

    values: dict[str, Any]
    mean: float
    deviation: float  # of a sample; NaN for a single one
    count: int


def read_rows(sweep: Sweep) -> list[Row]:
    """A row for each point, the best first; those without a figure last."""
    sign = -1 if sweep.figure.higher_is_better else 1
    rows = [_row(point, sweep.figure) for point in sweep.points]
    return sorted(rows, key=lambda row: (math.isnan(row.best), sign * row.best if not math.isnan(row.best) else 0))


def _row(point: Point, figure: Figure) -> Row:
    checkpoint, _ = Checkpoints(point.folder / "checkpoints", keep=0).newest()
    best = checkpoint.state()["best"] if checkpoint else None
    state = _state(point, checkpoint.iteration if checkpoint else None)
    value, at = (best["value"], best["iter"]) if best else (math.nan, None)
    return Row(point, value, at, _curves(point.folder, figure.label), state)


def _state(point: Point, iteration: int | None) -> str:
    ended = outcome(point)
    if ended == DONE:
        return DONE
    lengths = [options.train.total_iter for options in point.stages if options.train]
    whole = "" if None in lengths else f" of {sum(length or 0 for length in lengths)}"
    where = "no checkpoint" if iteration is None else f"at iteration {iteration}{whole}"
    if ended is None:
        return "not begun" if iteration is None else where
    return f"{ended} ({where})" if ended.startswith("failed") else f"not finished: {where}"


def _curves(experiment: Path, label: str) -> dict[str, Curve]:
    """Every metric on a validation set by iteration: TensorBoard's values, else the rounded ones of the log."""
    prefix = f"metrics/{label}/"
    try:
        told = read_curves(experiment).curves if experiment.is_dir() else {}
    except UserError:  # logger.use_tb_logger: false
        told = {}
    metrics = {tag.removeprefix(prefix): curve for tag, curve in told.items() if tag.startswith(prefix)}
    return metrics or _logged(experiment / LOG, label)


def _logged(log: Path, label: str) -> dict[str, Curve]:
    points: dict[str, dict[int, float]] = {}
    line = re.compile(rf"validation {re.escape(label)} \(.*\) at (\d+): (.*)")
    for match in line.finditer(log.read_text(encoding="utf-8")) if log.is_file() else ():
        for name, value in re.findall(r"(\S+): (\S+)", match[2]):
            points.setdefault(name, {})[int(match[1])] = float(value)  # the last word on each iteration
    return {name: Curve(sorted(own), [own[i] for i in sorted(own)]) for name, own in points.items()}


def seed_groups(sweep: Sweep, rows: Sequence[Row]) -> list[SeedGroup]:
    """Points that differ by their seed alone, together; the best first. None where no seeds are varied."""
    if SEED not in sweep.keys:
        return []
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(str(_without_seed(row.point)), []).append(row)
    found = []
    for own in groups.values():
        values = [row.best for row in own if math.isfinite(row.best)]
        mean = statistics.fmean(values) if values else math.nan
        deviation = statistics.stdev(values) if len(values) > 1 else math.nan
        found.append(SeedGroup(_without_seed(own[0].point), mean, deviation, len(values)))
    sign = -1 if sweep.figure.higher_is_better else 1
    return sorted(found, key=lambda group: (not group.count, sign * group.mean if group.count else 0))


def _without_seed(point: Point) -> dict[str, Any]:
    return {key: value for key, value in point.values.items() if key != SEED}


# -- as files


def write_tables(sweep: Sweep, rows: Sequence[Row]) -> str:
    """Writes `table.md` and `table.csv` into the sweep's folder. Returns the first."""
    header, cells = _table(sweep, rows)
    text = f"# {sweep.name}\n\n{_markdown(header, [_line(sweep, row) for row in cells])}"
    if groups := seed_groups(sweep, rows):
        keys = [key for key in sweep.keys if key != SEED]
        lines = [[*(_plain(g.values.get(key, "")) for key in keys), _mean(g), str(g.count)] for g in groups]
        table = _markdown([*keys, _title(sweep.figure), "seeds"], lines)
        text += f"\nOver seeds, mean and standard deviation of the best:\n\n{table}"
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([header, *cells])
    write_atomic(sweep.folder / "table.md", text.encode())
    write_atomic(sweep.folder / "table.csv", buffer.getvalue().encode())
    return text


def _table(sweep: Sweep, rows: Sequence[Row]) -> tuple[list[str], list[list[Any]]]:
    metric = sweep.figure.metric
    others = list(dict.fromkeys(name for row in rows for name in row.curves if name != metric))
    header = [*sweep.keys, _title(sweep.figure), "at", "last", *(f"{name} there" for name in others), "state", "name"]
    cells = []
    for row in rows:
        last = row.curves[metric].values[-1] if metric in row.curves else ""
        there = [_value_at(row.curves.get(name), row.at) for name in others]
        set_here = [row.point.values.get(key, "") for key in sweep.keys]
        best = "" if math.isnan(row.best) else row.best
        at = "" if row.at is None else row.at
        cells.append([*set_here, best, at, last, *there, row.state, row.point.name])
    return header, cells


def _title(figure: Figure) -> str:
    return f"best {figure.label} {figure.metric} {'↑' if figure.higher_is_better else '↓'}"


def _value_at(curve: Curve | None, iteration: int | None) -> float | str:
    if curve is None or iteration not in curve.iterations:
        return ""
    return curve.values[curve.iterations.index(iteration)]


def _mean(group: SeedGroup) -> str:
    if not group.count:
        return "-"
    return f"{group.mean:.4f}" + (f" ± {group.deviation:.4f}" if group.count > 1 else "")


def _line(sweep: Sweep, cells: Sequence[Any]) -> list[str]:
    """Settings as they are, figures with four places."""
    count = len(sweep.keys)
    return [*map(_plain, cells[:count]), *(_figure(cell) for cell in cells[count:])]


def _figure(cell: Any) -> str:
    if not isinstance(cell, float):
        return _plain(cell)
    return f"{cell:.4f}" if 0.01 <= abs(cell) < 1e6 else f"{cell:.4g}"


def _plain(cell: Any) -> str:
    return (str(cell) or "-").replace("|", "\\|")  # nothing in it breaks the table


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(header)} |", f"|{' --- |' * len(header)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"
