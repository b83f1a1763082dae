"""Runs tiny experiments, in this process or in another, and compares what they end with."""

import argparse
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
import yaml
from safetensors.torch import load_file

from restore import cli, train
from restore.engine.checkpoint import Checkpoint, open_checkpoint
from restore.options.load import load
from restore.options.schema import Options
from restore.registry import ARCHS, Part
from restore.weights import weights_bytes

REPOSITORY = Path(__file__).parents[1]
ITERATIONS = 12
HOLE_FILLER = {"type": "UNet", "num_feat": 4, "num_level": 2, "norm": "none"}


class Lab:
    """Runs the tiny experiment of one option file below `root`; overrides are written as after `--set`."""

    def __init__(self, root: Path, section: dict) -> None:
        self.root, self.file = root, root / "tiny.yml"
        self.file.write_text(yaml.safe_dump(section))

    def options(self, *overrides: str) -> Options:
        """The options as the engine gets them."""
        return load(self.file, overrides)

    def train(self, *overrides: str, flags: tuple[str, ...] = (), runs: str = "runs") -> Path:
        """Trains in this process, below the folder `runs`. Returns the experiment's folder; raises `RestoreError`."""
        parser = argparse.ArgumentParser()
        train.add_arguments(parser)
        train.run(parser.parse_args(self._arguments(overrides, flags, runs)))
        return self.experiment(runs)

    def start(
        self, *overrides: str, flags: tuple[str, ...] = (), runs: str = "runs", code: str = ""
    ) -> subprocess.Popen:
        """Trains in a process of its own. `code` runs in it first; it sees the modules `trainer` and `checkpoint`."""
        script = (
            "import torch; from restore import train; from restore.errors import run_main\n"
            f"from restore.engine import checkpoint, trainer; torch.set_num_threads(1)\n{code}\nrun_main(train.main)"
        )
        command = [sys.executable, "-c", script, *self._arguments(overrides, flags, runs)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        return subprocess.Popen(command, env=environment, cwd=self.root, start_new_session=True, **pipes)

    def experiment(self, runs: str = "runs", name: str = "tiny") -> Path:
        """The folder of an experiment below `runs`."""
        return self.root / runs / name

    def _arguments(self, overrides: tuple[str, ...], flags: tuple[str, ...], runs: str) -> list[str]:
        root = f"path.experiments_root={self.root / runs}"
        return ["-opt", str(self.file), "--set", *overrides, root, *flags]


def tiny_options(faces: Path, val_faces: Path) -> dict:
    """The option file of `lab`."""
    return {
        "name": "tiny",
        "scale": 4,
        "manual_seed": 1,
        "device": "cpu",
        "network_g": {"type": "MSRResNet", "num_feat": 8, "num_block": 1},
        "datasets": {
            "train": {
                "type": "GTImageDataset",
                "dataroot_gt": str(faces),
                "gt_size": 32,
                "batch_size": 4,
                "num_workers": 0,
                "transforms": [{"type": "RandomFlip"}, {"type": "RandomRotate90"}],
            },
            "val": {"type": "GTImageDataset", "dataroot_gt": str(val_faces)},
        },
        "train": {
            "total_iter": ITERATIONS,
            "optim_g": {"type": "Adam", "lr": 0.001},
            "scheduler": {"type": "MultiStepLR", "milestones": [6, 10], "gamma": 0.5},
            "warmup_iter": 3,
            "ema_decay": 0.9,
            "grad_clip": 1.0,
            "losses": {"pixel": {"type": "L1Loss"}},
        },
        "val": {"val_freq": 6, "metrics": {"psnr": {"crop_border": 4}}},
        "logger": {"print_freq": 4, "save_checkpoint_freq": 4, "use_tb_logger": False},
    }


def signal_at(monkeypatch, iteration: int, signum: signal.Signals = signal.SIGTERM) -> None:
    """Makes a run in this process get a signal in the middle of an iteration."""
    from restore.engine.trainer import Trainer

    step = Trainer.step

    def stepping(self, phase, steps):
        if self.iter == iteration:
            signal.raise_signal(signum)
        step(self, phase, steps)

    monkeypatch.setattr(Trainer, "step", stepping)


def run_infer(*arguments: object) -> None:
    """Calls `restore infer` with these arguments."""
    args = cli.build_parser().parse_args(["infer", *map(str, arguments)])
    args.run(args)


def network_file(path: Path, section: dict, scale: int = 1, **facts: object) -> torch.nn.Module:
    """Writes the weights of a network with chance values, and returns it."""
    torch.manual_seed(0)
    network = ARCHS.build(Part.model_validate(section)).eval()
    path.write_bytes(weights_bytes(network, {"arch": section, "scale": scale, **facts}))
    return network


def lower_half(height: int, width: int) -> np.ndarray:
    """A mask as a picture: white where the lower half is, but for its sides."""
    mask = np.zeros((height, width, 3), np.uint8)
    mask[height // 2 :, 8:-8] = 255
    return mask


def killed_in_write(number: int, *arguments: object) -> None:
    """Calls `restore infer` in a process that is killed in the middle of its write of that number."""

    def doomed() -> None:
        write_bytes, written = Path.write_bytes, []

        def write(path: Path, data: bytes) -> None:
            written.append(path)
            write_bytes(path, data if len(written) < number else data[: len(data) // 2])
            if len(written) == number:
                os.kill(os.getpid(), signal.SIGKILL)

        Path.write_bytes = write
        run_infer(*arguments)

    process = multiprocessing.get_context("fork").Process(target=doomed)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def last(experiment: Path) -> Checkpoint:
    """The checkpoint that `latest` names."""
    return open_checkpoint(experiment / "checkpoints" / "latest")


def assert_same_run(first: Path, second: Path) -> None:
    """Two experiments ended with the same weights, averages, optimizer and schedule, bit for bit."""
    one, other = last(first), last(second)
    assert one.iteration == other.iteration
    names = sorted(path.name for path in one.path.glob("*.safetensors"))
    assert names == sorted(path.name for path in other.path.glob("*.safetensors"))
    for name in names:
        assert_identical(load_file(one.path / name), load_file(other.path / name), name)
    assert_identical(one.state(), other.state(), "state.pt")


def assert_identical(one: object, other: object, where: str) -> None:
    """Nested containers of tensors and numbers are equal, bit for bit."""
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype, where
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_identical(one[key], other[key], f"{where}: {key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for number, pair in enumerate(zip(one, other, strict=True)):
            assert_identical(*pair, f"{where}: {number}")
    else:
        assert one == other, where
