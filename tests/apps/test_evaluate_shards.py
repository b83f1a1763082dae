"""`restore test --shard`: the parts together write what one process writes, to the last byte."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from restore import cli
from restore.apps import evaluate
from restore.errors import UserError
from restore.registry import ARCHS, Part
from restore.weights import weights_bytes
from tests.lab import REPOSITORY

pytestmark = pytest.mark.filterwarnings("ignore:.*random weights")
LOWER = [{"type": "LowerFace"}]
RANDOM = {"weights": "random"}
TASKS = {
    "sr": {
        "network_g": {"type": "MSRResNet", "num_feat": 4, "num_block": 1, "upscale": 4},
        "data": {"type": "GTImageDataset"},
        "scale": 4,
        "val": {"metrics": {"psnr": {"crop_border": 4}, "fd_squeezenet": RANDOM}, "baselines": ["bicubic"]},
    },
    "inpainting": {
        "network_g": {"type": "UNet", "num_feat": 4, "num_level": 2, "norm": "none"},
        "data": {"type": "OccludedImageDataset", "occlusion": LOWER},
        "task": {"type": "Inpainting"},
        "val": {
            "metrics": {"psnr_hole": {}, "psnr_known": {}, "verification_far_1e_2": RANDOM},
            "baselines": ["telea"],
            "save_img": True,
        },
    },
}


@pytest.fixture(scope="module")
def broken_faces(faces, tmp_path_factory):
    """Eleven faces, and between them one that is cut short."""
    folder = tmp_path_factory.mktemp("data") / "broken"
    shutil.copytree(faces, folder)
    cut = folder / "005.png"
    cut.write_bytes(cut.read_bytes()[:-30])
    return folder


class Bench:
    """The option file of a task with those sets; `val` overrides the task's."""

    def __init__(self, task: str, root: Path, *sets: Path, **val: object) -> None:
        section = dict(TASKS[task])
        self.root, self.weights, self.file = root, root / "w.safetensors", root / "x.yml"
        self.network, self.scale, data = section["network_g"], section.get("scale", 1), section.pop("data")
        self.draw_weights(0)
        section |= {
            "name": "x",
            "device": "cpu",
            "datasets": {
                f"test_{number}": {"name": path.name, "dataroot_gt": str(path), **data}
                for number, path in enumerate(sets)
            },
            "path": {"pretrain_network_g": str(self.weights)},
            "val": section["val"] | {"report": True} | val,
        }
        self.file.write_text(yaml.safe_dump(section))

    def draw_weights(self, seed: int) -> None:
        """Other weights in the same file."""
        torch.manual_seed(seed)
        network, facts = ARCHS.build(Part(**self.network)), {"arch": self.network, "scale": self.scale, "size": 256}
        self.weights.write_bytes(weights_bytes(network, facts))

    def command(self, results: str, *more: str) -> list[str]:
        return ["test", "-opt", str(self.file), *more, "--set", f"path.results_root={self.root / results}"]

    def run(self, results: str, *more: str) -> Path:
        """Tests in this process, and returns the folder of results."""
        args = cli.build_parser().parse_args(self.command(results, *more))
        args.run(args)
        return self.root / results / "x"


@pytest.fixture(scope="module", params=TASKS)
def bench(request, broken_faces, val_faces, tmp_path_factory):
    """A set of twelve pictures, one of them broken, and one of three."""
    return Bench(request.param, tmp_path_factory.mktemp(request.param), broken_faces, val_faces)


@pytest.fixture(scope="module")
def whole(bench):
    return files(bench.run("whole"))


@pytest.fixture
def small(faces, tmp_path):
    """One set alone, of twelve pictures, and quick."""
    return Bench("inpainting", tmp_path, faces, metrics={"psnr_hole": {}}, baselines=[], report=False)


def files(folder: Path) -> dict[str, bytes]:
    """What a run wrote, but for the parts' own files."""
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if "/shards/" not in name}


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_parts_together_write_what_one_process_writes(bench, whole, broken_faces, count, capsys):
    for number in reversed(range(1, count + 1)):
        folder = bench.run(f"of{count}", "--shard", f"{number}/{count}")
        assert (folder / "broken" / "scores.csv").is_file() == (number == 1)
    found = files(folder)
    assert found.keys() == whole.keys()
    assert [name for name in whole if found[name] != whole[name]] == []
    assert {"table.md", "report.png", "broken/worst_best.png", "broken/scores.csv"} <= found.keys()
    assert "005.png" in json.loads(found["broken/scores.json"])["set_aside"]["005"]
    assert "WARNING not scored: " in capsys.readouterr().out


def test_the_files_are_not_empty_of_what_is_compared(bench, whole):
    facts = json.loads(whole["broken/scores.json"])
    assert facts["pictures"] == 11
    assert any(name.startswith(("fd_", "verification")) for name in facts["means"]["model"])
    if "psnr_hole" in facts["means"]["model"]:
        assert facts["masks_sha256"]
        assert "broken/by_hole_area.json" in whole
        assert any("trained on pictures of 256 px" in note for note in facts["notes"])
        assert len([name for name in whole if name.startswith("broken/masks/")]) == 11


def test_a_part_that_is_done_is_not_done_again(small, faces, monkeypatch, capsys):
    for number in (1, 2):
        folder = small.run("r", "--shard", f"{number}/2")
    assert "still missing: 2-of-2" in capsys.readouterr().out
    before = files(folder)
    (folder / faces.name / "scores.csv").unlink()
    monkeypatch.setattr(evaluate, "score", None)
    small.run("r", "--shard", "1/2")
    assert "part 1-of-2 is there already" in capsys.readouterr().out
    assert files(folder) == before


KILLED = """
import os, signal, sys
from restore import cli
from restore.apps import evaluate
count, save = 0, evaluate._save
def saving(folder, picture):
    global count
    count += 1
    if count == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    save(folder, picture)
evaluate._save = saving
args = cli.build_parser().parse_args(sys.argv[1:])
args.run(args)
"""


@pytest.mark.slow
def test_a_killed_part_goes_on(small, faces, monkeypatch, capsys):
    """Also when the kill cut the last row short, which is done again."""
    wanted, seen, save = files(small.run("whole")), [], evaluate._save
    monkeypatch.setattr(evaluate, "_save", lambda folder, picture: (seen.append(picture.key), save(folder, picture)))
    command = [sys.executable, "-c", KILLED, *small.command("r", "--shard", "1/2")]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    assert subprocess.run(command, env=environment, cwd=small.root, check=False).returncode == -9
    (unfinished,) = (small.root / "r" / "x" / faces.name / "shards").iterdir()
    assert unfinished.name == "1-of-2.unfinished"
    shutil.copytree(small.root / "r", small.root / "cut")
    (cut,) = (small.root / "cut" / "x" / faces.name / "shards").iterdir()
    cut.write_bytes(unfinished.read_bytes()[:-9])
    for results, rows in (("r", 3), ("cut", 2)):
        seen.clear()
        small.run(results, "--shard", "1/2")
        assert f"goes on behind {rows} pictures" in capsys.readouterr().out
        assert seen == ["000", "002", "004", "006", "008", "010"][rows:]
        assert files(small.run(results, "--shard", "2/2")) == wanted


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda bench: bench.draw_weights(1), "weights"),
        (lambda bench: bench.file.write_text(bench.file.read_text() + "manual_seed: 5\n"), "options.manual_seed"),
    ],
)
def test_parts_of_two_runs_are_not_merged(small, faces, change, told, capsys):
    folder = small.run("r", "--shard", "1/2")
    change(small)
    small.run("r", "--shard", "2/2")
    assert f"still missing: 1-of-2 (what is there is of another run: {told})" in capsys.readouterr().out
    assert not (folder / faces.name / "scores.csv").exists()
    small.run("r", "--shard", "1/2")
    assert f"of another run ({told}): done again" in capsys.readouterr().out
    assert files(folder) == files(small.run("whole"))


def test_rows_of_another_run_that_was_killed_are_done_again(small, faces, monkeypatch):
    def stop(folder, picture):
        if picture.number == 6:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "_save", stop)
        with pytest.raises(KeyboardInterrupt):
            small.run("r", "--shard", "1/2")
    small.draw_weights(1)
    for number in (1, 2):
        folder = small.run("r", "--shard", f"{number}/2")
    assert files(folder) == files(small.run("whole"))


def test_two_tasks_that_gather_at_once(small, faces, monkeypatch):
    """The one begins to write its files, the other writes all of its own, the first goes on."""
    for number in (1, 2):
        folder = small.run("r", "--shard", f"{number}/2")
    wanted = files(folder)
    for name in wanted:
        if not name.startswith(f"{faces.name}/m") and "/0" not in name:
            (folder / name).unlink()
    write, calls = evaluate._write, []

    def writing(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            small.run("r", "--shard", "2/2")
            assert files(folder) == wanted
        write(*arguments)

    monkeypatch.setattr(evaluate, "_write", writing)
    small.run("r", "--shard", "1/2")
    assert len(calls) == 2
    assert files(folder) == wanted


def test_the_later_of_two_tasks_gathers_whichever_set_it_is_at(faces, val_faces, tmp_path, monkeypatch):
    """The other does both of its parts while this one is at the second set."""
    quick = {"metrics": {"psnr_hole": {}}, "baselines": [], "report": False}
    bench = Bench("inpainting", tmp_path, faces, val_faces, **quick)
    wanted, save = files(bench.run("whole")), evaluate._save

    def saving(folder, picture):
        if folder.name == val_faces.name:
            monkeypatch.setattr(evaluate, "_save", save)
            bench.run("r", "--shard", "2/2")
        save(folder, picture)

    monkeypatch.setattr(evaluate, "_save", saving)
    assert files(bench.run("r", "--shard", "1/2")) == wanted


def test_a_damaged_part_is_told(small, faces):
    folder = small.run("r", "--shard", "1/2")
    path = folder / faces.name / "shards" / "1-of-2.part"
    data = path.read_bytes()
    for harm in (data[:-1], data[:2000] + b"x" + data[2001:], b""):
        path.write_bytes(harm)
        with pytest.raises(UserError, match=r"1-of-2\.part: damaged; delete it and do this part again"):
            small.run("r", "--shard", "2/2")
    path.unlink()
    small.run("r", "--shard", "1/2")
    assert files(folder) == files(small.run("whole"))


def test_the_first_pictures_are_shown_where_there_are_no_extremes(val_faces, tmp_path):
    bench = Bench("sr", tmp_path, val_faces, metrics={"fd_squeezenet": RANDOM})
    for number in (1, 2):
        folder = bench.run("r", "--shard", f"{number}/2")
    assert files(folder) == files(bench.run("whole"))


def test_without_gt_in_parts(faces, tmp_path):
    """Pictures are written, and nothing is scored."""
    bench, found = Bench("sr", tmp_path), []
    for results, shards in (("whole", [[]]), ("r", [["--shard", f"{number}/5"] for number in range(1, 6)])):
        for shard in shards:
            arguments = ["test", "--model", str(bench.weights), "--input", str(faces), *shard]
            args = cli.build_parser().parse_args([*arguments, "--set", f"path.results_root={tmp_path / results}"])
            args.run(args)
        found.append(files(tmp_path / results))
    assert found[0] == found[1]
    assert len(found[0]) == 12 + 3
