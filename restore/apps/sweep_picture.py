"""The picture of a sweep: the figure of each point over the iterations, and its best over what was varied."""

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from restore.apps.sweep_file import Point, Sweep
from restore.apps.sweep_summary import SEED, Row, SeedGroup, seed_groups
from restore.errors import UserError
from restore.images import write_atomic

PANEL = (6.0, 4.0)  # inches
NAMED = 12  # curves that a legend can name
SPREAD = 10  # largest value over the smallest, from which an axis is logarithmic


def draw(sweep: Sweep, rows: Sequence[Row], output: Path) -> None:
    """Curves of all points; beside them, where one or two numbers are varied, the best figure over those.

    Raises:
        UserError: matplotlib is not installed, or the disk refuses.
    """
    try:
        from matplotlib import colormaps
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("restore sweep: the picture needs matplotlib; pip install matplotlib") from error
    numbers = swept_numbers(sweep)
    beside = 1 <= len(numbers) <= 2 and any(math.isfinite(row.best) for row in rows)
    figure = Figure(figsize=(PANEL[0] * (1 + beside), PANEL[1]), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 1 + beside, squeeze=False)[0]
    in_order = sorted(rows, key=lambda row: row.point.number)
    colors = colormaps["viridis"]([number / max(len(rows) - 1, 1) for number in range(len(rows))])
    _draw_curves(panels[0], sweep, in_order, colors)
    if beside:
        _draw_over(panels[1], sweep, seed_groups(sweep, rows) or _alone(rows), numbers)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_atomic(output, buffer.getvalue())


def swept_numbers(sweep: Sweep) -> list[str]:
    """The keys that are varied besides the seed; none where one of them holds no numbers."""
    keys = [key for key in sweep.keys if key != SEED]
    every = [point.values.get(key) for point in sweep.points for key in keys]
    return keys if all(isinstance(value, int | float) and not isinstance(value, bool) for value in every) else []


def _alone(rows: Sequence[Row]) -> list[SeedGroup]:
    return [SeedGroup(row.point.values, row.best, math.nan, 1) for row in rows if math.isfinite(row.best)]


def _draw_curves(panel: Any, sweep: Sweep, rows: Sequence[Row], colors: Any) -> None:
    for row, color in zip(rows, colors, strict=True):
        curve = row.curves.get(sweep.figure.metric)
        if curve is not None:
            marker = "." if len(curve.values) < 30 else None
            panel.plot(curve.iterations, curve.values, color=color, marker=marker, label=_label(row.point))
    panel.set(xlabel="iteration", ylabel=f"{sweep.figure.label} {sweep.figure.metric}", title=sweep.name)
    panel.grid(alpha=0.3)
    if 1 < len(rows) <= NAMED and panel.get_lines():
        panel.legend(fontsize="small")


def _label(point: Point) -> str:
    return ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in point.values.items())


def _draw_over(panel: Any, sweep: Sweep, groups: Sequence[SeedGroup], numbers: Sequence[str]) -> None:
    """The best figure over the first number, a line for each value of the second; with deviations over seeds."""
    first, second = numbers[0], numbers[1] if len(numbers) > 1 else None
    for value in sorted({group.values[second] for group in groups if group.count}) if second else [None]:
        own = [group for group in groups if group.count and (second is None or group.values[second] == value)]
        own.sort(key=lambda group: group.values[first])
        where, means = [group.values[first] for group in own], [group.mean for group in own]
        errors = [0 if math.isnan(group.deviation) else group.deviation for group in own]
        label = f"{second.rpartition('.')[2]} {value}" if second else None
        panel.errorbar(where, means, yerr=errors if any(errors) else None, marker="o", capsize=3, label=label)
    values = sorted({group.values[first] for group in groups})
    if values[0] > 0 and values[-1] / values[0] >= SPREAD:
        panel.set_xscale("log")
        panel.minorticks_off()
        panel.set_xticks(values, labels=[f"{value:g}" for value in values])
    title = f"mean ± sd over {SEED}" if SEED in sweep.keys else ""
    panel.set(xlabel=first, ylabel=f"best {sweep.figure.label} {sweep.figure.metric}", title=title)
    panel.grid(alpha=0.3)
    if second:
        panel.legend(fontsize="small")
