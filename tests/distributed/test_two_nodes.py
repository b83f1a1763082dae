"""A job on two nodes, which are network namespaces: as one process; cut off in the middle, told, ended, resumed."""

import contextlib
import re
import sys
from collections.abc import Iterator

import pytest

from benchmarks.processes import Job
from tests.distributed.launched import TORCHRUN, assert_close, slow, start
from tests.distributed.nodes import Node, two_nodes
from tests.distributed.ranks import environment, free_port
from tests.lab import Lab, assert_same_run

Pair = tuple[Node, Node]
LONG = ("train.total_iter=40", "dist.silence=5")
RANKS_END = 20  # seconds, of which 5 are `dist.silence`


@pytest.fixture(scope="module")
def nodes() -> Iterator[Pair]:
    with two_nodes() as pair:
        yield pair


@contextlib.contextmanager
def launched(by: str, nodes: Pair, lab: Lab, *overrides: str, runs: str, **variables: str) -> Iterator[tuple[Job, Job]]:
    """A job of one process on each node, with these variables in their environment."""
    port = free_port()
    place = f"{nodes[0].name}:{port}"
    with contextlib.ExitStack() as stack:
        jobs = []
        for rank, node in enumerate(nodes):
            common = (*node.command(), *TORCHRUN, "--nnodes=2", "--nproc-per-node=1")
            launchers = {
                "c10d": (*common, "--rdzv-backend=c10d", f"--rdzv-endpoint={place}", "--rdzv-id=1"),
                "static": (*common, f"--node-rank={rank}", f"--master-addr={nodes[0].name}", f"--master-port={port}"),
                "srun": (*node.command(), sys.executable),
            }
            settings = variables | (step(rank, port) if by == "srun" else {})
            job = start(lab, launchers[by], *overrides, runs=runs, name=node.name, **settings)
            jobs.append(stack.enter_context(job))
        yield jobs[0], jobs[1]


def step(rank: int, port: int) -> dict[str, str]:
    """What `srun` sets for one task on each of two nodes."""
    nodes = {"SLURM_STEP_NODELIST": "node-[1-2]", "SLURM_STEP_TASKS_PER_NODE": "1(x2)", "SLURM_NODEID": str(rank)}
    return environment(rank, 2, port) | nodes | {"SLURM_LOCALID": "0"}


def finish(by: str, nodes: Pair, lab: Lab, *overrides: str, runs: str) -> str:
    """Trains to the end. Returns what rank 0's node told."""
    with launched(by, nodes, lab, *overrides, runs=runs) as jobs:
        for job in jobs:
            assert job.launcher.wait(120) == 0, "\n---\n".join(job.told() for job in jobs)
        return jobs[0].told()


@pytest.mark.slow
@pytest.mark.parametrize("by", ["c10d", "static", "srun"])
def test_two_nodes_end_as_one_process_does(by, nodes, lab):
    fp64 = "train.precision=fp64"
    told = finish(by, nodes, lab, fp64, runs="two")
    assert f"2 processes, started by {'srun' if by == 'srun' else 'torchrun'}, 1 of them on node-1" in told
    assert_close(lab.train(fp64), lab.experiment("two"))


@pytest.mark.slow
@pytest.mark.parametrize("by", ["c10d", "static", "srun"])
def test_a_node_cut_off_is_told_on_both_sides_and_costs_nothing(by, nodes, lab):
    with launched(by, nodes, lab, *LONG, slow(0.1), runs="cut") as jobs:
        here, there = jobs
        here.until(lambda: " iter 8/" in here.told(), 120)
        with nodes[1].cut_off():
            seconds = here.until(lambda: not here.ranks() and not there.ranks(), 60)
            assert seconds < RANKS_END
            here.until(lambda: here.launcher.poll() is not None, 10)
            if by != "c10d":  # whose torchrun waits, on the node that was cut off, for as long as TCP does
                there.until(lambda: there.launcher.poll() is not None, 10)
        for job in jobs:
            job.until(lambda job=job: job.launcher.poll() is not None, 60)
            assert job.launcher.wait() == 1, job.told()
    assert re.search(r"^error: rank 0 on node-1 ends with the job: rank 1 was last .*node-2", here.told(), re.M)
    assert re.search(r"^error: rank 1 on node-2 ends with the job: .* at node-1 has not answered", there.told(), re.M)
    told = finish(by, nodes, lab, *LONG, slow(0), runs="cut")
    assert "resumed from" in told
    finish(by, nodes, lab, *LONG, slow(0), runs="whole")
    assert_same_run(lab.experiment("whole"), lab.experiment("cut"))


@pytest.mark.slow
def test_an_interface_that_leads_nowhere_is_told_with_the_remedy(nodes, lab):
    with launched("srun", nodes, lab, "dist.silence=5", runs="lost", GLOO_SOCKET_IFNAME="lo") as jobs:
        for job in jobs:
            job.until(lambda job=job: job.launcher.poll() is not None, 60)
            assert job.launcher.wait() == 1, job.told()
        told = "".join(job.told() for job in jobs)
    assert re.search(r"^error: rank \d on node-\d: the ranks have met, but .* in GLOO_SOCKET_IFNAME", told, re.M), told
