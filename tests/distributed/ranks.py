"""Starts the ranks of a job as `srun` would, without a SLURM, and tells how each of them ended."""

import multiprocessing
import os
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.lab import REPOSITORY, Lab

# Ranks are forked from a process that has imported PyTorch and the parts already, and done nothing else: seconds each.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.distributed.preloaded"])

PLUGINS = "plugins=[tests.distributed.plugged]"
SETTINGS = ("dist.silence=20", "dist.start_timeout=60")


def environment(rank: int, count: int, port: int) -> dict[str, str]:
    """What `srun` sets for one of `count` tasks on this machine."""
    return {
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_TASKS": str(count),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_STEP_TASKS_PER_NODE": str(count),
        "SLURM_NODEID": "0",
        "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": str(rank),
        "MASTER_PORT": str(port),  # else it comes from the job's number, and test sessions would meet
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(REPOSITORY),
    }


def free_port() -> int:
    """A port that nobody has at this moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@dataclass
class Ended:
    """How a rank ended: its exit code, less the signal's number where it was killed, and all that it printed."""

    code: int
    told: str
    seconds: float  # after the first of its job

    @property
    def last(self) -> str:
        """The last line."""
        return (self.told.splitlines() or [""])[-1]


class Job:
    """The ranks of one job; what is still running when the context is left is killed."""

    def __init__(
        self,
        lab: Lab,
        count: int,
        *overrides: str,
        flags: tuple[str, ...] = (),
        runs: str = "runs",
        come: tuple[int, ...] | None = None,
        port: int | None = None,
        **variables: str,
    ) -> None:
        """`come` are the ranks that are started, else all; `variables` are set in their environment."""
        self.lab, self.port = lab, port or free_port()
        self.outputs: dict[int, Path] = {}
        self.processes: dict[int, BaseProcess] = {}
        arguments = _arguments(lab, (PLUGINS, *SETTINGS, *overrides), flags, runs)
        for rank in range(count) if come is None else come:
            self.outputs[rank] = lab.root / f"{runs}.{rank}.txt"
            settings = environment(rank, count, self.port) | variables
            work = (self.outputs[rank], settings, arguments)
            self.processes[rank] = _FORKS.Process(target=_train, args=work)
            self.processes[rank].start()

    def __enter__(self) -> "Job":
        return self

    def __exit__(self, *error: object) -> None:
        for process in self.processes.values():
            process.kill()
            process.join()

    def told(self, rank: int) -> str:
        """What a rank has printed so far."""
        return self.outputs[rank].read_text() if self.outputs[rank].exists() else ""

    def signal(self, rank: int, signum: int) -> None:
        """Sends a signal to one rank."""
        pid = self.processes[rank].pid
        assert pid is not None
        os.kill(pid, signum)

    def until(self, happened: Callable[[], object], timeout: float = 60) -> None:
        """Waits for something that a running job does."""
        began = time.monotonic()
        while not happened():
            assert any(process.is_alive() for process in self.processes.values()), self._all_told()
            assert time.monotonic() - began < timeout, self._all_told()
            time.sleep(0.02)

    def wait(self, timeout: float = 120) -> list[Ended]:
        """Waits until all ranks have ended."""
        began, ends = time.monotonic(), dict[int, float]()
        while len(ends) < len(self.processes):
            for rank, process in self.processes.items():
                if rank not in ends and not process.is_alive():
                    ends[rank] = time.monotonic()
            assert time.monotonic() - began < timeout, self._all_told()
            time.sleep(0.02)
        first = min(ends.values())
        return [Ended(p.exitcode or 0, self.told(r), ends[r] - first) for r, p in self.processes.items()]

    def _all_told(self) -> str:
        return "\n".join(f"--- rank {rank}: {p.exitcode}\n{self.told(rank)}" for rank, p in self.processes.items())


def train(lab: Lab, count: int, *overrides: str, flags: tuple[str, ...] = (), runs: str = "runs") -> Path:
    """Trains to the end on `count` ranks. Returns the experiment's folder."""
    with Job(lab, count, *overrides, flags=flags, runs=runs) as job:
        for ended in job.wait():
            assert ended.code == 0, ended.told
    return lab.experiment(runs)


def together(count: int, work: Callable[..., object], *arguments: object) -> list[Any]:
    """What `work`, a function of a module, returns on each of `count` ranks that have joined."""
    port, answers = free_port(), _FORKS.Queue()
    processes = [_FORKS.Process(target=_join, args=(r, count, port, answers, work, arguments)) for r in range(count)]
    try:
        for process in processes:
            process.start()
        found = dict(answers.get(timeout=60) for _ in range(count))
        found = {rank: pickle.loads(answer) for rank, answer in found.items()}
    finally:
        for process in processes:
            process.join(10)
            process.kill()
    return [found[rank] for rank in range(count)]


def _packed(answer: object) -> bytes:
    return pickle.dumps(answer)


def _join(rank: int, count: int, port: int, answers: Any, work: Callable[..., object], arguments: tuple) -> None:
    import torch

    from restore.distributed import Launch, joined
    from restore.options.schema import Distributed

    torch.set_num_threads(1)
    with joined(Launch.of_environment(environment(rank, count, port)), Distributed(silence=20), "cpu"):
        answers.put((rank, _packed(work(*arguments))))  # tensors as such would come from this process, which ends
    answers.close()
    answers.join_thread()


def _arguments(lab: Lab, overrides: tuple[str, ...], flags: tuple[str, ...], runs: str) -> list[str]:
    return ["-opt", str(lab.file), "--set", *overrides, f"path.experiments_root={lab.root / runs}", *flags]


def _train(output: Path, settings: Mapping[str, str], arguments: list[str]) -> None:
    """What a rank does: `restore/train.py`."""
    with open(output, "w") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())
    os.environ.update(settings)
    sys.argv[1:] = arguments
    import torch

    from restore import train
    from restore.errors import run_main

    torch.set_num_threads(1)
    run_main(train.main)


def start_script(lab: Lab, rank: int, count: int, port: int, *overrides: str) -> subprocess.Popen[str]:
    """A rank as a user starts it, with nothing imported before."""
    command = [sys.executable, str(REPOSITORY / "restore" / "train.py"), *_arguments(lab, overrides, (), "script")]
    settings = os.environ | environment(rank, count, port)
    return subprocess.Popen(
        command, env=settings, cwd=lab.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
