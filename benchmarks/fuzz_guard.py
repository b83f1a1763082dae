"""What fuzzed code may not do, whatever its input: run code, open a process, connect, write elsewhere, eat memory.

Python's audit events tell (PEP 578). The hook cannot be taken out again, and so it is armed only within `watched`.
"""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from restore.errors import RestoreError

SECONDS = 1.0  # of the processor, for one small input
MEMORY = 500 << 20  # bytes beyond what the process has had before
LONGEST = 20_000  # letters of a message; an option file's is a line for each of its mistakes

_NEVER = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "os.forkpty",
    "subprocess.Popen",
    "pty.spawn",
)
_NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.bind", "urllib.Request")
_CHANGES = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.truncate", "os.chmod")
_MAKERS = ("dataclasses", "collections", "importlib", "typing", "pydantic", "inspect")  # they `exec` what they made up
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Finding(Exception):
    """Something that no input may bring about."""


class _Watch:
    """What the hook knows: whether it is armed, where writing is allowed, and what it has seen."""

    folder: str | None = None
    seen: list[str] = []  # noqa: RUF012  (one process, one watch)


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _Watch.folder is None:
        return
    if event in _NEVER or event in _NETWORK:
        _Watch.seen.append(f"{event} {args[:2]!r}"[:200])
    elif (event == "open" and isinstance(args[2], int) and args[2] & _WRITES) or event in _CHANGES:
        _check_inside(event, args[0])
    elif event in ("exec", "pickle.find_class") and not _is_ours(event, args):
        _Watch.seen.append(f"{event} {args[:2]!r}"[:200])


def _check_inside(event: str, path: object) -> None:
    folder = _Watch.folder or ""
    if not isinstance(path, str | bytes) or os.fsdecode(path) == os.devnull:
        return
    if not os.path.realpath(os.fsdecode(path)).startswith(folder):
        _Watch.seen.append(f"{event} {path!r}, outside of its folder"[:200])


def _is_ours(event: str, args: tuple[Any, ...]) -> bool:
    """Whether code that is executed is a module's that is installed, or was made up by the standard library."""
    if event != "exec":
        return False
    file = getattr(args[0], "co_filename", "")
    caller = sys._getframe(2).f_globals.get("__name__", "")
    installed = os.path.isabs(file) and not file.startswith(_Watch.folder or "")
    return installed or file.startswith("<frozen") or caller.split(".")[0] in _MAKERS


def install() -> None:
    """Adds the hook, for as long as this process lives."""
    sys.addaudithook(_hook)


@contextmanager
def watched(folder: Path) -> Iterator[None]:
    """Raises `Finding` at its end for what happened within it that may not. Files may be written below `folder`."""
    _Watch.seen = []
    _Watch.folder = str(folder)
    try:
        yield
    finally:
        _Watch.folder = None
    if _Watch.seen:
        raise Finding(_Watch.seen[0])


def judge(run: Callable[[bytes], None], data: bytes, folder: Path) -> tuple[bool, float]:
    """Runs a target on one input. Returns whether it was accepted, and the processor's seconds.

    Raises:
        Finding: it did what it may not, took too long or too much memory, or was told badly.
        Exception: any other that the target let through, a finding as well.
    """
    memory, began = _peak(), time.process_time()
    accepted = True
    with watched(folder):
        try:
            run(data)
        except RestoreError as error:
            accepted = False
            _check_told(str(error))
    seconds = time.process_time() - began
    if seconds > SECONDS and (seconds := _again(run, data)) > SECONDS:
        raise Finding(f"takes long: {seconds:.1f} s")
    if (more := _peak() - memory) > MEMORY:
        raise Finding(f"takes much memory: {more >> 20} MiB")
    return accepted, seconds


def _again(run: Callable[[bytes], None], data: bytes) -> float:
    """The first time something may have been imported, or the machine was busy."""
    began = time.process_time()
    with suppress(RestoreError):
        run(data)
    return time.process_time() - began


def _check_told(message: str) -> None:
    lines = message.split("\n")
    alone = len(lines) == 1 or lines[:1] == ["the option file has mistakes:"]
    if not alone or len(message) > LONGEST or "Traceback" in message:
        raise Finding(f"badly told: {message[:200]!r}")


def _peak() -> int:
    """Bytes of memory at most, since this process began. Not `ru_maxrss`, which begins with the parent's."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) << 10 if found else 0
