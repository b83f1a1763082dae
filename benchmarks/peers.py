"""What is compared: Restore and BasicSR 1.4.2, trained from one option file, each in a process of its own.

A process is needed because Restore tunes how its process handles memory. Run as a script this module is that process:
it builds its side, then trains as many iterations as each line on stdin says, and answers with the seconds they took.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
import yaml

SIZE, SCALE = 256, 4  # of the pictures in the LMDBs, and of GT over LQ
PATIENCE = 900.0  # seconds for an answer; the first one takes imports and compiling, on a machine that others use too

# ------------------------------------------------------------------------------------------------ one option file


def build_lmdbs(folder: Path, count: int, compact: bool = False, pictures: Path | None = None) -> None:
    """Writes `gt.lmdb` and `lq.lmdb` of `count` pictures, 256 and 64 px: drawn faces, or those of a folder.

    Args:
        compact: PNG records instead of the default BMP.
        pictures: a folder of pictures of at least 256 px.
    """
    from restore import images
    from restore.data.drawn import draw_face
    from restore.data.encode import encode, square
    from restore.data.lmdb_store import LmdbWriter
    from restore.degradations.resize import shrink

    files = list(images.find(pictures))[:count] if pictures else []
    with LmdbWriter(folder / "gt.lmdb") as gts, LmdbWriter(folder / "lq.lmdb") as lqs:
        for number in range(len(files) or count):
            gt = square(images.read(files[number]), SIZE, "") if files else draw_face(0, number, SIZE).image
            gts.put_all([encode(f"{number:06d}", gt, compact)])
            lqs.put_all([encode(f"{number:06d}", shrink(gt, SCALE, "bicubic"), compact)])


def basicsr_options(data: Path, batch: int, workers: int, gt_size: int, network: dict[str, Any]) -> dict[str, Any]:
    """An option file of BasicSR for the LMDBs in `data`, with the settings of its train_MSRResNet_x4.yml."""
    device = {"num_gpu": 1} if torch.cuda.is_available() else {"num_gpu": 0}
    lmdbs = {"dataroot_gt": str(data / "gt.lmdb"), "dataroot_lq": str(data / "lq.lmdb"), "io_backend": {"type": "lmdb"}}
    drawn = {"gt_size": gt_size, "use_hflip": True, "use_rot": True, "dataset_enlarge_ratio": 1000}
    loading = {"batch_size_per_gpu": batch, "num_worker_per_gpu": workers, "prefetch_mode": None}
    name = {"name": "train", "type": "PairedImageDataset"}
    return {
        "name": "benchmark",
        "model_type": "SRModel",
        "scale": SCALE,
        "manual_seed": 0,
        **device,
        "datasets": {"train": {**name, **lmdbs, **drawn, **loading}},
        "network_g": {**network, "upscale": SCALE},
        "path": {"pretrain_network_g": None, "strict_load_g": True, "resume_state": None},
        "train": {
            "ema_decay": 0.999,
            "optim_g": {"type": "Adam", "lr": 0.0002, "weight_decay": 0, "betas": [0.9, 0.99]},
            "scheduler": {
                "type": "CosineAnnealingRestartLR",
                "periods": [250000] * 4,
                "restart_weights": [1] * 4,
                "eta_min": 1e-7,
            },
            "total_iter": 1000000,
            "warmup_iter": -1,
            "pixel_opt": {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"},
        },
        "logger": {"print_freq": 100, "save_checkpoint_freq": 5000000, "use_tb_logger": True},
    }


def write_options(path: Path, options: dict[str, Any]) -> Path:
    """The option file, in an empty folder of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(options, sort_keys=False))
    return path


# ----------------------------------------------------------------------------------------------- from the outside


class Block(NamedTuple):
    """What some iterations took: seconds each, and the most memory since the start in bytes."""

    seconds: float
    memory: int


class PeerFailed(Exception):
    """A side that cannot run; the text is its last line."""


class Peer:
    """One side of a comparison: a process that works when told to, and waits in between."""

    def __init__(
        self,
        side: str,
        options: Path,
        overrides: Iterable[str] = (),
        script: str = __file__,
        patience: float = PATIENCE,
    ) -> None:
        """`side` is `restore` or `basicsr`, or a name of `script`'s; `overrides`, as after `--set`, are for Restore."""
        self.patience = patience
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115
        command = [sys.executable, script, side, str(options), *overrides]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.errors, "text": True}
        self.process: subprocess.Popen[str] = subprocess.Popen(command, cwd=options.parent, **pipes)  # type: ignore[call-overload]

    def run(self, iterations: int) -> Block:
        """Trains that many iterations. Raises `PeerFailed`, also when the answer takes longer than `patience`."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(f"{iterations}\n")
            self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], self.patience)[0]:
            raise PeerFailed(f"no answer in {self.patience:g} s")
        answer = self.process.stdout.readline()
        if not answer:
            self.process.wait()
            self.errors.seek(0)
            lines = self.errors.read().decode(errors="replace").split("\n")
            raise PeerFailed(next((line.strip() for line in reversed(lines) if line.strip()), "no word")[:200])
        seconds, memory = json.loads(answer)
        return Block(seconds / iterations, memory)

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *error: object) -> None:
        with self.process:  # waits for it alone: loader workers that outlive it still hold its pipes
            self.process.kill()
        self.errors.close()


# ------------------------------------------------------------------------------------------------- from the inside


def obeying(batches: Iterable[Any], device: torch.device, answer: Callable[[str], None]) -> Iterator[Any]:
    """Passes batches on, as many as each line on stdin says, and answers with what training on them took."""
    from restore.engine.device import peak_memory

    batches = iter(batches)
    for line in iter(sys.stdin.readline, ""):
        began = time.perf_counter()
        yield from islice(batches, int(line))
        finish(device)
        answer(json.dumps([time.perf_counter() - began, peak_memory(device)]))


def finish(device: torch.device) -> None:
    """Waits for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def restore_trainer(file: Path, overrides: Iterable[str] = ()) -> Any:
    """Restore's trainer for an option file."""
    from restore.engine.experiment import Experiment
    from restore.engine.logging import Log
    from restore.engine.trainer import Trainer
    from restore.options.load import load

    root = f"path.experiments_root={file.parent / 'experiments'}"
    options = load(file, [*overrides, root], tell=lambda note: None)
    experiment = Experiment([options])
    experiment.prepare(resuming=False, archive=True, source=file)
    return Trainer(options, experiment, Log(experiment.log))


def train_restore(file: Path, overrides: Iterable[str], answer: Callable[[str], None]) -> None:
    """Restore's `Trainer.fit`; the batches it draws pass through `obeying`."""
    trainer = restore_trainer(file, overrides)
    gate = lambda batches, *rest, **more: obeying(batches, trainer.device, answer)  # noqa: E731
    with patch("restore.engine.trainer.watched", gate):
        trainer.fit()


def train_basicsr(file: Path, answer: Callable[[str], None]) -> None:
    """The loop of BasicSR's `train_pipeline`, without its logging."""
    from restore.guest import import_basicsr

    import_basicsr()
    from basicsr.data import build_dataloader, build_dataset
    from basicsr.data.data_sampler import EnlargedSampler
    from basicsr.data.prefetch_dataloader import CPUPrefetcher
    from basicsr.models import build_model
    from basicsr.utils.options import parse_options

    sys.argv = ["train.py", "-opt", str(file)]
    opt = parse_options(str(file.parent), is_train=True)[0]
    torch.backends.cudnn.benchmark = True
    data = opt["datasets"]["train"]
    dataset = build_dataset(data)
    sampler = EnlargedSampler(dataset, 1, 0, data["dataset_enlarge_ratio"])
    loader = build_dataloader(dataset, data, num_gpu=opt["num_gpu"], sampler=sampler, seed=opt["manual_seed"])
    model = build_model(opt)
    batches = iter(CPUPrefetcher(loader).next, None)
    for iteration, batch in enumerate(obeying(batches, model.device, answer), 1):
        model.update_learning_rate(iteration, warmup_iter=opt["train"]["warmup_iter"])
        model.feed_data(batch)
        model.optimize_parameters(iteration)


def main() -> None:
    """The process of one side. Answers go to the stdout it was given; what the side itself prints goes to stderr."""
    side, file, overrides = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def answer(text: str) -> None:
        print(text, file=channel)

    if side == "restore":
        train_restore(file, overrides, answer)
    else:
        train_basicsr(file, answer)


if __name__ == "__main__":
    main()
