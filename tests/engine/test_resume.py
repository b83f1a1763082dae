"""A stopped run goes on as if never stopped, bit for bit; signals save; kills cost nothing."""

import hashlib
import json
import signal

import pytest
import torch

from restore.errors import Preempted, UserError
from tests.lab import assert_same_run, last, signal_at

EVERYTHING = ("train.accumulate=2", "train.scheduler={type: CosineAnnealingRestartLR, periods: [5, 7]}")


def stop_and_go_on(lab, monkeypatch, *overrides, stop_at=7, resumed_with=()):
    with monkeypatch.context() as patch:
        signal_at(patch, stop_at)
        with pytest.raises(Preempted, match=f"SIGTERM: saved at iteration {stop_at}"):
            lab.train(*overrides, runs="stopped")
    return lab.train(*overrides, *resumed_with, runs="stopped", flags=("--auto_resume",))


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_stopped_and_resumed_equals_uninterrupted(lab, monkeypatch, precision):
    overrides = (*EVERYTHING, f"train.precision={precision}")
    whole = lab.train(*overrides)
    assert_same_run(whole, stop_and_go_on(lab, monkeypatch, *overrides))


def test_with_workers_too(lab, monkeypatch):
    whole = lab.train(*EVERYTHING)
    workers = "datasets.train.num_workers=2"
    resumed = stop_and_go_on(lab, monkeypatch, *EVERYTHING, workers, resumed_with=["datasets.train.num_workers=1"])
    assert_same_run(whole, resumed)


@pytest.mark.parametrize("stop_at", [1, 6, 12])
def test_stopped_at_the_first_a_validated_and_the_last_iteration(lab, monkeypatch, stop_at):
    assert_same_run(lab.train(), stop_and_go_on(lab, monkeypatch, stop_at=stop_at))


def test_stopped_twice(lab, monkeypatch):
    whole = lab.train()
    with monkeypatch.context() as patch:
        signal_at(patch, 3, signal.SIGUSR1)
        with pytest.raises(Preempted, match="SIGUSR1"):
            lab.train(runs="stopped")
    with monkeypatch.context() as patch:
        signal_at(patch, 9, signal.SIGINT)
        with pytest.raises(Preempted, match="SIGINT"):
            lab.train(runs="stopped", flags=("--auto_resume",))
    assert_same_run(whole, lab.train(runs="stopped", flags=("--auto_resume",)))


def test_resume_from_a_directory(lab):
    whole = lab.train("logger.keep_checkpoints=0")
    resumed = lab.train(runs="other", flags=("--resume", str(whole / "checkpoints" / "4")))
    assert_same_run(whole, resumed)


def test_going_back_leaves_the_newer_checkpoints_out(lab):
    whole = lab.train("logger.keep_checkpoints=0")
    lab.train("train.total_iter=6", "logger.keep_checkpoints=1", flags=("--resume", str(whole / "checkpoints" / "4")))
    assert last(whole).iteration == 6
    assert_same_run(whole, lab.train(flags=("--auto_resume",)))
    assert last(whole).iteration == 12


def test_longer_training_goes_on_from_a_finished_run(lab):
    whole = lab.train("train.total_iter=12")
    lab.train("train.total_iter=6", runs="longer")
    assert_same_run(whole, lab.train("train.total_iter=12", runs="longer", flags=("--auto_resume",)))


def test_a_finished_run_resumed_ends_at_once(lab):
    whole = lab.train()
    before = last(whole).state()
    lab.train(flags=("--auto_resume",))
    assert last(whole).state()["best"] == before["best"]


def test_auto_resume_without_a_checkpoint_starts(lab):
    assert last(lab.train(flags=("--auto_resume",))).iteration == 12


def test_stopped_within_the_last_validation_is_told_and_made_up_for(lab, monkeypatch):
    from restore.engine import validator

    score = validator.score

    def interrupted(*arguments):
        for scored in score(*arguments):
            signal.raise_signal(signal.SIGTERM)
            yield scored

    with monkeypatch.context() as patch:
        patch.setattr(validator, "score", interrupted)
        with pytest.raises(Preempted, match="saved at iteration 12"):
            lab.train("val.val_freq=100", runs="stopped")
    resumed = lab.train("val.val_freq=100", runs="stopped", flags=("--auto_resume",))
    assert last(resumed).state()["best"]["iter"] == 12
    assert_same_run(lab.train("val.val_freq=100"), resumed)


def test_second_interrupt_leaves_at_once(lab, monkeypatch):
    with monkeypatch.context() as patch:
        signal_at(patch, 3, signal.SIGINT)
        signal_at(patch, 3, signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            lab.train()


@pytest.mark.parametrize("options", ["train.optim_g={type: SGD, lr: 0.1}", "network_g.num_feat=16"])
def test_a_checkpoint_of_other_parts_is_told(lab, options):
    lab.train("train.total_iter=4")
    with pytest.raises(UserError, match="checkpoints/4") as caught:
        lab.train(options, flags=("--auto_resume",))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda state: state.pop("best"), "`best` is missing"),
        (lambda state: state.update(iter="6"), "`iter` is missing or broken"),
        (lambda state: state["update"].clear(), "fits no such run"),
        (lambda state: state["optimizers"].clear(), "fits no such run"),
        (lambda state: state["optimizers"]["g"].update(param_groups=[]), "fits no such run"),
        (lambda state: state["schedules"]["g"].pop("plain"), "fits no such run"),
    ],
)
def test_a_forged_state_is_told_in_one_line(lab, spoil, told):
    path = last(lab.train()).path
    state = torch.load(path / "state.pt", weights_only=True)
    spoil(state)
    torch.save(state, path / "state.pt")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"]["state.pt"] = hashlib.sha256((path / "state.pt").read_bytes()).hexdigest()
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=told) as caught:
        lab.train("train.total_iter=14", flags=("--resume", str(path)))
    assert "\n" not in str(caught.value)


def test_what_changed_since_the_checkpoint_is_told(lab, capsys):
    lab.train("train.total_iter=4")
    lab.train("train.total_iter=6", "train.optim_g.lr=5e-4", flags=("--auto_resume",))
    told = capsys.readouterr().out
    assert "changed since the checkpoint: train.total_iter: 4 -> 6" in told
    assert "-> 0.0005; the checkpoint's stays" in told
    assert "length of" not in told


def test_a_schedule_that_does_not_grow_with_the_training_is_told(lab, capsys):
    lab.train("train.scheduler={type: CosineLR, eta_min: 1e-5}", "train.total_iter=4")
    longer = ("train.scheduler={type: CosineLR, eta_min: 1e-6}", "train.total_iter=6")
    path = lab.train(*longer, flags=("--auto_resume",))
    told = capsys.readouterr().out
    assert "changed since the checkpoint: length of CosineLR: 4 -> 6; the checkpoint's stays" in told
    assert "changed since the checkpoint: train.scheduler.eta_min: 1e-05 -> 1e-06; the checkpoint's stays" in told
    schedule = last(path).state()["schedules"]["g"]["scheduler"]
    assert (schedule["total_iter"], schedule["eta_min"]) == (4, 1e-5)


def test_equal_runs_write_equal_files(lab):
    one, other = last(lab.train(runs="one")), last(lab.train(runs="other"))
    for name in ("network_g.safetensors", "network_g_ema.safetensors"):
        assert (one.path / name).read_bytes() == (other.path / name).read_bytes()
