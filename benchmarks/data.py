"""From LMDB to batch: samples a second that one worker loads, ours beside BasicSR 1.4.2's PairedImageDataset."""

import argparse
import itertools
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # run as a script: find the packages
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import cv2
import numpy as np
import torch

from benchmarks.measure import Claim, publish, ratios, read_command, slug, spread, table, take_turns, verdict
from benchmarks.peers import SCALE, build_lmdbs
from restore.data.loader import train_batches
from restore.errors import UserError
from restore.registry import DATASETS, Part

BATCH, GT_SIZE = 16, 128
BASICSR = "BasicSR, PNG records"
BARS = {"ours, PNG records": 0.97, "ours, BMP records (the default)": 3.0}  # times BasicSR's speed


def ours(data: Path, kind: str = "PairedImageDataset") -> Iterator[Any]:
    """Our batches without end, as floats, loaded in this process."""
    roots = {"dataroot_gt": str(data / "gt.lmdb")}
    if kind == "PairedImageDataset":
        roots["dataroot_lq"] = str(data / "lq.lmdb")
    flips = {"type": "RandomFlip", "horizontal": 0.5, "vertical": 0.5}
    section = {"type": kind, **roots, "scale": SCALE, "gt_size": GT_SIZE}
    dataset = DATASETS.build(Part.model_validate({**section, "transforms": [flips, {"type": "RandomTranspose"}]}))
    drawn = {"seed": 0, "batch_size": BATCH, "enlarge": 1, "start": 0, "stop": 10**9}
    with train_batches(dataset, **drawn, workers=0, pin=False) as batches:
        for batch in batches:
            yield batch.to(torch.device("cpu"))


def basicsr(data: Path) -> Iterator[Any]:
    """BasicSR's batches without end. Raises `UserError` where it cannot be imported."""
    from restore.guest import import_basicsr

    import_basicsr()
    from basicsr.data import build_dataloader
    from basicsr.data.paired_image_dataset import PairedImageDataset

    random.seed(0)
    roots = {"dataroot_gt": str(data / "gt.lmdb"), "dataroot_lq": str(data / "lq.lmdb"), "io_backend": {"type": "lmdb"}}
    drawn = {"gt_size": GT_SIZE, "use_hflip": True, "use_rot": True}
    loading = {"batch_size_per_gpu": BATCH, "num_worker_per_gpu": 0}
    opt = {"name": "train", "phase": "train", "scale": SCALE, **roots, **drawn, **loading}
    loader = build_dataloader(PairedImageDataset(opt), opt, num_gpu=0)
    return itertools.chain.from_iterable(itertools.repeat(loader))


def rate(batches: Iterator[Any], count: int) -> float:
    """Samples a second over `count` batches."""
    began = time.perf_counter()
    for _ in range(count):
        next(batches)
    return count * BATCH / (time.perf_counter() - began)


def measure(folder: Path, args: argparse.Namespace) -> Iterator[str | Claim]:
    """The table and its claims."""
    for name, compact in (("png", True), ("bmp", False)):
        build_lmdbs(folder / name, max(BATCH, args.pictures), compact, args.folder)
        shutil.copytree(folder / name, folder / f"{name}_basicsr")  # LMDB opens a file once in a process
    sources: dict[str, Iterator[Any]] = {
        "ours, PNG records": ours(folder / "png"),
        "ours, BMP records (the default)": ours(folder / "bmp"),
        "ours, BMP records, LQ made from GT on the fly": ours(folder / "bmp", "GTImageDataset"),
    }
    why, peers = "", dict[str, Iterator[Any]]()
    try:
        peers = {BASICSR: basicsr(folder / "png_basicsr"), "BasicSR, BMP records": basicsr(folder / "bmp_basicsr")}
    except UserError as error:
        why = f"BasicSR cannot run: {error}"
        yield why
    runs: dict[str, Callable[[], float]] = {
        name: partial(rate, batches, length(batches, args.seconds)) for name, batches in {**peers, **sources}.items()
    }
    rates = take_turns(runs, args.rounds)
    claims = [claim_of(name, rates, why) for name in rates]
    rows = [[name, one.ours, one.ratio, one.bar, verdict(one.met)] for name, one in zip(rates, claims, strict=True)]
    text = (
        f"Pairs of 256 and 64 px ({args.folder or 'drawn faces'}), GT crop {GT_SIZE}, flips and rotations, "
        f"batch {BATCH}, to float tensors; one process, one thread, in turns. Medians and quartiles."
    )
    yield f"{text}\n\n{table(['', 'samples/s', 'times BasicSR from PNG', 'bar', ''], rows)}"
    yield from (claim for name, claim in zip(rates, claims, strict=True) if name not in peers)


def length(batches: Iterator[Any], seconds: float) -> int:
    """Batches that take about so long."""
    rate(batches, 2)
    return max(1, round(seconds * rate(batches, 2) / BATCH))


def claim_of(name: str, rates: dict[str, list[float]], why: str) -> Claim:
    """One source's rate against BasicSR's; `why` where that cannot run."""
    bar = BARS.get(name)
    claim = Claim(
        f"data.batch.{slug(name)}",
        f"LMDB to batch, one worker, GT crop {GT_SIZE}, batch {BATCH}: {name.removeprefix('ours, ')}",
        spread(rates[name]).show(".0f") + " samples/s",
        bar=f">= {bar}" if bar else "",
        why=why,
    )
    if BASICSR not in rates:
        return claim
    ratio, peer = spread(ratios(rates[name], rates[BASICSR])), spread(rates[BASICSR])
    return claim._replace(
        peer=f"{BASICSR}: {peer.show('.0f')} samples/s",
        ratio=ratio.show(".2f"),
        met=ratio.median >= bar if bar else None,
    )


def main() -> None:
    """Parses the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="real pictures of at least 256 px (default: drawn faces)")
    parser.add_argument("--pictures", type=int, default=200, help="how many (200)")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each side (15)")
    parser.add_argument("--seconds", type=float, default=0.7, help="of a turn (0.7)")
    args = read_command(parser, pictures=2, rounds=1, seconds=0.01)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    np.random.seed(0)
    with tempfile.TemporaryDirectory() as folder:
        publish("Loading data", measure(Path(folder), args), args.out)


if __name__ == "__main__":
    main()
