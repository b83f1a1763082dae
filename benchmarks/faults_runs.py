"""The runs that are struck: tiny ones of each task, on drawn faces, and what is left of them in the end."""

import json
import os
import re
import shutil
import sys
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.faults_plan import ITERATIONS, KEEP, SAVE_EVERY
from benchmarks.kill9 import tensors_hash
from benchmarks.measure import REPOSITORY
from benchmarks.peers import write_options
from benchmarks.processes import Job
from restore.engine.checkpoint import open_checkpoint
from restore.errors import UserError
from restore.weights import pointed

NAME = "struck"
FACES, SIZE = 16, 64  # of each data set, and px
PATIENCE = 60.0  # seconds for a run, which takes some
TRAIN = str(REPOSITORY / "restore" / "train.py")
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--redirects=3"]
FORWARDED = "--signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"
PROGRESS = re.compile(r" iter (\d+)/")
LOSSES = re.compile(r" iter (\d+)/.* left  (.*)  data_wait")

ADAM = {"type": "Adam", "lr": 0.001}
SR: dict[str, Any] = {
    "scale": 4,
    "network_g": {"type": "MSRResNet", "num_feat": 8, "num_block": 1},
    "train": {"losses": {"pixel": {"type": "L1Loss"}}},
}
GAN: dict[str, Any] = {
    "scale": 4,
    "network_g": {"type": "MSRResNet", "num_feat": 8, "num_block": 1},
    "network_d": {"type": "PatchGAN", "num_feat": 8, "n_layers": 1},
    "train": {
        "optim_d": ADAM,
        "losses": {"pixel": {"type": "L1Loss"}, "adversarial": {"type": "GANLoss", "weight": 0.01}},
    },
}
INPAINTING: dict[str, Any] = {
    "task": {"type": "Inpainting"},
    "network_g": {"type": "UNet", "num_feat": 8, "num_level": 2, "norm": "none"},
    "train": {"losses": {"pixel": {"type": "L1Loss"}}},
}
TASKS = {"sr": SR, "gan": GAN, "inpainting": INPAINTING}


class End(NamedTuple):
    """What a finished run left: hashes of its weights and averages, and what each log line says of the losses."""

    hashes: dict[str, str]
    losses: dict[str, str]


def options(task: str, folder: Path, storage: str, workers: int, one_in: int) -> dict[str, Any]:
    """The option file of a run below `folder`."""
    base = TASKS[task]
    suffix = ".lmdb" if storage == "lmdb" else ""
    hidden = {"occlusion": [{"type": "LowerFace"}]} if task == "inpainting" else {}
    kind = "OccludedImageDataset" if hidden else "GTImageDataset"
    sets: dict[str, dict[str, Any]] = {
        name: {"type": kind, "dataroot_gt": str(folder / "data" / f"{name}{suffix}")} for name in ("train", "val")
    }
    crops = {} if hidden else {"gt_size": 32}  # where a face is in a crop is not known
    flips = {"transforms": [{"type": "RandomFlip"}]}
    sets["train"] |= {**crops, **flips, "batch_size": 4, "num_workers": workers}
    faulty = {"type": "FaultyLoss", "folder": str(folder), "one_in": one_in}
    schedule = {"type": "MultiStepLR", "milestones": [20, 40], "gamma": 0.5}
    common = {
        "total_iter": ITERATIONS,
        "max_nonfinite": 5,
        "optim_g": ADAM,
        "ema_decay": 0.99,
        "warmup_iter": 10,
        "scheduler": schedule,
    }
    return {
        **base,
        "name": NAME,
        "plugins": ["benchmarks.faults_plugin"],
        "manual_seed": 3,
        "device": "cpu",
        "datasets": {name: {**part, **hidden} for name, part in sets.items()},
        "train": {**common, **base["train"], "losses": {**base["train"]["losses"], "faulty": faulty}},
        "val": {"val_freq": 20, "metrics": {"psnr": None}},
        "logger": {
            "print_freq": 1,
            "save_checkpoint_freq": SAVE_EVERY,
            "keep_checkpoints": KEEP,
            "use_tb_logger": False,
        },
    }


def draw_faces(folder: Path) -> None:
    """`train` and `val` below `folder`, each as an LMDB and as a folder of the same pictures."""
    from restore import images
    from restore.data.drawn import draw_face
    from restore.data.encode import encode
    from restore.data.lmdb_store import LmdbWriter

    for seed, name in enumerate(("train", "val")):
        faces = [draw_face(seed, number, SIZE).image for number in range(FACES if name == "train" else 3)]
        with LmdbWriter(folder / f"{name}.lmdb") as writer:
            writer.put_all([encode(f"{number:03d}", face, False) for number, face in enumerate(faces)])
        for number, face in enumerate(faces):
            images.write(folder / name / f"{number:03d}.png", face)


class Run:
    """One experiment below a folder of its own, with data of its own."""

    def __init__(self, folder: Path, faces: Path, task: str, storage: str, workers: int, ranks: int, one_in: int = 0):
        shutil.rmtree(folder, ignore_errors=True)
        self.folder, self.ranks, self.starts = folder, ranks, 0
        self.root = folder / "runs"
        self.root.mkdir(parents=True)
        self.data = folder / "data"
        shutil.copytree(faces, self.data)
        self.options = write_options(folder / "train.yml", options(task, folder, storage, workers, one_in))
        self.experiment = self.root / NAME
        self.checkpoints = self.experiment / "checkpoints"

    def start(self, **environment: str) -> Job:
        """One thread a process, so that sums do not depend on the load."""
        self.starts += 1
        log = str(self._output.with_suffix(""))
        launcher = [*TORCHRUN, f"--log-dir={log}", FORWARDED] if self.ranks > 1 else []
        train = [TRAIN, "-opt", str(self.options), "--auto_resume", "--set", f"path.experiments_root={self.root}"]
        alone = os.environ | {"OMP_NUM_THREADS": "1"} | environment
        return Job([sys.executable, *launcher, *train], self._output, alone, None)

    @property
    def _output(self) -> Path:
        return self.folder / f"start_{self.starts}.txt"

    def told(self, start: int = 0) -> str:
        """What a start's ranks have printed, but not what torchrun has; 0 is the last start."""
        output = self.folder / f"start_{start or self.starts}.txt"
        files = sorted(output.with_suffix("").glob("**/std*.log"), reverse=True) if self.ranks > 1 else [output]
        return "".join(file.read_text(encoding="utf-8", errors="replace") for file in files if file.is_file())

    def iteration(self) -> int:
        """The last that this start has logged."""
        return int((PROGRESS.findall(self.told()) or ["0"])[-1])

    def good(self) -> dict[int, Path]:
        """The checkpoints that verify, also one that was about to be replaced."""
        found = {}
        for path in [*self.checkpoints.glob(".replaced-*"), *self.checkpoints.glob("[0-9]*")]:
            try:
                found[int(path.name.rpartition("-")[2])] = open_checkpoint(path).path
            except UserError:
                continue
        return found

    def best(self) -> int | None:
        """The checkpoint that `best` names."""
        path = pointed(self.checkpoints / "best")
        return int(path.name) if path is not None else None

    def end(self) -> End:
        """What the run left. Raises `UserError` where its last checkpoint does not verify."""
        last = open_checkpoint(self.checkpoints / "latest")
        hashes = {path.name: tensors_hash(path) for path in sorted(last.path.glob("*.safetensors"))}
        losses: dict[str, str] = {"last": str(last.iteration)}
        for start in range(1, self.starts + 1):
            losses |= dict(LOSSES.findall(self.told(start)))
        return End(hashes, losses)


class References:
    """The runs that nobody touched, each made when it is first asked for, and kept below a folder."""

    def __init__(self, folder: Path, faces: Path) -> None:
        self.folder, self.faces = folder, faces
        self.locks: dict[str, threading.Lock] = defaultdict(threading.Lock)

    def of(self, task: str, ranks: int, one_in: int) -> End:
        """Raises `RuntimeError` where such a run does not end well, and so nothing can be judged."""
        name = f"{task}_{ranks}_{one_in}"
        with self.locks[name]:
            kept = self.folder / f"{name}.json"
            if not kept.is_file():
                run = Run(self.folder / name, self.faces, task, "lmdb", 0, ranks, one_in)
                with run.start() as job:
                    job.until(lambda: job.launcher.poll() is not None, 2 * PATIENCE)
                if job.launcher.returncode:
                    raise RuntimeError(f"the untouched run {name}: {run.told()[-3000:]}")
                kept.write_text(json.dumps(run.end()), encoding="utf-8")
            return End(*json.loads(kept.read_text(encoding="utf-8")))
