"""Memory over 10,000 steps: real runs of restore/train.py, watched from outside, the main process and each worker."""

import argparse
import copy
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__":  # run as a script: find the packages
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np

from benchmarks.measure import REPOSITORY, Claim, add_out, publish, table, verdict
from benchmarks.memory import anonymous, children
from benchmarks.peers import build_lmdbs, write_options

STEPS, QUICK = 10_000, 300
SAMPLES = 200  # log lines of a run, at each of which its processes are looked at
WARM_UP = 0.2  # of a run: allocators fill their pools, validation and saving have run twice
SHARE, SLACK = 0.02, 4.0  # the bar: 2 % and 4 MB; of 420 MB that is 1.5 KB a step, less than a batch's smallest tensor
WORKERS = 2
PATIENCE = 900  # seconds for a run that takes two hundred
AT = re.compile(r" iter ([\d,]+)/")
RESIDUAL = {"type": "MSRResNet", "num_feat": 4, "num_block": 1}
ADAM = {"type": "Adam", "lr": 0.0001}


class Growth(NamedTuple):
    """A process's memory after the warm-up: MB at its beginning and end, on the line fitted through all samples."""

    began: float
    ended: float

    @property
    def flat(self) -> bool:
        """Whether the bar is met."""
        return self.ended - self.began <= SHARE * self.began + SLACK


def experiments(data: Path) -> dict[str, dict[str, Any]]:
    """The option files: the smallest networks that have all the machinery around them."""
    plain = {"type": "GTImageDataset", "dataroot_gt": str(data / "lq.lmdb")}
    flips = {"transforms": [{"type": "RandomFlip"}]}
    faces = {"type": "OccludedImageDataset", "dataroot_gt": str(data / "lq.lmdb"), "occlusion": [{"type": "LowerFace"}]}
    pixel = {"pixel": {"type": "L1Loss"}}
    sr = {
        "scale": 4,
        "network_g": RESIDUAL,
        "datasets": {"train": {**plain, **flips, "gt_size": 32}, "val": {"name": "val", **plain}},
        "train": {"optim_g": ADAM, "ema_decay": 0.99, "losses": pixel},
        "val": {"metrics": {"psnr": None, "ssim": None}},
    }
    gan = copy.deepcopy(sr) | {"network_d": {"type": "PatchGAN", "num_feat": 4, "n_layers": 2}}
    gan["train"] |= {"optim_d": ADAM, "losses": pixel | {"adversarial": {"type": "GANLoss", "weight": 0.1}}}
    inpainting = {
        "task": {"type": "Inpainting"},
        "network_g": {"type": "UNet", "num_feat": 4},
        "datasets": {"train": {**faces, **flips}, "val": {"name": "val", **faces}},
        "train": {"optim_g": ADAM, "ema_decay": 0.99, "losses": pixel},
        "val": {"metrics": {"psnr_hole": None}},
    }
    return {"SR": sr, "GAN": gan, "inpainting": inpainting}


def completed(options: dict[str, Any], name: str, steps: int) -> dict[str, Any]:
    """What the option files have in common: a log line, validation and checkpoints every so often, TensorBoard."""
    often = {"print_freq": max(1, steps // SAMPLES), "save_checkpoint_freq": steps // 10, "use_tb_logger": True}
    options["datasets"]["train"] |= {"batch_size": 2, "num_workers": WORKERS}
    options["train"] |= {"total_iter": steps, "precision": "fp32"}
    options["val"] |= {"val_freq": steps // 10}
    return options | {"name": name, "manual_seed": 0, "device": "cpu", "logger": often}


def watch(file: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Trains, and gives rows of (iteration, MB) for each of the run's processes. Raises `RuntimeError` if it fails."""
    name, folder = file.stem, file.parent
    command = [sys.executable, str(REPOSITORY / "restore" / "train.py"), "-opt", str(file)]
    command += ["--set", f"path.experiments_root={folder}"]
    log, seen, rows = folder / name / "train.log", -1, dict[int, list[tuple[int, float]]]()
    began = time.monotonic()
    with open(folder / f"{name}.txt", "wb") as output:
        process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=output, stderr=output)
    try:
        while process.poll() is None and time.monotonic() - began < PATIENCE:
            if (at := iteration(log)) != seen:
                seen = at
                for pid, megabytes in look(process.pid):
                    rows.setdefault(pid, []).append((at, megabytes))
            time.sleep(0.02)
    finally:
        process.kill()
    if process.wait():
        raise RuntimeError((folder / f"{name}.txt").read_text(encoding="utf-8")[-1000:] or "not done in time")
    main, *workers = sorted(pid for pid, found in rows.items() if len(found) > len(rows[process.pid]) / 2)
    names = ["main", *(f"worker {number}" for number, _ in enumerate(workers, 1))]
    return {name: np.array(rows[pid]) for name, pid in zip(names, (main, *workers), strict=True)}


def iteration(log: Path) -> int:
    """That of the log's last line; 0 before the first."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            found = AT.findall(file.read().decode(errors="replace"))
    except FileNotFoundError:
        return 0
    return int(found[-1].replace(",", "")) if found else 0


def look(pid: int) -> Iterator[tuple[int, float]]:
    """The memory of a process and of its children; those that have gone are left out."""
    for each in (pid, *children(pid)):
        try:
            yield each, anonymous(each)
        except OSError:  # ended a moment ago
            continue


def fitted(samples: np.ndarray[Any, Any], steps: int) -> Growth:
    """The line of least squares through what comes after the warm-up."""
    after = samples[samples[:, 0] >= WARM_UP * steps]
    slope, start = np.polyfit(after[:, 0], after[:, 1], 1)
    return Growth(float(start + slope * WARM_UP * steps), float(start + slope * steps))


def rows_of(name: str, runs: Mapping[str, np.ndarray[Any, Any]], steps: int) -> Iterator[list[str] | Claim]:
    """A row for each process, and the claim of the run."""
    grown = {who: fitted(samples, steps) for who, samples in runs.items()}
    for who, growth in grown.items():
        samples = runs[who]
        more, thousands = growth.ended - growth.began, (1 - WARM_UP) * steps / 1e3
        figures = [f"{growth.began:.1f}", f"{samples[samples[:, 0] > WARM_UP * steps, 1].max():.1f}"]
        yield [name, who, *figures, f"{more:+.2f}", f"{1e3 * more / thousands:+.1f}", verdict(growth.flat)]
    worst = max(grown.values(), key=lambda growth: growth.ended - growth.began)
    yield Claim(
        f"flat.{name}",
        f"memory of {name}, main and {len(grown) - 1} workers, over the last {(1 - WARM_UP) * steps:,.0f} steps",
        f"{worst.ended - worst.began:+.2f} MB of {worst.began:.0f} MB in the process that grew most",
        bar=f"<= {SHARE:.0%} + {SLACK:.0f} MB",
        met=all(growth.flat for growth in grown.values()),
    )


def measure(folder: Path, steps: int, only: str | None) -> Iterator[str | Claim]:
    """The table."""
    build_lmdbs(folder, 12)
    rows = []
    for name, options in experiments(folder).items():
        if only not in (None, name):
            continue
        file = write_options(folder / f"{name}.yml", completed(options, name, steps))
        for found in rows_of(name, watch(file), steps):
            if isinstance(found, Claim):
                yield found
            else:
                rows.append(found)
    text = (
        f"{steps:,} steps of `restore/train.py`: tiny networks, {WORKERS} workers, 10 validations, 10 checkpoints, "
        "TensorBoard. What each process has allocated and touched (RssAnon and RssShmem), at every log line; the line "
        f"of least squares through what follows the first {WARM_UP:.0%}. Bar: it rises by at most {SHARE:.0%} and "
        f"{SLACK:.0f} MB: of 420 MB that is 1.5 KB a step."
    )
    header = ["run", "process", "MB after the warm-up", "most, MB", "growth, MB", "KB per 1,000 steps", ""]
    yield f"{text}\n\n{table(header, rows)}"


def main() -> None:
    """Parses the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} steps: to see that it works")
    parser.add_argument("--only", choices=("SR", "GAN", "inpainting"), help="one of the runs")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of each run ({STEPS:,})")
    add_out(parser)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        publish("Flat memory", measure(Path(folder), QUICK if args.quick else args.steps, args.only), args.out)


if __name__ == "__main__":
    main()
