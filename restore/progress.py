"""How far long work has come."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from restore import distributed

R = TypeVar("R")

_EVERY = 10.0  # seconds between lines where there is no terminal


def watched(results: Iterable[R], total: int, label: str, done: int = 0, lines: bool = True) -> Iterator[R]:
    """Passes the results on and shows how far they are: a bar on a terminal, plain lines (or nothing) elsewhere.

    Args:
        results: what is worked through, `total` in all, of which `done` were before.
        lines: whether there are lines where there is no terminal.
    """
    if not distributed.is_main():
        return iter(results)
    if sys.stderr.isatty():
        return _bar(results, total, label, done)
    return _lines(results, total, label, done) if lines else iter(results)


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, as 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _bar(results: Iterable[R], total: int, label: str, done: int) -> Iterator[R]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TaskProgressColumn(show_speed=True))
    kept = sys.stdout.isatty()  # else what is printed belongs into a file or pipe, not above the bar
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), redirect_stdout=kept) as progress:
        yield from progress.track(results, total=total, completed=done, description=label)


def _lines(results: Iterable[R], total: int, label: str, done: int) -> Iterator[R]:
    start = told = time.monotonic()
    for count, result in enumerate(results, 1):
        yield result
        now = time.monotonic()
        if now - told >= _EVERY:
            told, rate, so_far = now, count / (now - start), done + count
            print(
                f"{label}: {so_far:,} of {total:,}, {rate:.0f}/s, {(total - so_far) / rate:.0f} s left", file=sys.stderr
            )
