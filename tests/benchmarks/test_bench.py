"""All benchmarks at once: what happens to those that fail, hang or were done before, and the page of their results."""

import json
import os
import shlex
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import bench
from benchmarks.bars import BARS, PARTS, Bar
from benchmarks.measure import Claim
from benchmarks.page import LONGEST, page
from benchmarks.runs import RUNS, Run

REPOSITORY = Path(__file__).parents[2]
MACHINE = "A processor, 2 cores. Python. Commit 0123abc."
MET = Claim(
    "good.fast", "a fast | thing", "2 ms", peer="theirs 4 ms", ratio="2.00 (1.9 to 2.1)", bar=">= 1.5", met=True
)
MISSED = Claim("good.slow", "a slow thing", "9 ms", floor="bare 1 ms", ratio="9.0", bar="<= 2", met=False, why="copies")
UNMEASURED = Claim("good.gpu", "a thing on a GPU", "", bar=">= 2", why="no GPU here")

GOOD = """
import json, pathlib, sys
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
with open({count!r}, "a") as file:
    file.write("x")
record = {{"title": "Good", "machine": {machine!r}, "claims": {claims!r}}}
out.with_suffix(".json").write_text(json.dumps(record))
"""
CRASHING = "print('begun')\nraise SystemExit('no such weights: x.pth')\n"
HANGING = """
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
pathlib.Path({pid!r}).write_text(str(child.pid))
print("waiting", flush=True)
time.sleep(600)
"""


@pytest.fixture
def scripts(tmp_path):
    """Runs of three scripts: one is good, one fails, one hangs with a child that is no part of its process group."""
    claims = [claim._asdict() for claim in (MET, MISSED, UNMEASURED)]
    texts = {
        "good": GOOD.format(count=str(tmp_path / "count"), machine=MACHINE, claims=claims),
        "crashing": CRASHING,
        "hanging": HANGING.format(pid=str(tmp_path / "pid")),
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text)
    return {name: Run(name, str(tmp_path / f"{name}.py"), 1) for name in texts}


def measured(runs, folder: Path, **asked) -> str:
    """The page after these runs."""
    bench.measure(list(runs), folder, **asked)
    return page(list(runs), folder, bench.read(bench.journal(folder)), {})


def cells(text: str, start: str) -> list[str]:
    """The cells of the only row that starts so."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {start}")]
    return [cell.strip() for cell in line.replace("\\|", "/").strip("|").split("|")]


def test_one_that_crashes_is_a_gap_and_the_rest_goes_on(scripts, tmp_path, capsys):
    text = measured([scripts["crashing"], scripts["good"]], tmp_path / "results")
    assert cells(text, f"`benchmarks/{tmp_path}")[1] == "exit code 1: no such weights: x.pth"
    assert cells(text, "a fast")[1] == "2 ms"
    told = capsys.readouterr().out
    assert "1/2 crashing: exit code 1: no such weights: x.pth (0.0 min)" in told
    assert "2/2 good: done" in told


def test_one_that_hangs_is_killed_with_all_that_it_started(scripts, tmp_path, monkeypatch):
    monkeypatch.setattr(Run, "limit", property(lambda run: 2 / 60))
    text = measured([scripts["hanging"]], tmp_path / "results")
    assert "killed after 0.0333333 min, having said: waiting" in text
    child = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and "State:\tZ" not in Path(f"/proc/{child}/status").read_text():
        assert time.monotonic() < deadline, "the child of the script still runs"
        time.sleep(0.05)


def test_what_is_there_is_not_measured_again(scripts, tmp_path, monkeypatch, capsys):
    results, times = tmp_path / "results", tmp_path / "count"
    first = measured([scripts["good"]], results)
    assert measured([scripts["good"]], results) == first
    assert "1/1 good: is there" in capsys.readouterr().out
    assert times.read_text() == "x"
    measured([scripts["good"]], results, again=True)
    assert times.read_text() == "xx"
    Path(scripts["good"].command).write_text(Path(scripts["good"].command).read_text() + "# changed\n")
    measured([scripts["good"]], results)
    assert times.read_text() == "xxx"
    measured([scripts["good"]._replace(command=f"{scripts['good'].command} --longer")], results)
    assert times.read_text() == "xxxx"


def test_a_change_of_the_package_is_measured(tmp_path, monkeypatch):
    (tmp_path / "restore").mkdir()
    (tmp_path / "restore" / "a.py").write_text("1")
    monkeypatch.setattr(bench, "REPOSITORY", tmp_path)
    before = bench.fingerprint("data.py")
    assert bench.fingerprint("data.py") == before
    (tmp_path / "restore" / "a.py").write_text("2")
    assert bench.fingerprint("data.py") != before


def test_one_that_failed_is_tried_again_and_keeps_its_earlier_figures(scripts, tmp_path):
    results, script = tmp_path / "results", Path(scripts["good"].command)
    measured([scripts["good"]], results)
    good = script.read_text()
    script.write_text(CRASHING)
    text = measured([scripts["good"]], results)
    assert "no such weights: x.pth (the figures above are of an earlier run)" in text
    assert cells(text, "a fast")[1] == "2 ms"
    script.write_text(good)
    assert "an earlier run" not in measured([scripts["good"]], results)


def test_a_variable_that_is_not_set_is_told(scripts, tmp_path, monkeypatch):
    monkeypatch.delenv("NO_SUCH_FOLDER", raising=False)
    text = measured([scripts["good"]._replace(command=f"{scripts['good'].command} $NO_SUCH_FOLDER/x")], tmp_path / "r")
    assert "| NO_SUCH_FOLDER is not set |" in text


def test_the_page_shows_claims_and_gaps(scripts, tmp_path):
    text = measured([scripts["good"], Run("later", "later.py", 3)], tmp_path / "results")
    assert cells(text, "a fast") == ["a fast / thing", "2 ms", "theirs 4 ms", "", "2.00 (1.9 to 2.1)", ">= 1.5", "met"]
    assert cells(text, "a slow")[3:] == ["bare 1 ms", "9.0", "<= 2", "**missed**: copies"]
    assert cells(text, "a thing on a GPU") == ["a thing on a GPU", "no GPU here"]
    assert "### Good\n\n[good.md](results/good.md), commit 0123abc" in text
    assert cells(text, "A processor")[:2] == ["A processor, 2 cores. Python.", "0123abc"]
    assert "exit code 2" in cells(text, "`benchmarks/later.py`")[1]  # there is no such script


@pytest.mark.parametrize(
    ("bar", "expected"),
    [
        (Bar(2, "one", "b", claims=("good.fast",)), ["2.00 (1.9 to 2.1)", "met", ""]),
        (
            Bar(2, "one", "b", claims=("good.slow",), why="A net would do."),
            ["9.0", "**missed**", "copies. A net would do."],
        ),
        (Bar(2, "one", "b", claims=("good.*",)), ["1 of 2: 9.0", "**missed**, 1 not measured", "copies"]),
        (Bar(2, "one", "b", claims=("good.f*", "good.g*")), ["2.00 (1.9 to 2.1)", "met, 1 not measured", ""]),
        (Bar(2, "one", "b", claims=("good.gpu",)), ["", "not measured", "no GPU here"]),
        (Bar(2, "one", "b", claims=("bad.*",)), ["", "not measured", "no result of bad.*"]),
        (Bar(2, "one", "b", claims=("bad.*",), seen="7", met=True), ["7", "met, recorded", ""]),
        (
            Bar(2, "one", "b", seen="7", met=False, why="Slow.", command="run x"),
            ["7", "**missed**, recorded", "Slow. `run x`"],
        ),
        (Bar(2, "one", "b", tests=("tests/a.py",)), ["", "met, by tests", "[tests/a.py](../tests/a.py)"]),
    ],
)
def test_bars_are_judged(bar, expected, tmp_path):
    claims = [claim._asdict() for claim in (MET, MISSED, UNMEASURED)]
    (tmp_path / "good.json").write_text(json.dumps({"title": "Good", "machine": MACHINE, "claims": claims}))
    text = page([Run("good", "good.py", 1)], tmp_path, {}, {}, bars=[bar])
    assert cells(text, "one") == ["one", "b", *expected]
    assert f"### 2. {PARTS[2]}" in text


def test_figures_of_another_machine_fill_a_gap(tmp_path):
    """Those of a GPU, which whoever has one puts beside the others."""
    (tmp_path / "good.json").write_text(
        json.dumps({"title": "Good", "machine": MACHINE, "claims": [UNMEASURED._asdict()]})
    )
    bars = [Bar(2, "on a GPU", "b", claims=("good.gpu",))]
    without = page([Run("good", "good.py", 1)], tmp_path, {}, {}, bars)
    assert cells(without, "on a GPU")[3] == "not measured"
    assert cells(without, "a thing on a GPU")[1] == "no GPU here"
    claim = UNMEASURED._replace(ours="1 ms", ratio="3.1", met=True, why="")._asdict()
    record = {"title": "Good", "machine": "Another. Commit 4567def.", "claims": [claim]}
    (tmp_path / "good_gpu.json").write_text(json.dumps(record))
    text = page([Run("good", "good.py", 1)], tmp_path, {}, {}, bars)
    assert cells(text, "on a GPU")[2:4] == ["3.1", "met"]
    assert cells(text, "a thing on a GPU")[1] == "1 ms"
    assert "no GPU here" not in text
    assert cells(text, "Another.")[2] == "good_gpu"


def test_of_many_figures_the_ends_are_told(tmp_path):
    claims = [MET._replace(key=f"good.{n}", ratio=f"{n:,}.5x")._asdict() for n in (9, 10_000, 11, 2)]
    (tmp_path / "good.json").write_text(json.dumps({"title": "Good", "machine": MACHINE, "claims": claims}))
    text = page([Run("good", "good.py", 1)], tmp_path, {}, {}, bars=[Bar(3, "all of it", "b", claims=("good.*",))])
    assert cells(text, "all of it")[2:4] == ["2.5x to 10,000.5x", "met"]


def test_long_cells_are_cut_and_stay_one_line(tmp_path):
    claim = MET._replace(what="what\n" + "long " * 100)._asdict()
    (tmp_path / "good.json").write_text(json.dumps({"title": "Good", "machine": MACHINE, "claims": [claim]}))
    what = cells(page([Run("good", "good.py", 1)], tmp_path, {}, {}, bars=[]), "what long")[0]
    assert len(what) <= LONGEST
    assert what.endswith("long…")


def test_peers_that_are_not_installed_are_gaps(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    (tmp_path / bench.PIP_SAID).write_text("no_such_peer==1.0 cannot be installed: ERROR: no wheel\n")
    missing = bench.missing_peers(("json", "no_such_peer", "no_such_other"))
    assert missing == {
        "no_such_peer": "no_such_peer==1.0 cannot be installed: ERROR: no wheel",
        "no_such_other": "not installed",
    }
    assert cells(page([], tmp_path, {}, missing, bars=[]), "no_such_other, a peer")[1] == "not installed"


def test_the_command(tmp_path):
    """`--page` alone, and that `--quick` does not write over results."""
    command = [sys.executable, "benchmarks/bench.py"]
    into = ["--into", str(tmp_path)]
    subprocess.run([*command, "--page", *into], cwd=REPOSITORY, check=True, capture_output=True, timeout=60)
    assert "not run yet" in (tmp_path / "RESULTS.md").read_text()
    refused = subprocess.run([*command, "--quick"], cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2
    assert "--into FOLDER" in refused.stderr


def test_every_script_is_run():
    """But for those that are no benchmark by themselves."""
    parts = {path.name for path in (REPOSITORY / "benchmarks").glob("*.py") if "publish(" in path.read_text()}
    assert {run.command.split()[0] for run in RUNS} == parts - {"measure.py"}


def test_names_of_runs_are_unique():
    assert max(Counter(run.name for run in RUNS).values()) == 1


@pytest.mark.parametrize("bar", BARS, ids=lambda bar: f"{bar.issue}: {bar.what[:40]}")
def test_what_a_bar_names_is_there(bar):
    assert bar.issue in PARTS
    assert bar.claims or bar.seen or bar.tests, "nothing says how it is judged"
    assert bool(bar.seen) == (bar.met is not None)
    for path in (bar.where, *bar.tests):
        assert (REPOSITORY / path).is_file() or not path, path
    for word in shlex.split(bar.command):
        if word.endswith((".py", ".yml")):
            assert (REPOSITORY / word).is_file(), word
    if bar.seen and bar.where.startswith("docs/"):
        assert bar.why or bar.met


def test_no_bar_twice():
    assert max(Counter((bar.issue, bar.what, bar.bar) for bar in BARS).values()) == 1


def test_a_bars_claims_come_from_a_script_that_is_run():
    """A key begins with its script's name."""
    scripts = {run.command.split()[0].removesuffix(".py") for run in RUNS}
    assert {pattern.partition(".")[0] for bar in BARS for pattern in bar.claims} <= scripts


@pytest.mark.skipif(not any((REPOSITORY / "benchmarks" / "results").glob("*.json")), reason="nothing was measured yet")
def test_every_pattern_finds_a_claim_among_the_results_that_are_there():
    """A key that a script no longer has would be a bar that nothing judges."""
    from fnmatch import fnmatch

    folder = REPOSITORY / "benchmarks" / "results"
    records = {run.command.split()[0].removesuffix(".py"): [] for run in RUNS}
    for run in RUNS:
        found = bench.read(folder / f"{run.name}.json").get("claims", [])
        records[run.command.split()[0].removesuffix(".py")] += [claim["key"] for claim in found]
    for bar in BARS:
        keys = [key for pattern in bar.claims for key in records[pattern.partition(".")[0]]]
        if keys and not bar.seen:
            assert any(fnmatch(key, pattern) for key in keys for pattern in bar.claims), bar


def test_a_run_that_is_stopped_leaves_nothing_running(scripts, tmp_path):
    """SIGTERM to `bench.py` itself: its script, and the script's child, go with it."""
    code = (
        "import signal, sys;"
        f"sys.path[:0] = [{str(REPOSITORY)!r}]; from pathlib import Path; from benchmarks import bench;"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143));"
        f"bench.measure([bench.Run('hanging', {scripts['hanging'].command!r}, 1)], Path({str(tmp_path / 'results')!r}))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.terminate()
        assert process.wait(30) == 143
    child = Path(f"/proc/{(tmp_path / 'pid').read_text()}")
    while child.exists() and "State:\tZ" not in (child / "status").read_text():
        assert time.monotonic() < deadline, "the child of the script still runs"
        time.sleep(0.05)
    assert os.path.exists(tmp_path / "results" / "hanging.log")
