"""Signals that ask a run to stop: the step is finished, the state saved, and the exit code says so."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from restore import distributed
from restore.distributed.watch import Watch

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
REQUEUES = signal.SIGUSR1.name  # SLURM's warning before the time limit; on SIGTERM it, or the batch script, requeues


_early: list[str] = []  # what was asked before training began


@contextmanager
def listening() -> Iterator[None]:
    """Notes SIGTERM and SIGUSR1 while a run starts, which takes seconds; it then stops after its first iteration."""

    def note(signum: int, frame: FrameType | None) -> None:
        _early.append(signal.Signals(signum).name)

    before = {signum: signal.signal(signum, note) for signum in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield
    finally:
        _restore(before)
        _early.clear()


class StopRequests:
    """Notes SIGTERM, SIGINT and SIGUSR1 while it is entered. A second SIGINT interrupts at once.

    Over several processes, `received` tells what reached this one or was heard from another, and may be news to the
    rest; `agreed` is known to all of them in the same iteration.
    """

    def __init__(self) -> None:
        self.received: str | None = next(iter(_early), None)
        self.agreed: str | None = None
        self._vote = distributed.Vote()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequests":
        for signum in SIGNALS:
            self._before[signum] = signal.signal(signum, self._note)
        if Watch.current is not None:
            Watch.current.requests = self
        return self

    def __exit__(self, *error: object) -> None:
        if Watch.current is not None:
            Watch.current.requests = None
        if self.agreed == REQUEUES and _job():
            _outlive_requeueing()
        _restore(self._before)

    def vote(self) -> None:
        """Once an iteration: agrees to stop when any process was asked to, without waiting for the others."""
        if self._vote(self.received is not None):
            self.agree()

    def agree(self) -> None:
        """Agrees now, which waits for all."""
        self._vote.close()
        self.agreed = next(filter(None, distributed.gather(self.received)), None)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if signum == signal.SIGINT and self.received is not None:
            raise KeyboardInterrupt
        self.received = signal.Signals(signum).name


def what_now(asked: str) -> str:
    """How a run that was asked to stop goes on. At its time limit a SLURM job is requeued here: SLURM does not."""
    job = _job()
    if job is None or asked != REQUEUES or not distributed.is_main():
        return "--auto_resume goes on from there"
    _outlive_requeueing()
    try:
        answer = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"job {job} is not requeued: {error}; submit it again, --auto_resume goes on from there"
    if answer.returncode:
        reason = " ".join(answer.stderr.split()) or f"scontrol ended with {answer.returncode}"
        return f"job {job} is not requeued: {reason}; the next submission with --auto_resume goes on from there"
    return f"job {job} is requeued"


def _job() -> str | None:
    """The id of the SLURM job that this is in; of an array, that of this task: the array's would requeue all."""
    if "SLURM_ARRAY_TASK_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return os.environ.get("SLURM_JOB_ID")


def _restore(before: Mapping[signal.Signals, Any]) -> None:
    """Puts handlers back, but where a process on its way out ignores a signal."""
    for signum, handler in before.items():
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, handler)


def _outlive_requeueing() -> None:
    """SLURM sends SIGTERM to what it requeues, `scontrol` among it, and would cut off the last words."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
