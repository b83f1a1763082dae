"""Records appended to a file one by one: a kill loses at most the one that was being written. Nothing in it is code."""

import contextlib
import io
import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from restore.errors import UserError

Names = tuple[str, ...]  # an array's: one word after another

_HEAD = struct.Struct("<QI")  # the length of what follows, and its CRC-32


class Record(NamedTuple):
    """Plain facts, and arrays by name."""

    facts: Mapping[str, Any]
    arrays: Mapping[Names, NDArray[Any]] = MappingProxyType({})

    def packed(self) -> bytes:
        """As NumPy's compressed archive, the facts in front as JSON (with its NaN and Infinity)."""
        said = json.dumps([self.facts, list(self.arrays)]).encode()
        stream = io.BytesIO()
        np.savez_compressed(stream, np.frombuffer(said, np.uint8), *self.arrays.values())
        return stream.getvalue()

    @classmethod
    def unpacked(cls, data: bytes) -> "Record":
        """The record that `packed` made the bytes of."""
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            said, *arrays = (archive[name] for name in archive.files)
        facts, names = json.loads(said.tobytes())
        return cls(facts, dict(zip(map(tuple, names), arrays, strict=True)))


def read(path: Path) -> Iterator[Record]:
    """The records of a finished journal.

    Raises:
        UserError: it cannot be read, or is damaged.
    """
    end = 0
    try:
        with path.open("rb") as stream:
            for record, end in _whole(stream):  # noqa: B007
                yield record
            if not end or end != path.stat().st_size:
                raise UserError(f"{path}: damaged; delete it and do this part again")
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror}") from error


class Journal:
    """A journal that is still written. A process that finds another at work on it waits until that one is done.

    Raises:
        UserError: the disk refuses, here and in every method.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._told():
            path.parent.mkdir(parents=True, exist_ok=True)
            self.stream = path.open("a+b")
            _hold(self.stream, path)

    def resumed(self) -> Iterator[Record]:
        """The records that are there whole; to be taken to the end before others are added."""
        self.stream.seek(end := 0)
        for record, end in _whole(self.stream):  # noqa: B007
            yield record
        self.clear(end)

    def clear(self, end: int = 0) -> None:
        """Forgets what stands behind the first `end` bytes."""
        with self._told():
            self.stream.truncate(end)

    def add(self, record: Record) -> None:
        """Writes a record behind the others."""
        data = record.packed()
        with self._told():
            self.stream.write(_HEAD.pack(len(data), zlib.crc32(data)) + data)
            self.stream.flush()

    def finish(self, path: Path) -> None:
        """Brings the records to the disk, and under the name of a finished journal."""
        with self._told(), self.stream:
            os.fsync(self.stream.fileno())
            os.replace(self.path, path)

    def drop(self) -> None:
        """Leaves no journal."""
        with self._told(), self.stream:
            self.path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(f"{self.path}: cannot write: {error.strerror}") from error


def _whole(stream: BinaryIO) -> Iterator[tuple[Record, int]]:
    """The records up to the first that is damaged or cut short, each with its end in the file."""
    while len(head := stream.read(_HEAD.size)) == _HEAD.size:
        length, checksum = _HEAD.unpack(head)
        data = stream.read(length)
        if not length or len(data) < length or zlib.crc32(data) != checksum:
            return
        yield Record.unpacked(data), stream.tell()


def _hold(stream: BinaryIO, path: Path) -> None:
    """Locks a file; where the system or the disk has no locks, nothing holds others."""
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{path}: another process is at work on it; waiting", flush=True)
            fcntl.flock(stream, fcntl.LOCK_EX)
