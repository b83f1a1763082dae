"""The benchmarks run, at sizes that measure nothing."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SCRIPTS = (
    "train_step.py --only overhead",
    "train_step.py --only breakdown",
    "train_step.py --only basicsr",
    "train_step.py --only gan",
    "degradations.py",
    "metrics.py",
    "data.py",
    "start.py",
    "quickstart.py",
    "occlusions.py",
    "generators.py",
    "diffusion.py",
    "detectors.py",
    "scaling.py",
    "infer.py --only tiles",
    "paste.py",
    "kill9.py",
    "kill_ranks.py",
)
KEY = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+")
KEYS: set[str] = set()  # of all scripts so far


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_prints_and_writes_a_table_and_claims(script, tmp_path):
    out = tmp_path / "results" / "table.md"
    command = [sys.executable, *f"benchmarks/{script} --quick --out {out}".split()]
    alone = os.environ | {"OMP_NUM_THREADS": "1"}  # two threads a process wait for each other where cores are shared
    done = subprocess.run(command, cwd=REPOSITORY, env=alone, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert out.read_text().strip() in done.stdout.strip()
    assert "| --- |" in out.read_text() or script == "detectors.py"  # which has no pictures here
    assert "Commit" in out.read_text()
    claims = json.loads(out.with_suffix(".json").read_text())["claims"]
    assert claims
    for claim in claims:
        assert KEY.fullmatch(claim["key"])
        assert claim["key"].startswith(script.split(".")[0])
        assert claim["ours"] or claim["why"], claim
        assert claim["key"] not in KEYS, "two claims of one name"
        KEYS.add(claim["key"])


def test_a_peer_that_never_answers_is_given_up(tmp_path):
    from benchmarks.peers import Peer, PeerFailed

    script = tmp_path / "silent.py"
    script.write_text("import time\ntime.sleep(60)")
    peer = Peer("ours", tmp_path / "x", script=str(script), patience=0.1)
    with peer, pytest.raises(PeerFailed, match=r"no answer in 0\.1 s"):
        peer.run(1)
    assert peer.process.poll() is not None


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
