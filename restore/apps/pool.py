"""Work for many threads whose results come in order and in bounded memory."""

import argparse
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import cv2

from restore.apps.shard import WHOLE, Shard

T = TypeVar("T")
R = TypeVar("R")


class Work(NamedTuple):
    """How a large job is done: by so many threads, as a whole, a part of it, or out of the parts that others made."""

    workers: int
    overwrite: bool = False
    shard: Shard = WHOLE
    merge: bool = False

    @classmethod
    def of(cls, args: argparse.Namespace) -> "Work":
        """As the command's arguments say."""
        return cls(args.workers or available_cpus(), args.overwrite, args.shard, args.merge)


def available_cpus() -> int:
    """The CPUs that this process may use, which under SLURM or in a container are not all that there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(function: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """`map(function, items)` in threads, with a few results in flight whatever the number of items.

    Threads, because OpenCV and NumPy let go of Python's lock while they work; processes have to hand every picture
    over, which made them less than half as fast.
    """
    threads_before = cv2.getNumThreads()
    cv2.setNumThreads(1)  # one picture a thread leaves nothing for OpenCV to divide
    try:
        with ThreadPoolExecutor(workers) as pool:
            pending: deque[Future[R]] = deque()
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > 2 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
    finally:
        cv2.setNumThreads(threads_before)
