"""LMDBs copied to a disk of the node before they are read at random: once a node, checked, and kept for the next job.

`stage_to: $TMPDIR` in a data set's section asks for it. A folder of pictures is read where it is: a million files take
longer to copy than to read.
"""

import hashlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from restore.data.lmdb_store import check_folder
from restore.data.loader import SampleSource
from restore.errors import Fault, UserError
from restore.options.paths import MustExist, resolve_all
from restore.options.walk import marked_values, value_at
from restore.progress import watched
from restore.registry import DATASETS, Part

STAMP = "staged_from.json"  # inside a copy: what it is a copy of
LOCK = ".restore_staging.lock"
_BLOCK = 1 << 20
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")

Tell = Callable[[str], object]
State = dict[str, list[int]]  # [size, mtime in ns] of each file of an LMDB, by its name


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def build_dataset(section: Part, tell: Tell = _print) -> SampleSource:
    """The data set of a section, read from copies of its LMDBs where it has `stage_to`. Raises as `staged`."""
    dataset: SampleSource = DATASETS.build(staged(section, tell))
    return dataset


def staged(section: Part, tell: Tell = _print) -> Part:
    """The section with the LMDBs that it names, also within a data set within it, replaced by copies in `stage_to`.

    Every process of a node may call this at the same time: one copies while the others wait for it, then all read the
    same copy. It stays there, and is used again as long as the sizes and times of the files, here and at the source,
    are those noted when it was made.

    Args:
        section: a data set's, as the option file gives it.
        tell: gets a line when another process is waited for, and one in the end. Who copies says so on stderr.

    Raises:
        UserError: an LMDB is missing, a variable in `stage_to` is not set, the copies do not fit, or the folder cannot
            be written or locked.
        Fault: reading or writing failed, or what was written is not what was read.
    """
    stage_to = getattr(section, "stage_to", None)
    if stage_to is None:
        return section
    args, folder = deepcopy(section.args), _folder(stage_to)
    named = {
        loc: resolve_all(value)
        for loc, marker, value in marked_values(DATASETS.get(section.type).schema, args)
        if isinstance(marker, MustExist) and marker.shards
    }
    every = [path for paths in named.values() for path in paths]
    copies = stage([path for path in every if path.suffix == ".lmdb"], folder, tell)
    for path in sorted(set(every) - set(copies)):
        tell(f"staging: {path} is a folder of pictures and read where it is; an LMDB would be copied")
    for loc, paths in named.items():
        value_at(args, loc[:-1])[loc[-1]] = [str(copies.get(path, path)) for path in paths]
    return Part.model_validate({"type": section.type, **args})


def _folder(stage_to: str) -> Path:
    for match in _VARIABLE.finditer(stage_to):
        name = match[1] or match[2]
        if not os.environ.get(name):
            raise UserError(f"stage_to: {stage_to}: {name} is not set on this machine; set it, or name a folder")
    return Path(os.path.expandvars(stage_to)).expanduser().absolute()


def stage(sources: list[Path], folder: Path, tell: Tell) -> dict[Path, Path]:
    """Where the copy of each LMDB in `folder` is, once it is there. Raises as `staged`."""
    copies = {source: _target(source, folder) for source in sources}
    for source in copies:
        check_folder(source)
    if copies:
        with _locked(folder, tell):
            try:
                made = _make_copies(copies, folder)
            except OSError as error:
                raise Fault(f"stage_to: {folder}: cannot copy: {error.strerror} {error.filename or ''}") from error
        tell(f"staging: {_lmdbs(len(copies))} in {folder}, {made} copied just now")
    return copies


def _make_copies(copies: dict[Path, Path], folder: Path) -> int:
    """Makes those that are not there, and says how many these were."""
    wanted = [source for source, target in copies.items() if not _is_current(source, target)]
    for source in wanted:
        for stale in (copies[source], _partial(copies[source])):
            shutil.rmtree(stale, ignore_errors=True)
    sizes = {source: sum(size for size, _ in _state(source).values()) for source in wanted}
    needed, free = sum(sizes.values()), shutil.disk_usage(folder).free
    if needed > free:
        lacking = f"{_lmdbs(len(wanted))} of {needed / 1e9:.3f} GB to copy, {free / 1e9:.3f} GB are free"
        raise UserError(f"stage_to: {folder}: {lacking}; free some, name another disk, or leave stage_to out")
    for source in wanted:
        began = time.monotonic()
        _copy(source, copies[source])
        took = f"{sizes[source] / 1e9:.3f} GB in {time.monotonic() - began:.0f} s"
        _print(f"staging: copied {source} to {copies[source]}, {took}, read back and found equal")
    return len(wanted)


def _lmdbs(count: int) -> str:
    return f"{count} LMDB{'s' if count != 1 else ''}"


def _target(source: Path, folder: Path) -> Path:
    """Two sources of one name have two copies: `gt/train.lmdb` and `lq/train.lmdb`."""
    place = hashlib.sha256(str(source.resolve()).encode()).hexdigest()[:8]
    return folder / f"{source.stem}-{place}.lmdb"


def _partial(target: Path) -> Path:
    return target.with_name(target.name + ".partial")


@contextmanager
def _locked(folder: Path, tell: Tell) -> Iterator[None]:
    """One process at a time. The system unlocks when a process ends, however it ends."""
    try:
        import fcntl
    except ImportError as error:
        raise UserError("stage_to: this system has no file locks; leave it out") from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / LOCK, "w")  # noqa: SIM115
    except OSError as error:
        raise UserError(f"stage_to: {folder}: cannot write there: {error.strerror}; name another folder") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell(f"staging: waiting for another process that copies to {folder}")
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            raise UserError(f"stage_to: {folder}: cannot lock there: {error.strerror}; name a local disk") from error
        yield


def _state(folder: Path) -> State:
    """Raises `OSError`."""
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.name not in (STAMP, "lock.mdb"))
    return {file.name: [file.stat().st_size, file.stat().st_mtime_ns] for file in files}


def _is_current(source: Path, target: Path) -> bool:
    try:
        noted: Any = json.loads((target / STAMP).read_text(encoding="utf-8"))
        return bool(noted == _stamp(source, target))
    except (OSError, ValueError):
        return False


def _stamp(source: Path, copy: Path) -> dict[str, Any]:
    return {"source": str(source.resolve()), "files": _state(source), "copies": _state(copy)}


def _copy(source: Path, target: Path) -> None:
    """Copies into `x.lmdb.partial`, reads what the disk has of it, notes what it is, and renames it."""
    partial = _partial(target)
    try:
        before = _state(source)
        partial.mkdir()
        for name in before:
            if _copy_file(source / name, partial / name) != _read_back(partial / name):
                raise Fault(f"{partial / name}: is not what was written, so the disk fails; leave stage_to out")
        stamp = _stamp(source, partial)
        if stamp["files"] != before:
            raise Fault(f"{source}: changed while it was copied; start again when it is written")
        (partial / STAMP).write_text(json.dumps(stamp), encoding="utf-8")
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _copy_file(source: Path, target: Path) -> bytes:
    """Writes the file to the disk and returns the SHA-256 of what was read."""
    digest, size = hashlib.sha256(), source.stat().st_size
    with open(source, "rb") as read, open(target, "wb") as written:
        blocks = iter(lambda: read.read(_BLOCK), b"")
        for block in watched(blocks, -(-size // _BLOCK), f"staging {source.parent.name}, MiB"):
            digest.update(block)
            written.write(block)
        written.flush()
        os.fsync(written.fileno())
    return digest.digest()


def _read_back(path: Path) -> bytes:
    """The SHA-256 of the file as the disk has it, where the system lets go of what it holds in memory."""
    with open(path, "rb") as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return hashlib.file_digest(file, "sha256").digest()
