"""Bad input without end for every door: coverage-guided by atheris where it is installed, else drawn from a seed.

Each target of `fuzz_targets.py` runs in a process of its own; what ends the process is noted, and the run goes on. A
finding is whatever is not accepted or told in one line: a traceback, over a second, much memory, code that runs, a file
written elsewhere (`fuzz_guard.py`), the end of the process. Inputs that were found go to `--corpus`, mended or not.

    pip install atheris            # 3.0.0, for Python 3.11 to 3.13 on Linux; no requirement of the tests
    python benchmarks/fuzz.py --target options image --inputs 100000
"""

import argparse
import contextlib
import json
import mmap
import os
import random
import re
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # run as a script: find the packages
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.measure import REPOSITORY, Claim, add_out, publish, table, verdict

CORPUS = REPOSITORY / "tests" / "fuzz" / "corpus"
HANGS = 30  # seconds without an answer
DEATHS = 200  # after so many ends of its process a target is given up
MINIMISE = 300  # runs spent on making a finding smaller
QUICK = 300  # inputs of a cheap target with --quick

_HEAD = struct.Struct("<QQQdq")  # tried, accepted, told, slowest, bytes of the input that follows or -1


@dataclass
class Row:
    """What became of a target's inputs. `findings` are told by kind; `died` counts those that ended the process."""

    target: str
    engine: str = "atheris"
    wanted: int = 0
    tried: int = 0
    accepted: int = 0
    told: int = 0
    died: int = 0
    slowest: float = 0.0
    edges: int = 0
    seconds: float = 0.0
    findings: dict[str, str] = field(default_factory=dict)  # and the file that the input was kept in
    limit: str = ""

    @property
    def met(self) -> bool:
        """All inputs were tried, and nothing was found."""
        return not self.findings and self.tried >= self.wanted

    def cells(self) -> list[str]:
        """The row as text."""
        counts = [f"{each:,}" for each in (self.tried, self.accepted, self.told, len(self.findings), self.died)]
        rate = f"{self.tried / max(self.seconds, 1e-9):,.0f}"
        edges = f"{self.edges:,}" if self.edges else "-"
        return [self.target, self.engine, *counts, f"{self.slowest:.2f} s", edges, rate, verdict(self.met)]

    def claim(self) -> Claim:
        """The row as a claim."""
        short = "" if self.tried >= self.wanted else f"{self.tried:,} of {self.wanted:,} inputs in the time given. "
        return Claim(
            key=f"fuzz.{self.target}",
            what=f"{self.tried:,} bad inputs of `{self.target}`, {self.engine}",
            ours=f"{len(self.findings)} kinds of findings, {self.died} ends of the process, {self.edges:,} edges",
            bar=f"{self.wanted:,} inputs, no finding",
            met=self.met,
            why=short + "; ".join(self.findings) + (f"; {self.limit}" if self.findings and self.limit else ""),
        )


# ---------------------------------------------------------------------------------- what a process says of its inputs


class Record:
    """Counts and the present input, in memory that outlives the process that writes them."""

    def __init__(self, longest: int) -> None:
        self.memory = mmap.mmap(-1, _HEAD.size + 2 * longest + 4096)
        self.tried = self.accepted = self.told = 0
        self.slowest = 0.0
        self.end()

    def begin(self, data: bytes) -> None:
        """Notes an input before it is tried."""
        self.tried += 1
        self.memory[_HEAD.size : _HEAD.size + len(data)] = data
        self._write(len(data))

    def answer(self, accepted: bool, seconds: float) -> None:
        """Notes what became of it."""
        self.accepted += accepted
        self.told += not accepted
        self.slowest = max(self.slowest, seconds)

    def end(self) -> None:
        """Notes that it did not end the process."""
        self._write(-1)

    def read(self) -> bytes | None:
        """Takes over what another process wrote, and returns the input that it is at."""
        self.tried, self.accepted, self.told, self.slowest, size = _HEAD.unpack_from(self.memory)
        return bytes(self.memory[_HEAD.size : _HEAD.size + size]) if size >= 0 else None

    def _write(self, size: int) -> None:
        _HEAD.pack_into(self.memory, 0, self.tried, self.accepted, self.told, self.slowest, size)


class Findings:
    """The inputs that brought something about, one of each kind, the smallest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, kind: str, data: bytes) -> bool:
        """Keeps an input; returns whether it is the first, or the smallest, of its kind."""
        stem = re.sub(r"\W+", "_", kind)[:80]
        old = self.folder / f"{stem}.bin"
        if old.exists() and old.stat().st_size <= len(data):
            return False
        old.write_bytes(data)
        (self.folder / f"{stem}.txt").write_text(kind, encoding="utf-8")
        return True

    def all(self) -> dict[str, str]:
        """Kinds and files."""
        return {path.read_text(encoding="utf-8"): path.with_suffix(".bin").name for path in self.folder.glob("*.txt")}


def kind_of(error: BaseException) -> str:
    """What a finding is called: the error, and the last of our lines that it went through."""
    from benchmarks.fuzz_guard import Finding

    if isinstance(error, Finding):
        return re.sub(r"[\d.]+", "n", str(error).partition(":")[0])
    ours = [each for each in traceback.extract_tb(error.__traceback__) if f"{os.sep}restore{os.sep}" in each.filename]
    place = f" in {Path(ours[-1].filename).name}, {ours[-1].name}" if ours else ""
    told = f" {error}"[:60] if isinstance(error, AssertionError) else ""
    return f"{type(error).__name__}{told}{place}"


# ------------------------------------------------------------------------------------------------- one target's process


def alone(name: str, args: argparse.Namespace) -> Row:
    """Tries a target's inputs in processes that are forked off this one: the end of one is a finding, no end."""
    guided = not args.plain and _has_atheris()
    with _instrumented(guided):
        from benchmarks import fuzz_guard
        from benchmarks.fuzz_targets import TARGETS, prepare
    target, scratch = TARGETS[name], Path(tempfile.mkdtemp(dir=args.scratch)).resolve()
    row = Row(name, "atheris" if guided else "plain", max(1, round(args.inputs * target.share)), limit=target.limit)
    record, findings = Record(target.longest), Findings(scratch.with_name("findings") / name)
    with _instrumented(guided):  # what the targets import
        prepare(scratch)
        seeds = _start_of(target.seeds(), name, args.corpus)
        fuzz_guard.install()

        def one(data: bytes) -> None:
            record.begin(data)
            try:
                record.answer(*fuzz_guard.judge(target.run, data, scratch))
            except Exception as error:
                kind = kind_of(error)
                if findings.add(kind, data):
                    findings.add(kind, smaller(target.run, data, kind, scratch))
            finally:
                record.end()

        for data in seeds:
            with contextlib.suppress(Exception):  # imports come first; they count when they are tried
                target.run(data)
    began = time.monotonic()
    while record.tried < row.wanted and row.died < DEATHS and time.monotonic() - began < args.seconds:
        left = min(args.seconds - (time.monotonic() - began), 3600)
        work = _guided if guided else _drawn
        log = scratch.with_name(f"{name}.log")
        died = _in_a_process(partial(work, target, seeds, one, record, row, args.seed + row.died, left), record, log)
        row.edges = max([row.edges, *map(int, re.findall(r" cov: (\d+)", log.read_text(errors="replace")))])
        if died:
            row.died += 1
            findings.add(died[0], died[1])
    row.tried, row.accepted, row.told, row.slowest = record.tried, record.accepted, record.told, record.slowest
    row.seconds = time.monotonic() - began
    row.findings = {kind: _keep(findings.folder / file, name, args.corpus) for kind, file in findings.all().items()}
    return row


def smaller(run: Callable[[bytes], None], data: bytes, kind: str, scratch: Path) -> bytes:
    """A smaller input of the same finding, by leaving parts out."""
    from benchmarks.fuzz_guard import judge

    left, size = MINIMISE, max(1, len(data) // 2)
    while size and left:
        at = 0
        while at < len(data) and left:
            left -= 1
            without, found = data[:at] + data[at + size :], ""
            try:
                judge(run, without, scratch)
            except Exception as error:
                found = kind_of(error)
            data, at = (without, at) if found == kind else (data, at + size)
        size //= 2
    return data


def _guided(
    target: Any, seeds: list[bytes], one: Callable[[bytes], None], record: Record, row: Row, seed: int, left: float
) -> None:
    """libFuzzer's loop."""
    import atheris

    corpus, words = Path("../units").resolve() / row.target, Path("../words.txt").resolve()
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds):
        (corpus / f"seed_{number}").write_bytes(data)
    words.write_text("".join('"' + "".join(f"\\x{each:02x}" for each in word) + '"\n' for word in target.words))
    limits = [f"-runs={row.wanted - record.tried}", f"-max_total_time={int(left) + 1}", f"-seed={seed + 1}"]
    limits += [f"-max_len={target.longest}", "-rss_limit_mb=0", "-malloc_limit_mb=0", "-timeout=600", "-detect_leaks=0"]
    limits += [f"-dict={words}"] if target.words else []
    atheris.Setup(["fuzz", *limits, f"-artifact_prefix={corpus.parent}/", str(corpus)], one)
    atheris.Fuzz()


def _drawn(
    target: Any, seeds: list[bytes], one: Callable[[bytes], None], record: Record, row: Row, seed: int, left: float
) -> None:
    """The seeds, then what a seeded mutator makes of them."""
    draws, until = random.Random(f"{row.target} {seed}"), time.monotonic() + left
    first = record.tried
    while record.tried < row.wanted and time.monotonic() < until:
        place = record.tried - first
        one(seeds[place] if place < len(seeds) else mutated(draws, seeds, target.words)[: target.longest])


def mutated(draws: random.Random, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """One of the seeds with one to eight changes."""
    data = bytearray(draws.choice(seeds))
    for _ in range(1 << draws.randrange(4)):
        at, size = draws.randrange(len(data) + 1), 1 << draws.randrange(7)
        kind = draws.randrange(7)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << draws.randrange(8)
        elif kind == 1 and at < len(data):
            data[at] = draws.randrange(256)
        elif kind == 2:
            del data[at : at + size]
        elif kind == 3:
            data[at:at] = data[at : at + size]
        elif kind == 4 and words:
            data[at:at] = draws.choice(words)
        elif kind == 5:
            data[at : at + 4] = draws.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\1\0\0"))
        else:
            other = draws.choice(seeds)
            data[at:] = other[draws.randrange(len(other) + 1) :]
    return bytes(data)


def _in_a_process(work: Callable[[], None], record: Record, log: Path) -> tuple[str, bytes] | None:
    """Does it in a fork of this process. Returns what ended the fork, and at which input, where it was no good end."""
    pid = os.fork()
    if pid == 0:
        _quiet(log)
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    tried, since = -1, time.monotonic()
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        data = record.read()
        if ended:
            code = os.waitstatus_to_exitcode(status)
            break
        if record.tried != tried:
            tried, since = record.tried, time.monotonic()
        elif time.monotonic() - since > HANGS:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return (f"takes longer than {HANGS} s", data) if data is not None else None  # it hung between inputs
        time.sleep(0.02)
    text = log.read_text(errors="replace")
    if data is None and (code == 0 or re.search(r"^Done \d+ runs", text, re.MULTILINE)):
        return None
    found = re.search(r"ERROR: libFuzzer: ([^\n]+)", text)
    why = signal.Signals(-code).name if code < 0 else found[1] if found else f"exit code {code}"
    return f"the process ends: {why}", data or b""


def _quiet(log: Path) -> None:
    """From here on this process writes into a file."""
    with open(log, "wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def _has_atheris() -> bool:
    try:
        import atheris  # noqa: F401
    except ImportError:
        return False
    return True


@contextlib.contextmanager
def _instrumented(guided: bool) -> Iterator[None]:
    """Within it our modules are imported with counters in them, where there is atheris."""
    if not guided:
        yield
        return
    import atheris

    with atheris.instrument_imports(include=["restore"], enable_loader_override=False):
        yield


def _start_of(seeds: list[bytes], name: str, corpus: Path) -> list[bytes]:
    """What to begin from: the good ones and those that were found before."""
    return seeds + [path.read_bytes() for path in sorted((corpus / name).glob("*")) if path.is_file()]


def _keep(path: Path, name: str, corpus: Path) -> str:
    """Copies an input to the corpus, under its own hash's name."""
    import hashlib

    data = path.read_bytes()
    kept = corpus / name / hashlib.sha256(data).hexdigest()[:12]
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(data)
    return str(kept)


# ----------------------------------------------------------------------------------------------------------- the table


def row_of(name: str, args: argparse.Namespace, scratch: Path) -> Row:
    """What became of a target's inputs, tried in a process of its own."""
    command = [sys.executable, __file__, "--alone", "--target", name, "--scratch", str(scratch)]
    command += ["--inputs", str(args.inputs), "--seed", str(args.seed), "--seconds", str(args.seconds)]
    command += ["--corpus", str(args.corpus), *(["--plain"] if args.plain else [])]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace")
    try:
        return Row(**json.loads(done.stdout.splitlines()[-1]))
    except (ValueError, IndexError, TypeError):
        return Row(name, findings={f"did not run: {done.stderr[-500:]}": ""})


def measure(args: argparse.Namespace) -> Iterator[str | Claim]:
    """The table, and what was found."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in args.target:
            rows.append(row_of(name, args, Path(scratch)))
            print(" | ".join(rows[-1].cells()), file=sys.stderr, flush=True)
    header = ["target", "engine", "inputs", "accepted", "told", "findings", "process ended", "slowest", "edges"]
    text = (
        f"Seed {args.seed}. Accepted: read to the end. Told: refused in one line. Findings are kinds of what is "
        "neither; the guard allows a second, 500 MiB, and no code, process, connection or file elsewhere. Edges "
        "of our code."
    )
    yield f"{text}\n\n{table([*header, 'inputs/s', 'bar'], [row.cells() for row in rows])}"
    found = [f"- `{row.target}`: {kind} ({Path(file).name})" for row in rows for kind, file in row.findings.items()]
    if found:
        yield "\n".join(["Found:", "", *found])
    yield from (row.claim() for row in rows)


def main() -> None:
    """Parses the command line; prints the table."""
    from benchmarks.fuzz_targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--inputs", type=int, default=100_000, help="of a cheap target (100000); others get a share")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=3600, help="for each target (3600)")
    parser.add_argument("--quick", action="store_true", help="a few hundred inputs each")
    parser.add_argument("--plain", action="store_true", help="without atheris")
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="where inputs that were found are kept")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    add_out(parser)
    args = parser.parse_args()
    args.inputs = min(args.inputs, QUICK) if args.quick else args.inputs
    if args.alone:
        print("\n" + json.dumps(asdict(alone(args.target[0], args))))
    else:
        publish("Fuzzing", measure(args), args.out)


if __name__ == "__main__":
    main()
