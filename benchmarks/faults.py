"""Strikes training runs with every fault that we know of, by a plan that a seed makes, and judges what comes of each.

A run is to end as one that nobody touched: the same bytes of weights and averages, the same losses logged. Or it stops
with one line that says what to do; and goes on, the fault once mended, with --auto_resume to that same end. Nothing
hangs, and no checkpoint is lost that was good. What is finished is kept, and a second start goes on behind it.
"""

import argparse
import json
import re
import shutil
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":  # run as a script: find the packages
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks import faults_blows
from benchmarks.faults_plan import FAULTS, KEEP, POINTERS, Trial, plan
from benchmarks.faults_runs import PATIENCE, End, References, Run, draw_faces
from benchmarks.measure import REPOSITORY, Claim, add_out, publish, table
from benchmarks.processes import Job
from restore.errors import EXIT_FAULT, EXIT_RESUMABLE, EXIT_USER, UserError

QUICK = ("kill_main", "sigterm", "flipped_byte", "truncated_lmdb")
ONE_IN = 8  # batches with a loss that is no number
ATTEMPTS = 5  # to strike a run before it ends
HANGS = 60.0  # seconds from the blow to the end of the job
SILENT = ("kill_main", "oom_killer", "nan_batches", "truncated_checkpoint", "flipped_byte")  # no time to tell
DONE = re.compile(r" done: \d+ iterations; .*\s*\Z")  # the last line of a run that came to its end
TOLD = re.compile(r"^(?:error|stopped): .*", re.MULTILINE)


class Stop(NamedTuple):
    """How a job ended: its exit code, None where it hung; what it printed; the seconds since the blow."""

    code: int | None
    text: str
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What came of one trial."""

    trial: dict[str, object]
    way: str  # `equal`, by itself or after it was killed; `told`, then equal
    told: str
    seconds: float
    problems: list[str]


# ----------------------------------------------------------------------------------------------------------- judging


def judge_stop(trial: Trial, stop: Stop) -> tuple[str, list[str]]:
    """Whether a job ended by itself or told why not, and what is wrong with its end."""
    if stop.code is None:
        return "told", [f"hangs: still there {stop.seconds:.0f} s after the blow"]
    problems = ["a traceback"] if "Traceback" in stop.text else []
    if stop.code == 0:
        return "equal", problems
    if trial.fault in SILENT and trial.ranks == 1 and stop.code == -signal.SIGKILL:
        return "equal", problems
    if trial.ranks > 1 and DONE.search(stop.text):  # without torchrun the ranks came to the end first
        return "equal", problems
    return "told", [*problems, *judge_word(trial, stop)]


def judge_word(trial: Trial, stop: Stop) -> list[str]:
    """What is wrong with the last words of a job that stopped."""
    problems = []
    if trial.ranks == 1 and stop.code not in (EXIT_FAULT, EXIT_USER, EXIT_RESUMABLE):  # torchrun has codes of its own
        problems.append(f"exit code {stop.code}")
    lines = [line for line in stop.text.splitlines() if line.strip()]
    told = TOLD.findall(stop.text)
    if not told or (trial.ranks == 1 and not TOLD.match(lines[-1])):
        problems.append(f"no last word: {lines[-1][:200] if lines else 'nothing'}")
    elif not any("--auto_resume" in line for line in told):
        problems.append(f"no remedy: {told[-1]}")
    return problems


def judge_end(end: End, whole: End) -> list[str]:
    """How the end differs from that of the run that nobody touched."""
    problems = [f"{name} differs" for name, hash_ in whole.hashes.items() if end.hashes.get(name) != hash_]
    wrong = [number for number, text in whole.losses.items() if end.losses.get(number) != text]
    return problems + ([f"losses differ at {', '.join(wrong[:5])}"] if wrong else [])


def lost(before: dict[int, Path], best: int | None, struck: set[int], run: Run) -> list[str]:
    """The checkpoints that were good, and are neither good now nor fewer than the newest ones that are to be kept."""
    good = run.good()
    numbers = sorted(int(path.name) for path in run.checkpoints.glob("[0-9]*"))
    gone = set(before) - set(good) - struck
    kept = [number for number in gone if len([other for other in numbers if other > number]) < KEEP]
    if best in gone and run.best() not in good:
        kept.append(best)
    return [f"checkpoint {number} is lost" for number in sorted(set(kept))]


# ------------------------------------------------------------------------------------------------------------ trials


def attempt(trial: Trial, folder: Path, references: References, patience: float) -> Outcome | None:
    """Strikes one run. None where it ended before it could be struck."""
    one_in = ONE_IN if trial.fault == "nan_batches" else 0
    whole = references.of(trial.task, trial.ranks, one_in)
    run = Run(folder, references.faces, trial.task, trial.storage, trial.workers, trial.ranks, one_in)
    environment = faults_blows.environment(trial, run)
    with faults_blows.ground(trial, run):
        with run.start(**environment) as job, ExitStack() as mended:
            if not _reached(trial, run, job):
                return None
            before, best = run.good(), run.best()
            struck = {max(before)} if trial.way not in POINTERS and "_checkpoint" in _damages(trial) else set()
            began = time.monotonic()
            try:
                mended.enter_context(faults_blows.strike(trial, run, job))
            except (OSError, LookupError, ValueError):  # whom to strike has just gone
                if job.launcher.poll() is None:
                    raise
                return None
            stop = _ended(run, job, began, patience)
            way, problems = judge_stop(trial, stop)
            problems += lost(before, best, struck, run)
            if trial.way == "to the next start" and stop.code:
                problems += _start_again(trial, run, patience)
        told = (TOLD.findall(stop.text) or [""])[-1]
        problems += _resumed(run, environment, whole, patience) + lost(before, best, struck, run)
    return Outcome(asdict(trial), way, told, stop.seconds, problems)


def _damages(trial: Trial) -> str:
    return "damaged_checkpoint" if trial.fault in ("truncated_checkpoint", "flipped_byte") else ""


def _reached(trial: Trial, run: Run, job: Job) -> bool:
    """Waits for the instant. Returns whether the run is still there."""
    inside = f".writing-{-(-trial.at // 10) * 10}"
    happened: Callable[[], bool] = lambda: run.iteration() >= trial.at  # noqa: E731
    if trial.way == "inside a save":
        happened = lambda: (run.checkpoints / inside).is_dir() or run.iteration() > trial.at + 10  # noqa: E731
    job.until(lambda: happened() or job.launcher.poll() is not None, 4 * PATIENCE)
    time.sleep(trial.delay / 10 if trial.way == "inside a save" else trial.delay)
    job.remember()
    return job.launcher.poll() is None


def _ended(run: Run, job: Job, began: float, patience: float) -> Stop:
    """Waits until nothing of a job is left."""
    try:
        job.until(lambda: not job.left(), patience)
        return Stop(job.launcher.wait(), run.told(), time.monotonic() - began)
    except TimeoutError:
        return Stop(None, run.told(), time.monotonic() - began)


def _start_again(trial: Trial, run: Run, patience: float) -> list[str]:
    """What is wrong with how the next start tells that the fault is still there."""
    with run.start() as job:
        job.remember()
        stop = _ended(run, job, time.monotonic(), patience)
    problems = ["a traceback"] if "Traceback" in stop.text else []
    if stop.code not in (EXIT_FAULT, EXIT_USER) and trial.ranks == 1:
        problems.append(f"exit code {stop.code}, though the fault is still there")
    return problems + ([] if TOLD.findall(stop.text) else ["tells nothing, though the fault is still there"])


def _resumed(run: Run, environment: dict[str, str], whole: End, patience: float) -> list[str]:
    """Goes on, the fault being mended, and compares the end."""
    with run.start(**environment) as job:
        job.remember()
        stop = _ended(run, job, time.monotonic(), 2 * patience)
    if stop.code != 0:
        return [f"resumed, it ended with {stop.code}: {' '.join(stop.text[-300:].split())}"]
    try:
        return judge_end(run.end(), whole)
    except UserError as error:
        return [f"no good checkpoint in the end: {error}"]


def tried(trial: Trial, folder: Path, references: References, patience: float) -> Outcome:
    """The outcome of a trial; its output stays where it failed."""
    place = folder / "trials" / str(trial.number)
    outcome: Outcome | None = None
    earlier = trial
    for _ in range(ATTEMPTS):
        outcome = attempt(earlier, place, references, patience)
        if outcome is not None:
            break
        earlier = replace(earlier, at=max(earlier.at // 2, 1), delay=0.0)
    if outcome is None:
        outcome = Outcome(asdict(trial), "told", "", 0.0, [f"ended {ATTEMPTS} times before it was struck"])
    outcome = replace(outcome, trial=asdict(trial))
    if outcome.problems:
        for output in place.glob("start_*.txt"):
            (folder / "failed").mkdir(exist_ok=True)
            shutil.copyfile(output, folder / "failed" / f"{trial.number}_{output.name}")
    shutil.rmtree(place, ignore_errors=True)
    return outcome


def finished(record: Path, trials: list[Trial]) -> dict[int, Outcome]:
    """The outcomes of these very trials that an earlier start has left."""
    lines = record.read_text(encoding="utf-8").splitlines() if record.is_file() else []
    outcomes = [Outcome(**json.loads(line)) for line in lines if line.endswith("}")]  # one may be cut short by a kill
    planned = {trial.number: asdict(trial) for trial in trials}
    return {int(str(o.trial["number"])): o for o in outcomes if planned.get(int(str(o.trial["number"]))) == o.trial}


def try_all(trials: list[Trial], args: argparse.Namespace) -> list[Outcome]:
    """Each trial's outcome; what an earlier start has finished is not tried again."""
    folder: Path = args.folder.resolve()
    (folder / "references").mkdir(parents=True, exist_ok=True)
    if not (folder / "faces").is_dir():
        draw_faces(folder / "drawing")
        (folder / "drawing").rename(folder / "faces")
    record, writing = folder / f"outcomes_{args.seed}.jsonl", threading.Lock()
    outcomes = finished(record, trials)
    references = References(folder / "references", folder / "faces")

    def one(trial: Trial) -> Outcome:
        outcome = tried(trial, folder, references, args.patience)
        with writing, open(record, "a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(outcome)) + "\n")
            print(f"{trial}: {'; '.join(outcome.problems) or outcome.way}", file=sys.stderr, flush=True)
        return outcome

    left = [trial for trial in trials if trial.number not in outcomes]
    with ThreadPoolExecutor(args.jobs) as pool:
        outcomes |= {trial.number: outcome for trial, outcome in zip(left, pool.map(one, left), strict=True)}
    return [outcomes[trial.number] for trial in trials]


# ----------------------------------------------------------------------------------------------------------- telling


def measure(args: argparse.Namespace) -> Iterator[str | Claim]:
    """The table, the trials that failed, and a claim for each fault."""
    gaps = {fault: why for fault in FAULTS if (why := faults_blows.needed(fault)) is not None}
    trials = [trial for trial in plan(args.times, args.seed) if args.only in (None, trial.fault)]
    if args.quick:
        first = {trial.fault: trial for trial in reversed(trials) if trial.task == "sr" and trial.ranks == 1}
        trials = [first[fault] for fault in QUICK if fault in first]
    outcomes = try_all([trial for trial in trials if trial.fault not in gaps], args)
    by_fault = {fault: [o for o in outcomes if o.trial["fault"] == fault] for fault in FAULTS}
    yield report(by_fault)
    for fault, some in by_fault.items():
        if some or (fault in gaps and args.only in (None, fault)):
            yield claim(fault, some, gaps.get(fault, ""))


def report(by_fault: dict[str, list[Outcome]]) -> str:
    """The table, and below it the trials that failed."""
    header = ["fault", "trials", "ended equal", "told in one line, then equal", "hangs", "lost checkpoints"]
    rows = [_row(fault, some) for fault, some in by_fault.items() if some]
    text = (
        "Tiny runs of super-resolution, with a discriminator, and of inpainting, each struck once at an instant of "
        "chance, mended, and resumed to its end; against runs that nobody touched, bit for bit. A run that was killed "
        "outright counts as ended equal where the resumed one did. Seconds: from the blow to the end of all processes."
    )
    failed = [o for some in by_fault.values() for o in some if o.problems]
    shown = [f"- {Trial(**o.trial)}: {'; '.join(o.problems)}" for o in failed]  # type: ignore[arg-type]
    table_ = table([*header, "longest, s"], rows)
    return f"{text}\n\n{table_}\n\n" + ("Failed:\n\n" + "\n".join(shown) if shown else "None failed.")


def _row(fault: str, outcomes: list[Outcome]) -> list[str]:
    good = [o.way for o in outcomes if not o.problems]
    wrong = [problem for o in outcomes for problem in o.problems]
    hangs = sum(problem.startswith("hangs") for problem in wrong)
    gone = sum(problem.endswith("is lost") for problem in wrong)
    counts = [len(outcomes), good.count("equal"), good.count("told"), hangs, gone]
    return [f"`{fault}`", *map(str, counts), f"{max(o.seconds for o in outcomes):.1f}"]


def claim(fault: str, outcomes: list[Outcome], gap: str) -> Claim:
    """How many of a fault's trials were survived."""
    what = f"{fault.replace('_', ' ')}: runs that end as an untouched one, or tell in one line and then do"
    if gap:
        return Claim(key=f"faults.{fault}", what=what, ours="", bar="all", why=gap)
    survived = sum(not o.problems for o in outcomes)
    seconds = statistics.median(o.seconds for o in outcomes), max(o.seconds for o in outcomes)
    return Claim(
        key=f"faults.{fault}",
        what=what,
        ours=f"{survived} of {len(outcomes)}; {seconds[0]:.1f} s to the end, longest {seconds[1]:.1f} s",
        bar="all",
        met=survived == len(outcomes),
        why="; ".join(sorted({problem for o in outcomes for problem in o.problems}))[:300],
    )


def main() -> None:
    """Parses the command line, strikes and judges."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=200, help="faults (200)")
    parser.add_argument("--only", choices=FAULTS, metavar="FAULT", help=f"of this kind: {', '.join(FAULTS)}")
    parser.add_argument("--seed", type=int, default=0, help="of the plan (0)")
    parser.add_argument("--jobs", type=int, default=2, help="trials at a time (2)")
    parser.add_argument("--patience", type=float, default=HANGS, help=f"seconds until a job hangs ({HANGS:g})")
    parser.add_argument("--quick", action="store_true", help="one of each of a few kinds")
    parser.add_argument(
        "--folder", type=Path, default=REPOSITORY / "experiments" / "faults", help="what is done (experiments/faults)"
    )
    add_out(parser)
    args = parser.parse_args()
    publish("Faults", measure(args), args.out)


if __name__ == "__main__":
    main()
