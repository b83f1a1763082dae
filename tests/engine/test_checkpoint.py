"""Checkpoints: whole or none, verified, kept by number and by merit, and nothing in them is executed."""

import json
import os
import shutil

import pytest
import torch

from restore.engine.checkpoint import Checkpoints, open_checkpoint, pointed, state_bytes
from restore.engine.validator import Validator
from restore.errors import UserError
from tests.lab import assert_same_run, last


def saved(folder, *iterations, keep=0, best=()):
    checkpoints = Checkpoints(folder, keep)
    for iteration in iterations:
        files = {"network_g.safetensors": b"weights", "state.pt": state_bytes({"iter": iteration})}
        checkpoints.save(iteration, files, iteration in best)
    return checkpoints


def numbers(folder):
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def unlink(path):
    path.unlink()


@pytest.mark.parametrize("name", ["network_g.safetensors", "state.pt", "manifest.json"])
@pytest.mark.parametrize("damage", [truncate, flip, unlink])
def test_damaged_newest_is_passed_over_by_name(tmp_path, damage, name):
    checkpoints = saved(tmp_path, 4, 8)
    damage(tmp_path / "8" / name)
    newest, passed_over = checkpoints.newest()
    if name == "manifest.json" and damage is flip and newest.iteration == 8:
        pytest.skip("that byte says nothing")
    assert newest.iteration == 4
    assert str(tmp_path / "8") in passed_over[0]
    assert len(passed_over[0].splitlines()) == 1


def test_run_resumes_from_the_one_before_a_damaged_one(lab, capsys):
    whole = lab.train("logger.keep_checkpoints=0")
    other = lab.train("train.total_iter=8", runs="other")
    flip(other / "checkpoints" / "8" / "state.pt")
    resumed = lab.train("logger.keep_checkpoints=1", runs="other", flags=("--auto_resume",))
    assert "passed over" in capsys.readouterr().out
    assert_same_run(whole, resumed)


def test_all_damaged_is_one_line(lab):
    run = lab.train("train.total_iter=8")
    for number in numbers(run / "checkpoints"):
        truncate(run / "checkpoints" / str(number) / "state.pt")
    with pytest.raises(UserError, match="no checkpoint verifies") as caught:
        lab.train(flags=("--auto_resume",))
    assert len(str(caught.value).splitlines()) == 1


def test_the_newest_and_the_best_are_kept(tmp_path):
    saved(tmp_path, 1, 2, 3, 4, 5, keep=2, best=(1, 2))
    assert numbers(tmp_path) == [2, 4, 5]
    assert pointed(tmp_path / "best") == tmp_path / "2"
    assert pointed(tmp_path / "latest") == tmp_path / "5"
    assert open_checkpoint(tmp_path / "best").iteration == 2


def test_zero_keeps_all(tmp_path):
    saved(tmp_path, *range(1, 7), keep=0)
    assert numbers(tmp_path) == [1, 2, 3, 4, 5, 6]


def test_damaged_newer_one_does_not_push_out_new_ones(tmp_path):
    saved(tmp_path, 4, 8)
    flip(tmp_path / "8" / "state.pt")
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.go_on_from(4)
    saved(tmp_path, 6, keep=1)
    assert checkpoints.newest()[0].iteration == 6
    assert (tmp_path / "superseded-8").is_dir()


@pytest.mark.parametrize("pointer", ["2\n", "4\n", "6\n", "9\n", "no number", None])
def test_the_best_one_is_kept_though_its_pointer_is_damaged(tmp_path, pointer):
    saved(tmp_path, 2, 4, 6, best=(2,))
    for name in ("best", "latest"):
        (tmp_path / name).unlink() if pointer is None else (tmp_path / name).write_text(pointer)
    Checkpoints(tmp_path, keep=1).go_on_from(6, best=2)
    assert pointed(tmp_path / "best") == tmp_path / "2"
    assert pointed(tmp_path / "latest") == tmp_path / "6"
    saved(tmp_path, 8, keep=1)
    assert numbers(tmp_path) == [2, 8]


def test_killed_before_the_best_one_was_pointed_to(lab, monkeypatch):
    run = lab.train("train.total_iter=6")
    assert pointed(run / "checkpoints" / "best") == run / "checkpoints" / "6"
    (run / "checkpoints" / "best").unlink()
    monkeypatch.setattr(Validator, "_is_best", lambda *arguments: False)
    lab.train("train.total_iter=10", "logger.save_checkpoint_freq=1", flags=("--auto_resume",))
    assert 6 in numbers(run / "checkpoints")


class Killed(BaseException):
    pass


def test_killed_while_one_is_replaced(tmp_path, monkeypatch):
    saved(tmp_path, 4, keep=1)
    replace = os.replace

    def dying(source, target):
        if ".writing" in str(source):
            raise Killed
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dying)
        with pytest.raises(Killed):
            saved(tmp_path, 4, keep=1, best=(4,))
    checkpoints = Checkpoints(tmp_path, keep=1)
    assert checkpoints.newest()[0].iteration == 4
    checkpoints.go_on_from(4)
    assert checkpoints.newest()[0].path == tmp_path / "4"
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["4"]


def test_what_is_renamed_is_on_the_disk_before_and_its_new_name_after(tmp_path, monkeypatch):
    """Else a power cut could leave a whole name with empty files behind it. An inode keeps its number when renamed."""
    fsync, replace, events = os.fsync, os.replace, []

    def syncing(descriptor):
        events.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def renaming(source, target):
        inside = [source, *source.iterdir()] if source.is_dir() else [source]
        assert {path.stat().st_ino for path in inside} <= set(events), source
        replace(source, target)
        events.append(str(target))

    monkeypatch.setattr(os, "fsync", syncing)
    monkeypatch.setattr(os, "replace", renaming)
    saved(tmp_path, 4, 4, best=(4,))
    for named in (number for number, event in enumerate(events) if event == str(tmp_path / "4")):
        assert events[named + 1] == tmp_path.stat().st_ino  # before `latest` points at it
    assert events.count(str(tmp_path / "4")) == 2


@pytest.mark.parametrize("name", ["../4/state.pt", "/etc/hostname", "..", "sub/file"])
def test_manifest_that_leaves_its_folder_is_refused(tmp_path, name):
    saved(tmp_path, 4)
    manifest = tmp_path / "4" / "manifest.json"
    content = json.loads(manifest.read_text())
    content["files"][name] = "0" * 64
    manifest.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"manifest\.json: names files outside"):
        open_checkpoint(tmp_path / "4")


@pytest.mark.parametrize("content", ["[]", "{}", '{"files": 3}', '{"files": {"state.pt": 1}, "iter": "x"}', "\x00"])
def test_manifest_of_something_else(tmp_path, content):
    saved(tmp_path, 4)
    (tmp_path / "4" / "manifest.json").write_text(content)
    with pytest.raises(UserError, match="manifest"):
        open_checkpoint(tmp_path / "4")


class Malice:
    def __reduce__(self):
        return os.system, ("touch executed",)


def test_code_in_a_state_is_not_executed(lab, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    run = lab.train("train.total_iter=4")
    torch.save({"iter": 4, "x": Malice()}, run / "checkpoints" / "4" / "state.pt")
    forge_manifest(run / "checkpoints" / "4")
    with pytest.raises(UserError, match=r"state\.pt: cannot be read safely") as caught:
        lab.train(flags=("--auto_resume",))
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "executed").exists()


def forge_manifest(checkpoint):
    import hashlib

    manifest = json.loads((checkpoint / "manifest.json").read_text())
    for name in manifest["files"]:
        manifest["files"][name] = hashlib.sha256((checkpoint / name).read_bytes()).hexdigest()
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))


def test_what_a_checkpoint_holds(lab):
    run = lab.train("train.total_iter=6")
    files = sorted(path.name for path in last(run).path.iterdir())
    assert files == ["manifest.json", "network_g.safetensors", "network_g_ema.safetensors", "options.yml", "state.pt"]
    assert (run / "checkpoints" / "latest").read_text() == "6\n"


def test_options_saved_load_to_the_same_options(lab):
    from restore.options.load import load

    run = lab.train("train.total_iter=4")
    options = lab.options("train.total_iter=4", f"path.experiments_root={lab.root / 'runs'}")
    assert load(run / "options.yml") == load(last(run).path / "options.yml") == options


@pytest.mark.parametrize(("better", "expected"), [("higher", 12), ("lower", 6), (None, 12)])
def test_best_of_either_direction(lab, better, expected):
    best = "val.best={metric: psnr, dataset: val" + (f", better: {better}" if better else "") + "}"
    run = lab.train(best, "train.optim_g.lr=0.003")
    assert open_checkpoint(run / "checkpoints" / "best").iteration == expected


def test_resume_of_no_checkpoint(lab, tmp_path):
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "nothing"):
        with pytest.raises(UserError, match="no checkpoint"):
            lab.train(flags=("--resume", str(path)))
    assert not lab.experiment().exists()


def test_copied_checkpoint_opens(tmp_path):
    saved(tmp_path / "a", 4)
    shutil.copytree(tmp_path / "a" / "4", tmp_path / "elsewhere")
    assert open_checkpoint(tmp_path / "elsewhere").iteration == 4
