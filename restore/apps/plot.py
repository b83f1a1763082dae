"""Draws the curves of experiments: losses and metrics, stages marked, several over each other; or their numbers."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore.errors import UserError

if TYPE_CHECKING:
    from restore.apps.curves import Curve, Curves

COLUMNS = 3
PANEL = (5.0, 3.2)  # inches
TAGS = ("losses", "metrics")  # drawn when none are named, as far as there are such
SUFFIXES = (".png", ".svg", ".csv", ".md")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `restore plot`."""
    parser.add_argument("experiments", nargs="+", type=Path, metavar="EXPERIMENT", help="folders of experiments")
    parser.add_argument(
        "--tags",
        nargs="+",
        default=list(TAGS),
        metavar="TAG",
        help="which curves, by the beginning of their TensorBoard tag: losses metrics by default; also lr, train",
    )
    parser.add_argument("--smooth", type=_share, default=0.0, help="0 to below 1, as TensorBoard's slider (0)")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("curves.png"),
        help="a figure: .png, .svg; every value: .csv; a summary of each curve: .md (curves.png)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Draws the figure, or writes its numbers. Raises `UserError`: no events, no such tags, no matplotlib, a suffix."""
    from restore.apps.curves import read_curves

    if args.output.suffix.lower() not in SUFFIXES:
        raise UserError(f"{args.output}: curves are written as {', '.join(SUFFIXES)}")
    experiments = [read_curves(path) for path in args.experiments]
    if len({experiment.name for experiment in experiments}) < len(experiments):
        for experiment, path in zip(experiments, args.experiments, strict=True):
            experiment.name = str(path)
    tags = chosen(experiments, args.tags)
    _put(experiments, tags, args.smooth, args.output)
    print(f"{args.output}: {len(tags)} curves of {', '.join(e.name for e in experiments)}")


def _put(experiments: "Sequence[Curves]", tags: Sequence[str], smooth: float, output: Path) -> None:
    from restore.apps.curve_tables import summary_markdown, values_csv
    from restore.images import write_atomic

    kind = output.suffix.lower()
    if kind == ".csv":
        write_atomic(output, values_csv(experiments, tags).encode())
    elif kind == ".md":
        table = summary_markdown(experiments, tags)
        write_atomic(output, table.encode())
        print(table)
    else:
        draw(experiments, tags, smooth, output)


def chosen(experiments: "Sequence[Curves]", wanted: Sequence[str]) -> list[str]:
    """The tags that begin with what is wanted, in that order, each once.

    Raises:
        UserError: nothing begins with one of them; of losses and metrics one may be missing.
    """
    known = list(dict.fromkeys(tag for experiment in experiments for tag in experiment.curves))
    tags: list[str] = []
    for prefix in wanted:
        found = [tag for tag in known if tag == prefix or tag.startswith(prefix.rstrip("/") + "/")]
        if not found and prefix not in TAGS:
            raise UserError(f"--tags {prefix}: no such curve; there are {', '.join(known)}")
        tags += [tag for tag in found if tag not in tags]
    if not tags:
        raise UserError(f"--tags {' '.join(wanted)}: no such curves; there are {', '.join(known) or 'none'}")
    return tags


def smoothed(values: Sequence[float], weight: float) -> list[float]:
    """An exponential moving average without the pull to 0 at its start, as TensorBoard draws it.

    Args:
        values: NaN among them stay, and do not spoil what follows.
        weight: of the past, 0 (nothing changes) to below 1.
    """
    average, seen, result = 0.0, 0.0, []
    for value in values:
        if math.isfinite(value):
            average = weight * average + (1 - weight) * value
            seen = weight * seen + (1 - weight)
        result.append(average / seen if math.isfinite(value) else value)
    return result


def draw(experiments: "Sequence[Curves]", tags: Sequence[str], smooth: float, output: Path) -> None:
    """A panel for each tag with a curve for each experiment that has it; equal curves give an equal SVG file.

    Raises:
        UserError: matplotlib is not installed, or the disk refuses.
    """
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("restore plot: needs matplotlib; pip install matplotlib") from error
    columns = min(COLUMNS, len(tags))
    rows = -(-len(tags) // columns)
    figure = Figure(figsize=(PANEL[0] * columns, PANEL[1] * rows), layout="constrained")
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel, tag in zip(panels, tags, strict=False):
        _draw_panel(panel, experiments, tag, smooth)
    for panel in panels[len(tags) :]:
        panel.remove()
    _write(figure, output, matplotlib)


def _draw_panel(panel: Any, experiments: "Sequence[Curves]", tag: str, smooth: float) -> None:
    for number, experiment in enumerate(experiments):
        if tag in experiment.curves:
            _draw_curve(panel, experiment.curves[tag], experiment.name, f"C{number}", smooth, tag)
        for stage, start in experiment.stages.items():
            if start:
                panel.axvline(start, color=f"C{number}", linewidth=0.8, linestyle="--", gid=f"stage {stage}")
            _name_stage(panel, stage, start, number)
    panel.set_title(tag)
    panel.set_xlabel("iteration")
    panel.set_xlim(left=0)
    panel.grid(alpha=0.3)
    if len(experiments) > 1:
        panel.legend(fontsize="small")


def _draw_curve(panel: Any, curve: "Curve", name: str, color: str, smooth: float, tag: str) -> None:
    few = len(curve.values) < 30
    style = {"color": color, "marker": "." if few else None, "linewidth": 1.4}
    if smooth:
        panel.plot(curve.iterations, curve.values, color=color, alpha=0.25, linewidth=0.8)
    panel.plot(curve.iterations, smoothed(curve.values, smooth), label=name, gid=f"{tag} of {name}", **style)


def _name_stage(panel: Any, stage: str, start: int, number: int) -> None:
    """At the top of the panel, a line lower for each experiment."""
    place = {"xycoords": ("data", "axes fraction"), "xytext": (3, -10 - 10 * number), "textcoords": "offset points"}
    panel.annotate(stage, (start, 1), color=f"C{number}", fontsize="x-small", annotation_clip=False, **place)


def _write(figure: Any, output: Path, matplotlib: Any) -> None:
    import io

    from restore.images import write_atomic

    kind = output.suffix.lower()[1:]
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "restore"}):
        figure.savefig(buffer, format=kind, dpi=120, metadata={"Date": None} if kind == "svg" else None)
    write_atomic(output, buffer.getvalue())


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 0 to below 1")
    return value
