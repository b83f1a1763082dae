"""One training at a time in an experiment's folder."""

import contextlib
import errno
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from restore.errors import UserError

LOCK = ".training"  # in the experiment's folder: who trains there
_PATIENCE = 30.0  # seconds for an earlier run to end: what was killed leaves ranks behind for some of them


@contextlib.contextmanager
def claimed(folder: Path, tell: Callable[[str], object]) -> Iterator[None]:
    """Keeps other trainings out of an experiment's folder, for as long as it is entered and this process lives.

    A POSIX lock, which the system gives up with its process, however that ends; data workers do not inherit it, and
    network file systems have it as well. Where a file system has no locks, nothing is kept out.

    Args:
        folder: the experiment's; it is there.
        tell: gets a line when another training is waited for.

    Raises:
        UserError: another one goes on training there.
    """
    path = folder / LOCK
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}; free space or mend the disk") from error
    try:
        _wait(file, path, tell)
        with contextlib.suppress(OSError):  # a disk that is full keeps nobody out
            os.truncate(file, 0)
            os.write(file, _me().encode())
        yield
    finally:
        os.close(file)


def _wait(file: int, path: Path, tell: Callable[[str], object]) -> None:
    until = 0.0
    while not _taken(file):
        other = os.pread(file, 200, 0).decode(errors="replace") or "another process"
        if not until:
            until = time.monotonic() + _PATIENCE
            tell(f"{path.parent}: waits for {other}, which still trains there")
        if time.monotonic() > until:
            raise UserError(
                f"{path.parent}: {other} trains there; wait until it has ended, stop it, or take another `name`"
            )
        time.sleep(0.5)


def _taken(file: int) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN)  # else there are no locks here
    return True


def _me() -> str:
    job = os.environ.get("SLURM_JOB_ID")
    return f"process {os.getpid()} on {socket.gethostname()}" + (f" of job {job}" if job else "")
