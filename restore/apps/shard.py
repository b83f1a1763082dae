"""One of several equal parts of a large job, as `--shard 2/4` or SLURM's array ids name it."""

import argparse
import os
import re
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")

FROM_SLURM = "slurm"


class Shard(NamedTuple):
    """Part number `index`, counted from 0, of `count`."""

    index: int = 0
    count: int = 1

    def of(self, items: Sequence[T]) -> Sequence[T]:
        """Every `count`-th item, from the `index`-th on: parts differ by at most one item, whatever their number."""
        return items[self.index :: self.count]

    def __str__(self) -> str:
        return f"{self.index + 1}-of-{self.count}"


def add_shard(parser: argparse.ArgumentParser) -> None:
    """Adds `--shard`; `args.shard` is a `Shard`, the whole job where it is left out."""
    about = "do part I of N, counted from 1; without a value, as the ids of SLURM's job array say"
    parser.add_argument("--shard", nargs="?", type=shard, const=FROM_SLURM, default=Shard(), metavar="I/N", help=about)


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
    try:
        task, low, high, count = (int(os.environ[name]) for name in names)
    except (KeyError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"no job array here ({error} is not set); write --shard 1/4") from error
    if high - low + 1 != count:
        raise argparse.ArgumentTypeError(f"the array's ids {low} to {high} have gaps; submit with --array=1-{count}")
    return Shard(task - low, count)
