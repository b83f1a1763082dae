"""What a run does beside its steps: set-aside records, workers that fail, validation, names, lengths."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
import yaml

from restore import images
from restore.engine.trainer import Trainer, total_iterations
from restore.errors import Fault, UserError
from tests.lab import assert_same_run, last


def with_broken(lab, tmp_path, count):
    """Twelve faces, some of which are no pictures."""
    section = yaml.safe_load(lab.file.read_text())
    folder = tmp_path / "partly_broken"
    shutil.copytree(section["datasets"]["train"]["dataroot_gt"], folder)
    for number in range(count):
        (folder / f"{number:03d}.png").write_bytes(b"broken")
    return f"datasets.train.dataroot_gt={folder}"


def test_unreadable_records_are_told_once_and_survive_a_resume(lab, tmp_path, capsys):
    overrides = (with_broken(lab, tmp_path, 2), "datasets.train.max_set_aside=0.2")
    lab.train(*overrides, "train.total_iter=6")
    told = [line for line in capsys.readouterr().out.splitlines() if "set aside" in line]
    assert len(told) == 2
    assert "000.png: not a picture" in "".join(told)
    run = lab.train(*overrides, flags=("--auto_resume",))
    assert "set aside" not in capsys.readouterr().out
    assert len(last(run).state()["set_aside"]) == 2


def test_too_many_unreadable_records_stop_the_run(lab, tmp_path):
    with pytest.raises(Fault, match=r"2 of 12 records are unreadable, more than .*max_set_aside allows \(0\.1\)"):
        lab.train(with_broken(lab, tmp_path, 3), "datasets.train.max_set_aside=0.1")


def test_vanished_folder_stops_the_run_which_goes_on_as_if_it_had_not(lab, tmp_path, monkeypatch):
    whole = lab.train(runs="whole")
    faces = tmp_path / "moved_faces"
    shutil.copytree(yaml.safe_load(lab.file.read_text())["datasets"]["train"]["dataroot_gt"], faces)
    overrides = (f"datasets.train.dataroot_gt={faces}", "datasets.train.max_set_aside=1")
    step = Trainer.step

    def stepping(self, phase, steps):
        if self.iter == 7:
            faces.rename(tmp_path / "away")
        step(self, phase, steps)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", stepping)
        with pytest.raises(Fault, match="moved_faces: this folder is gone; put it back.*goes on from iteration 6"):
            lab.train(*overrides)
    (tmp_path / "away").rename(faces)
    assert_same_run(whole, lab.train(*overrides, flags=("--auto_resume",)))


NO_MEMORY = pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory"), OSError(12, "Cannot allocate memory")],
)


@NO_MEMORY
def test_memory_that_runs_out_is_told_and_what_to_do(lab, monkeypatch, error):
    step = Trainer.step

    def stepping(self, phase, steps):
        if self.iter == 6:
            raise error
        step(self, phase, steps)

    monkeypatch.setattr(Trainer, "step", stepping)
    words = "iteration 6: memory has run out on cpu; lower datasets.train.batch_size.*goes on from iteration 4"
    with pytest.raises(Fault, match=words):
        lab.train()


@NO_MEMORY
def test_memory_that_runs_out_while_a_network_is_built_is_told_too(lab, monkeypatch, error):
    def averages(self):
        raise error

    monkeypatch.setattr(Trainer, "_averages", averages)
    with pytest.raises(Fault, match="^memory has run out before the first step; take a smaller network"):
        lab.train()


def test_bugs_stay_tracebacks(lab, monkeypatch):
    def stepping(self, phase, steps):
        raise RuntimeError("a bug")

    monkeypatch.setattr(Trainer, "step", stepping)
    with pytest.raises(RuntimeError, match="a bug"):
        lab.train()


PLUGIN = """
import os, signal, time
import numpy as np
from restore.registry import DATASETS

@DATASETS.register
class Troubled:
    def __init__(self, trouble: str) -> None:
        self.trouble, self.keys = trouble, [f"record {index}" for index in range(8)]

    def __len__(self) -> int:
        return len(self.keys)

    def load(self, index, draws):
        if index == 5 and self.trouble == "bug":
            raise LookupError("a bug in the plugin")
        time.sleep(0.02)
        return {"lq": np.zeros((8, 8, 3), np.uint8), "gt": np.zeros((32, 32, 3), np.uint8), "key": "", "path": ""}
"""


def troubled(lab, trouble):
    (lab.root / "troubled.py").write_text(PLUGIN)
    section = f"datasets.train={{type: Troubled, trouble: {trouble}, batch_size: 4, num_workers: 2}}"
    return lab.start("plugins=[troubled]", section, "train.total_iter=1000000", "logger.print_freq=4")


@pytest.mark.slow
def test_bug_in_a_plugins_worker_reaches_the_user(lab):
    out, err = troubled(lab, "bug").communicate(timeout=60)
    assert "LookupError: a bug in the plugin" in err
    assert "while record `record 5` was loaded" in err
    assert "troubled.py" in err


@pytest.mark.slow
def test_killed_worker_ends_the_run_with_a_word(lab):
    process = troubled(lab, "none")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        process.kill()
        pytest.skip("needs /proc")
    while not (lab.experiment() / "checkpoints").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    os.kill(int(children.read_text().split()[0]), signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.splitlines()[-1].startswith("error: a data worker died")
    assert "Traceback" not in err


def test_nothing_to_train_without_gt(lab):
    section = yaml.safe_load(lab.file.read_text())["datasets"]["train"]
    with pytest.raises(UserError, match="training needs GT"):
        lab.train(f"datasets.train={{type: SingleImageDataset, dataroot_lq: {section['dataroot_gt']}, batch_size: 2}}")


def test_existing_name_is_refused_and_left_alone(lab):
    run = lab.train("train.total_iter=4")
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    with pytest.raises(UserError, match=r"exists: --auto_resume goes on with it, --archive puts it aside"):
        lab.train("train.total_iter=4")
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_refused_name_exits_2(lab):
    lab.experiment().mkdir(parents=True)
    process = lab.start()
    assert "exists" in process.communicate(timeout=60)[1].splitlines()[-1]
    assert process.returncode == 2


def test_archive_puts_the_earlier_run_aside(lab):
    lab.train("train.total_iter=4")
    for _ in range(2):
        lab.train("train.total_iter=5", flags=("--archive",))
    names = sorted(path.name for path in (lab.root / "runs").iterdir())
    assert len(names) == 3
    assert all(name.startswith("tiny_archived_") for name in names[1:])
    assert sorted(last(lab.root / "runs" / name).iteration for name in names) == [4, 5, 5]


def test_mistake_in_the_data_leaves_the_name_free(lab, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no pictures"):
        lab.train(f"datasets.train.dataroot_gt={tmp_path / 'empty'}")
    assert not lab.experiment().exists()


def test_debug_does_a_few_steps_of_everything(lab):
    for _ in range(2):
        lab.train("train.total_iter=100000", flags=("--debug",))
    run = lab.experiment(name="debug_tiny")
    assert last(run).iteration == 8
    log = (run / "train.log").read_text()
    assert "validation val (2 pictures) at 4" in log
    assert "iter 1/8" in log
    assert not lab.experiment().exists()


def test_options_are_kept_as_given_and_as_used(lab):
    run = lab.train("train.total_iter=4")
    assert (run / "options_as_given.yml").read_text() == lab.file.read_text()
    assert yaml.safe_load((run / "options.yml").read_text())["train"]["total_iter"] == 4


@pytest.mark.parametrize(("epochs", "samples", "batch", "iterations"), [(1, 12, 4, 3), (2, 10, 4, 5), (3, 10, 4, 8)])
def test_epochs_become_iterations(lab, epochs, samples, batch, iterations):
    options = lab.options("train.total_iter=~", f"train.total_epoch={epochs}")
    assert total_iterations(options.train, samples, batch) == iterations


def test_training_by_epochs(lab):
    overrides = ("train.total_iter=~", "train.total_epoch=2", "datasets.train.dataset_enlarge_ratio=2")
    assert last(lab.train(*overrides)).iteration == 2 * 2 * 12 // 4


def second_set(lab, **changes):
    section = yaml.safe_load(lab.file.read_text())["datasets"]
    part = section["val"] | {"dataroot_gt": section["train"]["dataroot_gt"]} | changes
    return f"datasets.val_2={yaml.safe_dump(part, default_flow_style=True, width=10000)}"


def test_several_validation_sets(lab):
    run = lab.train(second_set(lab, name="Train faces"), "val.best={metric: psnr, dataset: val_2}", "val.save_img=true")
    log = (run / "train.log").read_text()
    assert "validation val (3 pictures) at 6" in log
    assert "validation Train faces (12 pictures) at 6" in log
    assert "best so far: val_2 psnr" in log
    assert len(list(run.glob("visualization/Train faces/*_12.png"))) == 12
    assert len(list(run.glob("visualization/val/*"))) == 6
    assert images.read(run / "visualization" / "val" / "100_6.png").shape == (64, 64, 3)


def test_validation_without_gt_only_shows(lab):
    section = yaml.safe_load(lab.file.read_text())["datasets"]["val"]
    part = f"datasets.val={{type: SingleImageDataset, dataroot_lq: {section['dataroot_gt']}}}"
    run = lab.train(part, "train.total_iter=6", "val.save_img=true")
    assert images.read(run / "visualization" / "val" / "100_6.png").shape == (256, 256, 3)
    assert last(run).state()["best"] is None


def test_picture_that_cannot_be_scored_is_told(lab, tmp_path):
    for number, size in enumerate((8, 64)):
        images.write(tmp_path / f"{number}.png", torch.zeros(size, size, 3, dtype=torch.uint8).numpy())
    (tmp_path / "2.png").write_bytes(b"broken")
    part = f"datasets.val={{type: GTImageDataset, dataroot_gt: {tmp_path}}}"
    log = (lab.train(part, "val.metrics={ssim: {}}", "train.total_iter=6") / "train.log").read_text()
    assert "not scored" in log
    assert str(tmp_path / "0.png") in log
    assert str(tmp_path / "2.png") in log
    assert "validation val (1 pictures)" in log


def test_a_set_of_which_nothing_can_be_scored_is_told(lab, tmp_path):
    log = (lab.train("val.metrics={psnr: {crop_border: 100}}", "train.total_iter=6") / "train.log").read_text()
    assert "validation val at 6: none of its pictures can be scored; correct val.metrics or the pictures" in log


def test_validation_in_tiles_scores_the_same(lab):
    run = lab.train("val.tile=8", "val.tile_overlap=4", "train.total_iter=6")
    whole = lab.train("train.total_iter=6", runs="whole")
    assert last(run).state()["best"]["value"] == pytest.approx(last(whole).state()["best"]["value"], abs=0.05)


def test_overlap_as_large_as_the_tile_is_told(lab):
    with pytest.raises(UserError, match="tile_overlap"):
        lab.train("val.tile=8", "val.tile_overlap=8")


def test_fit_draws_the_same_curve_twice(lab, monkeypatch):
    def losses(runs):
        seen = []
        with monkeypatch.context() as patch:
            step = Trainer.step
            patch.setattr(Trainer, "step", lambda self, *a: (step(self, *a), seen.append(self.meter.sums["l_pixel"])))
            lab.train("logger.print_freq=1", runs=runs)
        return [float(loss) for loss in seen]

    assert losses("one") == losses("two")
