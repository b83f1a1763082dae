"""All processes of a job: the launcher, the ranks it started, and the loader workers that these forked."""

import contextlib
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

MARK = "RESTORE_JOB"  # in the environment that all of them inherit


class Process(NamedTuple):
    """One process, as Linux's /proc has it."""

    pid: int
    parent: int
    session: int
    rank: int | None  # as its launcher numbered it


class Job:
    """A launched job, whose output goes to a file. What still runs when the context is left is killed."""

    def __init__(self, command: Sequence[str], output: Path, environment: Mapping[str, str], cwd: Path | None) -> None:
        self.mark, self.output = uuid.uuid4().hex, output
        with open(output, "ab") as file:  # a pipe would stay open in what outlives the launcher
            self.launcher = subprocess.Popen(
                command,
                env={**environment, MARK: f"{os.environ.get(MARK, '')} {self.mark}"},  # a job may start jobs
                cwd=cwd,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self._sessions: set[int] = set()

    def __enter__(self) -> "Job":
        return self

    def __exit__(self, *error: object) -> None:
        for process in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        self.launcher.wait()

    def processes(self) -> list[Process]:
        """Those that run at this moment."""
        every = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
        found = [_look(pid) for pid in every if self.mark in _environment(pid).get(MARK, "").split()]
        return [process for process in found if process is not None]

    def ranks(self) -> dict[int, int]:
        """The process of each rank. Loader workers have a rank for their parent."""
        numbered = [process for process in self.processes() if process.rank is not None]
        workers = {process.pid for process in numbered}
        return {p.rank: p.pid for p in numbered if p.rank is not None and p.parent not in workers}

    def remember(self) -> list[Process]:
        """Notes whose end to wait for; to be called while all of them run."""
        found = self.processes()
        self._sessions = {process.session for process in found} | {self.launcher.pid}
        return found

    def left(self) -> list[int]:
        """What has not ended of that which was remembered. A zombie, whom nobody waits for, has not."""
        self.launcher.poll()
        every = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
        return [pid for pid in every if (found := _look(pid)) is not None and found.session in self._sessions]

    def until(self, happened: Callable[[], object], timeout: float) -> float:
        """Waits for something. Returns the seconds it took; raises `TimeoutError` with what the job told."""
        began = time.monotonic()
        while not happened():
            if time.monotonic() - began > timeout:
                raise TimeoutError(f"after {timeout:g} s, running {self.left()}: {self.told()[-3000:]}")
            time.sleep(0.01)
        return time.monotonic() - began

    def told(self) -> str:
        """All that the job has printed."""
        return self.output.read_text(encoding="utf-8", errors="replace")


def _look(pid: int) -> Process | None:
    """None when it has gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    environment = _environment(pid)
    rank = environment.get("RANK") or environment.get("SLURM_PROCID")
    return Process(pid, int(fields[1]), int(fields[3]), int(rank) if rank else None)


def _environment(pid: int) -> dict[str, str]:
    """A process's environment as it began; an empty one when it has gone."""
    try:
        text = Path(f"/proc/{pid}/environ").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    return dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)
