"""What the command line asks of SLURM, and whether an experiment fits into it: for `restore slurm` and sweeps."""

import argparse
import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from restore.apps.arguments import not_negative, positive
from restore.apps.batch_script import Resources
from restore.errors import UserError

if TYPE_CHECKING:
    from restore.options.schema import Options

SHORTEST = 120  # seconds of wall that leave time to start, train and save
SHORT = 600  # up to here the run is told a minute before the limit, else two
CPU_CORES = 8  # of a job without GPUs, where --cpus says nothing


def add_resources(parser: argparse._ActionsContainer) -> None:
    """Adds what a job may ask for."""
    parser.add_argument("--gpus", type=not_negative, default=1, metavar="N", help="of each node (1); 0 trains on CPUs")
    parser.add_argument("--nodes", type=positive, default=1, metavar="N", help="nodes (1): 4 GPUs on 2 are 8 in all")
    parser.add_argument("--time", default="8:00:00", type=_wall, help="the wall, as SLURM writes it: 8:00:00, 2-12, 90")
    parser.add_argument("--partition", type=_word, metavar="NAME", help="the queue; `sinfo` lists them")
    parser.add_argument("--account", type=_word, metavar="NAME", help="who pays")
    parser.add_argument("--mem", type=_memory, help="memory of each node, such as 30G")
    parser.add_argument("--cpus", type=positive, metavar="N", help="cores for each GPU (num_workers + 1)")
    parser.add_argument("--constraint", type=_word, metavar="FEATURE", help="what nodes must have, such as a100")


def resources(args: argparse.Namespace, stages: Sequence["Options"]) -> Resources:
    """What `add_resources` read, for a job that trains these stages. Raises `UserError` where one does not fit."""
    workers = max((each.datasets.train.num_workers for each in stages if each.datasets.train), default=0)
    asked = Resources(
        name=stages[0].name,
        time=args.time,
        lead=60 if wall_seconds(args.time) <= SHORT else 120,
        gpus=args.gpus,
        nodes=args.nodes,
        cpus=args.cpus or max(workers + 1, 1 if args.gpus else CPU_CORES),
        partition=args.partition,
        account=args.account,
        mem=args.mem,
        constraint=args.constraint,
    )
    for options in stages:
        check_fit(options, asked)
    return asked


def check_fit(options: "Options", asked: Resources) -> None:
    """Raises `UserError` where the batch cannot be shared out over the processes, or the cores are too few."""
    from restore.ranges import multiples_around  # not with the command line: it brings pydantic

    data, train = options.datasets.train, options.train
    if data is None or train is None:
        raise UserError(f"{options.name}: the option file has no `train` section, and a job trains")
    ranks = asked.nodes * asked.tasks
    parts = ranks * train.accumulate
    if data.batch_size % parts:
        good = multiples_around(data.batch_size, parts)
        told = f" times accumulate {train.accumulate}" if train.accumulate > 1 else ""
        raise UserError(
            f"datasets.train.batch_size: {data.batch_size} cannot be shared out over {ranks} processes{told}; "
            f"it counts them all; write --set datasets.train.batch_size={good}"
        )
    if data.num_workers > asked.cpus:
        raise UserError(
            f"datasets.train.num_workers: {data.num_workers} workers for each process do not fit --cpus {asked.cpus}; "
            f"write --cpus {data.num_workers + 1}, or --set datasets.train.num_workers={asked.cpus - 1}"
        )


def summary(options: "Options", asked: Resources) -> str:
    """What a job has in all, and what each GPU gets of it, in one line."""
    batch = options.datasets.train.batch_size if options.datasets.train else 0
    ranks = asked.nodes * asked.tasks
    one = "GPU" if asked.gpus else "CPU task"
    several = "s" if ranks > 1 else ""
    nodes = f" ({asked.tasks} on each of {asked.nodes} nodes)" if asked.nodes > 1 else ""
    wall = timedelta(seconds=wall_seconds(asked.time))
    return f"{ranks} {one}{several} in all{nodes}, batch {batch} = {batch // ranks} a {one}; wall {wall}"


def wall_seconds(text: str) -> int:
    """Seconds in a time limit as SLURM writes it: M, M:S, H:M:S, D-H, D-H:M or D-H:M:S. Raises `ValueError`."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text, flags=re.ASCII)
    if not match:
        raise ValueError(f"`{text}` is no time limit; write hours:minutes:seconds, or days-hours")
    days, *fields = match.groups()
    numbers = [int(field) for field in fields if field is not None]
    if days is None and len(numbers) < 3:
        numbers = [0, *numbers]  # minutes come first
    hours, minutes, seconds = numbers + [0] * (3 - len(numbers))
    return int(days or 0) * 86400 + hours * 3600 + minutes * 60 + seconds


def _wall(text: str) -> str:
    try:
        seconds = wall_seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if seconds < SHORTEST:
        raise argparse.ArgumentTypeError(f"`{text}` is {seconds} s, too short to start, train and save")
    return text


def _matching(pattern: str, example: str) -> Callable[[str], str]:
    """A type of option that goes into an #SBATCH line, where blanks, quotes and line ends would mean something."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise argparse.ArgumentTypeError(f"`{text}` cannot be handed to SLURM; such as {example}")
        return text

    return check


_word = _matching(r"[\w.,:|&!*+()\[\]{}@=/-]+", "a100")
_memory = _matching(r"[1-9][0-9]*[KMGT]?", "30G")
