"""Breaks the lines of central_lines.py one at a time, in a copy of the tree, and asks the fast tier of the tests.

Tests near the line come first, then, where they notice nothing, the rest. A test that fails counts only if it passes on
the unbroken copy. Neither real data nor weights are there: what is caught is caught anywhere.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

if __name__ == "__main__":  # run as a script: find the packages
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.central_lines import MUTATIONS, Mutation
from benchmarks.measure import REPOSITORY, Claim, add_out, publish, table

BAR = 19 / 20
SECONDS = 300  # that the fast tier may take on two cores
NEAR, WHOLE = 300, 1800  # seconds of patience: a test that hangs tells nothing
QUICK = ("pixel loss: sign", "manifest: leaves its folder")
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


def copy_tree(target: Path) -> Path:
    """What git tracks, and new files that it does not ignore, in a folder of their own."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (REPOSITORY / name).is_file():  # one that is deleted is listed still
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, target / name)
    return target


def break_text(text: str, mutation: Mutation) -> str:
    """A file's text with the line broken. Raises `ValueError` unless the line is there exactly once."""
    found = text.count(mutation.line)
    if found != 1:
        raise ValueError(f"{mutation.name}: restore/{mutation.file} has its line {found} times: {mutation.line}")
    return text.replace(mutation.line, mutation.broken)


@contextmanager
def broken(tree: Path, mutation: Mutation) -> Iterator[None]:
    """The tree with one line broken, as long as the context is entered."""
    path = tree / "restore" / mutation.file
    whole = path.read_text(encoding="utf-8")
    path.write_text(break_text(whole, mutation), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(whole, encoding="utf-8")


def first_failure(tree: Path, tests: Sequence[str], patience: float, jobs: int = 0) -> str | None:
    """The first test of the fast tier that fails, or None. Raises `RuntimeError` when the tests do not run at all."""
    spread_over = ["-n", str(jobs), "--dist", "loadfile"] if jobs else []
    options = ["-x", "-m", "not slow", "--tb=no", "-rfE", "-p", "no:cacheprovider", *spread_over]
    dropped = ("RESTORE_SHARED", "RESTORE_WEIGHTS")
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    # the copy goes before an installed package; no .pyc, which a line that is put back within a second would outlive
    environment |= {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    # of no use here: a test that every line of central_lines.py stands where it says
    command = [sys.executable, "-m", "pytest", *options, "--ignore=tests/benchmarks/test_central_lines.py", *tests]
    try:
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=patience)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode == 0:
        return None
    failed = FAILED.search(done.stdout)
    if failed is None:
        raise RuntimeError(f"pytest ended with {done.returncode}: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    return failed[1]


def caught_by(tree: Path, mutation: Mutation, jobs: int) -> str | None:
    """The test that fails because of the mutation, or None."""
    near = [f"tests/{name}" for name in mutation.near.split()]
    for tests, patience, spread_over in ((near, NEAR, 0), (["tests"], WHOLE, jobs)):
        with broken(tree, mutation):
            failed = first_failure(tree, tests, patience, spread_over)
        if failed is not None:
            function = failed.partition("[")[0]
            return None if first_failure(tree, [function], NEAR) else failed
    return None


def chosen(args: argparse.Namespace) -> list[Mutation]:
    """The mutations that are asked for. Raises `SystemExit` for a name that there is not."""
    names = QUICK if args.quick else args.only or [mutation.name for mutation in MUTATIONS]
    unknown = set(names) - {mutation.name for mutation in MUTATIONS}
    if unknown:
        raise SystemExit(f"no such mutation: {', '.join(sorted(unknown))}; see benchmarks/central_lines.py")
    return [mutation for mutation in MUTATIONS if mutation.name in names]


def measure_tier(tree: Path, jobs: int, whole: bool) -> Claim:
    """The fast tier on the unbroken copy, in which all of it should pass."""
    claim = Claim(
        key="mutations.fast_tier",
        what=f"the fast tier of the tests, {jobs} files at a time",
        ours="",
        bar=f"at most {SECONDS} s",
        why="only a part was asked for",
    )
    if not whole:
        return claim
    began = time.perf_counter()
    failed = first_failure(tree, ["tests"], WHOLE, jobs)
    seconds = time.perf_counter() - began
    if failed is not None:
        return claim._replace(met=False, why=f"{failed} fails although no line is broken")
    return claim._replace(ours=f"{seconds:.0f} s", met=seconds <= SECONDS, why="")


def measure(tree: Path, args: argparse.Namespace) -> Iterator[str | Claim]:
    """The table and the claims."""
    mutations, whole = chosen(args), not (args.quick or args.only)
    yield measure_tier(tree, args.jobs, whole)
    rows, caught = [], 0
    for mutation in mutations:
        test = caught_by(tree, mutation, args.jobs)
        caught += test is not None
        rows.append([mutation.name, f"`{mutation.file}`", f"`{test}`" if test else "**got through**"])
        print(" · ".join(rows[-1]), file=sys.stderr, flush=True)
    yield "Each line broken alone, in a copy without data and weights; the first test of the fast tier that fails."
    yield table(["broken", "in restore/", "caught by"], rows)
    yield Claim(
        key="mutations.caught",
        what="central lines broken one at a time: how many the fast tier of the tests notices",
        ours=f"{caught} of {len(mutations)}",
        bar="at least 19 of 20",
        met=caught >= BAR * len(mutations) if whole else None,
        why="" if whole else "only a part was asked for",
    )


def main() -> None:
    """Parses the command line, breaks and tells."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these mutations; see central_lines.py")
    parser.add_argument("--quick", action="store_true", help="two of them")
    parser.add_argument("--jobs", type=int, default=2, help="test files at a time in the whole fast tier (2)")
    add_out(parser)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        publish("Mutations", measure(copy_tree(Path(folder)), args), args.out)


if __name__ == "__main__":
    main()
