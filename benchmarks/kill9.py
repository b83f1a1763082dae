"""Kills a training run with SIGKILL at random instants, half of them inside a save, resumes it, and compares its end.

Every trial is a run of its own: killed once, resumed with --auto_resume, and then held against a run that nobody
interrupted: the bytes of its final weights and averages, and every loss that it logged.
"""

import argparse
import hashlib
import itertools
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # run as a script: find the packages
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from safetensors.torch import load_file

from benchmarks.measure import REPOSITORY, Claim, publish, read_command, table, verdict
from benchmarks.peers import build_lmdbs, write_options
from restore.engine.checkpoint import open_checkpoint
from restore.errors import UserError

ITERATIONS, SAVE_EVERY = 300, 10
SAVE = 0.002  # seconds that one takes, roughly
ATTEMPTS = 5  # to hit one
COMMAND = [sys.executable, str(REPOSITORY / "restore" / "train.py")]
NETWORKS = ("network_g", "network_g_ema")
LOSSES = re.compile(r" iter (\d+)/.* (l_pixel: \S+  grad_norm_g: \S+)")
PATIENCE = 120  # seconds for a run that takes three

OPTIONS: dict[str, Any] = {
    "name": "kill9",
    "scale": 4,
    "manual_seed": 3,
    "device": "cpu",
    "network_g": {"type": "MSRResNet", "num_feat": 8, "num_block": 1},
    "train": {
        "total_iter": ITERATIONS,
        "optim_g": {"type": "Adam", "lr": 0.001},
        "scheduler": {"type": "MultiStepLR", "milestones": [100, 200], "gamma": 0.5},
        "warmup_iter": 20,
        "ema_decay": 0.99,
        "losses": {"pixel": {"type": "L1Loss"}},
    },
    "val": {"val_freq": 50, "metrics": {"psnr": None}},
    "logger": {"print_freq": 5, "save_checkpoint_freq": SAVE_EVERY},
}


@dataclass(frozen=True)
class End:
    """What a finished run left: the hashes of its weights, and each logged loss by iteration."""

    hashes: dict[str, str]
    losses: dict[int, str]


@dataclass(frozen=True)
class Trial:
    """A run that was killed once and resumed."""

    inside_save: bool
    unreadable: int  # checkpoints that did not verify after the kill
    same_weights: bool
    same_losses: bool


class Run:
    """The experiment of one option file, below a folder of its own."""

    def __init__(self, folder: Path, options: Path, workers: int, precision: str) -> None:
        self.folder = folder
        settings = (f"datasets.train.num_workers={workers}", f"train.precision={precision}")
        self.command = [*COMMAND, "-opt", str(options), "--set", *settings, f"path.experiments_root={folder}"]
        self.experiment = folder / "kill9"
        self.checkpoints = self.experiment / "checkpoints"
        self.log = self.experiment / "train.log"

    def start(self, *flags: str) -> subprocess.Popen[bytes]:
        """The process; one thread, so that its sums do not depend on the load."""
        self.folder.mkdir(exist_ok=True)
        with open(self.folder / "output.txt", "ab") as output:  # a pipe would stay open in the workers of a killed run
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            return subprocess.Popen([*self.command, *flags], env=environment, stdout=output, stderr=output)

    def finish(self, *flags: str) -> End:
        """Runs to the end, and says what it left. Raises `RuntimeError` when the end is no good one."""
        if self.start(*flags).wait(PATIENCE):
            raise RuntimeError((self.folder / "output.txt").read_text(encoding="utf-8")[-1000:])
        last = open_checkpoint(self.checkpoints / "latest")
        return End(
            {name: tensors_hash(last.weights(name)) for name in NETWORKS},
            {int(n): text for n, text in LOSSES.findall(self.log.read_text(encoding="utf-8"))},
        )

    def kill(self, draws: random.Random, inside: bool, duration: float) -> bool:
        """Kills a fresh run at a random instant of its training. Returns whether that was inside a save."""
        process = self.start()
        wait_for(self.log.is_file, process)
        if inside:
            number = SAVE_EVERY * draws.randrange(1, ITERATIONS // SAVE_EVERY)
            wait_for((self.checkpoints / f".writing-{number}").is_dir, process)
            time.sleep(draws.uniform(0, SAVE))
        else:
            time.sleep(draws.uniform(0, duration))
        process.kill()
        process.wait()
        return any(self.checkpoints.glob(".*"))  # what it was about to write, to replace or to remove

    def unreadable(self) -> int:
        """How many of the checkpoints do not verify."""
        count = 0
        for path in self.checkpoints.glob("[0-9]*"):
            try:
                open_checkpoint(path)
            except UserError:
                count += 1
        return count


def tensors_hash(path: Path) -> str:
    """The SHA-256 of the names and bytes of a file's tensors; safetensors writes its header in an order of chance."""
    digest = hashlib.sha256()
    for name, tensor in sorted(load_file(path).items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def wait_for(happened: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Waits, with little delay, or until the process has ended."""
    while not happened() and process.poll() is None:
        time.sleep(0.0001)


def trial(number: int, folder: Path, make: Callable[[Path], Run], seed: str, whole: End, duration: float) -> Trial:
    """One run: killed, looked at, resumed, compared."""
    draws, wanted = random.Random(f"{seed} {number}"), number % 2 == 0
    for attempt in range(ATTEMPTS if wanted else 1):
        run = make(folder / f"killed_{number}_{attempt}")
        inside = run.kill(draws, wanted, duration)
        if inside:
            break
    unreadable = run.unreadable()
    end = run.finish("--auto_resume")
    return Trial(inside, unreadable, end.hashes == whole.hashes, end.losses == whole.losses)


def configuration(folder: Path, workers: int, precision: str, args: argparse.Namespace) -> tuple[list[str], Claim]:
    """The row of one number of workers and one precision, and its claim."""
    folder = folder / f"{workers}_{precision}"
    folder.mkdir()
    make = partial(Run, options=folder.parent / "train.yml", workers=workers, precision=precision)
    reference = make(folder / "whole")
    whole = reference.finish()
    written = (reference.experiment / "options.yml").stat().st_mtime
    attempt = partial(
        trial,
        folder=folder,
        make=make,
        seed=f"{args.seed} {workers} {precision}",
        whole=whole,
        duration=reference.log.stat().st_mtime - written,
    )
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        trials = list(pool.map(attempt, range(args.times)))
    return judged(workers, precision, trials)


def judged(workers: int, precision: str, trials: list[Trial]) -> tuple[list[str], Claim]:
    """What came of the trials of a configuration."""
    weights, losses = sum(t.same_weights for t in trials), sum(t.same_losses for t in trials)
    unreadable, inside = sum(t.unreadable for t in trials), sum(t.inside_save for t in trials)
    equal = [f"{weights} of {len(trials)}", f"{losses} of {len(trials)}"]
    claim = Claim(
        f"kill9.workers_{workers}.{precision}",
        f"runs killed once and resumed, {inside} of {len(trials)} inside a save, {workers} data workers, {precision}",
        f"{equal[0]} of equal weights, {equal[1]} of equal losses, {unreadable} unreadable checkpoints",
        bar="all equal, none unreadable",
        met=weights == losses == len(trials) and not unreadable,
    )
    cells = [workers, precision, len(trials), inside, unreadable, *equal]
    return [*map(str, cells), verdict(claim.met)], claim


def measure(folder: Path, args: argparse.Namespace) -> Iterator[str | Claim]:
    """The table and its claims."""
    build_lmdbs(folder, 24)
    write_options(folder / "train.yml", OPTIONS | {"datasets": datasets(folder)})
    found = [configuration(folder, w, p, args) for w, p in itertools.product(args.workers, args.precision)]
    header = ["workers", "precision", "kills", "inside a save", "unreadable checkpoints"]
    text = (
        f"{ITERATIONS} iterations with EMA, schedule, warm-up and validation, a checkpoint every {SAVE_EVERY}; each "
        "run killed once with SIGKILL, resumed with `--auto_resume`, and compared with one that was not: the SHA-256 "
        f"of the tensors of `{'` and `'.join(NETWORKS)}`, and the loss and gradient norm of every log line."
    )
    yield f"{text}\n\n{table([*header, 'equal weights', 'equal losses', ''], [row for row, _ in found])}"
    yield from (claim for _, claim in found)


def datasets(folder: Path) -> dict[str, Any]:
    """The section, for the LMDBs in `folder`."""
    pictures = {"type": "GTImageDataset", "dataroot_gt": str(folder / "gt.lmdb")}
    flips = [{"type": "RandomFlip"}, {"type": "RandomRotate90"}]
    few = {"type": "GTImageDataset", "dataroot_gt": str(folder / "lq.lmdb")}
    return {"train": {**pictures, "gt_size": 32, "batch_size": 4, "transforms": flips}, "val": few}


def main() -> None:
    """Parses the command line, kills and compares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20, help="kills of each configuration (20)")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2], help="data workers (0 2)")
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    parser.add_argument("--seed", type=int, default=0, help="of the instants (0)")
    args = read_command(parser, times=1, workers=[0], precision=["fp32"])
    with tempfile.TemporaryDirectory() as folder:
        publish("Killed and resumed", measure(Path(folder), args), args.out)


if __name__ == "__main__":
    main()
