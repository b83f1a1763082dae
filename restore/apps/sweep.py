"""Trains a grid or a list of settings over one option file, here in turn or as a SLURM job array, and compares them."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from restore.apps.arguments import add_option_file, overrides, positive
from restore.apps.sweep_slurm import add_slurm_arguments
from restore.errors import Fault, UserError

if TYPE_CHECKING:
    from restore.apps.sweep_file import Sweep


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `restore sweep`."""
    add_option_file(parser)
    parser.add_argument("--limit", type=positive, default=200, metavar="N", help="most experiments it may make (200)")
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--point", type=positive, metavar="N", help="train this point alone, counted from 1")
    part.add_argument("--summary", action="store_true", help="write the table and the picture of what is there")
    part.add_argument("--slurm", action="store_true", help="write, and show, a job array and a job that sums up")
    add_slurm_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Trains, sums up, or submits. Raises `RestoreError`."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy loads, as `restore train` has it
    from restore.apps.sweep_file import read_sweep

    if args.submit and not args.slurm:
        raise UserError("restore sweep: --submit goes with --slurm")
    given = overrides(args) + (["device=cpu"] if args.slurm and not args.gpus else [])
    sweep, command = read_sweep(Path(args.opt), given, args.limit), _command(args, given)
    if args.summary:
        _summarize(sweep)
    elif args.point:
        _train_point(sweep, args.point)
    elif args.slurm:
        from restore.apps.sweep_run import refuse_others
        from restore.apps.sweep_slurm import write_jobs

        refuse_others(sweep.points)
        write_jobs(sweep, command, args)
    else:
        _train_all(sweep, command)


def _command(args: argparse.Namespace, given: list[str]) -> list[str]:
    """The arguments of `restore` that mean this sweep."""
    command = ["sweep", "-opt", args.opt, "--limit", str(args.limit)]
    return [*command, "--set", *given] if given else command


def _train_point(sweep: "Sweep", number: int) -> None:
    from restore.apps.sweep_run import refuse_others, train_point

    if number > len(sweep.points):
        raise UserError(f"--point {number}: {sweep.name} has {len(sweep.points)}")
    point = sweep.points[number - 1]
    refuse_others([point])
    train_point(sweep, point)


def _train_all(sweep: "Sweep", command: list[str]) -> None:
    from restore.apps.sweep_run import refuse_others, train_in_turn

    refuse_others(sweep.points)
    failed = train_in_turn(sweep, command)
    _summarize(sweep)
    if failed:
        names = ", ".join(point.name for point in failed)
        raise Fault(f"{len(failed)} of {len(sweep.points)} points failed: {names}; the table says why")


def _summarize(sweep: "Sweep") -> None:
    """Writes the table and the picture, and prints the table."""
    from restore.apps.sweep_picture import draw
    from restore.apps.sweep_summary import read_rows, write_tables

    rows = read_rows(sweep)
    print(write_tables(sweep, rows))
    picture = sweep.folder / "sweep.png"
    try:
        draw(sweep, rows, picture)
    except UserError as error:  # the table is there without it
        picture.unlink(missing_ok=True)  # of another state of the sweep
        print(f"no picture: {error}")
    print(f"{sweep.folder}: table.md, table.csv{', sweep.png' if picture.is_file() else ''}")
