"""LMDBs of up to a million records: building them, opening them as a training run does, and reading at random.

The records are tiny, drawn faces of 8 px under keys as large data sets have them: what a million of them costs is in
their number. Every opening is measured in a fresh process, the files being in the disk's cache.
"""

import argparse
import gc
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__":  # run as a script: find the packages
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch

from benchmarks.measure import Claim, Spread, add_out, publish, spread, table, verdict
from benchmarks.memory import anonymous, private
from restore.data.drawn import draw_face
from restore.data.encode import encode
from restore.data.lmdb_store import LmdbReader, LmdbWriter, Record
from restore.data.loader import SampleSource, train_batches
from restore.degradations.resize import shrink
from restore.registry import DATASETS, Part

SIZE, SCALE, BATCH = 8, 4, 16
FACES = 64  # drawn; the records take turns with them
LONGEST, MOST = 1.0, 200.0  # the bars of opening a million records: seconds, MB; pairs are two
SHARDS = (1, 10, 100)
WORKERS = (0, 1, 2)
SMALL = "small"  # the folder of a few records that a fresh process opens first, so that imports are not measured


class Opening(NamedTuple):
    """What opening a data set took: seconds, MB in its process, and MB more of a loader worker's own."""

    seconds: float
    growth: float
    worker: float


def build(folder: Path, count: int, shards: int, scale: int = 1) -> float:
    """Writes `count` records into LMDBs, the pictures smaller by `scale`. Returns the seconds."""
    faces = [shrink(draw_face(0, number, 64).image, 64 * scale // SIZE, "bicubic") for number in range(FACES)]
    encoded = [encode("", face, compact=False) for face in faces]
    began = time.perf_counter()
    for shard, numbers in enumerate(np.array_split(np.arange(count), shards)):
        with LmdbWriter(folder / f"{shard:03d}.lmdb") as writer:
            for number in numbers:
                writer.put_all([named(encoded[number % FACES], int(number))])
    return time.perf_counter() - began


def named(record: Record, number: int) -> Record:
    """The record under a key such as FFHQ's: a folder for each thousand."""
    return record._replace(key=f"{number // 1000 * 1000:05d}/{number:08d}")


def dataset(gt: Path, lq: Path | None) -> SampleSource:
    """The data set that an option file names: all LMDBs in a folder, or the pairs of two."""
    roots = {"type": "GTImageDataset", "dataroot_gt": f"{gt}/*.lmdb"}
    if lq is not None:
        roots |= {"type": "PairedImageDataset", "dataroot_lq": f"{lq}/*.lmdb"}
    built: SampleSource = DATASETS.build(Part.model_validate({**roots, "scale": SCALE}))
    return built


# ------------------------------------------------------------------------------------------------- in fresh processes


def opening(folder: Path, gt: str, lq: str | None, workers: int) -> Opening:
    """Opens a data set and draws its first batch."""
    small = dataset(folder / SMALL, folder / f"{SMALL}_lq" if lq else None)
    usual = max(first_batch(small, each) for each in (0, workers))
    gc.collect()
    before, began = anonymous(), time.perf_counter()
    source = dataset(folder / gt, folder / lq if lq else None)
    first_batch(source, 0)
    spent, growth = time.perf_counter() - began, anonymous() - before
    return Opening(spent, growth, first_batch(source, workers) - usual)


def first_batch(source: SampleSource, workers: int) -> float:
    """Draws it. Returns the most MB that a worker has of its own."""
    with batches_of(source, workers, stop=1 + 4 * workers) as batches:
        next(batches)
        return max((private(child.pid or 0) for child in multiprocessing.active_children()), default=0.0)


def batches_of(source: SampleSource, workers: int, stop: int) -> Any:
    """The loader, as training has it."""
    return train_batches(source, seed=0, batch_size=BATCH, enlarge=1, workers=workers, start=0, stop=stop, pin=False)


def raw_rates(folder: Path, rounds: int, seconds: float) -> list[float]:
    """Records a second that the reader gives of the first shard, in random order, each touched to its end."""
    reader = LmdbReader(folder / "000.lmdb")
    order = np.random.default_rng(0).integers(len(reader), size=1 << 16)
    found = []
    for _ in range(rounds):
        began, read = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            reader.get(reader.keys[int(order[read % len(order)])])
            read += 1
        found.append(read / (time.perf_counter() - began))
    return found


def batch_rates(folder: Path, workers: int, rounds: int, seconds: float) -> list[float]:
    """Samples a second that the loader gives to training, in its random order."""
    found = []
    with batches_of(dataset(folder, None), workers, stop=10**9) as batches:
        for _ in range(8 + 8 * workers):  # what was loaded ahead
            next(batches)
        for _ in range(rounds):
            began, read = time.perf_counter(), 0
            while time.perf_counter() - began < seconds:
                next(batches)
                read += BATCH
            found.append(read / (time.perf_counter() - began))
    return found


def fresh(call: Any) -> Any:
    """The call's result, from a process that has done nothing but imports."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "restore.data.image_dataset"])
    with ProcessPoolExecutor(1, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return pool.submit(call).result()


# ---------------------------------------------------------------------------------------------------------- the tables


def building(folder: Path, counts: list[int]) -> Iterator[str | Claim]:
    """Builds all LMDBs that are read later, and tells the rates."""
    rows, most = [], counts[-1]
    build(folder / SMALL, 100, 1)
    build(folder / f"{SMALL}_lq", 100, 1, SCALE)
    for name, count, shards, scale in plan(counts):
        seconds = build(folder / name, count, shards, scale)
        size = sum(path.stat().st_size for path in (folder / name).rglob("data.mdb"))
        rows.append([f"{count:,}", str(shards), f"{seconds:.1f}", f"{count / seconds:,.0f}", f"{size / 1e6:,.1f}"])
        if (shards, scale, count) == (1, 1, most):
            yield Claim(
                "million.build", f"LMDB of {most:,} records of {SIZE} px built", f"{count / seconds:,.0f} records/s"
            )
    yield f"## Building\n\n{table(['records', 'shards', 's', 'records/s', 'MB on disk'], rows)}"


def plan(counts: list[int]) -> Iterator[tuple[str, int, int, int]]:
    """Name, records, shards and scale of each LMDB, or folder of them."""
    for count in counts:
        yield f"gt_{count}_1", count, 1, 1
    for shards in SHARDS[1:]:
        yield f"gt_{counts[-1]}_{shards}", counts[-1], shards, 1
    yield f"lq_{counts[-1]}_1", counts[-1], 1, SCALE


def openings(folder: Path, most: int, times: int) -> Iterator[str | Claim]:
    """How long it takes to open the largest, in one shard and in several, and as pairs."""
    rows = []
    for shards, lq in [*((shards, None) for shards in SHARDS), (1, f"lq_{most}_1")]:
        runs = [fresh(partial(opening, folder, f"gt_{most}_{shards}", lq, 2)) for _ in range(times)]
        seconds, growth, worker = (spread(values) for values in zip(*runs, strict=True))
        lmdbs = 2 if lq else 1
        met = seconds.median < lmdbs * LONGEST and growth.median < lmdbs * MOST
        what = f"{most:,} {'pairs' if lq else 'records'}, {shards} {'shards' if shards > 1 else 'shard'}"
        rows.append([what, seconds.show(".2f"), *(f"{each.median:.0f}" for each in (growth, worker)), verdict(met)])
        key = f"million.open.{'pairs' if lq else shards}"
        yield claimed(key, f"opening {what}, first batch included", seconds, growth.median, lmdbs, met)
    text = (
        "From `DATASETS.build` to the first batch, imports left out. Growth: RssAnon, which leaves out pages of "
        "mapped files. A worker's: what it shares with no process (Private_Dirty), above that of 100 records. "
        f"Bar: under {LONGEST:.0f} s and {MOST:.0f} MB; for pairs, which are two LMDBs, twice that."
    )
    yield f"## Opening\n\n{text}\n\n{table(['', 's', 'growth, MB', 'a worker has of its own, MB', ''], rows)}"


def claimed(key: str, what: str, seconds: Spread, growth: float, lmdbs: int, met: bool) -> Claim:
    """The claim of an opening."""
    figure = f"{seconds.show('.2f')} s, {growth:.0f} MB of growth"
    return Claim(key, what, figure, bar=f"< {lmdbs * LONGEST:.0f} s, < {lmdbs * MOST:.0f} MB", met=met)


def reading(folder: Path, counts: list[int], rounds: int, seconds: float) -> Iterator[str | Claim]:
    """Rates in random order, by the number of records."""
    rows, rates = [], {}
    for count in counts:
        path = folder / f"gt_{count}_1"
        calls = [partial(raw_rates, path, rounds, seconds)]
        calls += [partial(batch_rates, path, workers, rounds, seconds) for workers in WORKERS]
        rates[count] = [spread(fresh(call)) for call in calls]
        rows.append([f"{count:,}", *(rate.show(",.0f") for rate in rates[count])])
    fewest, most = counts[0], counts[-1]
    for place, name in enumerate(["records", *(f"workers{number}" for number in WORKERS)]):
        ours, small = rates[most][place].median, rates[fewest][place].median
        what = f"read at random of {most:,} records, {'the reader alone' if place == 0 else f'{name[7:]} workers'}"
        figures = {"ours": f"{ours:,.0f}/s", "floor": f"{small:,.0f}/s of {fewest:,} records"}
        yield Claim(f"million.read.{name}", what, **figures, ratio=f"{ours / small:.2f} of its speed")
    text = (
        "A second, in random order, medians and quartiles. The reader alone: `LmdbReader.get` of a key by its number. "
        f"Workers: training's batches of {BATCH} pairs, decoded, LQ made from GT."
    )
    header = ["records", "the reader alone", *(f"{number} workers" for number in WORKERS)]
    yield f"## Reading\n\n{text}\n\n{table(header, rows)}"


def measure(folder: Path, args: argparse.Namespace) -> Iterator[str | Claim]:
    """All tables."""
    counts = [100, 1_000, 10_000] if args.quick else [100, 1_000, 10_000, 100_000, 1_000_000]
    yield from building(folder, counts)
    yield from openings(folder, counts[-1], 1 if args.quick else 3)
    yield from reading(
        folder, counts[2:] if args.quick else counts, 1 if args.quick else 5, 0.05 if args.quick else 0.4
    )


def main() -> None:
    """Parses the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10,000 records at most: to see that it works")
    add_out(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        publish("A million records", measure(Path(folder), args), args.out)


if __name__ == "__main__":
    main()
