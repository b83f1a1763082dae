"""The quickstart in a clone: the seconds of its commands, and what its model gains over bicubic."""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

if __name__ == "__main__":  # run as a script: find the packages
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.measure import REPOSITORY, Claim, publish, read_command, table, verdict

LONGEST, GAIN = 120.0, 2.0  # the bars: seconds without the installation, dB
SCORES = Path("experiments", "quickstart", "drawn_faces", "scores.json")
SHORT = {  # what `--quick` adds to a command
    "prepare drawn": "--count 8 --val 2 --size 64",
    "train.py": "--set train.total_iter=4 val.val_freq=4",
}


def commands() -> list[list[str]]:
    """What `make quickstart` runs once everything is installed, by this Python."""
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    recipe = re.findall(r"^quickstart:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)[0]
    lines = [line.strip() for line in recipe.splitlines() if line.startswith("\t$(BIN)")]
    return [shlex.split(_by_this_python(line)) for line in lines]


def _by_this_python(line: str) -> str:
    python = shlex.quote(sys.executable)
    return line.replace("$(BIN)/restore", f"{python} -m restore").replace("$(BIN)/python", python)


def shortened(command: list[str]) -> list[str]:
    """The command on few pictures, for few iterations."""
    line = " ".join(command)
    return command + [word for part, more in SHORT.items() if part in line for word in more.split()]


def seconds(command: list[str], clone: Path) -> float:
    """Of one command. Raises `RuntimeError` with its last words if it fails."""
    began = time.perf_counter()
    outside = {name: value for name, value in os.environ.items() if name != "RESTORE_DATA"}
    environment = outside | {"PYTHONPATH": str(clone)}
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])}: {(done.stdout + done.stderr)[-1000:]}")
    return time.perf_counter() - began


def measure(clone: Path, quick: bool) -> Iterator[str | Claim]:
    """The table and its claims."""
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, clone], check=True)
    asked = [shortened(command) if quick else command for command in commands()]
    spent = {" ".join(command[1:]): seconds(command, clone) for command in asked}
    whole, means = sum(spent.values()), json.loads((clone / SCORES).read_text(encoding="utf-8"))["means"]
    gain = means["model"]["psnr"] - means["bicubic"]["psnr"]
    rows = [[f"`{line}`", f"{each:.1f}"] for line, each in spent.items()]
    yield f"`make quickstart` after the installation.\n\n{table(['command', 's'], [*rows, ['all', f'{whole:.1f}']])}"
    rows = [[name, f"{mean['psnr']:.4f}", f"{mean['ssim']:.4f}"] for name, mean in means.items()]
    met = None if quick else whole <= LONGEST, None if quick else gain >= GAIN
    yield f"{table(['drawn faces', 'PSNR', 'SSIM'], rows)}\n\n{verdict(met[0])} {verdict(met[1])}".strip()
    yield Claim(
        "quickstart.time",
        "the quickstart after its installation",
        f"{whole:.0f} s",
        bar=f"at most {LONGEST:.0f} s",
        met=met[0],
    )
    yield Claim(
        "quickstart.gain",
        "the quickstart's model on drawn faces, PSNR",
        f"{means['model']['psnr']:.2f} dB",
        f"bicubic: {means['bicubic']['psnr']:.2f} dB",
        ratio=f"+{gain:.2f} dB",
        bar=f">= +{GAIN:.0f} dB",
        met=met[1],
    )


def main() -> None:
    """Parses the command line and measures."""
    args = read_command(argparse.ArgumentParser(description=__doc__))
    with tempfile.TemporaryDirectory() as folder:
        publish("Quickstart", measure(Path(folder) / "clone", args.quick), args.out)


if __name__ == "__main__":
    main()
