"""The text of SLURM batch scripts: what `restore slurm` writes, and what ships as options/slurm/*.sbatch.

`python -m restore.apps.batch_script` writes the shipped ones anew after a change here.
"""

from dataclasses import dataclass
from pathlib import Path

SHIPPED_TO = Path(__file__).parents[2] / "options" / "slurm"


@dataclass(frozen=True)
class Resources:
    """What a job asks of SLURM. `gpus`, `tasks` and `mem` are of each node; without GPUs one task runs on a node."""

    name: str = "restore"
    time: str = "8:00:00"
    lead: int = 120  # seconds before the time limit at which the run is told to save
    gpus: int = 1
    nodes: int = 1
    cpus: int = 8  # of each task
    partition: str | None = None
    account: str | None = None
    mem: str | None = None
    constraint: str | None = None
    array: str | None = None
    chain: bool = False  # one of several jobs that follow each other, instead of one that is put back

    @property
    def tasks(self) -> int:
        """Processes on each node: one for each GPU."""
        return max(self.gpus, 1)


def batch_script(title: str, asked: Resources, place: str, train: str) -> str:
    """A whole script.

    Args:
        title: what it is and how it is used, in lines.
        asked: what the job asks for.
        place: shell lines that go to the project's folder.
        train: the command that `srun` starts as one process for each task, quoted for the shell.
    """
    return _SCRIPT.format(
        title="\n".join(f"# {line}".rstrip() for line in title.splitlines()),
        request="\n".join(_request(asked)),
        log="%x-%A_%a.out" if asked.array else "%x-%j.out",
        lead=asked.lead,
        again=_CHAIN if asked.chain else _REQUEUE,
        goes_on="the next job of the chain goes on" if asked.chain else "submit the same again to go on",
        place=place.rstrip("\n"),
        network=_NETWORK if asked.nodes > 1 else "",
        train=train,
        lost=_LOST if asked.nodes > 1 else "",
    )


def _request(asked: Resources) -> list[str]:
    """The #SBATCH lines that say where a job runs and on how much."""
    lines = [
        _directive("partition", asked.partition, "gpu" if asked.gpus else "cpu"),
        _directive("account", asked.account, "my_project"),
        _directive("mem", asked.mem, "32G"),
    ]
    if asked.constraint:
        lines.append(f"#SBATCH --constraint={asked.constraint}")
    lines += ["", f"#SBATCH --job-name={asked.name}", f"#SBATCH --time={asked.time}", f"#SBATCH --nodes={asked.nodes}"]
    if asked.gpus:
        lines += [_GPUS, f"#SBATCH --gres=gpu:{asked.gpus}"]
    lines += [f"#SBATCH --ntasks-per-node={asked.tasks}", _CPUS, f"#SBATCH --cpus-per-task={asked.cpus}"]
    if asked.array:
        lines += [_ARRAY, f"#SBATCH --array={asked.array}"]
    return lines


def _directive(option: str, value: str | None, example: str) -> str:
    return f"#SBATCH --{option}={value}" if value else f"##SBATCH --{option}={example}"


_SCRIPT = """\
#!/bin/bash
{title}

# Where to run: take one # off what you need. `sinfo` lists partitions; without --mem a node gives what it gives to all.
{request}

# The log. A job that starts again writes on below.
#SBATCH --output={log}
#SBATCH --open-mode=append

# {lead} s before the time limit (SLURM may be a minute early) the training gets USR1, and saves. Not `B:USR1`, which
# would go to this shell and never reach the training.
#SBATCH --signal=USR1@{lead}
{again}

{place}

export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK  # since SLURM 22.05 srun no longer takes it from the job
export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK  # or PyTorch starts a thread for every core of the node
{network}
job=$SLURM_JOB_ID
if [ -n "$SLURM_ARRAY_TASK_ID" ]; then job=${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID; fi
echo "job $job: start $((${{SLURM_RESTART_COUNT:-0}} + 1)) on $SLURM_JOB_NODELIST, in $PWD"

# TERM (requeue, preemption, scancel) reaches this shell as well as the training: outlive it, to write the last line.
trap : TERM
# When a task fails, the others end by themselves, within seconds. Would SLURM end them (--kill-on-bad-exit=1, on some
# clusters the default), theirs would be the exit code that is told. It ends what is left 30 s later.
srun --kill-on-bad-exit=0 --wait=30 {train}
code=$?
trap '' TERM  # nor may it end the commands below

case $code in
  0) how="finished" ;;
  2) how="not run: the option file or the input is wrong, as said above" ;;
  75) how="stopped before its end, and saved" ;;
  130) how="interrupted" ;;
  138 | 143) how="ended by SLURM before the training could save" ;;
  137) how="killed; submitted again it goes on from the last checkpoint; with more --mem where oom stands above" ;;
  *) how="failed: the first error above says why" ;;
esac
shown=$(scontrol show job "$job")
starts=$(sed -n 's/.*Restarts=\\([0-9]*\\).*/\\1/p' <<< "$shown")
if [ "${{starts:-0}}" -gt "${{SLURM_RESTART_COUNT:-0}}" ]; then
  how="$how; SLURM starts it again"
# Where preemption has a GraceTime, SLURM puts back only what is still there at its end.
elif [[ $code =~ ^(75|138|143)$ && $shown == *PreemptTime=[0-9]* ]] && scontrol requeue "$job" 2> /dev/null; then
  how="$how; preempted, and queued again"
{lost}elif [ $code -eq 75 ]; then
  how="$how; {goes_on}"
fi
echo "job $job: $how (exit code $code)"
exit $code
"""

_GPUS = """\
# A task for each GPU. --gres=gpu:N is N on each node, on SLURM old or new. Not --gpus-per-task: it hides a task's GPU
# from the others, and NCCL then cannot copy from GPU to GPU directly (P2P), but goes through the host's memory."""

_CPUS = "# Cores of each task: one for the training, and one for each of datasets.train.num_workers."

_ARRAY = "# A job for each number; `0-9%4` runs at most four at a time."

_REQUEUE = """\
# It then asks to be queued again, as SLURM puts a job back by itself when it takes a node away, but not at the limit.
#SBATCH --requeue"""

_CHAIN = """\
# One of a chain, for queues that put no job back: the script is submitted several times. Jobs of one name run one after
# the other (singleton), each goes on where the last one stopped, and those left over at the end take seconds.
#SBATCH --no-requeue
#SBATCH --dependency=singleton"""

_NETWORK = """
# Only where NCCL or gloo hangs at the start: name the network that joins the nodes, as `ip addr` shows it.
# export NCCL_SOCKET_IFNAME=ib0 GLOO_SOCKET_IFNAME=ib0
# export NCCL_DEBUG=INFO
"""

_LOST = """\
# SLURM misses a node after SlurmdTimeout (5 min), the training after seconds. Where not every node starts `true`, this
# asks, but not for ever for a job that never gets going.
elif [[ ! $code =~ ^(0|2|75|130|138|143)$ ]] && (( SECONDS > 300 || ${SLURM_RESTART_COUNT:-0} < 10 )) &&
  ! timeout --kill-after=5 30 srun --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 true &> /dev/null &&
  scontrol requeue "$job" 2> /dev/null; then
  how="a node does not answer; queued again"
  # The job ends with this script. Should SLURM miss the node just then, versions of before 2025 start it again at once,
  # and what starts in the second of its requeue fails, without a log: `Job credential revoked`.
  sleep 2
"""

_FIND_PROJECT = """\
# The Python with Restore's requirements. Needless where the shell that submits has it: jobs inherit its environment.
# module load python cuda
# source ~/venvs/restore/bin/activate

# The option file is looked for where you submit from; data and experiments are in the project's folder. SLURM runs a
# copy of this script, so $0 is no help, but SLURM knows where it came from. In a copy of yours: cd /path/to/the/project
opt=${1:?name an option file after the script}
shift
[ -f "$opt" ] && opt=$(realpath "$opt")
project=$(scontrol show job "$SLURM_JOB_ID" | sed -n 's|/options/slurm/.*||; s|^ *Command=||p' | head -n 1)
if [ -d "${project:=$PWD}/restore" ]; then cd "$project" || exit; fi
"""

_TRAIN = 'python -m restore train -opt "$opt" --auto_resume'
_SEEDS = """\
 \\
  --set "name=$(basename "$opt" .yml)_seed$SLURM_ARRAY_TASK_ID" manual_seed="$SLURM_ARRAY_TASK_ID\""""


def shipped() -> dict[str, str]:
    """The scripts that ship: the name of the file and its text."""
    kinds = {
        "one_gpu": ("Trains on one GPU.", Resources("one_gpu"), ""),
        "one_node": ("Trains on four GPUs of one node.", Resources("one_node", gpus=4), ""),
        "many_nodes": ("Trains on two nodes of four GPUs.", Resources("many_nodes", gpus=4, nodes=2), ""),
        "array": (_ARRAY_TITLE, Resources("array", array="0-4"), _SEEDS),
        "cpu": ("Trains on a queue without GPUs.", Resources("cpu", gpus=0), " --set device=cpu"),
    }
    scripts = {}
    for name, (title, asked, more) in kinds.items():
        usage = f"    sbatch options/slurm/{name}.sbatch options/train/x.yml [more arguments of train]"
        whole = f"{title}\n{usage}\n{_ABOUT}"
        scripts[f"{name}.sbatch"] = batch_script(whole, asked, _FIND_PROJECT, f'{_TRAIN}{more} "$@"')
    return scripts


_ABOUT = """\
It goes on from the newest checkpoint, by itself or when you submit the same again; docs/slurm.md tells more.
What #SBATCH lines say can also be said to sbatch, before the script's name: sbatch -p gpu --time=2:00:00 ...
`restore slurm -opt options/train/x.yml` writes such a script for one experiment, and checks it first."""

_ARRAY_TITLE = """\
Trains one option file with five seeds, each on one GPU, as experiments <file's name>_seed<number>.
To sweep something else, change the `--set` of the srun line below: with  rates=(1e-4 2e-4 5e-4)  and --array=0-2 to
--set name=x_lr"$SLURM_ARRAY_TASK_ID" train.optim_g.lr="${rates[$SLURM_ARRAY_TASK_ID]}"  (or use `restore sweep`)."""


if __name__ == "__main__":
    for _name, _text in shipped().items():
        (SHIPPED_TO / _name).write_text(_text, encoding="utf-8")
        print(SHIPPED_TO / _name)
