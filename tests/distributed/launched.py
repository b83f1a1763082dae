"""Jobs started as a user starts them, with nothing imported before: by `torchrun`, or with `srun`'s environment."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file

from benchmarks.processes import Job
from tests.distributed.ranks import PLUGINS
from tests.lab import REPOSITORY, Lab, last

TORCHRUN = (sys.executable, "-m", "torch.distributed.run")
TOLERANCE = 1e-9  # of weights in fp64, whose sums have another order on another number of ranks


def slow(seconds: float) -> str:
    """The override that makes each step take longer, and leaves what is computed as it is."""
    return f"train.losses.trouble={{type: Trouble, sleep: {seconds}}}"


def start(lab: Lab, launcher: Sequence[str], *overrides: str, runs: str, name: str = "", **variables: str) -> Job:
    """Starts `restore/train.py --auto_resume` behind a launcher; its output goes to a file called after `name`."""
    script = str(REPOSITORY / "restore" / "train.py")
    settings = [PLUGINS, "dist.start_timeout=60", f"path.experiments_root={lab.root / runs}", *overrides]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), **variables}
    command = [*launcher, script, "-opt", str(lab.file), "--auto_resume", "--set", *settings]
    return Job(command, _unused(lab.root / f"{runs}{name}.txt"), environment, lab.root)


def _unused(path: Path) -> Path:
    number = sum(1 for _ in path.parent.glob(f"{path.stem}*"))
    return path.with_stem(f"{path.stem}.{number}")


def finish(job: Job, timeout: float = 120) -> None:
    """Waits for a good end."""
    with job:
        assert job.launcher.wait(timeout) == 0, job.told()


def assert_close(first: Path, second: Path) -> None:
    """Two experiments ended with the same weights and averages, up to the order of sums."""
    for name in ("network_g", "network_g_ema"):
        one, other = (load_file(last(experiment).weights(name)) for experiment in (first, second))
        assert one.keys() == other.keys()
        for key in one:
            assert one[key].dtype == torch.float64
            torch.testing.assert_close(one[key], other[key], rtol=0, atol=TOLERANCE)
