"""From the command to the first training step, and to the word about a mistake in the option file."""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

if __name__ == "__main__":  # run as a script: find the packages
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.measure import REPOSITORY, add_out, publish, spread, table, take_turns, verdict
from benchmarks.peers import basicsr_options, build_lmdbs, write_options

OURS = [sys.executable, str(REPOSITORY / "restore" / "train.py")]
BASICSR = [
    sys.executable,
    "-c",
    f"import sys; sys.path.insert(0, {str(REPOSITORY)!r})\n"
    "from restore.guest import make_importable; make_importable()\n"
    "from basicsr.train import train_pipeline; train_pipeline('.')",
]
FIRST_STEP = "iter 1/", "iter:       1,"  # as ours and BasicSR's log lines have it
TINY = {"type": "MSRResNet", "num_feat": 16, "num_block": 2}
LONGEST = 3.0  # seconds until a mistake is told


def to_first_step(command: list[str], options: Path) -> float:
    """Seconds from the start of the process to the log line of its first training step.

    Raises:
        RuntimeError: it ended without one.
    """
    folder = options.parent / "run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    began = time.perf_counter()
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen([*command, "-opt", str(options)], cwd=folder, **pipes) as process:  # type: ignore[call-overload]
        lines = []
        for line in process.stdout:
            if any(mark in line for mark in FIRST_STEP):
                spent = time.perf_counter() - began
                process.kill()
                return spent
            lines.append(line)
    raise RuntimeError("".join(lines[-3:]) or "no word")


def to_error(command: list[str], options: Path) -> float:
    """Seconds from the start of the process to its end, which has to be a failure."""
    began = time.perf_counter()
    result = subprocess.run([*command, "-opt", str(options)], cwd=options.parent, capture_output=True)
    spent = time.perf_counter() - began
    if result.returncode == 0:
        raise RuntimeError("the mistake passed in silence")
    return spent


def measure(folder: Path, times: int) -> Iterator[str]:
    """The table."""
    build_lmdbs(folder, 8)
    options = basicsr_options(folder, 4, 0, 64, TINY)
    options["logger"]["print_freq"] = 1
    good = write_options(folder / "good" / "train.yml", options)
    options["datasets"]["train"]["dataroot_qt"] = options["datasets"]["train"].pop("dataroot_gt")
    bad = write_options(folder / "bad" / "train.yml", options)
    rows = [
        *compare("first training step", partial(to_first_step, options=good), times, None),
        *compare("`dataroot_qt` told", partial(to_error, options=bad), times, LONGEST),
    ]
    text = (
        f"One option file of BasicSR's for both, a {TINY['num_feat']}x{TINY['num_block']} MSRResNet: seconds from the "
        "start of the process. Medians and quartiles."
    )
    yield f"{text}\n\n{table(['until', 'ours, s', 'BasicSR, s', 'bar', ''], rows)}"


def compare(what: str, run: Callable[[list[str]], float], times: int, longest: float | None) -> list[list[str]]:
    """One row: ours and BasicSR's in turns."""
    run(OURS)  # warms the disk's cache
    runs = {"ours": partial(run, OURS)}
    try:
        run(BASICSR)
        runs["basicsr"] = partial(run, BASICSR)
    except RuntimeError as error:
        theirs = f"cannot run: {' '.join(str(error).split())[-150:]}"
    results = take_turns(runs, times)
    ours = spread(results["ours"])
    met = longest is None or ours.median < longest
    if "basicsr" in results:
        theirs = spread(results["basicsr"]).show(".2f")
        met = met and ours.median < spread(results["basicsr"]).median
    bar = "below BasicSR's" + (f" and {longest:.0f} s" if longest else "")
    return [[what, ours.show(".2f"), theirs, bar, verdict(met)]]


def main() -> None:
    """Parses the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5, help="starts of each (5)")
    add_out(parser)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        publish("Starting", measure(Path(folder), args.times), args.out)


if __name__ == "__main__":
    main()
