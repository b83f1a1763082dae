"""`restore plot`: figures read back."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from restore import cli, images
from restore.apps.curves import read_curves
from restore.apps.plot import smoothed
from restore.engine.logging import Board
from restore.errors import Preempted, UserError
from tests.lab import signal_at

pytest.importorskip("matplotlib")
BOARD = ("logger.use_tb_logger=true", "logger.print_freq=2")


def plot(*arguments):
    """Calls `restore plot` with these arguments."""
    args = cli.build_parser().parse_args(["plot", *map(str, arguments)])
    args.run(args)


class Figure:
    """What an SVG file shows."""

    def __init__(self, path):
        root = ElementTree.fromstring(path.read_text())
        self.texts = ["".join(element.itertext()).strip() for element in root.iter() if element.tag.endswith("}text")]
        self.ids = [element.get("id", "") for element in root.iter()]
        self.points = {
            element.get("id"): len(re.findall("[ML]", path.get("d")))
            for element in root.iter()
            for path in [next((p for p in element if p.tag.endswith("}path")), None)]
            if " of " in element.get("id", "") and path is not None
        }


@pytest.fixture(scope="module")
def two(tmp_path_factory, faces, val_faces):
    """Two experiments."""
    from tests.lab import Lab, tiny_options

    lab = Lab(tmp_path_factory.mktemp("lab"), tiny_options(faces, val_faces))
    return [lab.train(*BOARD, f"train.optim_g.lr={lr}", runs=runs) for runs, lr in (("one", 1e-3), ("two", 1e-2))]


def test_panels_and_curves(two, tmp_path):
    plot(two[0], "-o", tmp_path / "x.svg")
    figure = Figure(tmp_path / "x.svg")
    assert [text for text in figure.texts if "/" in text] == ["losses/l_pixel", "metrics/val/psnr"]
    assert figure.points == {"losses/l_pixel of tiny": 6, "metrics/val/psnr of tiny": 2}


def test_experiments_over_each_other(two, tmp_path):
    plot(*two, "--tags", "losses", "lr/g", "--smooth", 0.5, "-o", tmp_path / "x.svg")
    figure = Figure(tmp_path / "x.svg")
    names = [str(path) for path in two]  # both are called `tiny`
    assert sorted(figure.points) == sorted(f"{tag} of {name}" for tag in ("losses/l_pixel", "lr/g") for name in names)
    assert [figure.texts.count(name) for name in names] == [2, 2]  # a legend in each panel


def test_equal_curves_equal_file(two, tmp_path):
    for name in ("a.svg", "b.svg"):
        plot(two[0], "-o", tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_png(two, tmp_path):
    plot(*two, "-o", tmp_path / "x.png")
    picture = images.read(tmp_path / "x.png")
    assert picture.shape[1] > 2 * picture.shape[0]  # two panels side by side
    first, second = (31, 119, 180), (255, 127, 14)  # matplotlib's C0 and C1
    assert all((picture == color).all(axis=2).sum() > 50 for color in (first, second))


def test_curves_are_those_of_the_run(two):
    curves = read_curves(two[0]).curves
    assert curves["lr/g"].iterations == [2, 4, 6, 8, 10, 12]
    assert curves["lr/g"].values == pytest.approx([1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4, 2.5e-4], rel=1e-3)
    assert curves["metrics/val/psnr"].iterations == [6, 12]


def test_a_resumed_run_is_one_curve(lab, monkeypatch):
    with monkeypatch.context() as patch:
        signal_at(patch, 7)
        with pytest.raises(Preempted):
            lab.train(*BOARD)
    curves = read_curves(lab.train(*BOARD, flags=("--auto_resume",))).curves
    assert curves["losses/l_pixel"].iterations == [2, 4, 6, 8, 10, 12]


@pytest.fixture
def staged(tmp_path):
    """The event files of a run in three stages, the second of which was resumed."""
    for start, stage in ((0, "pixels"), (100, "textures"), (130, "textures"), (150, "adversary")):
        with Board(tmp_path / "run" / "tb", resumed_at=start) as board:
            board.text("options", f"name: run\nstage:\n  name: {stage}\n")
            for iteration in range(start + 10, start + 60, 10):
                board.scalars({"losses/l_pixel": 1 / iteration}, iteration)
    return tmp_path / "run"


def test_stages_are_marked(staged, tmp_path):
    assert read_curves(staged).stages == {"pixels": 0, "textures": 100, "adversary": 150}
    plot(staged, "-o", tmp_path / "x.svg")
    figure = Figure(tmp_path / "x.svg")
    assert {"pixels", "textures", "adversary"} <= set(figure.texts)
    assert [name for name in figure.ids if name.startswith("stage ")] == ["stage textures", "stage adversary"]


def test_smoothing():
    assert smoothed([1.0, 2.0, 4.0], 0) == [1, 2, 4]
    assert smoothed([5.0] * 4, 0.9) == pytest.approx([5] * 4)
    assert smoothed([0.0, 1.0], 0.5) == pytest.approx([0, 2 / 3])
    assert smoothed([1.0, float("nan"), 1.0], 0.5)[2] == pytest.approx(1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{run}", "-o", "x.pdf"], r"x\.pdf: curves are written as"),
        (["{run}", "--tags", "loses"], r"--tags loses: no such curve; there are .*losses/l_pixel"),
        (["{run}/checkpoints"], r"checkpoints: no TensorBoard event files"),
    ],
)
def test_refusals(two, words, message):
    with pytest.raises(UserError, match=message):
        plot(*(word.format(run=two[0]) for word in words))


def test_without_matplotlib(two, tmp_path):
    code = (
        "import sys; sys.modules['matplotlib'] = None; from restore import cli\n"
        "sys.argv = ['restore', 'plot', *sys.argv[1:]]; cli.main()"
    )
    command = [sys.executable, "-c", code, str(two[0]), "-o", str(tmp_path / "x.png")]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: restore plot: needs matplotlib; pip install matplotlib"


@pytest.mark.slow
def test_stages_of_a_run(lab, tmp_path):
    """Two stages, trained for real."""
    import yaml

    section = yaml.safe_load(lab.file.read_text())
    section["stages"] = [{"name": name, "train": {"total_iter": 6}} for name in ("pixels", "textures")]
    lab.file.write_text(yaml.safe_dump(section))
    process = lab.start(*BOARD)  # TensorBoard numbers a process's files, and reads the 10th of a second before the 9th
    assert process.wait() == 0
    experiment = lab.experiment()
    curves = read_curves(experiment)
    assert curves.stages == {"pixels": 0, "textures": 6}
    assert curves.curves["losses/l_pixel"].iterations == [2, 4, 6, 8, 10, 12]
    assert curves.curves["metrics/val/psnr"].iterations == [6, 12]
    plot(experiment, "-o", tmp_path / "x.svg")
    assert {"pixels", "textures"} <= set(Figure(tmp_path / "x.svg").texts)


def test_every_value_as_csv(two, tmp_path):
    plot(*two, "-o", tmp_path / "x.csv")
    header, *rows = [line.split(",") for line in (tmp_path / "x.csv").read_text().splitlines()]
    assert header == ["experiment", "iteration", "losses/l_pixel", "metrics/val/psnr"]
    for experiment in two:
        curves = read_curves(experiment).curves
        own = {int(row[1]): row[2:] for row in rows if row[0] == str(experiment)}
        assert sorted(own) == sorted({i for tag in header[2:] for i in curves[tag].iterations})
        for column, tag in enumerate(header[2:]):
            seen = {i: float(cells[column]) for i, cells in own.items() if cells[column]}
            assert seen == dict(zip(curves[tag].iterations, curves[tag].values, strict=True))


def test_summary_equals_numpy_and_knows_which_way_is_better(two, tmp_path, capsys):
    plot(two[0], "-o", tmp_path / "x.md")
    assert (tmp_path / "x.md").read_text() in capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in (tmp_path / "x.md").read_text().splitlines()]
    for name, tag, *cells in rows[2:]:
        curve = read_curves(two[0]).curves[tag]
        values = np.array(curve.values)
        best = int(values.argmax() if tag == "metrics/val/psnr" else values.argmin())
        expected = [values.min(), values.max(), values.mean(), values.std(), values[0], values[best]]
        assert cells[:6] == [f"{value:.4g}" for value in expected]
        assert cells[6:] == [
            str(curve.iterations[best]),
            f"{values[-1]:.4g}",
            f"{(values[best] - values[0]) / abs(values[0]):+.1%}",
        ]
        assert name == "tiny"
