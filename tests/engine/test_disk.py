"""Disks that are full or may not be written: told at once, with nothing lost."""

import errno
import os
import resource
import shutil
import subprocess

import pytest

from restore.engine.checkpoint import Checkpoints
from restore.errors import Fault, RestoreError, UserError
from tests.lab import assert_same_run, last


@pytest.fixture
def small_disk(lab):
    """A disk of 1.5 MB where the runs go, or a skipped test."""
    folder = lab.root / "runs"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(folder)]
    if os.name != "posix" or not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


# TensorBoard's own thread ends on a full disk, which the next write finds out.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


def fill(folder):
    with open(folder / "filler", "wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass


def at_iteration(monkeypatch, actions):
    from restore.engine.trainer import Trainer

    step = Trainer.step

    def stepping(self, phase, steps):
        actions.get(self.iter, lambda: None)()
        step(self, phase, steps)

    monkeypatch.setattr(Trainer, "step", stepping)


def test_full_disk_is_told_and_saved_again_when_there_is_room(lab, small_disk, monkeypatch, capsys):
    whole = lab.train(runs="whole")
    at_iteration(monkeypatch, {7: lambda: fill(small_disk), 11: (small_disk / "filler").unlink})
    lab.train("logger.use_tb_logger=true", "val.save_img=true")
    assert "cannot save at iteration 8" in capsys.readouterr().out
    assert_same_run(whole, lab.experiment())


def test_full_disk_to_the_end_names_the_last_whole_checkpoint(lab, small_disk, monkeypatch):
    with monkeypatch.context() as patch:
        at_iteration(patch, {7: lambda: fill(small_disk)})
        with pytest.raises(Fault, match="No space left on device; .*--auto_resume goes on from iteration 6"):
            lab.train("logger.use_tb_logger=true")
    assert last(lab.experiment()).iteration == 6
    (small_disk / "filler").unlink()
    assert_same_run(lab.train(runs="whole"), lab.train(flags=("--auto_resume",)))


def test_full_disk_before_the_first_checkpoint(lab, small_disk, monkeypatch):
    at_iteration(monkeypatch, {2: lambda: fill(small_disk)})
    with pytest.raises(Fault, match="--auto_resume goes on from iteration 0"):
        lab.train()


@pytest.mark.slow
def test_limit_on_file_size(lab):
    limit = 16 * 2**10
    process = lab.start(
        code=f"import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))"
    )
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "cannot save at iteration 4" in out
    assert err.splitlines()[-1].endswith("--auto_resume goes on from iteration 0")
    assert "Traceback" not in err
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != limit


def test_best_is_what_was_saved(lab, small_disk, monkeypatch):
    at_iteration(monkeypatch, {5: lambda: fill(small_disk), 8: (small_disk / "filler").unlink})
    run = lab.train(
        "train.total_iter=9", "train.optim_g.lr=1e-9", "val.best={metric: psnr, dataset: val, better: lower}"
    )
    best = last(run).state()["best"]
    assert (run / "checkpoints" / "best").read_text().strip() == str(int(best["iter"]))


def test_folder_that_cannot_be_written(lab):
    (lab.root / "runs").write_text("a file")
    with pytest.raises(UserError, match="cannot write the experiment's folder") as caught:
        lab.train()
    assert len(str(caught.value).splitlines()) == 1


def test_read_only_disk(lab, small_disk):
    if subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], capture_output=True).returncode:
        pytest.skip("cannot remount")
    with pytest.raises(UserError, match="Read-only file system"):
        lab.train()


def test_full_disk_at_the_next_start_is_told_and_costs_nothing(lab, small_disk, monkeypatch):
    with monkeypatch.context() as patch:
        at_iteration(patch, {7: lambda: fill(small_disk)})
        with pytest.raises(Fault):
            lab.train()
    for _ in range(2):
        with pytest.raises(RestoreError, match="No space left on device; free space or mend the disk"):
            lab.train(flags=("--auto_resume",))
    (small_disk / "filler").unlink()
    assert_same_run(lab.train(runs="whole"), lab.train(flags=("--auto_resume",)))


def test_disk_that_fails_where_nobody_expects_it_is_no_traceback(lab, monkeypatch):
    def fails(*arguments):
        raise OSError(errno.EIO, "Input/output error", "/runs/tiny")

    monkeypatch.setattr(Checkpoints, "go_on_from", fails)
    with pytest.raises(Fault, match="/runs/tiny: Input/output error; free space or mend the disk; --auto_resume"):
        lab.train()
