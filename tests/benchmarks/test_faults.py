"""The plan of faults, and that its judge tells a wrong end from a right one."""

import json
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from benchmarks.faults import Outcome, Stop, claim, finished, judge_end, judge_stop, lost, report
from benchmarks.faults_plan import FAULTS, FILES, ITERATIONS, POINTERS, TASKS, plan
from benchmarks.faults_runs import End

REPOSITORY = Path(__file__).parents[2]
WHOLE = End({"network_g.safetensors": "a", "network_g_ema.safetensors": "b"}, {"last": "60", "1": "l: 1", "2": "l: 2"})
GOOD = "12:00:00 iter 7/60  l: 1\nerror: x: No space left; free space; --auto_resume goes on from iteration 0\n"


def trial(fault="disk_full", **changes):
    return replace(next(trial for trial in plan(200, 0) if trial.fault == fault), ranks=1, **changes)


def test_the_plan_is_its_seeds_and_a_longer_one_begins_as_a_shorter_one():
    assert plan(200, 3) == plan(200, 3)
    assert plan(300, 3)[:200] == plan(200, 3)
    assert plan(200, 3) != plan(200, 4)
    assert [trial.number for trial in plan(200, 3)] == list(range(1, 201))


@pytest.mark.parametrize("seed", range(5))
def test_the_plan_has_every_fault_to_every_task_in_every_way(seed):
    trials = plan(200, seed)
    assert {(trial.fault, trial.task) for trial in trials} == {(fault, task) for fault in FAULTS for task in TASKS}
    assert {(trial.fault, trial.way) for trial in trials} == {
        (f, way) for f, kind in FAULTS.items() for way in kind.ways
    }
    assert {trial.way for trial in trials if trial.fault == "flipped_byte"} == {*FILES, "manifest.json", *POINTERS}
    for one in trials:
        kind = FAULTS[one.fault]
        assert 0 < one.at < ITERATIONS
        assert one.ranks in kind.ranks
        assert one.workers in kind.workers
        assert one.storage in kind.storages
        assert one.task == "gan" or not one.way.startswith("network_d")


@pytest.mark.parametrize("code", [1, 2, 75])
def test_one_line_with_a_remedy_is_a_right_end(code):
    assert judge_stop(trial(), Stop(code, GOOD, 1.0)) == ("told", [])


def test_so_is_an_end_by_itself_and_a_kill_that_left_no_time():
    assert judge_stop(trial(), Stop(0, "12:00:00 done", 1.0)) == ("equal", [])
    assert judge_stop(trial("kill_main"), Stop(-signal.SIGKILL, "iter 3", 0.0)) == ("equal", [])


@pytest.mark.parametrize(
    ("stop", "problem"),
    [
        (Stop(None, GOOD, 60.0), "hangs"),
        (Stop(1, "Traceback (most recent call last):\n" + GOOD, 1.0), "traceback"),
        (Stop(0, "Traceback (most recent call last):\ndone", 1.0), "traceback"),
        (Stop(3, GOOD, 1.0), "exit code 3"),
        (Stop(-signal.SIGBUS, "iter 7/60\n", 1.0), "no last word: iter 7/60"),
        (Stop(1, "", 1.0), "no last word"),
        (Stop(1, GOOD + "and more\n", 1.0), "no last word: and more"),
        (Stop(1, "error: x: No space left\n", 1.0), "no remedy"),
        (Stop(-signal.SIGKILL, "iter 3\n", 1.0), "exit code -9"),
    ],
)
def test_wrong_ends_are_told(stop, problem):
    problems = judge_stop(trial(), stop)[1]
    assert any(problem in found for found in problems), problems


def test_other_weights_and_losses_are_told():
    assert judge_end(WHOLE, WHOLE) == []
    assert judge_end(WHOLE._replace(hashes={**WHOLE.hashes, "network_g_ema.safetensors": "c"}), WHOLE) == [
        "network_g_ema.safetensors differs"
    ]
    assert judge_end(WHOLE._replace(hashes={}), WHOLE) == [f"{name} differs" for name in WHOLE.hashes]
    assert judge_end(WHOLE._replace(losses={**WHOLE.losses, "2": "l: 3"}), WHOLE) == ["losses differ at 2"]
    assert judge_end(WHOLE._replace(losses={"last": "60", "1": "l: 1"}), WHOLE) == ["losses differ at 2"]


class Left:
    """What is left of a run: these checkpoints, of which those are good."""

    def __init__(self, folder, numbers, good, best=None):
        self.checkpoints, self._good, self._best = folder, good, best
        for number in numbers:
            (folder / str(number)).mkdir()

    def good(self):
        return dict.fromkeys(self._good)

    def best(self):
        return self._best


BEFORE = dict.fromkeys([10, 20, 30])


@pytest.mark.parametrize(
    ("numbers", "good", "gone"),
    [
        ([10, 20, 30], [10, 20, 30], []),
        ([20, 30, 40, 50], [20, 30, 40, 50], []),  # three newer ones than 10
        ([20, 30], [20, 30], [10]),
        ([10, 20, 30], [20, 30], [10]),  # is there, and damaged
        ([], [], [10, 20, 30]),
    ],
)
def test_lost_checkpoints_are_told(tmp_path, numbers, good, gone):
    assert lost(BEFORE, None, set(), Left(tmp_path, numbers, good)) == [f"checkpoint {n} is lost" for n in gone]


def test_what_was_struck_is_not_lost_and_the_best_one_is(tmp_path):
    run = Left(tmp_path, [40, 50, 60], [40, 50, 60], best=None)
    assert lost(BEFORE, None, set(), run) == []
    assert lost(BEFORE, 10, set(), run) == ["checkpoint 10 is lost"]
    assert lost(BEFORE, 10, {10}, run) == []


def test_a_second_start_goes_on_behind_what_is_finished(tmp_path):
    trials = plan(3, 0)
    outcome = Outcome(asdict(trials[1]), "equal", "", 1.0, [])
    other = Outcome({**asdict(trials[2]), "at": -1}, "equal", "", 1.0, [])
    lines = [json.dumps(asdict(one)) for one in (outcome, other)]
    (tmp_path / "outcomes.jsonl").write_text("\n".join([*lines, lines[0][:40]]))
    assert finished(tmp_path / "outcomes.jsonl", trials) == {2: outcome}
    assert finished(tmp_path / "none.jsonl", trials) == {}


def test_failures_are_in_the_table_and_in_the_claim():
    good = Outcome(asdict(trial()), "told", "error", 2.0, [])
    bad = replace(good, problems=["hangs: still there", "checkpoint 10 is lost"])
    text = report({"disk_full": [good, bad]})
    assert "| `disk_full` | 2 | 0 | 1 | 1 | 1 | 2.0 |" in text
    assert "hangs: still there; checkpoint 10 is lost" in text
    assert claim("disk_full", [good], "").met is True
    assert claim("disk_full", [good, bad], "").met is False
    gap = claim("disk_full", [], "needs root")
    assert (gap.met, gap.why) == (None, "needs root")


@pytest.mark.slow
def test_a_real_fault(tmp_path):
    number = next(trial.number for trial in plan(200, 0) if trial.fault == "truncated_lmdb")
    flags = (
        f"--only truncated_lmdb --times {number} --jobs 1 --folder {tmp_path} --patience 120 --out {tmp_path / 'x.md'}"
    )
    command = [sys.executable, "benchmarks/faults.py", *flags.split()]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    claims = json.loads((tmp_path / "x.json").read_text())["claims"]
    assert [(one["key"], one["met"]) for one in claims] == [("faults.truncated_lmdb", True)]
    again = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=100)
    assert "truncated_lmdb" not in again.stderr  # is done already
