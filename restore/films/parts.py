"""The work on a film that is done so far: a folder of short films beside the result, and a journal of them.

A part is written under another name, synced, renamed, and then told in the journal, a JSON line with its hash, its
frames' times and the faces seen in them. So a kill at any instant loses the part at hand and no more; of that part, the
frames that took long are kept as pictures.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from restore import images
from restore.errors import UserError
from restore.films.codec import Encoding
from restore.films.source import Film, Still, import_av
from restore.films.tracks import Seen
from restore.images import Image

LENGTH = 48  # frames of a part: two seconds, and a key frame each, as films for the web have


@dataclass(frozen=True, eq=False)
class Part:
    """A short film of some frames: for each its time, its duration and what was seen in it; size as width, height."""

    path: Path
    times: list[tuple[int, int]]
    seen: list[Seen]
    size: tuple[int, int]


class Parts:
    """The folder. What is there is used where `identity` is that of the work at hand, and else thrown away.

    Raises:
        UserError: the disk refuses, another process is at work there, or the folder is none of ours.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder, self.notes, self.count, self.frames = folder, list[str](), 0, 0
        self.size: tuple[int, int] | None = None
        with self._told():
            if folder.exists() and not (folder / "journal").exists() and any(folder.iterdir()):
                raise UserError(f"{folder}: is in the way of the parts of the film; move it elsewhere")
            folder.mkdir(parents=True, exist_ok=True)
            self.stream: BinaryIO = (folder / "journal").open("a+b")
            self._claim()
            self._take_up(json.loads(json.dumps(identity, default=str)))

    def __iter__(self) -> Iterator[Part]:
        """The parts that are done."""
        with (self.folder / "journal").open("rb") as stream:
            next(_lines(stream))
            for line, _ in _lines(stream):
                yield self._part(line)

    def write(self, film: Film, encoding: Encoding, frames: Iterable[tuple[Still, Seen, Image]]) -> bool:
        """Encodes frames as the next part; False when there are none.

        Raises:
            UserError: they are not all of one size.
        """
        path = self._path(self.count)
        beside = path.with_name(f".{path.name}")
        times, seen = [], []
        with self._told(), import_av().open(str(beside), "w", format="matroska") as container:
            stream = None
            for still, found, picture in frames:
                size = picture.shape[1], picture.shape[0]
                if self.size not in (None, size):
                    raise UserError(f"{film.path}: results differ in size, {self.size} and {size}")
                self.size = size
                stream = stream or encoding.open(container, film, size)
                container.mux(stream.encode(encoding.frame(picture, film.colours, still, film.time_base)))
                times.append((still.pts, still.duration))
                seen.append(found.plain())
            if stream:
                container.mux(stream.encode(None))
        if times:
            self._finish(beside, path, {"times": times, "seen": seen, "size": self.size})
        else:
            beside.unlink(missing_ok=True)
        return bool(times)

    def kept(self, index: int) -> Image | None:
        """The result of a frame that was kept on its own."""
        with contextlib.suppress(UserError):
            return images.read(self._picture(index))
        return None

    def keep(self, index: int, picture: Image) -> None:
        """Keeps the result of a frame until its part is done."""
        images.write(self._picture(index), picture)

    def remove(self) -> None:
        """Leaves nothing of it."""
        self.stream.close()
        self._clear()
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _finish(self, beside: Path, path: Path, facts: dict[str, Any]) -> None:
        with self._told():
            with beside.open("rb") as stream:
                os.fsync(stream.fileno())
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            os.replace(beside, path)
            self._add({"part": self.count, "sha256": digest, **facts})
            for index in range(self.frames, self.frames + len(facts["times"])):
                self._picture(index).unlink(missing_ok=True)
        self.count, self.frames = self.count + 1, self.frames + len(facts["times"])

    def _add(self, line: dict[str, Any]) -> None:
        self.stream.write(json.dumps(line).encode() + b"\n")
        self.stream.flush()
        os.fsync(self.stream.fileno())

    def _take_up(self, identity: dict[str, Any]) -> None:
        """Counts what is there, up to the first part that is not whole."""
        self.stream.seek(0)
        lines = _lines(self.stream)
        said, end = next(lines, (None, 0))
        if said != identity:
            if said is not None:
                different = [key for key in identity if said.get(key) != identity[key]]
                self.notes.append(f"{self.folder}: made with another {', '.join(different)}; not used, done anew")
            self._clear(but="journal")
            self.stream.truncate(0)
            self._add(identity)
            return
        for line, after in lines:
            part = self._part(line)
            if line["part"] != self.count or not _is_whole(part.path, line["sha256"]):
                self.notes.append(f"{part.path}: damaged; done anew from there")
                break
            self.count, self.frames, self.size, end = self.count + 1, self.frames + len(part.times), part.size, after
        self.stream.truncate(end)

    def _part(self, line: dict[str, Any]) -> Part:
        times = [(pts, length) for pts, length in line["times"]]
        width, height = line["size"]
        return Part(self._path(line["part"]), times, [Seen.of(each) for each in line["seen"]], (width, height))

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.mkv"

    def _picture(self, index: int) -> Path:
        return self.folder / f"frame_{index:08d}.png"

    def _clear(self, but: str = "") -> None:
        """Deletes our own files, those half written too, and no others."""
        for pattern in ("*.mkv", ".*.mkv", "frame_*.png", ".frame_*.png.*", "journal"):
            for path in self.folder.glob(pattern):
                if path.name != but:
                    path.unlink()

    def _claim(self) -> None:
        with contextlib.suppress(ImportError):
            import fcntl

            try:
                fcntl.lockf(self.stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(f"{self.folder}: another process is at work on this film; let it end") from error

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(f"{self.folder}: cannot write: {error.strerror or error}") from error


def _lines(stream: BinaryIO) -> Iterator[tuple[dict[str, Any], int]]:
    """The lines that are there whole, each with its end in the file."""
    for line in iter(stream.readline, b""):
        try:
            told = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            return
        if not isinstance(told, dict):
            return
        yield told, stream.tell()


def _is_whole(path: Path, digest: str) -> bool:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == digest
    except OSError:
        return False
