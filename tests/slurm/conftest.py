"""One SLURM for all tests of this folder, and the experiment that its jobs train."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.lab import REPOSITORY, tiny_options
from tests.slurm.cluster import Cluster, Job, missing

SCRIPTS = REPOSITORY / "options" / "slurm"
ITERATIONS = 240
ONE_CORE = ("--cpus-per-task=1",)  # and so one thread: sums in one order


@pytest.fixture(scope="session")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    """A running SLURM. With RESTORE_KEEP_LOGS=DIR, the logs of its jobs and daemons are copied there."""
    if reason := missing():
        pytest.skip(reason)
    cluster = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        try:
            cluster.start()
        except (OSError, AssertionError, subprocess.SubprocessError) as error:  # a container may forbid what it needs
            pytest.skip(f"SLURM is there, but does not start on this machine: {error}")
        yield cluster
    finally:
        cluster.stop()
        if kept := os.environ.get("RESTORE_KEEP_LOGS"):
            for folder in ("jobs", "log"):
                shutil.copytree(cluster.root / folder, Path(kept) / folder, dirs_exist_ok=True)


class Desk:
    """Trains one tiny experiment, as jobs and without SLURM.

    A job's steps take a second each until its first restart, and none from then on: there is time to interrupt it.
    """

    def __init__(self, cluster: Cluster, root: Path, section: dict) -> None:
        self.cluster, self.root, self.file = cluster, root, root / "tiny.yml"
        self.file.write_text(yaml.safe_dump(section))
        shutil.copy(Path(__file__).with_name("slow_loss.py"), root)

    def submit(
        self, name: str, *overrides: str, script: str = "cpu", options: tuple[str, ...] = (), slow: bool = True
    ) -> Job:
        """Submits a script of options/slurm with sbatch's `options`. The job trains below the folder `name`."""
        seconds = f"train.losses.pixel.seconds={1 if slow else 0}"
        arguments = self._arguments(name, seconds, *overrides)
        return self.cluster.submit(SCRIPTS / f"{script}.sbatch", *arguments, name=name, options=(*ONE_CORE, *options))

    def chain(self, name: str, links: int, *overrides: str) -> list[Job]:
        """Submits what `restore slurm --chain` writes."""
        asked = ["--gpus", "0", "--cpus", "1", "--time", "10", "--chain", str(links), "--submit"]
        command = ["-m", "restore", "slurm", "-opt", *self._arguments(name, f"name={name}", *overrides), *asked]
        python = ["env", f"PYTHONPATH={REPOSITORY}", sys.executable]
        folder = self.cluster.root / "jobs"
        told = self.cluster.run(*python, *command, folder=folder)
        numbers = re.findall(r"Submitted batch job (\d+)", told)
        assert len(numbers) == links, told
        return [Job(self.cluster, number, folder / f"{name}-{number}.out") for number in numbers]

    def experiment(self, job: Job, name: str = "tiny") -> Path:
        """The folder that a job trains in."""
        return self.root / job.name / name

    def has_saved(self, job: Job, name: str = "tiny") -> None:
        """Waits for a job's first checkpoint."""
        job.wait((self.experiment(job, name) / "checkpoints" / "latest").exists, "saved")

    def whole(self, seed: int = 1, processes: int = 1) -> Path:
        """The folder of the same experiment without SLURM and without interruption."""
        name = f"whole_{seed}_{processes}"
        if not (self.root / name).exists():
            launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
            train = ["-m", "restore", "train", "-opt", *self._arguments(name, f"manual_seed={seed}")]
            command = [sys.executable, *(launcher if processes > 1 else []), *train]
            pipes = {"capture_output": True, "text": True, "check": False}
            done = subprocess.run(command, cwd=REPOSITORY, env=self.cluster.environment, **pipes)
            assert done.returncode == 0, done.stderr
        return self.root / name / "tiny"

    def _arguments(self, name: str, *overrides: str) -> list[str]:
        return [str(self.file), "--set", *overrides, f"path.experiments_root={self.root / name}"]


@pytest.fixture(scope="session")
def desk(cluster, tmp_path_factory, faces, val_faces) -> Desk:
    """Where jobs are submitted."""
    section = tiny_options(faces, val_faces) | {"plugins": ["slow_loss"]}
    section["train"] |= {"total_iter": ITERATIONS, "losses": {"pixel": {"type": "SlowL1Loss"}}}
    section["val"]["val_freq"], section["logger"]["save_checkpoint_freq"] = ITERATIONS // 2, 5
    return Desk(cluster, tmp_path_factory.mktemp("desk"), section)
