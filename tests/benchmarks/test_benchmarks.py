"""The benchmarks run, at sizes that measure nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
TINIEST = {
    "train_step.py --only overhead": "--quick --rounds 1 --seconds 0.05",
    "train_step.py --only breakdown": "--quick --rounds 1 --seconds 0.05",
    "train_step.py --only basicsr": "--quick --rounds 1 --seconds 0.05",
    "train_step.py --only gan": "--quick --rounds 1 --seconds 0.05",
    "degradations.py": "--pictures 2 --rounds 1 --seconds 0.01",
    "metrics.py": "--size 64 --metrics psnr ssim --rounds 1 --seconds 0.01",
    "data.py": "--pictures 2 --rounds 1 --seconds 0.01",
    "start.py": "--times 1",
    "occlusions.py": "--size 64 --pictures 2 --rounds 1 --seconds 0.01",
    "generators.py": "--sizes 128 --networks FaceEnhanceNetLight --grids 32",
    "diffusion.py": "--rounds 1",
    "paste.py": "-n 6",
    "kill9.py": "--times 1 --workers 0 --precision fp32",
    "kill_ranks.py": "--kills 1 --iterations 60",
}


@pytest.mark.slow
@pytest.mark.parametrize("script", TINIEST)
def test_prints_and_writes_a_table(script, tmp_path):
    out = tmp_path / "results" / "table.md"
    command = [sys.executable, *f"benchmarks/{script} {TINIEST[script]} --out {out}".split()]
    alone = os.environ | {"OMP_NUM_THREADS": "1"}  # two threads a process wait for each other where cores are shared
    done = subprocess.run(command, cwd=REPOSITORY, env=alone, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert out.read_text().strip() in done.stdout.strip()
    assert "| --- |" in out.read_text()
    assert "Commit" in out.read_text()


def test_peers_that_cannot_run_say_why(tmp_path):
    from benchmarks.peers import Peer, PeerFailed

    options = tmp_path / "train.yml"
    options.write_text("name: [")
    with Peer("restore", options) as peer, pytest.raises(PeerFailed, match=r"train\.yml"):
        peer.run(1)


def test_spread_and_turns():
    from benchmarks.measure import spread, take_turns

    assert spread([3.0]) == (3.0, 3.0, 3.0)
    assert spread([5.0, 1.0, 2.0, 4.0, 3.0]) == (2.0, 3.0, 4.0)
    order = []
    take_turns({name: lambda name=name: order.append(name) or 0.0 for name in "ab"}, 3)
    assert "".join(order) == "abbaab"


def test_losses_are_read_from_the_log():
    from benchmarks.kill9 import LOSSES

    line = "2026-01-01 10:00:00 iter 5/300  lr: 0.001  99.0 it/s  0:00:03 left  l_pixel: 0.02  grad_norm_g: 0.04  x: 1"
    assert LOSSES.findall(line) == [("5", "l_pixel: 0.02  grad_norm_g: 0.04")]
