"""A sweep as a SLURM job array, one task a point, and a job after it that sums up."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from restore.apps.arguments import positive
from restore.apps.batch_script import Resources, batch_script
from restore.apps.job_options import add_resources, resources
from restore.apps.slurm import place_here, submit, write_script

if TYPE_CHECKING:
    from restore.apps.sweep_file import Sweep

SUMMARY_TIME = "1:00:00"


def add_slurm_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what `--slurm` takes, which is what `restore slurm` takes, for each point."""
    group = parser.add_argument_group("with --slurm")
    group.add_argument("--submit", action="store_true", help="hand both jobs to sbatch")
    group.add_argument("--parallel", type=positive, metavar="K", help="most points at once (as many as there is room)")
    add_resources(group)


def write_jobs(sweep: "Sweep", command: Sequence[str], args: argparse.Namespace) -> None:
    """Writes both scripts, shows the array's, and submits them if asked.

    Args:
        sweep: its points.
        command: the arguments of `restore` that mean this sweep.
        args: what `add_slurm_arguments` reads.

    Raises:
        UserError: a point cannot be shared out over its GPUs, a file cannot be written, or sbatch refuses.
    """
    points, most = len(sweep.points), f"%{args.parallel}" if args.parallel else ""
    every = [options for point in sweep.points for options in point.stages]
    asked = replace(resources(args, every), name=sweep.name, array=f"1-{points}{most}")
    restore = shlex.join([sys.executable, "-m", "restore", *command])
    array, summary = sweep.folder / "array.sbatch", sweep.folder / "summary.sbatch"
    title = f"Trains the {points} points of the sweep {sweep.name}, one a task. Then: {summary}"
    text = batch_script(title, asked, place_here(), f'{restore} --point "$SLURM_ARRAY_TASK_ID"')
    after = Resources(f"{sweep.name}_summary", SUMMARY_TIME, gpus=0, cpus=1, partition=asked.partition)
    write_script(array, text)
    write_script(summary, batch_script(f"Sums up the sweep {sweep.name}.", after, place_here(), f"{restore} --summary"))
    print(f"{text}\nwritten: {array}, {summary}")
    if not args.submit:
        first = f"$(sbatch --parsable {shlex.quote(str(array))})"
        print(f"submit them with: sbatch --dependency=afterany:{first} {shlex.quote(str(summary))}")
        return
    job = submit("--parsable", str(array)).partition(";")[0]
    told = submit("--parsable", f"--dependency=afterany:{job}", str(summary)).partition(";")[0]
    print(f"submitted: array {job}, {points} points; summary {told}, when all of them have ended")
