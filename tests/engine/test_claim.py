"""One training at a time in an experiment's folder; what was killed keeps nobody out."""

import os
import signal
import subprocess
import sys
import time

import pytest

from restore.engine import claim
from restore.engine.claim import LOCK, claimed
from restore.errors import UserError
from tests.engine.test_kill import LONG, SLOW_STEPS, wait_for
from tests.lab import REPOSITORY, assert_same_run

HOLDER = """
import sys, time
from pathlib import Path
from restore.engine.claim import claimed
with claimed(Path(sys.argv[1]), print):
    print("mine", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def holder(folder, seconds):
    """A process that trains there, as far as others can tell, for some seconds."""
    command = [sys.executable, "-c", HOLDER, str(folder), str(seconds)]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"mine\n"
    return process


def test_another_training_is_named_and_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(claim, "_PATIENCE", 0.2)
    process, lines = holder(tmp_path, 60), []
    try:
        told = rf"process {process.pid} on .* trains there; wait until it has ended"
        with pytest.raises(UserError, match=told), claimed(tmp_path, lines.append):
            pass
    finally:
        process.kill()
        process.wait()
    assert len(lines) == 1
    with claimed(tmp_path, lines.append):  # what was killed holds nothing
        assert f"process {os.getpid()} on " in (tmp_path / LOCK).read_text()
    assert len(lines) == 1


def test_one_that_is_about_to_end_is_waited_for(tmp_path):
    process, lines = holder(tmp_path, 1), []
    with claimed(tmp_path, lines.append):
        assert lines
    assert process.wait() == 0


@pytest.mark.slow
def test_a_second_run_of_one_experiment_waits_and_goes_on(lab):
    whole = lab.train(*LONG)
    first = lab.start(*LONG, runs="both", code=SLOW_STEPS)
    wait_for(first, lambda: any((lab.experiment("both") / "checkpoints").glob("[0-9]*")))
    second = lab.start(*LONG, runs="both", flags=("--auto_resume",))
    time.sleep(0.5)
    first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=60) in (0, 75)
    out, err = second.communicate(timeout=60)
    assert second.returncode == 0, out + err
    assert_same_run(whole, lab.experiment("both"))


@pytest.mark.slow
def test_the_workers_of_a_killed_run_keep_nobody_out(lab):
    workers = ("datasets.train.num_workers=2",)
    first = lab.start(*LONG, *workers, runs="killed", code=SLOW_STEPS)
    wait_for(first, lambda: any((lab.experiment("killed") / "checkpoints").glob("[0-9]*")))
    first.kill()
    first.wait()
    began = time.monotonic()
    with claimed(lab.experiment("killed"), print):
        assert time.monotonic() - began < 0.4  # its workers need seconds to notice
