"""`restore sweep`: mistakes with their places, names, a grid trained in turn, killed, resumed, and summed up."""

import csv
import math
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from restore import cli
from restore.apps.sweep_file import point_names, read_sweep
from restore.apps.sweep_run import OUTCOME
from restore.apps.sweep_summary import read_rows, seed_groups
from restore.engine.checkpoint import open_checkpoint
from restore.errors import Fault, UserError
from tests.lab import REPOSITORY, Lab, last, tiny_options

SHIPPED = REPOSITORY / "options" / "sweeps"
SHORT = ("train.total_iter=4", "val.val_freq=2", "logger.save_checkpoint_freq=2")


def sweep(*arguments):
    """Calls `restore sweep` with these arguments."""
    args = cli.build_parser().parse_args(["sweep", *map(str, arguments)])
    args.run(args)


class Place:
    """A folder with a tiny experiment to vary."""

    def __init__(self, root: Path, faces: Path, val_faces: Path) -> None:
        self.root = root
        self.lab = Lab(root, tiny_options(faces, val_faces))
        self.file = root / "sweep.yml"

    def write(self, text: str) -> Path:
        self.file.write_text(f"name: s\nbase: tiny.yml\n{text}")
        return self.file

    @property
    def below(self) -> str:
        """The override by which everything is written here."""
        return f"path.experiments_root={self.root / 'runs'}"

    def read(self, *overrides):
        return read_sweep(self.file, [*overrides, self.below])

    def run(self, *flags, overrides=()):
        sweep("-opt", self.file, *flags, "--set", *overrides, self.below)

    def start(self, *overrides) -> subprocess.Popen:
        """The sweep in a process of its own."""
        command = [sys.executable, "-m", "restore", "sweep", "-opt", str(self.file), "--set", *overrides, self.below]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=REPOSITORY, **pipes)

    def table(self) -> list[dict[str, str]]:
        with open(self.root / "runs" / "s" / "table.csv", newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture
def place(tmp_path, faces, val_faces):
    return Place(tmp_path, faces, val_faces)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, faces, val_faces):
    """Two rates with two seeds, in turn; one rate is so high that its runs fail."""
    place = Place(tmp_path_factory.mktemp("sweep"), faces, val_faces)
    place.write("grid:\n  train.optim_g.lr: [1e-4, 1e-2]\n  manual_seed: [0, 1]\n")
    place.run(overrides=SHORT)
    return place


# -- the file


def mistakes(place: Place, text: str, *flags: str) -> list[str]:
    with pytest.raises(UserError) as error:
        sweep("-opt", place.write(text), *flags, "--set", place.below)
    return str(error.value).replace(f"{place.root}/", "").splitlines()


def test_mistakes_in_points_are_told_together_with_their_lines(place):
    text = "grid:\n  train.optim_g.lrr: [1]\n  train.ema_decay: [0.5,\n    2]\nlist:\n  - {network_g.num_feat: many}\n"
    told = mistakes(place, text)
    assert told[0] == "the option file has mistakes:"
    assert told[1].startswith("sweep.yml:4: train.optim_g.lrr: unknown key for Adam; did you mean `lr`?")
    assert any(line.startswith("sweep.yml:6: train.ema_decay: ") and line.endswith("found 2") for line in told)
    assert any(line.startswith("sweep.yml:8: network_g.num_feat: ") and line.endswith('found "many"') for line in told)
    assert len(told) == 4  # each once, though two points make each of them
    assert not (place.root / "runs").exists()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("gird: {manual_seed: [0]}\n", "sweep.yml:3: gird: unknown key; did you mean `grid`?"),
        ("grid: {manual_seed: 0}\n", "sweep.yml:3: grid.manual_seed: should be a list of values, such as [1e-4, 2e-4]"),
        ("", "sweep.yml:1: grid: no `grid` and no `list`: nothing is varied; see docs/sweeps.md"),
        ("grid:\n  name: [a]\n", "sweep.yml:4: name: is given by the sweep; leave it out"),
        ("list: [3]\n", "sweep.yml:3: list.0: should be what one point sets, such as {network_g.num_feat: 32}"),
        ("grid: {scale: [2, 2]}\n", "sweep.yml:3: grid.scale.1: is the same as number 1; remove one of the two"),
        (
            "grid: {manual_seed: [0]}\nlist: [{manual_seed: 1}]\n",
            "sweep.yml:4: list.0.manual_seed: is in `grid` too; leave one out",
        ),
        ("grid: {val.metrics: [{}]}\n", "sweep.yml:2: base: nothing to compare by; add datasets.val and val.metrics"),
    ],
)
def test_what_is_no_sweep(place, text, line):
    assert line.replace("grid.name", "name") in [told.replace("grid.name", "name") for told in mistakes(place, text)]


def test_a_key_of_the_command_line_is_not_varied_too(place):
    place.write("grid: {manual_seed: [0, 1]}\n")
    with pytest.raises(UserError, match=r"sweep.yml:3: grid.manual_seed: is varied here, and given on"):
        place.read("manual_seed=3")


def test_a_missing_base_is_told_with_the_nearest_name(place):
    place.file.write_text("name: s\nbase: tinny.yml\ngrid: {manual_seed: [0]}\n")
    with pytest.raises(UserError, match=r"sweep.yml:2: base: no file tinny.yml; did you mean `tiny.yml`\?"):
        place.read()


def test_many_points_are_refused(place):
    text = f"grid: {{manual_seed: {list(range(21))}, train.warmup_iter: {list(range(10))}}}\n"
    assert mistakes(place, text)[-1].endswith("makes 210 experiments; thin it out, or allow them with --limit 210")
    assert len(read_sweep(place.file, limit=210).points) == 210


def test_list_and_grid_make_a_product(place):
    rows = "[{network_g.num_feat: 8}, {network_g.num_feat: 4, train.grad_clip: null}]"
    place.write(f"list: {rows}\ngrid: {{scale: [2, 4]}}")
    values = [point.values for point in place.read().points]
    few = {"network_g.num_feat": 4, "train.grad_clip": None}
    many = {"network_g.num_feat": 8}
    assert values == [many | {"scale": 2}, many | {"scale": 4}, few | {"scale": 2}, few | {"scale": 4}]
    point = place.read().points[2]
    (options,) = point.stages
    assert (options.network_g.args["num_feat"], options.scale, options.train.grad_clip) == (4, 2, None)
    assert point.name == options.name == "tiny_s_num_feat-4_grad_clip-null_scale-2"
    assert point.folder == place.root / "runs" / "s" / point.name


def test_text_that_looks_like_a_number_stays_text(place):
    place.write('grid: {path.results_root: ["1e-4", "no", "a: b"]}\n')
    assert [point.stages[0].path.results_root for point in place.read().points] == ["1e-4", "no", "a: b"]


def test_points_that_cannot_be_compared(place):
    told = mistakes(place, "grid: {datasets.val.name: [a, b]}\n")
    assert told == ["sweep.yml: the points do not have one figure to compare by; give them one val.best"]


def test_a_new_point_takes_no_others_name():
    points = [{"a.lr": 1e-4, "seed": 0}, {"a.lr": 2e-4, "seed": 0}, {"a.path": "x/y z.png"}, {"a.betas": [0.9, -1]}]
    names = point_names("p", points)
    assert names[:2] == ["p_lr-0.0001_seed-0", "p_lr-0.0002_seed-0"]
    assert names[2:] == ["p_path-x-y-z.png", "p_betas-0.9-1"] or names[3] == "p_betas-0.9--1"
    assert point_names("p", [{"a.lr": 1e-5, "seed": 0}, *points])[1:] == names


def test_names_are_unique_where_keys_or_values_look_alike():
    points = [{"a.num_feat": 8}, {"b.num_feat": 8}, {"c.num_feat": 8}, {"p": "a/b"}, {"p": "a-b"}, {"p": "A-B"}]
    points += [{"q": "x" * 300}, {"q": "x" * 301}]
    names = point_names("p", points)
    assert len({name.lower() for name in names}) == len(points)
    assert all(len(name) < 200 for name in names)
    assert point_names("p", [*points[:2], points[3]]) == [*names[:2], names[3]]


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yml")), ids=lambda path: path.stem)
def test_shipped_sweeps(path, faces, val_faces):
    data = [f"datasets.{name}.dataroot_gt={root}" for name, root in (("train", faces), ("val", val_faces))]
    assert len(read_sweep(path, data).points) > 1


# -- training in turn


@pytest.mark.slow
def test_every_point_is_trained_with_what_it_sets(trained):
    for point in trained.read(*SHORT).points:
        checkpoint = last(point.folder)
        options = checkpoint.options()
        assert checkpoint.iteration == 4
        assert options["manual_seed"] == point.values["manual_seed"]
        assert options["train"]["optim_g"]["lr"] == point.values["train.optim_g.lr"]


@pytest.mark.slow
def test_the_table_says_what_the_checkpoints_say(trained):
    rows = trained.table()
    best = {p.name: open_checkpoint(p.folder / "checkpoints" / "latest").state()["best"] for p in trained.read().points}
    assert len(rows) == 4
    for row in rows:
        assert float(row["best val psnr ↑"]) == best[row["name"]]["value"]
        assert int(row["at"]) == best[row["name"]]["iter"]
        assert row["state"] == "done"
        assert float(row["last"]) <= float(row["best val psnr ↑"]) + 1e-4  # the log's is rounded
    values = [float(row["best val psnr ↑"]) for row in rows]
    assert values == sorted(values, reverse=True)


@pytest.mark.slow
def test_seeds_are_summed_up(trained):
    swept = trained.read(*SHORT)
    rows = read_rows(swept)
    groups = seed_groups(swept, rows)
    assert [group.count for group in groups] == [2, 2]
    for group in groups:
        own = [row.best for row in rows if row.point.values["train.optim_g.lr"] == group.values["train.optim_g.lr"]]
        assert math.isclose(group.mean, statistics.fmean(own), rel_tol=1e-12)
        assert math.isclose(group.deviation, abs(own[0] - own[1]) / math.sqrt(2), rel_tol=1e-6)
    text = (trained.root / "runs" / "s" / "table.md").read_text()
    assert f"| {groups[0].values['train.optim_g.lr']} | {groups[0].mean:.4f} ± {groups[0].deviation:.4f} | 2 |" in text


@pytest.mark.slow
def test_the_picture(trained):
    pytest.importorskip("matplotlib")
    from restore import images

    picture = images.read(trained.root / "runs" / "s" / "sweep.png")
    assert picture.shape[1] > 2 * picture.shape[0]  # two panels
    assert ((picture == (31, 119, 180)).all(axis=2)).sum() > 50  # the line over the rates, in matplotlib's C0
    assert ((picture == (68, 1, 84)).all(axis=2)).sum() > 50  # the first point's curve, in the first of viridis


@pytest.mark.slow
def test_what_is_done_is_not_started_again(trained, monkeypatch, capsys):
    monkeypatch.setattr(subprocess, "Popen", None)
    trained.run(overrides=SHORT)
    assert capsys.readouterr().out.count(": done before") == 4


@pytest.mark.slow
def test_points_of_other_options_are_not_taken_for_these(trained):
    with pytest.raises(UserError, match=r"train.grad_clip: was 1.0, now 0.5; give the sweep another name") as error:
        trained.run(overrides=(*SHORT, "train.grad_clip=0.5"))
    assert len(str(error.value).splitlines()) == 5


@pytest.mark.slow
def test_a_longer_training_goes_on(trained):
    sweep("-opt", trained.file, "--point", 1, "--set", *SHORT, "train.total_iter=6", trained.below)
    point = trained.read().points[0]
    assert last(point.folder).iteration == 6
    with pytest.raises(UserError, match="--point 5: s has 4"):
        trained.run("--point", 5)


@pytest.mark.slow
def test_a_point_that_fails_ends_no_other(place, faces):
    (place.root / "empty").mkdir()
    place.write(f"grid: {{datasets.train.dataroot_gt: [{place.root / 'empty'}, {faces}]}}\n")
    place.run("--point", 2, overrides=SHORT)
    with pytest.raises(Fault, match=r"1 of 2 points failed: .*empty; the table says why"):
        place.run(overrides=SHORT)
    good, bad = place.table()
    assert good["state"] == "done"
    assert bad["state"].startswith("failed: ")
    assert "empty" in bad["state"]
    assert bad["best val psnr ↑"] == ""


@pytest.mark.slow
def test_killed_in_the_middle_and_resumed(place):
    place.write("grid: {manual_seed: [0, 1]}\n")
    long = ("train.total_iter=4000", "val.val_freq=4000", "logger.save_checkpoint_freq=5", "logger.print_freq=1")
    process = place.start(*long)
    first, second = place.read(*long).points
    wait_for(lambda: (first.folder / "checkpoints" / "latest").is_file(), process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75
    assert errors.splitlines()[-1].startswith("stopped: SIGTERM: at point 1 of 2: tiny_s_manual_seed-0; ")
    reached = last(first.folder).iteration
    assert 0 < reached < 4000
    assert (first.folder / OUTCOME).read_text() == "running\n"
    assert not second.folder.exists()

    place.run("--summary", overrides=long)
    states = {row["name"]: row["state"] for row in place.table()}
    assert states == {first.name: f"not finished: at iteration {reached} of 4000", second.name: "not begun"}

    total = reached + 2
    short = (f"train.total_iter={total}", "val.val_freq=4000", "logger.save_checkpoint_freq=4000")
    place.run("--point", 2, overrides=short)
    place.run(overrides=short)
    assert [row["state"] for row in place.table()] == ["done", "done"]
    assert "resumed" in (first.folder / "train.log").read_text().lower()
    assert {last(point.folder).iteration for point in (first, second)} == {total}


@pytest.mark.slow
def test_a_sweep_that_is_killed_takes_its_point_along(place):
    place.write("grid: {manual_seed: [0, 1]}\n")
    long = ("train.total_iter=4000", "val.val_freq=4000", "logger.save_checkpoint_freq=5", "logger.print_freq=1")
    process = place.start(*long)
    first = place.read(*long).points[0]
    wait_for(lambda: (first.folder / "checkpoints" / "latest").is_file(), process)
    process.kill()
    process.communicate()
    sizes = [0]

    def still() -> bool:
        sizes.append((first.folder / "train.log").stat().st_size)
        return sizes[-1] == sizes[-2]

    wait_for(still, None, every=1.0)
    assert last(first.folder).iteration < 4000


def wait_for(condition, process: subprocess.Popen | None, every: float = 0.05, limit: float = 60) -> None:
    """Waits until something is so, unless the process ends."""
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(every)


# -- SLURM


def test_a_job_array_and_a_job_after_it(place, capsys, monkeypatch):
    place.write("grid: {manual_seed: [0, 1, 2]}\n")
    calls = []

    def sbatch(command, **_):
        calls.append(command)
        return subprocess.CompletedProcess(command, 0, stdout=f"{40 + len(calls)}\n", stderr="")

    monkeypatch.setattr(subprocess, "run", sbatch)
    place.run("--slurm", "--gpus", 0, "--cpus", 2, "--parallel", 2, "--time", "1:00:00", "--submit")
    folder = place.root / "runs" / "s"
    array, summary = (folder / "array.sbatch").read_text(), (folder / "summary.sbatch").read_text()
    assert "#SBATCH --array=1-3%2\n" in array
    assert '--point "$SLURM_ARRAY_TASK_ID"' in array
    assert "device=cpu" in array
    assert f"-opt {place.file}" in array
    assert "--summary" in summary
    assert "--array" not in summary
    assert calls == [
        ["sbatch", "--parsable", str(folder / "array.sbatch")],
        ["sbatch", "--parsable", "--dependency=afterany:41", str(folder / "summary.sbatch")],
    ]
    assert "submitted: array 41, 3 points; summary 42" in capsys.readouterr().out


def test_a_batch_that_does_not_fit_the_gpus_is_told(place):
    place.write("grid: {datasets.train.batch_size: [4, 6]}\n")
    with pytest.raises(UserError, match="datasets.train.batch_size: 6 "):
        place.run("--slurm", "--gpus", 4)


def test_submit_alone_trains_nothing(place):
    place.write("grid: {manual_seed: [0]}\n")
    with pytest.raises(UserError, match="--submit goes with --slurm"):
        place.run("--submit")
