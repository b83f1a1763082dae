"""What goes wrong on one rank ends all of them within seconds, and each says what it should."""

import signal
import socket

import pytest

from tests.distributed.diaries import assert_close_weights
from tests.distributed.ranks import Job, free_port, start_script, train
from tests.lab import last

BAR = 30  # seconds from one rank's death to the job's end, which issue 5 asks for
LONG = ("task={type: ToldRestoration}", "train.total_iter=4000", "logger.save_checkpoint_freq=1000")


def trouble(kind: str, rank: int = 1, sleep: float = 0.0) -> str:
    return f"train.losses.trouble={{type: Trouble, kind: {kind}, rank: {rank}, at: 5, sleep: {sleep}}}"


def ends(lab, *overrides: str, ranks: int = 2):
    with Job(lab, ranks, *LONG, *overrides) as job:
        ended = job.wait()
    assert max(one.seconds for one in ended) < BAR, ended
    return ended


@pytest.mark.slow
def test_an_exception_is_told_by_the_rank_that_it_came_from(lab):
    first, second = ends(lab, trouble("raise"))
    assert (first.code, second.code) == (1, 1)
    assert second.told.startswith(f"rank 1 on {socket.gethostname()}:\nTraceback (most recent call last):")
    assert second.last == "ValueError: broken on purpose"
    assert first.last == (
        f"error: rank 0 on {socket.gethostname()} ends with the job: "
        f"rank 1 on {socket.gethostname()} failed: broken on purpose"
    )
    assert "Traceback" not in first.told


@pytest.mark.slow
def test_an_exception_on_rank_0(lab):
    first, second = ends(lab, trouble("raise", rank=0))
    assert (first.code, second.code) == (1, 1)
    assert f"rank 0 on {socket.gethostname()}:\nTraceback" in first.told
    assert first.last == "ValueError: broken on purpose"
    assert second.told == f"error: rank 1 on {socket.gethostname()} ends with the job: rank 0 on " + (
        f"{socket.gethostname()} failed: broken on purpose\n"
    )


def test_the_users_mistake_keeps_its_code(lab):
    first, second = ends(lab, trouble("user"))
    assert (first.code, second.code) == (1, 2)
    assert second.told == f"error: rank 1 on {socket.gethostname()}: x.png: of no use; take another\n"
    assert "failed: x.png: of no use; take another" in first.last


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_rank_that_is_killed(lab, victim):
    ended = ends(lab, trouble("kill", victim))
    survivor = ended[1 - victim]
    assert ended[victim].code == -signal.SIGKILL
    assert survivor.code == 1
    assert "Traceback" not in survivor.told
    assert survivor.last.startswith(f"error: rank {1 - victim} on {socket.gethostname()} ends with the job: rank ")
    assert f"rank {victim} " in survivor.last.partition("ends with the job")[2]


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_rank_that_does_not_answer(lab, victim):
    with Job(lab, 2, *LONG, trouble("freeze", victim), "dist.silence=4") as job:
        survivor = job.processes[1 - victim]
        survivor.join(BAR + 30)
        assert survivor.exitcode == 1
        told = job.told(1 - victim).splitlines()[-1]
    assert f": rank {victim} " in told
    assert "was last heard of" in told or "has not answered for" in told


def test_a_loss_that_is_no_number_skips_the_step_on_all(lab):
    common = ("task={type: ToldRestoration}", "train.precision=fp64")
    one = train(lab, 1, *common, trouble("nan", rank=0), runs="one")
    two = train(lab, 2, *common, trouble("nan", rank=1), runs="two")
    assert_close_weights(one, two, 1e-9)
    assert [last(run).state()["update"]["skipped"] for run in (one, two)] == [1, 1]
    untroubled = train(lab, 2, *common, trouble("none"), runs="none")
    with pytest.raises(AssertionError):
        assert_close_weights(untroubled, two, 1e-9)


@pytest.mark.slow
def test_a_rank_that_never_comes_is_named(lab):
    with Job(lab, 3, *LONG, "dist.start_timeout=3", come=(0, 2)) as job:
        first, third = job.wait()
    assert (first.code, third.code) == (1, 1)
    assert "of 3 ranks there are missing: 1; look at their nodes' output" in first.last
    assert third.last.startswith(f"error: rank 2 on {socket.gethostname()} waited at localhost:")
    assert "Traceback" not in first.told + third.told


def test_a_port_that_is_taken(lab):
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = other.getsockname()[1]
        with Job(lab, 2, "dist.start_timeout=3", come=(0,), port=port) as job:
            (ended,) = job.wait()
    assert ended.code == 1
    assert f"cannot reach rank 0 at localhost:{port}" in ended.last
    assert "set MASTER_PORT" in ended.last


def test_a_batch_that_does_not_divide(lab):
    first, second = ends(lab, "datasets.train.batch_size=6", "train.accumulate=2")
    assert (first.code, second.code) == (2, 2)
    told = "datasets.train.batch_size: 6 pictures, which is over all processes, do not divide by 2 processes x "
    assert f"{told}accumulate 2; take 4 or 8" in first.last
    assert "Traceback" not in first.told + second.told


def test_a_mistake_in_the_option_file_is_told_once(lab):
    first, second = ends(lab, "train.total_itre=5")
    assert (first.code, second.code) == (2, 2)
    assert "total_itre" in first.told
    assert second.told == ""


@pytest.mark.slow
def test_the_script_itself(lab):
    """Nothing imported before, as users start it: `srun python restore/train.py`."""
    port = free_port()
    ranks = [start_script(lab, rank, 2, port) for rank in range(2)]
    told = [rank.communicate(timeout=120)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], told
    assert "2 processes, started by srun" in told[0]
    assert f"they meet at localhost:{port}" in told[0]
    assert told[1] == ""
