"""A real SLURM on this machine: munged, slurmctld, and a slurmd for each of seven pretended nodes."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

DAEMONS = ("munged", "slurmctld", "slurmd")
SBIN = "/usr/sbin:/sbin"  # where Debian has them; a user's PATH may not
NODES = tuple(f"127.0.0.{number}" for number in range(1, 8))  # names that resolve, as those of a cluster do

# SLURM's waits are as short as they go: a requeued job starts again after `cred_expire`, when the scheduler looks next,
# which is each second. Pretended: 64 CPUs, 1 TB and four GPUs a node, character devices that any machine has.
PRETENDED_GPUS = ("null", "zero", "full", "random")
CONFIGURATION = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={root}/munge/socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool/%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd_%n.pid
SlurmctldLogFile={root}/log/slurmctld.log
SlurmdLogFile={root}/log/slurmd_%n.log
SlurmdParameters=config_overrides
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={root}/log/jobcomp.txt
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
ReturnToService=2
JobRequeue=1
MinJobAge=3600
SlurmdTimeout=300
NodeName=127.0.0.[1-7] NodeHostname={host} Port={slurmd_ports} CPUs=64 RealMemory=1000000 Gres=gpu:4
PartitionName=main Nodes=127.0.0.1 Default=YES PriorityTier=10 PreemptMode=OFF State=UP
PartitionName=low Nodes=127.0.0.2 PriorityTier=1 PreemptMode=REQUEUE GraceTime=30 OverSubscribe=EXCLUSIVE State=UP
PartitionName=high Nodes=127.0.0.2 PriorityTier=10 PreemptMode=OFF OverSubscribe=EXCLUSIVE State=UP
PartitionName=pair Nodes=127.0.0.[3-4] PriorityTier=10 PreemptMode=OFF State=UP
PartitionName=spare Nodes=127.0.0.[5-7] PriorityTier=10 PreemptMode=OFF State=UP
"""


class Job:
    """A submitted job. `log` is what it and its restarts wrote."""

    def __init__(self, cluster: "Cluster", number: str, log: Path) -> None:
        self.cluster, self.number, self.log, self.name = cluster, number, log, log.stem.partition("-")[0]

    def fields(self) -> dict[str, str]:
        """What `scontrol show job` says: JobState, Restarts, ExitCode, NodeList, ..."""
        shown = self.cluster.run("scontrol", "show", "job", "--oneliner", self.number)
        return dict(word.split("=", 1) for word in shown.split() if "=" in word)

    def wait(self, happened: Callable[[], object], what: str, timeout: float = 120) -> None:
        """Waits until `happened()`; shows the log and fails after `timeout` seconds, or when the job ended first."""
        began = time.monotonic()
        while not happened():
            over = self.fields()["JobState"] in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
            if (over and not happened()) or time.monotonic() - began > timeout:
                pytest.fail(f"not {what} after {time.monotonic() - began:.0f} s\n{self.story()}")
            time.sleep(0.2)

    def ends(self, state: str, timeout: float = 180) -> dict[str, str]:
        """Waits for the job's end in this state. Returns its fields."""
        self.wait(lambda: self.fields()["JobState"] == state, state, timeout)
        return self.fields()

    def told(self, *patterns: str) -> None:
        """Asserts that the log has these, in this order."""
        text = self.log.read_text()
        for pattern in patterns:
            found = re.search(pattern, text, re.MULTILINE)
            assert found, f"not in the log, or not in this place: {pattern}\n{self.story()}"
            text = text[found.end() :]

    def task(self, index: int) -> "Job":
        """A task of this job array."""
        return Job(self.cluster, f"{self.number}_{index}", self.log.with_name(f"{self.name}-{index}.log"))

    def story(self) -> str:
        """Everything that helps to see what went wrong."""
        fields = self.fields()
        told = {key: fields.get(key) for key in ("JobState", "Reason", "Restarts", "ExitCode", "NodeList", "StartTime")}
        return f"job {self.number}: {told}\n--- {self.log}\n{self.log.read_text() if self.log.exists() else 'no log'}"


def missing() -> str | None:
    """Why no SLURM can run here."""
    lacking = [name for name in DAEMONS if shutil.which(name, path=_path()) is None]
    if lacking:
        return f"no {', '.join(lacking)}: apt-get install slurm-wlm munge"
    return None if os.geteuid() == 0 else "the daemons of SLURM are started as root"


class Cluster:
    """The daemons, with all their state below `root`. They end with `stop`, and their jobs with them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH"))}
        self.environment = outside | {"SLURM_CONF": str(root / "slurm.conf"), "PATH": _path(), "OMP_NUM_THREADS": "1"}
        self.daemons: dict[str, subprocess.Popen] = {}

    def start(self) -> None:
        """Starts everything, and waits until the nodes are idle."""
        for folder in ("munge", "state", "log", "jobs", *(f"spool/{node}" for node in NODES)):
            (self.root / folder).mkdir(parents=True)
        key, host, ports = self.root / "munge" / "key", socket.gethostname().split(".")[0], _free_ports(1 + len(NODES))
        key.touch(mode=0o400)
        key.write_bytes(os.urandom(1024))
        listed = f"[{','.join(map(str, ports[1:]))}]"
        configuration = CONFIGURATION.format(root=self.root, host=host, ports=ports, slurmd_ports=listed)
        (self.root / "slurm.conf").write_text(configuration)
        (self.root / "gres.conf").write_text("".join(f"Name=gpu File=/dev/{d}\n" for d in PRETENDED_GPUS))
        files = [f"--{name}={self.root}/munge/{name.split('-')[0]}" for name in ("key-file", "log-file", "pid-file")]
        socket_and_seed = [f"--socket={self.root}/munge/socket", f"--seed-file={self.root}/munge/seed"]
        self._start("munged", "--foreground", "--force", "--num-threads=2", *files, *socket_and_seed)
        _until((self.root / "munge" / "socket").exists, "munged listens")
        self._start("slurmctld", "-D", "-c")
        for node in NODES:
            self.start_node(node)
        for node in NODES:
            self._until_idle(node)

    def start_node(self, node: str) -> None:
        """Starts the slurmd of a node."""
        self._start("slurmd", "-D", "-N", node, name=node)

    def kill_node(self, node: str) -> None:
        """What a power cut does: SIGKILL to the node's slurmd, its slurmstepds and all their processes."""
        tasks = [pid for pid in self._processes() if _environment(pid).get("SLURMD_NODENAME") == node]
        steps = {parent for pid in tasks if _name(parent := _parent(pid)) == "slurmstepd"}
        slurmd = self.daemons.pop(node)
        _kill([slurmd.pid, *steps, *tasks])  # in this order: nobody is left to tell the controller
        slurmd.wait()

    @contextlib.contextmanager
    def without(self, node: str) -> Iterator[None]:
        """A node's power fails, and SLURM has noticed it, which takes SlurmdTimeout; at the end the node is back."""
        self.kill_node(node)
        self.run("scontrol", "update", f"nodename={node}", "state=down", "reason=power")
        try:
            yield
        finally:
            self.start_node(node)
        self._until_idle(node)

    def stop(self) -> None:
        """Ends the daemons, and then the jobs and whatever else is left of them."""
        for name in reversed(list(self.daemons)):
            self.daemons[name].terminate()
        for daemon in self.daemons.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(10)
        _kill(self._processes())
        for daemon in self.daemons.values():
            daemon.wait()

    def submit(self, script: Path | str, *arguments: str, name: str, options: tuple[str, ...] = ()) -> Job:
        """Submits a script; `options` are sbatch's, and stand above those in the script."""
        log = self.root / "jobs" / f"{name}.log"
        if any(option.startswith("--array") for option in options):
            log = log.with_name(f"{name}-%a.log")
        command = ("sbatch", "--parsable", f"--job-name={name}", f"--output={log}", *options, str(script), *arguments)
        return Job(self, self.run(*command).strip(), log)

    def run(self, *command: str, folder: Path | None = None) -> str:
        """Runs one of SLURM's commands, or one that runs these. Returns what it printed."""
        done = subprocess.run(command, env=self.environment, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def _until_idle(self, node: str) -> None:
        _until(lambda: set(self.run("sinfo", "-h", "-n", node, "-o", "%t").split()) == {"idle"}, f"{node} is idle")

    def _start(self, program: str, *arguments: str, name: str = "") -> None:
        with open(self.root / "log" / f"{name or program}.out", "a") as log:
            self.daemons[name or program] = subprocess.Popen(
                [program, *arguments], env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def _processes(self) -> list[int]:
        """Everything that the daemons and jobs are: it has this cluster's configuration in its environment."""
        mine = str(self.root / "slurm.conf")
        pids = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
        return [pid for pid in pids if _environment(pid).get("SLURM_CONF") == mine]


def _path() -> str:
    return f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}:{SBIN}"


def _environment(pid: int) -> dict[str, str]:
    """A process's environment; an empty one when it has gone."""
    try:
        text = Path(f"/proc/{pid}/environ").read_text(errors="replace")
    except OSError:
        return {}
    return dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().split("(")[1].split(")")[0]
    return ""


def _parent(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[1])
    return 0


def _kill(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _until(happened: Callable[[], object], what: str, timeout: float = 20) -> None:
    began = time.monotonic()
    while not happened():
        assert time.monotonic() - began < timeout, f"not after {timeout:.0f} s: {what}"
        time.sleep(0.05)
