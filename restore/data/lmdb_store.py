"""Pictures in an LMDB, laid out as BasicSR does: a folder `x.lmdb` of `data.mdb` and `meta_info.txt`.

`meta_info.txt` has a line for every record, `key.ext (h,w,c) level`, where level is the PNG compression and 0 says
uncompressed. The record under `key` is the bytes of a picture file. LMDB: Chu, "MDB: a memory-mapped database" (2011).
"""

import contextlib
import io
import os
import re
import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, overload
from weakref import WeakValueDictionary

import lmdb
import numpy as np

from restore.errors import Fault, UserError
from restore.images import UnreadableImage

MAX_KEY = 511  # bytes; a constant that LMDB is built with

Shape = tuple[int, int, int]


class Record(NamedTuple):
    """A picture on its way into an LMDB: `data` is a picture file's bytes, `shape` is (height, width, channels)."""

    key: str
    data: bytes
    shape: Shape
    level: int
    ext: str

    @property
    def line(self) -> str:
        """This record's line in `meta_info.txt`."""
        return f"{self.key}.{self.ext} ({','.join(map(str, self.shape))}) {self.level}\n"


# --------------------------------------------------------------------------------------------------- meta_info.txt

_SIDE = rb"\d{1,9}"
_LINE = rb"[^\n]+\.[^\n./ ]+ \(" + rb",".join([_SIDE] * 3) + rb"\) \d+\n"
_LINES = re.compile(rb"(?:" + _LINE + rb")*+")  # possessive: a million lines would be as many points to come back to
_LEAVES = re.compile(r"^/|(?:^|/)\.\./|\0", re.MULTILINE)  # keys name the files of results, which stay in their folder
_SIGNS = (b"\n/", b"../", b"\0")  # without one of them nothing leaves; a million lines are searched in no time


class MetaInfo(Sequence[str]):
    """The keys that a `meta_info.txt` names, in its order.

    Held as the file's bytes and the offset of every line: a million keys cost 50 MB instead of 130, nothing when a
    worker is forked (no reference counts to write to), and little when one is spawned.

    Raises:
        UserError: the file cannot be read, names nothing, or a line is not `key.ext (h,w,c) level`.
    """

    def __init__(self, path: Path) -> None:
        try:
            text = path.read_bytes().replace(b"\r\n", b"\n")
            text.decode()
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise UserError(f"{path}:{_line_number(text, error.start)}: not UTF-8; save it as UTF-8") from error
        if not text.strip():
            raise UserError(f"{path}: names no record; build the LMDB again with `restore prepare lmdb`")
        self._text = text if text.endswith(b"\n") else text + b"\n"
        self._check(path)
        ends = np.flatnonzero(np.frombuffer(self._text, np.uint8) == ord("\n"))
        self._starts = np.concatenate([[0], ends + 1])

    def _check(self, path: Path) -> None:
        good = _LINES.match(self._text)
        end = good.end() if good else 0
        if end < len(self._text):
            bad = self._text[end : self._text.index(b"\n", end)].decode()
            place = f"{path}:{_line_number(self._text, end)}"
            raise UserError(f"{place}: `{bad[:80]}` is not `key.ext (height,width,channels) level`; mend the line")
        if self._text.startswith(b"/") or any(sign in self._text for sign in _SIGNS):
            for number, key in enumerate(self, 1):
                if _LEAVES.search(key):
                    raise UserError(f"{path}:{number}: the key {key!a} leads out of its folder; build the LMDB again")

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __iter__(self) -> Iterator[str]:
        return map(_key, io.BytesIO(self._text))  # what follows the name has no dot

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        return _key(self._fields(index)[0])

    def shape(self, index: int) -> Shape:
        """(height, width, channels) of the picture at `index`, as the file says."""
        height, width, channels = self._fields(index)[1][1:-1].split(b",")
        return int(height), int(width), int(channels)

    def _fields(self, index: int) -> list[bytes]:
        index = range(len(self))[index]  # negative indices, and IndexError
        return self._text[self._starts[index] : self._starts[index + 1] - 1].rsplit(b" ", 2)


def _key(name: bytes) -> str:
    """The key in `key.ext`, or in a whole line."""
    return name.rpartition(b".")[0].decode()


def _line_number(text: bytes, offset: int) -> int:
    return text.count(b"\n", 0, offset) + 1


# ---------------------------------------------------------------------------------------------------------- reading

# LMDB refuses to open one file twice in a process, so readers of the same file share an environment.
_environments: WeakValueDictionary[tuple[int, int, int], lmdb.Environment] = WeakValueDictionary()
_opening = threading.Lock()  # of two threads that find none, one opens and the other then finds it


class LmdbReader:
    """Reads the records of `x.lmdb`, from this process and from workers that are forked or spawned.

    The environment is opened at the first `get` in each process, so that none is carried across a fork. `keys` may be
    replaced by some of them.

    Raises:
        UserError: the folder or a file in it is missing, cut short, malformed or no LMDB.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        check_folder(self.path)
        self.meta_info = MetaInfo(self.path / "meta_info.txt")
        self.keys: Sequence[str] = self.meta_info
        self._pid = 0
        self._env: lmdb.Environment | None = None
        self._inode = self._bytes = 0  # of the file that is open
        _environment(self.path)  # so that a broken file is told now, not by a worker

    def __len__(self) -> int:
        return len(self.keys)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_env": None}

    def get(self, key: str) -> bytes:
        """The bytes of the picture file stored under `key`.

        Raises:
            UnreadableImage: there is no such record, or LMDB finds the file damaged at that place.
            Fault: the file was cut short since it was opened.
        """
        if self._env is None or self._pid != os.getpid():
            self._env, self._pid = _environment(self.path), os.getpid()
            self._inode, self._bytes = (self.path / "data.mdb").stat().st_ino, _bytes_of(self._env)
        self._require_whole()
        try:
            with self._env.begin() as transaction:
                data: bytes | None = transaction.get(key.encode())
        except lmdb.Error as error:
            raise UnreadableImage(f"{self.where(key)}: {error}; copy or build the LMDB again") from error
        if data is None:
            raise UnreadableImage(f"{self.where(key)}: not in data.mdb; copy or build the LMDB again")
        return data

    def where(self, key: str) -> str:
        """What messages call that record."""
        return f"{self.path}: record `{key}`"

    def _require_whole(self) -> None:
        """A file may be cut while it is in use, by a copy that begins anew; see `_check_whole`."""
        file = self.path / "data.mdb"
        with contextlib.suppress(OSError):  # one that was renamed or removed can still be read
            status = file.stat()
            if status.st_ino == self._inode and status.st_size < self._bytes:
                size = f"{status.st_size:,} bytes of at least {self._bytes:,}"
                raise Fault(f"{file}: cut short while in use, {size}; copy or build it again")


def check_folder(path: Path) -> None:
    """Raises `UserError` where a folder is missing or holds no LMDB of pictures."""
    if not path.is_dir():
        if _partial(path).is_dir():
            raise UserError(f"{path}: only half built; run the `restore prepare` that began it again, and it goes on")
        raise UserError(f"{path}: no such LMDB folder; `restore prepare lmdb IMAGES {path}` makes one")
    for name in ("data.mdb", "meta_info.txt"):
        if not (path / name).is_file():
            raise UserError(f"{path}: no {name} in it; give an LMDB made by `restore prepare lmdb` or BasicSR")


def _environment(path: Path) -> lmdb.Environment:
    """This process's environment for the LMDB at `path`; it closes when the last reader that holds it goes."""
    file = path / "data.mdb"
    try:
        status = file.stat()
        identity = (status.st_dev, status.st_ino, os.getpid())
        with _opening:
            env = _environments.get(identity)
            if env is None:
                if status.st_size == 0:
                    raise lmdb.InvalidError("empty")
                env = lmdb.open(str(path), readonly=True, lock=False, readahead=False)
                _check_whole(file, env, status.st_size)
                _environments[identity] = env
            return env
    except (lmdb.InvalidError, lmdb.VersionMismatchError) as error:
        raise UserError(f"{file}: not an LMDB file, or cut short; copy or build it again") from error
    except (OSError, lmdb.Error) as error:
        raise UserError(f"{path}: cannot open the LMDB: {error}") from error


def _close_inherited() -> None:
    """Closes what a fork left open here: to LMDB those files count as open in this process."""
    _opening.release()
    for (_, _, pid), env in list(_environments.items()):
        if pid != os.getpid():
            env.close()


if hasattr(os, "register_at_fork"):  # Windows forks nothing
    # At once: one that the garbage collector takes in the child stays open to LMDB. Under the lock: a child would wait
    # for ever for one that another thread held.
    os.register_at_fork(before=_opening.acquire, after_in_parent=_opening.release, after_in_child=_close_inherited)


def _bytes_of(env: lmdb.Environment) -> int:
    """The least that the file has to be long."""
    return int((env.info()["last_pgno"] + 1) * env.stat()["psize"])


def _check_whole(file: Path, env: lmdb.Environment, size: int) -> None:
    """Reading past the end of a mapped file is a bus error, not an exception; so the end is looked for first."""
    expected = _bytes_of(env)
    if size < expected:
        raise UserError(f"{file}: cut short, {size:,} bytes of at least {expected:,}; copy or build it again")


# ---------------------------------------------------------------------------------------------------------- writing

_JOURNAL = b"\0"  # no file name holds this byte, so no key begins with it
_BATCH_COUNT = 4096  # small records are counted, not weighed: what they cost is not in their bytes


class LmdbWriter:
    """Builds `x.lmdb` in `x.lmdb.partial`, renamed when all is written: a reader sees a whole LMDB or none.

    Records are committed in batches, each with its line of `meta_info.txt` kept under a key of its own, so that what
    was committed before a kill is found again: `key in writer` says so, and `put` goes on behind it.

        with LmdbWriter("faces.lmdb") as writer:
            if key not in writer:
                writer.put(key, data, (256, 256, 3), 0, "bmp")

    On leaving with an exception the partial folder stays, unless it holds no record.

    Args:
        path: the folder to make; its name ends in `.lmdb`, by which BasicSR knows one.
        map_size: first size of the memory map in bytes; it doubles as needed.
        batch_size: bytes of records held in memory before they are committed.
    """

    def __init__(self, path: str | Path, map_size: int = 1 << 30, batch_size: int = 32 << 20) -> None:
        self.path = Path(path)
        if self.path.suffix != ".lmdb":
            raise UserError(f"{self.path}: the name of an LMDB ends in `.lmdb`; call it {self.path}.lmdb")
        self.folder = _partial(self.path)
        self._map_size = map_size
        self._batch_size = batch_size
        self._batch: dict[str, Record] = {}
        self._held = 0

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._env = lmdb.open(str(self.folder), map_size=self._map_size)
        except (OSError, lmdb.Error) as error:
            raise UserError(f"{self.folder}: cannot write here: {error}") from error
        self._count = self._lines_committed()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if kind is None:
                self.commit()
                self._write_meta_info()
        finally:
            self._env.close()
            if self._count == 0:
                shutil.rmtree(self.folder, ignore_errors=True)
        if kind is None:
            self._publish()

    def __len__(self) -> int:
        return self._count + len(self._batch)

    def __contains__(self, key: str) -> bool:
        if key in self._batch:
            return True
        with self._env.begin(buffers=True) as transaction:
            return transaction.get(key.encode()) is not None

    def put(self, key: str, data: bytes, shape: Shape, level: int, ext: str) -> None:
        """Adds one record; see `put_all`."""
        self.put_all([Record(key, data, shape, level, ext)])

    def put_all(self, records: Iterable[Record]) -> None:
        """Adds records that belong together: either all or none of them survive a kill.

        Raises:
            UserError: a key is too long for LMDB, cannot stand in `meta_info.txt`, or is there already.
            Fault: the disk is full or fails.
        """
        for record in records:
            check_key(record.key, str(self.path))
            if record.key in self:
                raise UserError(f"{self.path}: two records are called `{record.key}`; rename one of the pictures")
            self._batch[record.key] = record
            self._held += len(record.data)
        if self._held >= self._batch_size or len(self._batch) >= _BATCH_COUNT:
            self.commit()

    def commit(self) -> None:
        """Writes the batch in one transaction and waits for the disk. A map that is full is doubled."""
        while self._batch:
            try:
                with self._env.begin(write=True) as transaction:
                    for number, record in enumerate(self._batch.values(), self._count):
                        transaction.put(record.key.encode(), record.data)
                        transaction.put(_journal_key(number), record.line.encode())
            except lmdb.MapFullError:
                self._env.set_mapsize(2 * self._env.info()["map_size"])
            except lmdb.Error as error:
                raise Fault(f"{self.folder}: cannot write: {error}; free space, run it again and it goes on") from error
            else:
                self._count += len(self._batch)
                self._batch.clear()
                self._held = 0

    def _lines_committed(self) -> int:
        with self._env.begin() as transaction, transaction.cursor() as cursor:
            cursor.set_range(b"\1")  # just behind the journal; off the end when there is nothing else
            return int.from_bytes(cursor.key()[1:], "big") + 1 if cursor.prev() else 0

    def _write_meta_info(self) -> None:
        if not self._count:
            raise UserError(f"{self.path}: no record was put into it")
        try:
            with (
                self._env.begin(buffers=True) as transaction,
                transaction.cursor() as cursor,
                open(self.folder / "meta_info.txt", "wb") as file,
            ):
                cursor.set_range(_JOURNAL)
                file.writelines(line for _, line in zip(range(self._count), cursor.iternext(keys=False), strict=False))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise Fault(f"{self.folder}/meta_info.txt: cannot write: {error.strerror}") from error

    def _publish(self) -> None:
        (self.folder / "lock.mdb").unlink(missing_ok=True)
        old = self.path.with_name(self.path.name + ".old")
        try:
            shutil.rmtree(old, ignore_errors=True)
            with contextlib.suppress(FileNotFoundError):
                self.path.rename(old)
            self.folder.rename(self.path)
            shutil.rmtree(old, ignore_errors=True)
        except OSError as error:
            raise Fault(f"{self.folder}: whole, but cannot be renamed to {self.path}: {error.strerror}") from error


def check_key(key: str, where: str) -> None:
    """Raises `UserError`, beginning with `where`, for a key that LMDB or `meta_info.txt` cannot hold."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError as error:
        raise UserError(f"{where}: the name `{key!a}` is not UTF-8; rename the picture") from error
    if size > MAX_KEY:
        raise UserError(f"{where}: the key `{key[:40]}...` has {size} bytes, LMDB takes {MAX_KEY}; shorten the path")
    if not key or "\n" in key or "\r" in key or "\0" in key:
        raise UserError(f"{where}: `{key!r}` cannot be a key: it is empty or holds a line break; rename the picture")
    if _LEAVES.search(f"{key}/"):
        raise UserError(f"{where}: the key `{key}` leads out of its folder; rename the picture")


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


def _journal_key(number: int) -> bytes:
    return _JOURNAL + number.to_bytes(8, "big")
