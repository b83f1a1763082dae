"""The blows: what happens to a run, and how the fault is taken away again."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.faults_plan import POINTERS, Trial
from benchmarks.faults_plugin import HUNGRY, NAN
from benchmarks.faults_runs import Run
from benchmarks.processes import Job

WHILE = 0.5  # seconds that a fault lasts which goes away by itself
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
CLOCK = "clock"  # the file that says how far the clock is off
DISK = "disk"  # the file that fills it

Blow = contextlib.AbstractContextManager[None]


def strike(trial: Trial, run: Run, job: Job) -> Blow:
    """Strikes when it is entered, and mends what the fault leaves when it is left."""
    return BLOWS[trial.fault](trial, run, job)


def needed(fault: str) -> str | None:
    """What this machine lacks for a fault."""
    if fault in ("disk_full", "read_only") and os.name == "posix" and os.geteuid() != 0:
        return "mounting a small file system needs root"
    if fault == "clock_jump" and FAKETIME is None:
        return "needs libfaketime, Debian's package faketime"
    return None if sys.platform == "linux" else "needs Linux"


def environment(trial: Trial, run: Run) -> dict[str, str]:
    """With which the run is started."""
    if trial.fault != "clock_jump":
        return {}
    (run.folder / CLOCK).write_text("+0\n", encoding="utf-8")
    fake = {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(run.folder / CLOCK), "FAKETIME_NO_CACHE": "1"}
    # the monotonic clock does not jump with the other
    return fake | {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}


@contextlib.contextmanager
def ground(trial: Trial, run: Run) -> Iterator[None]:
    """What a run stands on: where its disk is to be full, a small one of its own."""
    if trial.fault != "disk_full":
        yield
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(run.root)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(run.root)], check=True)


# -------------------------------------------------------------------------------------------------------- processes


def _signalled(signum: signal.Signals, choose: Callable[[Trial, Job], list[int]]) -> Callable[..., Blow]:
    """A blow that is a signal to those processes."""

    @contextlib.contextmanager
    def blow(trial: Trial, run: Run, job: Job) -> Iterator[None]:
        for pid in choose(trial, job):
            os.kill(pid, signum)
        yield

    return blow


def _mains(job: Job) -> list[int]:
    """The processes that train, by rank."""
    ranks = job.ranks()
    return [ranks[rank] for rank in sorted(ranks)] or [job.launcher.pid]


def _workers(job: Job) -> list[int]:
    mains = set(_mains(job))
    return [process.pid for process in job.processes() if process.parent in mains]


def _one_worker(trial: Trial, job: Job) -> list[int]:
    return random.Random(trial.chance).sample(_workers(job), 1)


def _largest(trial: Trial, job: Job) -> list[int]:
    """Whom the kernel would choose."""
    return [max(_mains(job) + _workers(job), key=lambda pid: _pages(pid, 1))]


def _pages(pid: int, field: int) -> int:
    """Of a process's memory: field 0 all that it has mapped, 1 what is in RAM."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[field])


# ------------------------------------------------------------------------------------------------------------- disks


@contextlib.contextmanager
def _disk_full(trial: Trial, run: Run, job: Job) -> Iterator[None]:
    filler = run.root / DISK
    with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    with _for_a_while(trial, lambda: filler.unlink(missing_ok=True)):
        yield


@contextlib.contextmanager
def _read_only(trial: Trial, run: Run, job: Job) -> Iterator[None]:
    """The experiment's folder is mounted over itself: files that are open stay so, as after an error of the disk."""
    subprocess.run(["mount", "--bind", run.experiment, run.experiment], check=True)
    remount = ["mount", "-o", "remount,bind,ro", str(run.experiment)]
    while subprocess.run(remount, capture_output=True).returncode:  # busy, as long as the run writes a file there
        if job.launcher.poll() is not None:
            raise LookupError("the run has just ended")
    unmount = ["umount", "-l", str(run.experiment)]
    with _for_a_while(trial, lambda: subprocess.run(unmount, check=False, capture_output=True)):
        yield


@contextlib.contextmanager
def _for_a_while(trial: Trial, mend: Callable[[], object]) -> Iterator[None]:
    try:
        if trial.way == "for a while":
            time.sleep(WHILE)
            mend()
        yield
    finally:
        mend()


# -------------------------------------------------------------------------------------------------------------- data


@contextlib.contextmanager
def _vanished(trial: Trial, run: Run, job: Job) -> Iterator[None]:
    away = run.data.with_name("away")
    run.data.rename(away)
    try:
        yield
    finally:
        away.rename(run.data)


@contextlib.contextmanager
def _truncated_lmdb(trial: Trial, run: Run, job: Job) -> Iterator[None]:
    file = run.data / "train.lmdb" / "data.mdb"
    whole = file.read_bytes()
    os.truncate(file, 0 if trial.way == "empty" else len(whole) // 2)
    try:
        yield
    finally:
        file.write_bytes(whole)


# ------------------------------------------------------------------------------------------------------- checkpoints


def _damaged(damage: Callable[[Path, random.Random], None]) -> Callable[..., Blow]:
    """The run is killed, and then a file of its newest checkpoint is damaged; nobody mends it."""

    @contextlib.contextmanager
    def blow(trial: Trial, run: Run, job: Job) -> Iterator[None]:
        os.kill(job.launcher.pid, signal.SIGKILL)
        job.launcher.wait()
        damage(struck_file(trial, run), random.Random(trial.chance))
        yield

    return blow


def struck_file(trial: Trial, run: Run) -> Path:
    """The file that a damaged checkpoint is damaged in."""
    if trial.way in POINTERS:
        return run.checkpoints / trial.way
    return run.checkpoints / str(max(run.good())) / trial.way


def _cut(file: Path, draws: random.Random) -> None:
    os.truncate(file, draws.randrange(file.stat().st_size))


def _flip(file: Path, draws: random.Random) -> None:
    data = bytearray(file.read_bytes())
    data[draws.randrange(len(data))] ^= 1 << draws.randrange(8)
    file.write_bytes(data)


# ------------------------------------------------------------------------------------------- clock, numbers, memory


@contextlib.contextmanager
def _clock(trial: Trial, run: Run, job: Job) -> Iterator[None]:
    """It stays wrong, for the resumed run too."""
    (run.folder / CLOCK).write_text(f"{trial.way}\n", encoding="utf-8")
    yield


@contextlib.contextmanager
def _marked(trial: Trial, run: Run, name: str) -> Iterator[None]:
    """The plugin finds a file of that name."""
    (run.folder / name).touch()
    try:
        yield
    finally:
        (run.folder / name).unlink()


def _nan_for_good(trial: Trial, run: Run, job: Job) -> Blow:
    return _marked(trial, run, NAN)


@contextlib.contextmanager
def _memory_limit(trial: Trial, run: Run, job: Job) -> Iterator[None]:
    import resource

    pid = (_workers(job) if trial.way == "worker" else _mains(job))[0]
    free = 64 << 20 if trial.way == "at a large tensor" else 0
    limit = _pages(pid, 0) * os.sysconf("SC_PAGESIZE") + free
    resource.prlimit(pid, resource.RLIMIT_AS, (limit, limit))
    with _marked(trial, run, HUNGRY) if free else contextlib.nullcontext():
        yield


BLOWS: dict[str, Callable[[Trial, Run, Job], Blow]] = {
    "kill_main": _signalled(signal.SIGKILL, lambda trial, job: [job.launcher.pid]),
    "kill_worker": _signalled(signal.SIGKILL, _one_worker),
    "kill_rank": _signalled(signal.SIGKILL, lambda trial, job: [_mains(job)[int(trial.way[-1])]]),
    "oom_killer": _signalled(signal.SIGKILL, _largest),
    "sigterm": _signalled(signal.SIGTERM, lambda trial, job: [process.pid for process in job.processes()]),
    "sigusr1": _signalled(signal.SIGUSR1, lambda trial, job: _mains(job)),
    "disk_full": _disk_full,
    "read_only": _read_only,
    "vanished_data": _vanished,
    "truncated_lmdb": _truncated_lmdb,
    "truncated_checkpoint": _damaged(_cut),
    "flipped_byte": _damaged(_flip),
    "clock_jump": _clock,
    "nan_batches": _signalled(signal.SIGKILL, lambda trial, job: [job.launcher.pid]),
    "nan_for_good": _nan_for_good,
    "memory_limit": _memory_limit,
}
