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

from benchmarks.measure import REPOSITORY, Claim, publish, ratios, read_command, spread, table, take_turns, verdict
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


def measure(folder: Path, times: int) -> Iterator[str | Claim]:
    """The table and its claims."""
    build_lmdbs(folder, 8)
    options = basicsr_options(folder, 4, 0, 64, TINY)
    options["logger"]["print_freq"] = 1
    good = write_options(folder / "good" / "train.yml", options)
    options["datasets"]["train"]["dataroot_qt"] = options["datasets"]["train"].pop("dataroot_gt")
    bad = write_options(folder / "bad" / "train.yml", options)
    claims = [
        compare("first_step", "first training step", partial(to_first_step, options=good), times, None),
        compare("mistake", "a mistake is told", partial(to_error, options=bad), times, LONGEST),
    ]
    rows = [[one.what, one.ours, one.peer or one.why, one.ratio, one.bar, verdict(one.met)] for one in claims]
    text = (
        f"One option file of BasicSR's for both, a {TINY['num_feat']}x{TINY['num_block']} MSRResNet: seconds from the "
        "start of the process. Medians and quartiles."
    )
    yield f"{text}\n\n{table(['until', 'ours', 'BasicSR', 'of its time', 'bar', ''], rows)}"
    yield from claims


def compare(key: str, what: str, run: Callable[[list[str]], float], times: int, longest: float | None) -> Claim:
    """Ours and BasicSR's in turns; without BasicSR, `longest` alone is judged."""
    run(OURS)  # warms the disk's cache
    runs, why = {"ours": partial(run, OURS)}, ""
    try:
        run(BASICSR)
        runs["basicsr"] = partial(run, BASICSR)
    except RuntimeError as error:
        why = f"BasicSR cannot run: {' '.join(str(error).split())[-150:]}"
    results = take_turns(runs, times)
    ours = spread(results["ours"])
    met = ours.median < longest if longest else None
    bar = "below BasicSR's" + (f" and {longest:.0f} s" if longest else "")
    claim = Claim(f"start.{key}", f"from the command until: {what}", f"{ours.show('.2f')} s", bar=bar, met=met, why=why)
    if "basicsr" not in results:
        return claim
    theirs, ratio = spread(results["basicsr"]), spread(ratios(results["ours"], results["basicsr"]))
    met = ratio.median < 1 and met is not False  # in turns: the sides of a round saw the same machine
    return claim._replace(peer=f"BasicSR: {theirs.show('.2f')} s", ratio=ratio.show(".2f"), met=met)


def main() -> None:
    """Parses the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5, help="starts of each (5)")
    args = read_command(parser, times=1)
    with tempfile.TemporaryDirectory() as folder:
        publish("Starting", measure(Path(folder), args.times), args.out)


if __name__ == "__main__":
    main()
