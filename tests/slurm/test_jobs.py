"""The batch scripts of options/slurm on a real SLURM: whatever happens to a job, it ends with the same weights."""

from types import SimpleNamespace

import pytest

from tests.lab import assert_same_run

pytestmark = pytest.mark.slow
PAIR = ("--partition=pair", "--ntasks-per-node=1", "--gres=gpu:1")  # the pretended GPUs: these jobs train on the CPU


@pytest.fixture(scope="module", autouse=True)
def early(desk):
    """Jobs that start, or come to grief, beside the first tests: much of their time is SLURM's waiting."""
    jobs = SimpleNamespace(
        limited=desk.submit("time_limit", options=("--time=2", "--signal=USR1@60")),  # looked at every half minute
        requeued=desk.submit("requeued"),
        preempted=desk.submit("preempted", options=("--partition=low",)),
        chain=desk.chain("chain", 2, "train.losses.pixel.seconds=0.2"),
        missed=desk.submit("node_not_missed", script="many_nodes", options=(*PAIR, "--partition=spare")),
    )
    desk.has_saved(jobs.chain[0], "chain")
    desk.cluster.run("scancel", "--signal=USR1", jobs.chain[0].number)
    desk.has_saved(jobs.missed)
    desk.cluster.kill_node("127.0.0.6")
    return jobs


def test_completes(desk):
    job = desk.submit("completes", script="one_gpu", slow=False)
    assert job.ends("COMPLETED")["ExitCode"] == "0:0"
    job.told(
        rf"^job {job.number}: start 1 on 127.0.0.1", "iter 240/240", "done: 240 iterations", "finished .exit code 0"
    )
    assert_same_run(desk.whole(), desk.experiment(job))


def test_requeued_by_hand(desk, early):
    desk.has_saved(early.requeued)
    desk.cluster.run("scontrol", "requeue", early.requeued.number)
    assert_resumed(desk, early.requeued, "SIGTERM: saved at iteration")


def test_preempted_by_a_higher_partition(desk, early):
    desk.has_saved(early.preempted)
    desk.cluster.submit("--wrap=sleep 1", name="preempting", options=("--partition=high",))
    assert_resumed(desk, early.preempted, "SIGTERM: saved at iteration")
    early.preempted.told("and saved; preempted, and queued again .exit code 75")


def test_a_mistake_in_the_options_ends_with_2(desk):
    job = desk.submit("mistake", "train.total_iterr=5")
    assert job.ends("FAILED")["ExitCode"] == "2:0"
    job.told("total_iterr.*did you mean `total_iter`", "not run: the option file or the input is wrong.*exit code 2.$")


def test_a_crash_ends_with_1_and_is_not_requeued(desk):
    job = desk.submit("crash", "train.losses.pixel.type=BrokenL1Loss", script="many_nodes", options=PAIR)
    fields = job.ends("FAILED")
    assert (fields["ExitCode"], fields["Restarts"]) == ("1:0", "0")
    job.told("Traceback", "RuntimeError: a mistake in the program", "failed: .*exit code 1.$")


def test_an_array_trains_a_seed_in_each_job_and_each_goes_on_by_itself(desk):
    array = desk.submit("array", script="array", options=("--array=1-2",))
    tasks = {seed: array.task(seed) for seed in (1, 2)}
    for seed, task in tasks.items():
        desk.has_saved(task, f"tiny_seed{seed}")
    desk.cluster.run("scancel", "--signal=USR1", array.number)  # sent as by the time limit: to the tasks of the steps
    for seed, task in tasks.items():
        assert task.ends("COMPLETED")["Restarts"] == "1"  # and not another, with the other's
        requeued = f"SIGUSR1: saved at iteration .*; job {array.number}_{seed} is requeued"
        task.told(f"job {array.number}_{seed}: start 1", requeued, "start 2", "finished .exit code 0")
        assert_same_run(desk.whole(seed), desk.experiment(task, f"tiny_seed{seed}"))


def test_hits_its_time_limit(desk, early):
    assert_resumed(desk, early.limited, f"SIGUSR1: saved at iteration .*; job {early.limited.number} is requeued")


def test_its_node_is_lost(desk):
    job = desk.submit("node_lost", options=("--partition=pair",))
    desk.has_saved(job)
    with desk.cluster.without(job.fields()["BatchHost"]):
        assert_resumed(desk, job)


def test_two_nodes_asked_to_stop(desk):
    job = desk.submit("two_nodes", script="many_nodes", options=PAIR)
    desk.has_saved(job)
    desk.cluster.run("scancel", "--signal=USR1", job.number)
    told = f"SIGUSR1: saved at iteration .*; job {job.number} is requeued"
    assert_resumed(desk, job, told, processes=2)


def test_one_of_two_nodes_is_lost(desk):
    job = desk.submit("one_of_two_lost", script="many_nodes", options=PAIR)
    desk.has_saved(job)
    with desk.cluster.without("127.0.0.4"):
        job.wait(lambda: job.fields()["JobState"] == "PENDING", "queued again")
    assert_resumed(desk, job, processes=2)


def test_one_of_two_nodes_is_lost_and_slurm_has_not_noticed(desk, early):
    job = early.missed
    job.wait(lambda: int(job.fields()["Restarts"]) >= 1, "queued again")
    desk.cluster.run("scontrol", "update", "nodename=127.0.0.6", "state=down", "reason=SlurmdTimeout")  # of 5 minutes
    assert_resumed(desk, job, processes=2)
    lost = ("rank 1 was last heard of", "a node does not answer; queued again .exit code 1")
    # SLURM 22.05 denies its second start, on the other nodes, unless it missed the node within seconds of the requeue,
    # as it does when this test runs alone: `Invalid generic resource (gres) specification`.
    job.told(r"start 1 on 127.0.0.\[5-6\]", *lost, r"start \d on 127.0.0.\[5,7\]", "resumed from", "finished")


def test_asked_to_stop_while_it_starts(desk):
    options = ("--ntasks-per-node=2", "--gres=gpu:2")
    job = desk.submit("starting", "train.losses.pixel.type=LateL1Loss", script="one_node", options=options)
    job.wait(lambda: job.log.exists() and "building the loss" in job.log.read_text(), "starting")
    desk.cluster.run("scancel", "--signal=USR1", job.number)
    assert_resumed(desk, job, "SIGUSR1: saved at iteration [12];", processes=2)


def test_a_chain_goes_on_where_its_first_job_stopped(desk, early):
    first, second = early.chain
    fields = first.ends("FAILED")
    assert (fields["ExitCode"], fields["Restarts"]) == ("75:0", "0")
    first.told("SIGUSR1: saved at iteration .* is not requeued", "and saved; the next job of the chain goes on")
    assert second.ends("COMPLETED")["Restarts"] == "0"
    second.told("start 1", r"iterations [1-9]\d* to 240", "finished .exit code 0")
    assert_same_run(desk.whole(), desk.experiment(second, "chain"))


def assert_resumed(desk, job, *told: str, processes: int = 1) -> None:
    """A job ends well after a restart, with the weights of a run that nobody interrupted."""
    assert int(job.ends("COMPLETED")["Restarts"]) >= 1
    told = (*told, "stopped before its end, and saved; .*exit code 75") if told else ()
    job.told("start 1", *told, "start 2", r"iterations [1-9]\d* to 240", "finished .exit code 0")
    assert_same_run(desk.whole(processes=processes), desk.experiment(job))
