"""SIGKILL at any instant, inside a save too, costs nothing: the resumed run ends with the same weights."""

import os
import random
import signal
import time

import pytest

from tests.lab import assert_same_run

pytestmark = pytest.mark.slow  # processes of their own; signals within one are test_resume.py's

LONG = ("train.total_iter=40", "val.val_freq=20")
SLOW_STEPS = (
    "step = trainer.Trainer.step; import time\ndef slow(*a): time.sleep(0.03); step(*a)\ntrainer.Trainer.step = slow"
)
SLOW_SAVES = "import os, time; fsync = os.fsync\ndef slow(d): time.sleep(0.1); fsync(d)\nos.fsync = slow"


def wait_for(process, happened, timeout=60):
    began = time.monotonic()
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() - began < timeout
        time.sleep(0.002)


def kill_when(lab, happened, code, delay=0.0):
    process = lab.start(*LONG, flags=("--auto_resume",), runs="killed", code=code)
    wait_for(process, happened)
    time.sleep(delay)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    return process.returncode


def test_killed_while_training_and_while_saving(lab):
    whole = lab.train(*LONG)
    checkpoints = lab.experiment("killed") / "checkpoints"
    assert kill_when(lab, checkpoints.is_dir, SLOW_STEPS, random.uniform(0, 0.4)) == -signal.SIGKILL
    half_written = lambda: any(checkpoints.glob(".writing-*"))  # noqa: E731
    kill_when(lab, half_written, SLOW_SAVES)
    assert half_written()
    assert_same_run(whole, lab.train(*LONG, runs="killed", flags=("--auto_resume",)))
    assert not half_written()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signal_to_a_process_and_its_workers_saves_and_exits_75(lab, signum):
    overrides = (*LONG, "datasets.train.num_workers=2", "datasets.train.gt_size=48")
    process = lab.start(*overrides, code=SLOW_STEPS)
    wait_for(process, (lab.experiment() / "checkpoints").is_dir)
    os.killpg(process.pid, signum)  # as a terminal and SLURM do it
    out, err = process.communicate(timeout=30)
    assert process.returncode == 75, err
    assert err.splitlines()[-1].startswith(f"stopped: {signum.name}: saved at iteration")
    assert "Traceback" not in err


def test_second_interrupt_exits_130_at_once(lab):
    very_slow = SLOW_STEPS.replace("0.03", "10")
    process = lab.start("datasets.train.num_workers=2", code=very_slow)
    wait_for(process, lambda: (lab.experiment() / "train.log").is_file())
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.2)
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    err = process.communicate(timeout=30)[1]
    assert process.returncode == 130, err
    assert time.monotonic() - began < 5
    assert "Traceback" not in err


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_while_the_run_starts_saves_after_the_first_iteration(lab, signum):
    starting = (
        "import os, signal; from restore.engine import experiment; init = experiment.Experiment.__init__\n"
        f"def told(self, stages): init(self, stages); os.kill(os.getpid(), signal.{signum.name})\n"
        "experiment.Experiment.__init__ = told"
    )
    process = lab.start(code=starting)
    err = process.communicate(timeout=60)[1]
    assert process.returncode == 75, err
    assert err.splitlines()[-1].startswith(f"stopped: {signum.name}: saved at iteration 1;")
