"""Which of how many processes this is: as `torchrun` or SLURM's `srun` says in the environment."""

import os
import re
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from restore.errors import RestoreError, UserError

_FIRST_PORT, _PORTS = 10_000, 20_000  # below the ports that systems hand out by themselves


@dataclass(frozen=True)
class Launch:
    """One process of a job: `rank` of `world`, and `local_rank` of `local_world` on its node.

    Args:
        by: what started it: `torchrun`, `srun`, or `python` where it is alone.
        address: of the node that rank 0 is on.
        port: where the ranks meet there.
        hosts: whether rank 0 itself opens that port; torchrun has opened it already.
        attempt: how often the launcher has started the ranks anew.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1
    by: str = "python"
    address: str = "127.0.0.1"
    port: int = 0
    hosts: bool = True
    attempt: int = 0

    @property
    def host(self) -> str:
        """The name of this node."""
        return socket.gethostname()

    def __str__(self) -> str:
        if self.world == 1:
            return f"one process on {self.host}"
        nodes = f"{self.local_world} of them on {self.host}, where rank {self.rank} is"
        return f"{self.world} processes, started by {self.by}, {nodes}; they meet at {self.address}:{self.port}"

    @contextmanager
    def told_once(self) -> Iterator[None]:
        """Mistakes that every process finds are told by the first of each node; the others end without a word."""
        try:
            yield
        except RestoreError as error:
            if self.local_rank == 0:
                raise
            sys.exit(error.exit_code)

    @staticmethod
    def of_environment(environment: Mapping[str, str] = os.environ) -> "Launch":
        """Raises `UserError` where the variables of a launcher contradict each other."""
        try:
            if "LOCAL_RANK" in environment and "RANK" in environment:
                return _of_torchrun(environment)
            if "SLURM_PROCID" in environment and "SLURM_STEP_NUM_TASKS" in environment:  # a batch script has no step
                return _of_srun(environment)
        except (LookupError, ValueError) as error:
            raise UserError(
                f"the launcher's environment is incomplete ({error}); start with torchrun or srun"
            ) from error
        return Launch()


def _of_torchrun(environment: Mapping[str, str]) -> Launch:
    return Launch(
        rank=int(environment["RANK"]),
        world=int(environment["WORLD_SIZE"]),
        local_rank=int(environment["LOCAL_RANK"]),
        local_world=int(environment.get("LOCAL_WORLD_SIZE", "1")),
        by="torchrun",
        address=environment["MASTER_ADDR"],
        port=int(environment["MASTER_PORT"]),
        hosts=environment.get("TORCHELASTIC_USE_AGENT_STORE") != "True",
        attempt=int(environment.get("TORCHELASTIC_RESTART_COUNT", "0")),
    )


def _of_srun(environment: Mapping[str, str]) -> Launch:
    """The port comes from the job and the step, so that jobs that share a node do not meet each other."""
    world = int(environment["SLURM_STEP_NUM_TASKS"])
    job, step = int(environment["SLURM_JOB_ID"]), int(environment["SLURM_STEP_ID"])
    port = _FIRST_PORT + (job * 16 + step) % _PORTS
    return Launch(
        rank=int(environment["SLURM_PROCID"]),
        world=world,
        local_rank=int(environment["SLURM_LOCALID"]),
        local_world=_tasks_here(environment),
        by="srun",
        address=environment.get("MASTER_ADDR") or first_host(environment["SLURM_STEP_NODELIST"]),
        port=int(environment.get("MASTER_PORT") or port),
    )


def _tasks_here(environment: Mapping[str, str]) -> int:
    """From a list such as `4(x2),3`: four tasks on each of two nodes, then three on one."""
    counts: list[int] = []
    for part in environment["SLURM_STEP_TASKS_PER_NODE"].split(","):
        count, _, times = part.rstrip(")").partition("(x")
        counts += [int(count)] * int(times or 1)
    return counts[int(environment["SLURM_NODEID"])]


def first_host(nodes: str) -> str:
    """The first name in a node list such as `gpu[03-05,9],login1`."""
    match = re.match(r"([^\[,]+)(?:\[([^\],-]+)[^\]]*\]([^,\[]*))?", nodes)
    if match is None:
        raise ValueError(f"no node in `{nodes}`")
    return match[1] + (match[2] or "") + (match[3] or "")
