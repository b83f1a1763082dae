"""Signals that ask a run to stop: the step is finished, the state saved, and the exit code says so."""

import os
import signal
import subprocess
from types import FrameType

from restore import distributed
from restore.distributed.watch import Watch

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
REQUEUES = signal.SIGUSR1.name  # SLURM's warning before the time limit; when it takes a node back it requeues by itself


class StopRequests:
    """Notes SIGTERM, SIGINT and SIGUSR1 while it is entered. A second SIGINT interrupts at once.

    Over several processes, `received` tells what reached this one or was heard from another, and may be news to the
    rest; `agreed` is known to all of them in the same iteration.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self.agreed: str | None = None
        self._vote = distributed.Vote()
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> "StopRequests":
        for signum in SIGNALS:
            self._before[signum] = signal.signal(signum, self._note)
        if Watch.current is not None:
            Watch.current.requests = self
        return self

    def __exit__(self, *error: object) -> None:
        if Watch.current is not None:
            Watch.current.requests = None
        for signum, handler in self._before.items():
            signal.signal(signum, handler)  # type: ignore[arg-type]
        if self.agreed == REQUEUES and _job():
            _outlive_requeueing()

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


def _outlive_requeueing() -> None:
    """SLURM sends SIGTERM to what it requeues, `scontrol` among it, and would cut off the last words."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
