"""Hits one training run of two processes at random instants, restarts it each time, and compares its end.

SIGKILL to either rank, to `torchrun` and to what stands in for `srun`; SIGTERM and SIGUSR1 to the whole job. After each
blow it is awaited that nothing of the job is left, loader workers included, and the run goes on with --auto_resume. At
the end it is held against a run of as many processes that nobody touched: the bytes of weights, averages and optimizer
state, and every loss that was logged.
"""

import argparse
import hashlib
import itertools
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # run as a script: find the packages
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch

from benchmarks.kill9 import LOSSES, NETWORKS, OPTIONS, datasets, tensors_hash
from benchmarks.measure import REPOSITORY, Claim, publish, read_command, table, verdict
from benchmarks.peers import build_lmdbs, write_options
from benchmarks.processes import Job
from restore.engine.checkpoint import open_checkpoint

NAME = "kill_ranks"
RANKS = 2
BAR = 30.0  # seconds from a blow to the end of the job
PATIENCE = 300  # seconds for a run that takes half a minute
TRAIN = str(REPOSITORY / "restore" / "train.py")
FORWARDED = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"  # torchrun's own choice, and SIGUSR1
LAUNCHERS = {
    "torchrun": ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={RANKS}"]
    + [f"--signals-to-handle={FORWARDED}"],
    "srun": [str(Path(__file__).resolve()), "--as-srun"],
}
PROGRESS = re.compile(r" iter (\d+)/")
RESUMED = re.compile(r"resumed from \S+ iteration (\d+)")
TOLD = re.compile(r"^(?:error|stopped): .*", re.MULTILINE)


@dataclass(frozen=True)
class Blow:
    """What happens to the job of a launcher: a signal to `rank 0`, `rank 1`, the `launcher` or `all` processes."""

    launcher: str
    target: str
    signal: signal.Signals

    def strike(self, job: Job) -> None:
        """Sends the signal."""
        everyone = [process.pid for process in job.remember()]
        ranks = job.ranks()
        targets = {"rank 0": [ranks[0]], "rank 1": [ranks[1]], "launcher": [job.launcher.pid], "all": everyone}
        for pid in targets[self.target]:
            os.kill(pid, self.signal)
        if self.launcher == "srun" and self.target == "launcher":  # the batch script ends, and SLURM ends its step
            for pid in ranks.values():
                os.kill(pid, signal.SIGTERM)


BLOWS = [
    Blow("torchrun", "rank 0", signal.SIGKILL),
    Blow("torchrun", "rank 1", signal.SIGKILL),
    Blow("torchrun", "launcher", signal.SIGKILL),
    Blow("torchrun", "all", signal.SIGTERM),
    Blow("torchrun", "launcher", signal.SIGUSR1),
    Blow("srun", "rank 0", signal.SIGKILL),
    Blow("srun", "rank 1", signal.SIGKILL),
    Blow("srun", "launcher", signal.SIGKILL),
    Blow("srun", "all", signal.SIGTERM),
    Blow("srun", "all", signal.SIGUSR1),
]


@dataclass(frozen=True)
class Hit:
    """One blow and what came of it."""

    blow: Blow
    iteration: int  # the last that was logged
    seconds: float  # to the end of all processes
    code: int  # of the launcher
    told: str  # the job's last line about its end

    def row(self, number: int, resumed_at: str) -> list[str]:
        """Its line of the table."""
        what = f"{self.blow.signal.name} to {self.blow.target}"
        cells = [self.blow.launcher, what, self.iteration, f"{self.seconds:.1f}", self.code, resumed_at]
        return [str(number), *map(str, cells), f"`{self.told}`" if self.told else "", verdict(self.seconds < BAR)]


class Run:
    """One experiment, which any launcher starts and goes on with."""

    def __init__(self, folder: Path, options: Path) -> None:
        folder.mkdir()
        self.folder, self.starts = folder, itertools.count()
        self.train = [TRAIN, "-opt", str(options), "--auto_resume", "--set", f"path.experiments_root={folder}"]
        self.log = folder / NAME / "train.log"

    def start(self, launcher: str) -> Job:
        """One thread a rank, so that sums do not depend on the load."""
        command = [sys.executable, *LAUNCHERS[launcher], *self.train]
        output = self.folder / f"output_{next(self.starts)}.txt"
        return Job(command, output, os.environ | {"OMP_NUM_THREADS": "1"}, None)

    def finish(self, launcher: str) -> None:
        """Runs to the end. Raises `RuntimeError` when that is no good one."""
        with self.start(launcher) as job:
            if job.launcher.wait(PATIENCE):
                raise RuntimeError(job.told()[-3000:])

    def iteration(self) -> int:
        """The last that was logged."""
        text = self.log.read_text(encoding="utf-8") if self.log.exists() else ""
        return int((PROGRESS.findall(text) or ["0"])[-1])

    def resumptions(self) -> list[str]:
        """The iteration at which each start went on."""
        outputs = [self.folder / f"output_{number}.txt" for number in range(1, next(self.starts))]
        found = [RESUMED.search(output.read_text(encoding="utf-8")) for output in outputs]
        return [match[1] if match else "0" for match in found]

    def hit(self, blow: Blow, at: int, delay: float) -> Hit:
        """Starts it, strikes `delay` seconds after iteration `at`, and waits until nothing of the job is left."""
        with self.start(blow.launcher) as job:
            job.until(lambda: job.launcher.poll() is not None or self._reached(job, at), PATIENCE)
            time.sleep(delay)
            if job.launcher.poll() is not None:
                raise RuntimeError(f"ended before it was struck: {job.told()[-3000:]}")
            blow.strike(job)
            seconds = job.until(lambda: not job.left(), PATIENCE)
            told = (TOLD.findall(job.told()) or [""])[-1].partition(";")[0]
            return Hit(blow, self.iteration(), seconds, job.launcher.wait(), told)

    @staticmethod
    def _reached(job: Job, at: int) -> bool:
        """Whether this start, and not one before it, has logged an iteration."""
        return int((PROGRESS.findall(job.told()) or ["0"])[-1]) >= at

    def end(self) -> tuple[dict[str, str], dict[int, str]]:
        """What the finished run left: hashes of weights, averages and state, and each logged loss by iteration."""
        last = open_checkpoint(self.log.parent / "checkpoints" / "latest")
        hashes = {name: tensors_hash(last.weights(name)) for name in NETWORKS}
        hashes["state"] = hashlib.sha256(b"".join(_bytes(last.state()))).hexdigest()
        return hashes, {int(n): text for n, text in LOSSES.findall(self.log.read_text(encoding="utf-8"))}


def _bytes(value: Any) -> Iterator[bytes]:
    """Nested containers of tensors and numbers, all of it."""
    if isinstance(value, torch.Tensor):
        yield f"{value.dtype} {tuple(value.shape)}".encode() + value.numpy().tobytes()
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            yield from (f"{key}:".encode(), *_bytes(value[key]))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from (b",", *_bytes(item))
    else:
        yield repr(value).encode()


def plan(kills: int, iterations: int, seed: int) -> Iterator[tuple[Blow, int, float]]:
    """Each kind of blow in an order of chance, before any comes again; one somewhere in each part of the run."""
    draws = random.Random(seed)
    part = iterations // (kills + 1)
    for number in range(kills):
        if number % len(BLOWS) == 0:
            order = draws.sample(BLOWS, len(BLOWS))
        yield order[number % len(BLOWS)], number * part + draws.randrange(1, part), draws.uniform(0, 0.05)


def measure(folder: Path, args: argparse.Namespace) -> Iterator[str | Claim]:
    """The table, and below it how the ends compare."""
    build_lmdbs(folder, 24)
    logger = {"print_freq": 1, "save_checkpoint_freq": 10}
    data = datasets(folder)
    data["train"]["num_workers"] = 1
    write_options(folder / "train.yml", {**OPTIONS, "name": NAME, "datasets": data, "logger": logger})
    whole, struck = Run(folder / "whole", folder / "train.yml"), Run(folder / "struck", folder / "train.yml")
    for run in (whole, struck):
        run.train += [f"train.total_iter={args.iterations}"]
    whole.finish("torchrun")
    hits = []
    for number, (blow, at, delay) in enumerate(plan(args.kills, args.iterations, args.seed), 1):
        hits.append(struck.hit(blow, at, delay))
        print(f"{number} of {args.kills}: {hits[-1]}", file=sys.stderr, flush=True)
    struck.finish("torchrun")
    yield from report(hits, struck.resumptions(), whole.end(), struck.end())


def report(
    hits: list[Hit], resumed: list[str], whole: tuple[Any, Any], struck: tuple[Any, Any]
) -> Iterator[str | Claim]:
    """Text, table, verdict and claims."""
    text = (
        f"{RANKS} processes on gloo, a loader worker each, {len(whole[1])} iterations with EMA, schedule, warm-up and "
        "validation, a checkpoint every 10. Each blow at an instant of chance; then until no process of the job is "
        "left, loader workers included; then on with `--auto_resume`. `srun` is a stand-in that sets its environment "
        "and helps nobody; where it is killed, the ranks get the SIGTERM with which SLURM ends a batch job's steps."
    )
    header = ["", "launcher", "blow", "last iteration", "s to the end", "exit code", "resumed from", "told last", ""]
    rows = [hit.row(number, at) for number, (hit, at) in enumerate(zip(hits, resumed, strict=True), 1)]
    longest = max(hit.seconds for hit in hits)
    equal = {name: struck[0][name] == hash_ for name, hash_ in whole[0].items()}
    equal[f"losses of {len(whole[1])} iterations"] = struck[1] == whole[1]
    found = "; ".join(f"{name}: {'equal' if same else '**different**'}" for name, same in equal.items())
    what = f"a run of {RANKS} processes struck {len(hits)} times and resumed"
    same = f"{sum(equal.values())} of {len(equal)} equal: {', '.join(equal)}"
    end = Claim("kill_ranks.end", f"{what}, against one untouched", same, bar="all equal", met=all(equal.values()))
    slowest = Claim(
        "kill_ranks.seconds", f"{what}: from a blow to the end of all processes", f"{longest:.1f} s at most"
    )
    slowest = slowest._replace(bar=f"< {BAR:g} s", met=longest < BAR)
    yield (
        f"{text}\n\n{table(header, rows)}\n\nLongest time to the end of a job: {longest:.1f} s, bar {BAR:g} s: "
        f"{verdict(slowest.met)}. Against the run that nobody touched, bit for bit: {found}: {verdict(end.met)}."
    )
    yield from (end, slowest)


def as_srun(command: list[str]) -> int:
    """Starts the ranks with srun's environment and waits for them. Returns the highest exit code."""
    for signum in (signal.SIGTERM, signal.SIGUSR1):  # are for the tasks
        signal.signal(signum, signal.SIG_IGN)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    step = {"SLURM_JOB_ID": "4000000000", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": str(RANKS), "SLURM_NODEID": "0"}
    step |= {"SLURM_STEP_NODELIST": "localhost", "SLURM_STEP_TASKS_PER_NODE": str(RANKS), "MASTER_PORT": str(port)}
    tasks = []
    for rank in range(RANKS):
        environment = os.environ | step | {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)}
        tasks.append(subprocess.Popen([sys.executable, *command], env=environment))
    codes = [task.wait() for task in tasks]
    return max(128 - code if code < 0 else code for code in codes)


def main() -> None:
    """Parses the command line, strikes and compares."""
    if sys.argv[1:2] == ["--as-srun"]:
        sys.exit(as_srun(sys.argv[2:]))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10, help="blows to the run (10)")
    parser.add_argument("--iterations", type=int, default=2000, help="of the run (2000)")
    parser.add_argument("--seed", type=int, default=0, help="of their order and instants (0)")
    args = read_command(parser, kills=1, iterations=60)
    with tempfile.TemporaryDirectory() as folder:
        publish("Struck and resumed, on two processes", measure(Path(folder), args), args.out)


if __name__ == "__main__":
    main()
