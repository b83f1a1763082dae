"""The files of a visit: in a folder that nobody else is told of, gone with the visit, and never old.

Gradio keeps what is uploaded, and what it shows, in one folder for all, `files`, until the server stops. Here that
folder lies in a new one that nobody else on the machine may enter; results go below `files` into a folder a visit.
"""

import contextlib
import json
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LIFETIME = 540  # seconds from a file's writing on; with the time between two sweeps, ten minutes at most
UNCLAIMED = 60  # of an upload that no question named since, such as a painting that was painted on
EVERY = 20


@dataclass
class Visit:
    """One open page: the folder of its results, and the uploads that it used."""

    folder: Path
    uploads: set[Path] = field(default_factory=set)
    used: float = field(default_factory=time.time)

    def new(self, name: str) -> Path:
        """A file of that name for a result, in a folder of its own: the name is what a browser saves it as."""
        path = self.folder / secrets.token_urlsafe(12) / name
        path.parent.mkdir(mode=0o700)  # fails when the visit has ended in the meantime
        return path


class Visits:
    """The visits to one server, by the session that Gradio gives each page. For several threads at once.

    Args:
        root: the server's own folder.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.files = root, root / "files"
        self.files.mkdir(mode=0o700)
        self._open: dict[str, Visit] = {}
        self._lock = threading.Lock()

    def of(self, session: str) -> Visit:
        """The visit of a session, begun if need be."""
        with self._lock:
            visit = self._open.get(session)
            if visit is None:
                visit = self._open[session] = Visit(self.files / secrets.token_urlsafe(24))
                visit.folder.mkdir(mode=0o700)
            visit.used = time.time()
            return visit

    def claim(self, question: bytes) -> None:
        """Notes which uploads a question to the page names, so that they stay. `question` is Gradio's, a JSON text."""
        with contextlib.suppress(ValueError, TypeError, LookupError, RecursionError):
            asked = json.loads(question)
            paths = [path for path in _paths_in(asked["data"]) if is_below(self.files, path)]
            self.of(str(asked["session_hash"])).uploads.update(paths)

    def end(self, session: str) -> None:
        """Deletes what a visit leaves behind. An upload that another visit made too, byte for byte, is that one's."""
        with self._lock:
            visit = self._open.pop(session, None)
            if visit is None:
                return
            shutil.rmtree(visit.folder, ignore_errors=True)
            for path in visit.uploads:
                if not any(path in other.uploads for other in self._open.values()):
                    _drop(path)

    def sweep(self, now: float | None = None) -> None:
        """Deletes every file that is older than `LIFETIME`, whoever wrote it, and the folders left empty."""
        now = time.time() if now is None else now
        with self._lock:
            stale = [session for session, visit in self._open.items() if visit.used < now - LIFETIME]
        for session in stale:  # its page may be open still: what it asks for next begins another
            self.end(session)
        with self._lock:
            folders = [visit.folder for visit in self._open.values()]
            kept = {path for visit in self._open.values() for path in visit.uploads}
        for folder, _, names in os.walk(self.root, topdown=False):
            ours = any(Path(folder).is_relative_to(each) for each in folders)
            for path in (Path(folder, name) for name in names):
                _drop_older(path, now - (LIFETIME if ours or path in kept else UNCLAIMED))
            if Path(folder) not in (self.root, *self.root.iterdir(), *folders):
                _drop_older(Path(folder), now - UNCLAIMED)


def is_below(files: Path, path: Path) -> bool:
    """Whether a path leads below `files`, links followed; it need not be there any more."""
    try:
        return path.is_absolute() and path.resolve() == path and path.is_relative_to(files) and path != files
    except (OSError, ValueError):  # a null byte is a ValueError
        return False


def _paths_in(data: Any) -> Iterator[Path]:
    """Of every file that a question names, at any depth."""
    if isinstance(data, dict):
        if isinstance(data.get("path"), str):
            yield Path(data["path"])
        data = list(data.values())
    if isinstance(data, list):
        for each in data:
            yield from _paths_in(each)


def _drop_older(path: Path, oldest: float) -> None:
    """Deletes a file or an empty folder that is older. By ctime: mtime can be set."""
    with contextlib.suppress(OSError):  # gone, or not empty
        if path.lstat().st_ctime < oldest:
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def _drop(path: Path) -> None:
    path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # another file of the same bytes and another name is in it
        path.parent.rmdir()


@contextlib.contextmanager
def opened() -> Iterator[Visits]:
    """A server's visits, swept all the while; at the end all of it is deleted."""
    root = Path(tempfile.mkdtemp(prefix="restore-demo-")).resolve()  # 0700
    stopped = threading.Event()

    def keep_sweeping() -> None:
        while not stopped.wait(EVERY):
            visits.sweep()

    visits = Visits(root)
    sweeper = threading.Thread(target=keep_sweeping, daemon=True)
    sweeper.start()
    try:
        yield visits
    finally:
        stopped.set()
        sweeper.join()
        shutil.rmtree(root, ignore_errors=True)
