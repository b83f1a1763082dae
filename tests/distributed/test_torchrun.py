"""Jobs under `torchrun`: as one process, and what is left of them after each kind of blow."""

import os
import signal
import time
from collections.abc import Callable

import pytest

from benchmarks.processes import Job
from tests.distributed.launched import TORCHRUN, assert_close, finish, slow, start
from tests.distributed.ranks import train
from tests.lab import assert_same_run

TWO = (*TORCHRUN, "--standalone", "--nproc-per-node=2")
LONG = ("train.total_iter=40", "datasets.train.num_workers=1")
BAR = 30  # seconds from a blow to the end of the job


def strike(job: Job, target: Callable[[Job], int], signum: int) -> float:
    """Sends a signal in the middle of a run. Returns the seconds until none of its processes was left."""
    job.until(lambda: " iter 8/" in job.told(), 120)
    job.remember()
    os.kill(target(job), signum)
    return job.until(lambda: not job.left(), 60)


def launcher(job: Job) -> int:
    return job.launcher.pid


def rank(number: int) -> Callable[[Job], int]:
    return lambda job: job.ranks()[number]


@pytest.mark.slow
def test_two_processes_end_as_one_does(lab):
    fp64 = "train.precision=fp64"
    finish(start(lab, TWO, fp64, runs="two"))
    assert_close(lab.train(fp64), lab.experiment("two"))


@pytest.mark.slow
@pytest.mark.parametrize("target", [rank(0), rank(1), launcher], ids=["rank_0", "rank_1", "launcher"])
def test_killed_it_ends_by_itself_and_costs_nothing(lab, target):
    with start(lab, TWO, *LONG, slow(0.1), runs="killed") as job:
        assert strike(job, target, signal.SIGKILL) < BAR
        assert job.launcher.wait() != 0
        assert "error: rank " in job.told()
    assert_goes_on(lab)


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_to_torchrun_saves_at_once(lab, signum):
    """SIGUSR1 reaches the ranks only where torchrun is told to hand it on: else it ends torchrun."""
    forwarding = (*TWO, "--signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1")
    with start(lab, forwarding, *LONG, slow(0.1), runs="killed") as job:
        assert strike(job, launcher, signum) < BAR
        assert job.launcher.wait() == 1  # torchrun's, whatever the ranks' is
        assert f"stopped: {signum.name}: saved at iteration" in job.told()
    assert_goes_on(lab)


@pytest.mark.slow
def test_restarted_by_torchrun_it_goes_on(lab):
    with start(lab, (*TWO, "--max-restarts=1"), *LONG, slow(0.1), runs="killed") as job:
        job.until(lambda: " iter 8/" in job.told(), 120)
        os.kill(job.ranks()[1], signal.SIGKILL)
        assert job.launcher.wait(120) == 0, job.told()
        assert "resumed from" in job.told()
    assert_same_run(train(lab, 2, *LONG, slow(0), runs="whole"), lab.experiment("killed"))


def assert_goes_on(lab) -> None:
    """The next start ends as a run that nobody touched."""
    began = time.monotonic()
    with start(lab, TWO, *LONG, slow(0), runs="killed") as job:
        assert job.launcher.wait(120) == 0, job.told()
        assert "resumed from" in job.told(), f"after {time.monotonic() - began:.0f} s"
    assert_same_run(train(lab, 2, *LONG, slow(0), runs="whole"), lab.experiment("killed"))
