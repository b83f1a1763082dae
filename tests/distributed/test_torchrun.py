"""Jobs under `torchrun`: as one process, and what is left of them after each kind of blow."""

import os
import re
import signal
from collections.abc import Callable

import pytest

from benchmarks.processes import Job
from tests.distributed.launched import TORCHRUN, assert_close, finish, slow, start
from tests.distributed.ranks import train
from tests.lab import assert_same_run

TWO = (*TORCHRUN, "--standalone", "--nproc-per-node=2")
FORWARDING = (*TWO, "--signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1")  # else SIGUSR1 ends torchrun
LONG = ("train.total_iter=150", "datasets.train.num_workers=1")
BAR = 30  # seconds from a blow to the end of the job


def strike(job: Job, target: Callable[[Job], int], signum: int) -> float:
    """Sends a signal soon after a start. Returns the seconds until none of the job's processes was left."""
    job.until(lambda: " iter " in job.told(), 120)
    job.remember()
    os.kill(target(job), signum)
    return job.until(lambda: not job.left(), 60)


def launcher(job: Job) -> int:
    return job.launcher.pid


def rank_0(job: Job) -> int:
    return job.ranks()[0]


def rank_1(job: Job) -> int:
    return job.ranks()[1]


BLOWS = [
    (rank_1, signal.SIGKILL, "^error: rank 0 on .* ends with the job: rank 1 was last heard of"),
    (rank_0, signal.SIGKILL, "^error: rank 1 on .* ends with the job: rank 0 was last heard of"),
    (launcher, signal.SIGKILL, "^error: rank 0 on .* ends with the job: torchrun at localhost cannot be reached"),
    (launcher, signal.SIGTERM, "^stopped: SIGTERM: saved at iteration"),
    (launcher, signal.SIGUSR1, "^stopped: SIGUSR1: saved at iteration"),
]


@pytest.mark.slow
def test_two_processes_end_as_one_does(lab):
    fp64 = "train.precision=fp64"
    finish(start(lab, TWO, fp64, runs="two"))
    assert_close(lab.train(fp64), lab.experiment("two"))


@pytest.mark.slow
def test_struck_again_and_again_it_ends_and_goes_on_as_if_nothing_had_been(lab):
    for number, (target, signum, told) in enumerate(BLOWS):
        with start(lab, FORWARDING, *LONG, slow(0.1), runs="struck") as job:
            assert strike(job, target, signum) < BAR
            assert job.launcher.wait() == (-signal.SIGKILL if (target, signum) == (launcher, signal.SIGKILL) else 1)
            assert re.search(told, job.told(), re.MULTILINE), job.told()
            assert number == 0 or "resumed from" in job.told()
    finish(start(lab, TWO, *LONG, slow(0), runs="struck"))
    assert_same_run(train(lab, 2, *LONG, slow(0), runs="whole"), lab.experiment("struck"))


@pytest.mark.slow
def test_restarted_by_torchrun_it_goes_on(lab):
    with start(lab, (*TWO, "--max-restarts=1"), *LONG, slow(0.02), runs="killed") as job:
        job.until(lambda: " iter 8/" in job.told(), 120)
        os.kill(job.ranks()[1], signal.SIGKILL)
        assert job.launcher.wait(120) == 0, job.told()
        assert "resumed from" in job.told()
    assert_same_run(train(lab, 2, *LONG, slow(0), runs="whole"), lab.experiment("killed"))
