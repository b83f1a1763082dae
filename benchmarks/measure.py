"""What the benchmarks have in common: turns, medians with their spread, tables, and what machine they ran on."""

import argparse
import contextlib
import json
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("torch", "torchvision", "numpy", "opencv-python", "lmdb", "basicsr")


class Claim(NamedTuple):
    """A figure that is claimed: a row of benchmarks/RESULTS.md. Cells are text; what there is not stays empty."""

    key: str  # unique over all benchmarks, such as `train_step.overhead.MSRResNet_64x16_b16`; bars.py refers to it
    what: str  # with its setting: sizes, batch, precision
    ours: str  # with unit and spread
    peer: str = ""  # BasicSR's or another's, which is named
    floor: str = ""  # of a bare loop, or of what does the work: oneDNN's or cuDNN's convolutions, memcpy, the codec
    ratio: str = ""  # ours to the peer or the floor, as the bar has it
    bar: str = ""
    met: bool | None = None  # None: there is no bar, or it cannot be judged on this machine
    why: str = ""  # there is no figure, or the bar is missed


class Spread(NamedTuple):
    """The median of some measurements, and the quartiles on both sides of it."""

    low: float
    median: float
    high: float

    def show(self, form: str = ".3f") -> str:
        """As `1.234 (1.2 to 1.3)`."""
        return f"{self.median:{form}} ({self.low:{form}} to {self.high:{form}})"


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles: one slow moment of a shared machine moves neither much."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    return Spread(*statistics.quantiles(values, n=4, method="inclusive"))


def take_turns(contestants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Runs each contestant once a round, every second round in the opposite order, so that all see the same weather."""
    results: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds):
        names = list(contestants)
        for name in names if number % 2 == 0 else reversed(names):
            results[name].append(contestants[name]())
    return results


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """The quotient of each round."""
    return [one / other for one, other in zip(over, under, strict=True)]


def verdict(met: bool | None) -> str:
    """The last cell of a row: empty where there is no bar, or where it cannot be judged here."""
    return "" if met is None else "met" if met else "**missed**"


def slug(text: str) -> str:
    """A name as part of a claim's key: `ours, PNG records` is `ours_png_records`."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def no_gpu(key: str, what: str, bar: str) -> Claim:
    """The claim in place of one that a GPU is needed for. On a GPU the same key has figures."""
    return Claim(key, what, "", bar=bar, why="no GPU here")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine() -> str:
    """Processor, GPU, versions and commit, as one Markdown paragraph."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    model, flags = _processor()
    bf16 = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in flags]
    processor = f"{model}, {cores} cores, {torch.get_num_threads()} threads, bf16: {', '.join(bf16) or 'none'}"
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    versions = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    python = f"Python {platform.python_version()} on {platform.system()}"
    return f"{processor}; {gpu}. {python}; {versions}. Commit {_commit()}."


def has_bf16() -> bool:
    """Whether bf16 pays here: a GPU, or a processor with instructions for it."""
    import torch

    return torch.cuda.is_available() or bool({"avx512_bf16", "amx_bf16"} & _processor()[1])


def add_out(parser: argparse.ArgumentParser) -> None:
    """Adds `--out`."""
    parser.add_argument("--out", type=Path, metavar="FILE.md", help="write the tables there too")


def read_command(parser: argparse.ArgumentParser, **quick: object) -> argparse.Namespace:
    """The command line, `--out` and `--quick` with it: the latter sets other options to what `quick` has for them."""
    parser.add_argument("--quick", action="store_true", help="a run of seconds: to see that the script works")
    add_out(parser)
    args = parser.parse_args()
    if args.quick:
        vars(args).update(quick)
    return args


def publish(title: str, parts: Iterator[str | Claim], out: Path | None) -> None:
    """Prints each text as soon as it is measured; writes all to `out`, and the claims to the .json file beside it."""
    texts: list[str] = [f"# {title}", machine()]
    claims: list[dict[str, object]] = []
    print("\n\n".join(texts), flush=True)
    for part in parts:
        if isinstance(part, Claim):
            claims.append(part._asdict())
        else:
            texts.append(part)
            print(f"\n{part}", flush=True)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text("\n\n".join(texts) + "\n", encoding="utf-8")
        record = {"title": title, "machine": texts[1], "claims": claims}
        out.with_suffix(".json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _processor() -> tuple[str, set[str]]:
    model, flags = platform.processor() or platform.machine(), set()
    with contextlib.suppress(OSError):  # only Linux has it
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = (part.strip() for part in line.partition(":"))
            if name == "model name":
                model = value
            elif name == "flags":
                flags = set(value.split())
                break
    return model, flags


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _commit() -> str:
    def git(*command: str) -> str:
        return subprocess.run(["git", *command], cwd=REPOSITORY, capture_output=True, text=True).stdout.strip()

    try:
        changed = " with uncommitted changes" if git("status", "--porcelain", "restore") else ""
        return (git("rev-parse", "--short", "HEAD") or "unknown") + changed
    except FileNotFoundError:
        return "unknown"
