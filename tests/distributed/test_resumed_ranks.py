"""A run goes on where it was stopped, on as many ranks or on another number of them."""

from collections import Counter
from pathlib import Path

import pytest

from tests.distributed.diaries import Samples, assert_close_curves, assert_close_weights, curves, samples
from tests.distributed.ranks import Job, train
from tests.lab import assert_same_run

RECORDS, BATCH, STEPS = 12, 8, 24
COMMON = (
    "task={type: ToldRestoration}",
    f"train.total_iter={STEPS}",
    f"datasets.train.batch_size={BATCH}",
    "datasets.train.gt_size=null",  # whole pictures, as they are: which record it is can be told from the GT
    "datasets.train.transforms=[]",
    "datasets.train.degradation=[{type: GaussianNoise}, {type: ResizeToTarget}]",
    "val.val_freq=10",
    "logger.save_checkpoint_freq=1000",
)
NO_TROUBLE = "train.losses.trouble={type: Trouble}"


def stopped(lab, ranks, runs, kind, at, rank=0, precision="fp32", **variables):
    """A run of which one rank gets a signal in an iteration; how its ranks ended."""
    trouble = f"train.losses.trouble={{type: Trouble, kind: {kind}, rank: {rank}, at: {at}}}"
    overrides = (*COMMON, f"train.precision={precision}", trouble)
    with Job(lab, ranks, *overrides, flags=("--auto_resume",), runs=runs, **variables) as job:
        return job.wait()


@pytest.mark.slow
def test_one_rank_is_told_to_stop_and_the_job_goes_on(lab):
    whole = train(lab, 2, *COMMON, NO_TROUBLE, runs="whole")
    ended = stopped(lab, 2, "parts", "term", 7, rank=1)
    assert [one.code for one in ended] == [75, 75]
    assert ended[0].last == "stopped: SIGTERM: saved at iteration 8; --auto_resume goes on from there"
    assert ended[1].told == ""
    parts = train(lab, 2, *COMMON, NO_TROUBLE, flags=("--auto_resume",), runs="parts")
    assert_same_run(whole, parts)
    assert samples(parts.parent, 2) == samples(whole.parent, 2)
    read_once(samples(parts.parent, 2, "gt"))


@pytest.mark.parametrize(("precision", "curve", "weights"), [("fp32", 1e-5, 1e-3), ("fp64", 1e-9, 1e-9)])
@pytest.mark.slow
def test_two_then_one_then_four_ranks(lab, precision, curve, weights):
    common = (f"train.precision={precision}", NO_TROUBLE)
    whole = train(lab, 1, *COMMON, *common, runs="whole")
    for ranks, at in ((2, 7), (1, 15)):
        assert {one.code for one in stopped(lab, ranks, "parts", "term", at, precision=precision)} == {75}
    parts = train(lab, 4, *COMMON, *common, flags=("--auto_resume",), runs="parts")
    assert samples(parts.parent, 4) == samples(whole.parent, 1)
    read_once(samples(parts.parent, 4, "gt"))
    assert_close_curves(curves(whole.parent, 1), curves(parts.parent, 4), curve)
    assert_close_weights(whole, parts, weights)


def read_once(read: Samples) -> None:
    """Each record once an epoch, whatever the stops."""
    assert list(read) == list(range(1, STEPS + 1))
    order = [record for batch in read.values() for record in batch]
    assert len(order) == STEPS * BATCH
    for epoch in range(len(order) // RECORDS):
        assert set(Counter(order[epoch * RECORDS : (epoch + 1) * RECORDS]).values()) == {1}, epoch


def test_usr1_asks_slurm_to_requeue_and_tells_when_it_does_not(lab, tmp_path):
    ended = stopped(lab, 2, "nobody", "usr1", 3, rank=1, PATH=str(tmp_path))
    assert [one.code for one in ended] == [75, 75]
    assert ended[0].last.startswith("stopped: SIGUSR1: saved at iteration 4; job 7 is not requeued: ")
    scontrol(tmp_path, "echo slurm: job 7 is not allowed >&2; exit 1")
    ended = stopped(lab, 2, "refused", "usr1", 3, rank=1, PATH=str(tmp_path))
    assert [one.code for one in ended] == [75, 75]
    assert "; job 7 is not requeued: slurm: job 7 is not allowed; " in ended[0].last
    scontrol(tmp_path, f'echo "$@" > {tmp_path}/asked')
    ended = stopped(lab, 2, "requeued", "usr1", 3, rank=1, PATH=str(tmp_path))
    assert [one.code for one in ended] == [75, 75]
    assert ended[0].last == "stopped: SIGUSR1: saved at iteration 4; job 7 is requeued"
    assert (tmp_path / "asked").read_text() == "requeue 7\n"


def scontrol(folder: Path, does: str) -> None:
    """Puts a script in the place of SLURM's."""
    script = folder / "scontrol"
    script.write_text(f"#!/bin/sh\n{does}\n")
    script.chmod(0o755)
