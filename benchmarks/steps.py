"""Steps of every task and of every shipped option file: what the framework adds, and where the time goes."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

if __name__ == "__main__":  # run as a script: find the packages
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.measure import Claim, add_out, publish, spread, table, verdict
from benchmarks.profiles import GROUPS, profile
from benchmarks.recipes import Row, measure_recipe, recipes
from benchmarks.shares import AROUND, REST
from benchmarks.step_tasks import LOG_EVERY, TASKS, bare_and_trainer, task_trainer
from benchmarks.validation_time import validation_shares

PROFILED = ("sr", "gan", "inpainting", "identity")
QUICK_RECIPE = "quickstart"
Parts = Iterator[str | Claim]


@dataclass(frozen=True)
class Plan:
    """How long to measure."""

    rounds: int
    seconds: float  # of an option file, at least
    quick: bool  # tiny networks, and one option file, to see that the script works
    chosen: list[str]  # option files; none: all


# ---------------------------------------------------------------------------------------------------------- tasks


def tasks(plan: Plan) -> Parts:
    """The trainer against a bare loop, in every task."""
    rows = []
    for name, task in TASKS.items():
        with tempfile.TemporaryDirectory() as folder:
            pairs = bare_and_trainer(task, task_trainer(task, Path(folder), plan.quick), plan.rounds)
        bare, ours = spread([pair.bare for pair in pairs]), spread([pair.ours for pair in pairs])
        added = spread([100 * (pair.ours / pair.bare - 1) for pair in pairs])
        met = added.median < 3
        times = [f"{1e3 * side.median:.1f}" for side in (bare, ours)]
        rows.append([task.what, *times, added.show(".2f"), verdict(met)])
        yield Claim(
            key=f"steps.tasks.{name}",
            what=f"a step: {task.what}",
            ours=f"{1e3 * ours.median:.1f} ms",
            floor=f"bare loop {1e3 * bare.median:.1f} ms",
            ratio=f"{added.show('.2f')} % more",
            bar="< 3 %",
            met=met,
        )
    text = (
        "The trainer against a step written by hand in PyTorch (benchmarks/bare_loops.py): the same networks, losses, "
        "fused Adam, fp32, channels_last, no EMA, and the same batches out of memory; steps of both in turns in one "
        f"process. The trainer also takes the norm of the gradients, and writes a log line every {LOG_EVERY} steps. "
        "Medians, quartiles."
    )
    yield f"## Framework overhead\n\n{text}\n\n{table(['step', 'bare, ms', 'trainer, ms', 'added, %', '< 3 %'], rows)}"


# ---------------------------------------------------------------------------------------------------------- files


def files(plan: Plan) -> Parts:
    """Every shipped option file at its full size."""
    lines = []
    for recipe in chosen_recipes(plan):
        rows = measured(recipe, plan)
        yield file_claim(recipe, rows)
        if isinstance(rows, str):
            lines.append([recipe.stem, *[""] * 10, f"no figure: {rows}"])
            continue
        lines += [file_line(recipe, row) for row in rows]
    header = ["file", "batch", "workers", "data of a batch, core s", "s a step", "data wait", "copy, degradation"]
    header += ["gradient norm", "EMA", "log", "rest", "outside, < 5 %"]
    text = (
        "One step of every training file that ships, with its own network, crop, losses, precision and workers, on "
        "drawn faces in the size that the file asks for. Networks that losses look through have random weights. "
        "Batches are smaller where 24 GB or a step of 20 s ask for it (`2 of 16`): what is paid once a step then "
        "weighs more. Shares of the time, by clocks around the trainer's parts."
    )
    yield f"## Option files\n\n{text}\n\n{table(header, lines)}"


def chosen_recipes(plan: Plan) -> list[Path]:
    """The option files to measure."""
    names = [QUICK_RECIPE] if plan.quick else plan.chosen
    return [recipe for recipe in recipes() if not names or recipe.stem in names]


def measured(recipe: Path, plan: Plan) -> list[Row] | str:
    """The rows of an option file, out of a process of its own, or what became of that."""
    changes = ("datasets.train.batch_size=2",) if plan.quick else ()
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, get_context("spawn")) as pool:
        try:
            return pool.submit(measure_recipe, recipe, Path(folder), plan.seconds, changes).result()
        except BrokenProcessPool:
            return "its process was killed, as when memory runs out"


def file_claim(recipe: Path, rows: list[Row] | str) -> Claim:
    """The claim of an option file: of its stages, the one that does worst."""
    key, what, bar = f"steps.files.{recipe.stem}", f"time outside network, loss and optimizer: {recipe.name}", "< 5 %"
    if isinstance(rows, str):
        return Claim(key, what, "", bar=bar, why=rows)
    worst = max(rows, key=lambda row: row.shares.outside)
    stage = f", stage {worst.stage}" if worst.stage else ""
    met = worst.shares.outside < 0.05
    largest = max((*AROUND, REST), key=lambda part: worst.shares.parts.get(part, 0.0))
    return Claim(
        key=key,
        what=f"{what}{stage}, batch {worst.batch}, {worst.workers} workers",
        ours=f"{100 * worst.shares.outside:.2f} % of {worst.shares.seconds:.2f} s",
        bar=bar,
        met=met,
        why="" if met else f"most of it: {largest}, {100 * worst.shares.parts[largest]:.1f} %",
    )


def file_line(recipe: Path, row: Row) -> list[str]:
    """A row of the table."""
    name = f"{recipe.stem}, {row.stage}" if row.stage else recipe.stem
    around = [f"{100 * row.shares.parts[part]:.2f} %" for part in (*AROUND, REST)]
    outside = f"{100 * row.shares.outside:.2f} % {verdict(row.shares.outside < 0.05)}"
    return [name, row.batch, str(row.workers), f"{row.made:.3f}", f"{row.shares.seconds:.2f}", *around, outside]


# -------------------------------------------------------------------------------------------------------- profile


def profiles(plan: Plan) -> Parts:
    """Where a step goes, by kinds of operations."""
    rows = []
    for name in PROFILED:
        task = TASKS[name]
        with tempfile.TemporaryDirectory() as folder:
            groups, seconds = profile(task_trainer(task, Path(folder), plan.quick))
        floor = groups["convolution, forward"] + groups["convolution, backward"]
        rows.append(
            [task.what, f"{1e3 * seconds:.0f}", *(f"{100 * groups[group] / seconds:.1f} %" for group in GROUPS)]
        )
        yield Claim(
            key=f"steps.profile.{name}",
            what=f"a step against its convolutions: {task.what}",
            ours=f"{1e3 * seconds:.1f} ms",
            floor=f"oneDNN's convolutions {1e3 * floor:.1f} ms",
            ratio=f"{seconds / floor:.2f}x",
        )
    text = (
        "Shares of a step by torch.profiler's own time of each operation; `framework` is what is left of the clock: "
        "Python between the operations, and the profiler's notes. The floor is the time in oneDNN's convolutions."
    )
    yield f"## Where a step goes\n\n{text}\n\n{table(['step', 'ms', *GROUPS], rows)}"


# ----------------------------------------------------------------------------------------------------- validation


def validation(plan: Plan) -> Parts:
    """Where the time of a validation goes, for the quickstart's."""
    count = 2 if plan.quick else 24
    columns = {}
    for name, overrides in {"as it ships": (), "with `save_img`": ("val.save_img=true",)}.items():
        with tempfile.TemporaryDirectory() as folder:
            columns[name] = validation_shares(Path(folder), count, overrides)
        parts, total = columns[name]
        work = parts["network"] + parts["metrics"]
        most = max((part for part in parts if part not in ("network", "metrics")), key=lambda part: parts[part])
        yield Claim(
            key=f"steps.validation.{'saving' if overrides else 'quickstart'}",
            what=f"validation of the quickstart's {count} faces {name}: share in network and metrics",
            ours=f"{100 * work / total:.1f} % of {1e3 * total / count:.1f} ms a picture",
            why=f"most of the rest: {most}, {100 * parts[most] / total:.1f} %",
        )
    rows = [
        [
            part,
            *(
                f"{1e3 * parts[part] / count:.2f} ms, {100 * parts[part] / total:.1f} %"
                for parts, total in columns.values()
            ),
        ]
        for part in next(iter(columns.values()))[0]
    ]
    text = f"Validation of the quickstart, {count} drawn faces of 256 px, PSNR and SSIM: a picture, and the share."
    yield f"## Validation\n\n{text}\n\n{table(['part', *columns], rows)}"


# ----------------------------------------------------------------------------------------------------- the script

PARTS: dict[str, Callable[[Plan], Parts]] = {
    "tasks": tasks,
    "files": files,
    "profile": profiles,
    "validation": validation,
}


def measure(plan: Plan, chosen: list[str]) -> Parts:
    """Each part in turn."""
    for name in chosen:
        yield from PARTS[name](plan)


def main() -> None:
    """Parses the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="only this part (default: all)")
    parser.add_argument("--recipe", action="append", default=[], metavar="STEM", help="only this option file")
    parser.add_argument("--rounds", type=int, default=80, help="turns of each side (80)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each option file, at least (5)")
    parser.add_argument("--quick", action="store_true", help="tiny networks and one file, to see that the script works")
    add_out(parser)
    args = parser.parse_args()
    plan = Plan(1 if args.quick else args.rounds, 0.0 if args.quick else args.seconds, args.quick, args.recipe)
    title = "Steps of every task" if args.only == ["tasks"] else "Steps of option files"
    publish(title, measure(plan, args.only or list(PARTS)), args.out)


if __name__ == "__main__":
    main()
