"""One of several equal parts of a large job, as `--shard 2/4` or SLURM's array ids name it."""

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from restore.errors import UserError

T = TypeVar("T")

FROM_SLURM = "slurm"
LISTED = 8  # parts told of those that are missing


class Shard(NamedTuple):
    """Part number `index`, counted from 0, of `count`."""

    index: int = 0  # type: ignore[assignment]  # a tuple's own `index` and `count`, which nobody needs here
    count: int = 1  # type: ignore[assignment]

    def of(self, items: Sequence[T]) -> Sequence[T]:
        """Every `count`-th item, from the `index`-th on: parts differ by at most one item, whatever their number."""
        return items[self.index :: self.count]

    def __str__(self) -> str:
        return f"{self.index + 1}-of-{self.count}"


WHOLE = Shard()


def add_shard(parser: argparse._ActionsContainer) -> None:
    """Adds `--shard`; `args.shard` is a `Shard`, the whole job where it is left out."""
    about = "do part I of N, counted from 1; without a value, as the ids of SLURM's job array say"
    parser.add_argument("--shard", nargs="?", type=shard, const=FROM_SLURM, default=WHOLE, metavar="I/N", help=about)


def shard(text: str) -> Shard:
    """Reads `2/4`, or `slurm` for this task of a job array. Raises `ArgumentTypeError`."""
    if text == FROM_SLURM:
        return _of_array()
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"`{text}` is no part of a whole; write 1/4, 2/4, ... 4/4")
    return Shard(int(match[1]) - 1, int(match[2]))


def _of_array() -> Shard:
    names = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_COUNT")
    missing = [name for name in names if not os.environ.get(name, "").isdecimal()]
    if missing:
        raise argparse.ArgumentTypeError(f"no job array here, {missing[0]} is not set; write --shard 1/4")
    task, low, high, count = (int(os.environ[name]) for name in names)
    if low > 1 or high - low + 1 != count:  # a part of an array that was submitted again: of how many, nothing says
        again = "--shard $SLURM_ARRAY_TASK_ID/N"
        told = f"the array's ids, {count} from {low} to {high}, are not 1 to N; submit --array=1-N, or write {again}"
        raise argparse.ArgumentTypeError(told)
    return Shard(task - low, count)


# ------------------------------------------------------------------------------------------------- files of a part


def part_of(path: Path, own: Shard) -> Path:
    """Where that part of `path` is written: `x_2-of-4.lmdb` beside `x.lmdb`; the whole job's is `path` itself."""
    return path if own.count == 1 else path.with_stem(f"{path.stem}_{own}")


def parts_beside(path: Path) -> dict[Shard, Path]:
    """The parts of `path` that are there."""
    name = re.compile(re.escape(path.stem) + r"_(\d+)-of-(\d+)" + re.escape(path.suffix))
    entries = os.listdir(path.parent) if path.parent.is_dir() else []
    names = [match for entry in entries if (match := name.fullmatch(entry))]
    return {Shard(int(match[1]) - 1, int(match[2])): path.with_name(match[0]) for match in names}


def all_parts(path: Path, total: int) -> dict[Shard, Path]:
    """The parts of `path`, in their order, of a job of `total` items: a part without an item writes nothing.

    Raises:
        UserError: there are none, they are of several jobs, or some are missing.
    """
    found = parts_beside(path)
    counts = sorted({own.count for own in found})
    if not counts:
        name = part_of(path, Shard(0, 4)).name
        raise UserError(f"{path}: no parts of it are there, such as {name}; make them with --shard, then --merge")
    if len(counts) > 1:
        told = " and ".join(f"{path.stem}_*-of-{count}{path.suffix}" for count in counts)
        raise UserError(f"{path}: there are parts of several jobs, {told}; remove those of one")
    wanted = [Shard(index, counts[0]) for index in range(min(counts[0], total))]
    if missing := [f"{own.index + 1}/{own.count}" for own in wanted if own not in found]:
        told = ", ".join(missing[:LISTED]) + (", ..." if len(missing) > LISTED else "")
        raise UserError(f"{path}: {len(missing)} of its {counts[0]} parts are not there or not whole; --shard {told}")
    return {own: found[own] for own in wanted}
