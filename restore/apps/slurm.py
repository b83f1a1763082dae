"""Writes a batch script that trains an experiment on a SLURM cluster, shows it, and submits it if asked."""

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from restore.apps.arguments import add_option_file, overrides, positive
from restore.apps.batch_script import batch_script
from restore.apps.job_options import add_resources, resources, summary
from restore.errors import UserError

TRAIN = Path(__file__).parents[1] / "train.py"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `restore slurm`."""
    add_option_file(parser)
    add_resources(parser)
    about = "N jobs, each going on where the last one stopped, for queues that put no job back"
    parser.add_argument("--chain", type=positive, metavar="N", help=about)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="the script (experiments/<name>.sbatch)")
    parser.add_argument("--submit", action="store_true", help="hand it to sbatch")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Writes, shows, submits. Raises `UserError`, before anything is written, when the job could not train."""
    from restore.options.load import load_stages

    given = overrides(args) + ([] if args.gpus else ["device=cpu"])
    stages = load_stages(args.opt, given)
    asked = replace(resources(args, stages), chain=args.chain is not None)
    file = args.output or Path(stages[0].path.experiments_root) / f"{asked.name}.sbatch"
    has, submitting = summary(stages[0], asked), _submitting(file, args.chain)
    title = f"Trains {asked.name} ({args.opt}): {has}.\nSubmit it with: {submitting}"
    text = batch_script(title, asked, place_here(), _command(args.opt, given))
    write_script(file, text)
    print(f"{text}\nwritten: {file}\n{asked.name}: {has}")
    if not args.submit:
        print(f"submit it with: {submitting}")
        return
    for _ in range(args.chain or 1):
        print(submit(str(file)))


def place_here() -> str:
    """Shell lines that go to this folder, as the paths in an option file count from where the command runs."""
    here = shlex.quote(os.getcwd())
    return f"# The folder that the paths in the option file count from.\ncd {here} || exit 2\n# module load cuda"


def write_script(file: Path, text: str) -> None:
    """Writes a script; an earlier one that differs, perhaps by hand, is kept beside it."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.is_file() and file.read_text(encoding="utf-8", errors="replace") != text:
            kept = file.replace(file.with_name(file.name + "~"))
            print(f"note: the earlier {file} is kept as {kept}", file=sys.stderr)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{file}: cannot be written: {error.strerror}; name another with -o") from error


def submit(*arguments: str) -> str:
    """What sbatch says to these arguments. Raises `UserError` with its reason when it refuses."""
    try:
        answer = subprocess.run(["sbatch", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        missing = "sbatch is not on this machine; submit it where SLURM is"
        raise UserError(f"{arguments[-1]}: not submitted: {missing}") from error
    if answer.returncode:
        reason = " ".join(answer.stderr.split()) or f"sbatch ended with {answer.returncode}"
        raise UserError(f"{arguments[-1]}: not submitted: {reason}")
    return answer.stdout.strip()


def _command(option_file: str, given: Sequence[str]) -> str:
    """This Python, this train.py, and this experiment, quoted: nothing in a name or a value is executed."""
    path = Path(option_file)
    option_file = str(path.resolve()) if path.is_file() else option_file  # or a recipe that ships
    lines = [shlex.join([sys.executable, str(TRAIN), "-opt", option_file, "--auto_resume"])]
    lines += ["--set " + shlex.join(given)] if given else []
    return " \\\n  ".join(lines)


def _submitting(file: Path, chain: int | None) -> str:
    command = shlex.join(["sbatch", str(file)])
    return command if chain is None else f"for i in $(seq {chain}); do {command}; done"
