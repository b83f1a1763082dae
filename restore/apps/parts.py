"""A test set scored in parts: a file for each part, and all of them together as if one process had scored the set."""

import heapq
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from restore import images
from restore.apps.extremes import Extremes
from restore.apps.journal import Journal, Names, Record, read
from restore.apps.report import ROWS_PER_SET
from restore.apps.shard import Shard
from restore.engine.validation import Entry, Kept, Metric, Scored, Table

Facts = Mapping[str, Any]  # plain values that parts of one run share, and parts of two do not
Score = Callable[[Table, Collection[int]], Iterator[Scored]]  # adds to the table, and passes over what is done


def part_file(folder: Path, shard: Shard) -> Path:
    """Where a part's rows are, below the results of the set."""
    return folder / "shards" / f"{shard}.part"


def score_part(path: Path, facts: Facts, extremes: Extremes, score: Score) -> bool:
    """Scores what of a part is not scored yet, and writes its file. False where all of it was done before.

    Args:
        path: of the part's file. Until it is whole its rows are in one beside it, from which a killed task goes on.
        facts: what the part is a part of. Rows of another run are done again.
        extremes: without pictures; with the first few, what it takes is kept as pictures, for the results to show.
        score: of the part.

    Raises:
        UserError: the disk refuses.
    """
    journal, shown = Journal(path.with_suffix(".unfinished")), 0
    if path.is_file() and not (differing := differences(path, facts)):
        journal.drop()
        return False
    if path.is_file():
        print(f"{path}: of another run ({', '.join(differing)}): done again")
    table, done = Table(), set[int]()
    for record in _begun(journal, facts):
        done.add(record.facts["number"])
        if "set_aside" not in record.facts:
            extremes.add(_scored(record))
            shown += 1
    if done:
        print(f"{path}: goes on behind {len(done):,} pictures that are done")
    for scored in score(table, done):
        _note_set_aside(journal, table)
        journal.add(_record(scored, extremes.add(scored) or shown < ROWS_PER_SET))
        shown += 1
    _note_set_aside(journal, table)
    journal.finish(path)
    return True


def missing(folder: Path, count: int, facts: Facts) -> list[str]:
    """The parts of a set that are not there, each with the reason where it is not that nobody did it."""
    found = []
    for shard in (Shard(index, count) for index in range(count)):
        path = part_file(folder, shard)
        if not path.is_file():
            found.append(str(shard))
        elif differing := differences(path, facts):
            found.append(f"{shard} (what is there is of another run: {', '.join(differing)})")
    return found


def together(folder: Path, count: int, table: Table, metrics: Mapping[str, Metric]) -> Iterator[Scored]:
    """As `engine.validation.score`, of a set whose parts are all there; most of the pictures have only their scores.

    Raises:
        UserError: a part is damaged.
    """
    paths = [part_file(folder, Shard(index, count)) for index in range(count)]
    for record in heapq.merge(*map(_rows, paths), key=lambda record: record.facts["number"]):
        if "set_aside" in record.facts:
            table.entries.append(Entry(**record.facts))
        else:
            scored = _scored(record)
            table.add(scored)
            yield scored
    table.close(metrics)


def differences(path: Path, facts: Facts) -> list[str]:
    """The facts by which a part's file is of another run."""
    own = next(read(path)).facts
    return sorted(name for name in own.keys() | facts.keys() if own.get(name) != facts.get(name))


def _rows(path: Path) -> Iterator[Record]:
    records = read(path)
    next(records)  # the facts
    yield from records


def _begun(journal: Journal, facts: Facts) -> Iterator[Record]:
    """The rows that a killed task of the same run left. Without any the journal begins with the facts."""
    records = journal.resumed()
    if (first := next(records, None)) is None or first.facts != facts:
        journal.clear()
        journal.add(Record(dict(facts)))
        return
    yield from records


def _note_set_aside(journal: Journal, table: Table) -> None:
    """Writes what the table set aside, and empties it: the rows are in the file."""
    for entry in table.entries:
        if entry.set_aside is not None:
            facts = {"number": entry.number, "key": entry.key, "set_aside": entry.set_aside}
            journal.add(Record(facts))
    table.entries.clear()


def _record(scored: Scored, shown: bool) -> Record:
    """A row of the file. Pictures are of 8 bits, as results show them."""
    facts = {"number": scored.number, "key": scored.key, "scores": scored.scores}
    arrays: dict[Names, NDArray[Any]] = {
        ("kept", method, metric, name): tensor.numpy()
        for method, metrics in scored.kept.items()
        for metric, kept in metrics.items()
        for name, tensor in kept.items()
    }
    pictures: dict[Names, Tensor | None] = {("mask",): scored.mask}
    if shown:
        pictures |= {("lq",): scored.lq, ("gt",): scored.gt}
        pictures |= {("preds", name): pred for name, pred in scored.preds.items()}
    arrays |= {names: images.to_uint8(picture[0]) for names, picture in pictures.items() if picture is not None}
    return Record(facts, arrays)


def _scored(record: Record) -> Scored:
    """The picture of a row; where it is not shown it has no pixels but the mask's."""
    kept: dict[str, dict[str, Kept]] = {}
    pictures: dict[Names, Tensor] = {}
    for names, array in record.arrays.items():
        if names[0] == "kept":
            _, method, metric, name = names
            own = kept.setdefault(method, {})
            own[metric] = {**own.get(metric, {}), name: torch.from_numpy(array)}
        else:
            pictures[names] = images.to_unit(array)
    preds = {names[1]: picture for names, picture in pictures.items() if names[0] == "preds"}
    lq, gt, mask = pictures.get(("lq",), torch.empty(0)), pictures.get(("gt",)), pictures.get(("mask",))
    facts = record.facts
    return Scored(facts["key"], lq, gt, preds, facts["scores"], mask, facts["number"], kept)
