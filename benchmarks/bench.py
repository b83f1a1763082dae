"""Runs every benchmark, one after the other, and writes benchmarks/RESULTS.md of what they measured.

Each is a process of its own with a time limit; one that fails is a gap with a name, and the rest goes on. What was
measured with the same restore/, script and arguments is not measured again: a run that was stopped goes on.
"""

import argparse
import hashlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # run as a script: find the packages
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.measure import REPOSITORY
from benchmarks.page import page, read
from benchmarks.processes import Job
from benchmarks.runs import RUNS, Run

SCRIPTS = REPOSITORY / "benchmarks"
PEERS = ("basicsr", "facexlib", "realesrgan", "gfpgan")
PIP_SAID = "peers_missing.txt"  # in the virtual environment of `make bench`: a line for each that it could not install


def main() -> None:
    """The command line."""
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what runs is killed on the way out
    results = args.into / "results"
    if not args.page:
        measure([run for run in RUNS if not args.only or run.name in args.only], results, args.quick, args.again)
    target = args.into / "RESULTS.md"
    target.write_text(page(RUNS, results, read(journal(results)), missing_peers()), encoding="utf-8")
    say(f"wrote {target}")


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[run.name for run in RUNS], help="these alone")
    parser.add_argument("--again", action="store_true", help="measure anew what is there")
    parser.add_argument("--quick", action="store_true", help="each for seconds: to see that all of it works")
    parser.add_argument("--into", type=Path, default=SCRIPTS, metavar="FOLDER", help="where RESULTS.md and results/ go")
    parser.add_argument("--page", action="store_true", help="measure nothing: write RESULTS.md of what is there")
    args = parser.parse_args()
    if args.quick and args.into.resolve() == SCRIPTS:
        parser.error("--quick measures nothing: say with --into FOLDER where its results go")
    args.into.mkdir(parents=True, exist_ok=True)
    return args


def measure(runs: Sequence[Run], results: Path, quick: bool = False, again: bool = False) -> None:
    """Runs each that has no result of this code, and notes in the journal how it ended."""
    results.mkdir(parents=True, exist_ok=True)
    for number, run in enumerate(runs, 1):
        place, code = f"{number}/{len(runs)} {run.name}", fingerprint(run.line(quick))
        if not again and is_there(run, results, code):
            say(f"{place}: is there")
            continue
        say(f"{place}: {run.line(quick)}" + ("" if quick else f", about {run.minutes:g} min"))
        began = time.monotonic()
        failed = perform(run, results, quick)
        minutes = (time.monotonic() - began) / 60
        note(results, run.name, {"code": code, "minutes": round(minutes, 2), "failed": failed})
        say(f"{place}: {failed or 'done'} ({minutes:.1f} min)")


def is_there(run: Run, results: Path, code: str) -> bool:
    """Whether a run with this code has left its claims."""
    ended = read(journal(results)).get(run.name, {})
    return ended.get("code") == code and not ended["failed"] and (results / f"{run.name}.json").exists()


def fingerprint(line: str) -> str:
    """Of what a result hangs on: the package, the script, its arguments."""
    digest = hashlib.sha256(line.encode())
    for path in (SCRIPTS / line.split()[0], *sorted((REPOSITORY / "restore").rglob("*.py"))):
        with suppress(FileNotFoundError):  # a script that is not there fails when it is run, and says so
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def perform(run: Run, results: Path, quick: bool) -> str:
    """Runs one to its end or its limit. Returns why there is no result; '' when there is one."""
    line = os.path.expandvars(run.line(quick))
    if unset := re.findall(r"\$(\w+)", line):
        return f"{', '.join(dict.fromkeys(unset))} is not set"
    script, *rest = shlex.split(line)
    command = [sys.executable, str(SCRIPTS / script), *rest, "--out", str(results / f"{run.name}.md")]
    log = results / f"{run.name}.log"
    log.unlink(missing_ok=True)
    with Job(command, log, os.environ, REPOSITORY) as job:  # which kills all that is left of it
        try:
            code = job.launcher.wait(run.limit * 60)
        except subprocess.TimeoutExpired:
            return f"killed after {run.limit:g} min, having said: {last_line(job.told())}"
    return f"exit code {code}: {last_line(job.told())}" if code else ""


def last_line(text: str) -> str:
    """The last one with something in it."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "nothing")


def journal(results: Path) -> Path:
    """How each run ended, by name."""
    return results / "bench.json"


def note(results: Path, name: str, entry: dict[str, Any]) -> None:
    """Adds to the journal, which is whole at any instant."""
    text = json.dumps(read(journal(results)) | {name: entry}, indent=1, sort_keys=True)
    beside = results / "bench.json.new"
    beside.write_text(text + "\n", encoding="utf-8")
    beside.replace(journal(results))


def missing_peers(names: Iterable[str] = PEERS) -> dict[str, str]:
    """Peers that are not installed here, and what pip said when `make bench` tried."""
    path = Path(sys.prefix) / PIP_SAID
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    said = {line.partition("==")[0]: line for line in lines}
    return {name: said.get(name, "not installed") for name in names if find_spec(name) is None}


def say(line: str) -> None:
    """A line of progress, with the time."""
    print(f"{time.strftime('%H:%M:%S')}  {line}", flush=True)


if __name__ == "__main__":
    main()
