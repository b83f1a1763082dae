"""Fills an LMDB: threads make the records, one writer commits them in order, and a kill costs one batch."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from restore import images
from restore.apps.lmdb_parts import SET_ASIDE, PartsMaker
from restore.apps.makers import Item, Maker
from restore.apps.pool import Work, in_order
from restore.apps.shard import Shard, all_parts, part_of
from restore.data.lmdb_store import LmdbReader, LmdbWriter, Record
from restore.errors import Fault, UserError
from restore.progress import watched

PARAMETERS = "prepare.json"
LOCK = ".writing"


def build(output: Path, maker: Maker, items: Sequence[Item], about: dict[str, Any], work: Work) -> Path | None:
    """Builds `output`, or goes on where a killed build of it stopped, or says that it is there already.

    A part of it is built beside it, as an LMDB of its own. Of all parts `work.merge` builds what one process would
    have built, with records, `meta_info.txt`, `set_aside.txt` and parameters byte for byte the same.

    Args:
        items: all, whatever the part.
        about: with the maker's fields, what must be equal for a half-built or finished LMDB to be the one asked for.

    Returns:
        What was built or was there; None where there is nothing to do for this part.

    Raises:
        UserError: `output` holds something else, a part is missing, none of the items gives a record, or another
            process is building the same.
    """
    parameters = asdict(maker) | about  # type: ignore[call-overload]
    if work.shard.count > 1:
        return _build_part(output, maker, items, parameters, work)
    if work.merge and not _is_there(output, parameters, work.overwrite):
        maker = _of_parts(output, maker, items, parameters)
        items = [Item(item.key, number) for number, item in enumerate(items)]
    _build(output, maker, items, parameters, work)
    return output


def _build_part(
    output: Path, maker: Maker, items: Sequence[Item], parameters: dict[str, Any], work: Work
) -> Path | None:
    path, own = part_of(output, work.shard), work.shard.of(items)
    if _is_there(output, parameters, work.overwrite):
        print(f"{output}: already there as a whole; nothing to do for part {work.shard}")
        return None
    if not own:
        print(f"{output}: part {work.shard} is not needed, {len(items):,} pictures fill fewer parts")
        return None
    _build(path, maker, own, parameters | _of_part(items, work.shard), work)
    return path


def _of_part(items: Sequence[Item], shard: Shard) -> dict[str, str]:
    """What a part remembers beyond the parameters of the whole."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(f"{item.key}\n".encode(errors="surrogateescape"))
    return {"shard": str(shard), "keys": digest.hexdigest()}


def _of_parts(output: Path, maker: Maker, items: Sequence[Item], parameters: dict[str, Any]) -> Maker:
    """What takes the records out of the parts. Raises `UserError`: one is missing, or not of the whole asked for."""
    parts = all_parts(output, len(items))
    for shard, path in parts.items():
        if told := _difference(path, parameters | _of_part(items, shard)):
            raise UserError(f"{path}: is no part of what is asked for, {told}; remove it and make that part again")
    return PartsMaker.of(maker, parts, items)


def _build(output: Path, maker: Maker, items: Sequence[Item], parameters: dict[str, Any], work: Work) -> None:
    if _is_there(output, parameters, work.overwrite):
        print(f"{output}: already there, {len(LmdbReader(output)):,} records made with the same parameters")
        return
    writer = LmdbWriter(output)
    with _alone(writer):
        if not _is_same(writer.folder, parameters, work.overwrite):
            for file in writer.folder.iterdir():
                if file.name != LOCK:
                    file.unlink()
        images.write_atomic(writer.folder / PARAMETERS, json.dumps(parameters, indent=1).encode())
        with writer:
            set_aside = _fill(writer, maker, items, work.workers)
    _summarize(output, maker.compact, len(set_aside))


@contextlib.contextmanager
def _alone(writer: LmdbWriter) -> Iterator[None]:
    """Makes the folder that is built, and holds it: two tasks that were given the same part would spoil it.

    Raises:
        UserError: another process holds it, or the disk refuses.
    """
    path = writer.folder / LOCK
    try:
        writer.folder.mkdir(parents=True, exist_ok=True)
        stream = path.open("wb")
    except OSError as error:
        raise UserError(f"{writer.folder}: cannot write here: {error.strerror}") from error
    with stream:
        if not _locked(stream.fileno()) or not os.fstat(stream.fileno()).st_nlink:  # it ended just now
            raise UserError(f"{writer.folder}: another process is building this; let it finish, or end it")
        try:
            yield
        finally:
            for folder in (writer.folder, writer.path):  # it was renamed, if all went well
                with contextlib.suppress(OSError):
                    if os.path.samestat(os.fstat(stream.fileno()), (folder / LOCK).stat()):
                        (folder / LOCK).unlink()
            with contextlib.suppress(OSError):
                writer.folder.rmdir()  # if nothing is in it


def _locked(file: int) -> bool:
    """Whether that open file is this process's now. Without locks, as on some systems and disks, it always is."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        pass
    return True


def _is_there(output: Path, parameters: dict[str, Any], overwrite: bool) -> bool:
    """Whether there is nothing to do. Raises `UserError` when something else is there."""
    return output.exists() and _is_same(output, parameters, overwrite) and not overwrite


def _is_same(folder: Path, parameters: dict[str, Any], overwrite: bool) -> bool:
    """Whether what stands at `folder` was made with `parameters`.

    Raises:
        UserError: it was not, and may not be replaced: without `overwrite`, or because it is no LMDB.
    """
    told = _difference(folder, parameters)
    if not told:
        return True
    if folder.is_dir() and all(file.name.startswith(".") for file in folder.iterdir()):
        return False  # killed before it began
    if not (folder / PARAMETERS).is_file() and not (folder / "data.mdb").is_file():
        raise UserError(f"{folder}: exists and is no LMDB; choose another name or remove it")
    if overwrite:
        return False
    raise UserError(f"{folder}: exists, {told}; choose another name, or --overwrite replaces it")


def _difference(folder: Path, parameters: dict[str, Any]) -> str:
    """What what stands at `folder` was made with otherwise; nothing when it was made with these parameters."""
    try:
        before = dict(json.loads((folder / PARAMETERS).read_bytes()))
    except (OSError, ValueError, TypeError):
        return "not made by this command"
    names = [name for name in [*parameters, *before] if before.get(name) != parameters.get(name)]
    return f"made with {names[0]} = {before.get(names[0])}, not {parameters.get(names[0])}" if names else ""


def _fill(writer: LmdbWriter, maker: Maker, items: Sequence[Item], workers: int) -> list[str]:
    """Puts the records of all items that are not there yet; returns a line for each item set aside."""
    todo = [item for item in items if maker.first_key(item) not in writer]
    if len(todo) < len(items):
        print(f"{writer.path}: goes on behind {len(items) - len(todo):,} of {len(items):,}")
    set_aside = []
    for result in watched(in_order(partial(attempt, maker), todo, workers), len(todo), writer.path.name):
        if isinstance(result, str):
            set_aside.append(result)
        else:
            writer.put_all(result)
    if not len(writer):
        raise UserError(f"{writer.path}: none of {len(items):,} pictures can be used; the first: {set_aside[0]}")
    if set_aside:
        text = "".join(f"{line}\n" for line in set_aside)
        images.write_atomic(writer.folder / SET_ASIDE, text.encode(errors="surrogateescape"))
    return set_aside


def attempt(maker: Maker, item: Item) -> list[Record] | str:
    """The item's records, or why it has to be set aside."""
    try:
        return maker.records(item)
    except images.UnreadableImage as error:
        return str(error)


def _summarize(output: Path, compact: bool, set_aside: int) -> None:
    reader = LmdbReader(output)
    text = f"{output}: {len(reader):,} records"
    if not compact and (deep := (output / "meta_info.txt").read_bytes().count(b".png (")):
        text += f", {deep:,} of them 16-bit, kept as PNG"
    if set_aside:
        text += f"; {set_aside:,} pictures set aside, see {output / SET_ASIDE}"
    print(text)


def verify(output: Path, maker: Maker, items: Sequence[Item], workers: int) -> None:
    """Reads every record back, decodes it and compares its pixels with the source's.

    Raises:
        Fault: a record is missing, damaged, different or has no source.
    """
    reader = LmdbReader(output)
    checked = 0
    for result in watched(in_order(partial(attempt, maker), items, workers), len(items), f"verify {output.name}"):
        if not isinstance(result, str):
            for record in result:
                _compare(reader, record)
                checked += 1
    if checked != len(reader):
        raise Fault(f"{output}: {len(reader):,} records, but the pictures give {checked:,}; build it again")
    print(f"{output}: verified, {checked:,} records equal their source")


def _compare(reader: LmdbReader, record: Record) -> None:
    where = reader.where(record.key)
    stored = images.decode(reader.get(record.key), where)
    if not np.array_equal(stored, images.decode(record.data, where)):
        raise Fault(f"{where}: its pixels are not the source's; build the LMDB again with --overwrite")
