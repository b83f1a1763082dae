"""TensorBoard's event files, read back."""

import signal

import numpy as np
import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from restore.errors import Preempted
from tests.lab import last, signal_at


def read(experiment) -> EventAccumulator:
    """Everything that a run left in its folder `tb`."""
    sizes = {"scalars": 0, "images": 0, "tensors": 0}
    return EventAccumulator(str(experiment / "tb"), size_guidance=sizes).Reload()


def points(events):
    return {tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


BOARD = ("logger.use_tb_logger=true", "val.num_pictures=2")


def test_curves(lab):
    events = read(lab.train(*BOARD))
    steps = points(events)
    for tag in (
        "losses/l_pixel", "lr/g", "train/it_per_s", "train/data_wait", "train/peak_memory_gb", "train/grad_norm_g",
        "train/skipped_steps", "train/set_aside",
    ):  # fmt: skip
        assert steps[tag] == [4, 8, 12], tag
    assert steps["metrics/val/psnr"] == [6, 12]
    assert [event.value for event in events.Scalars("lr/g")] == pytest.approx([1e-3, 5e-4, 2.5e-4])
    assert 0.05 < events.Scalars("train/peak_memory_gb")[0].value < 100
    assert 0 <= events.Scalars("train/data_wait")[0].value <= 1


def test_pictures(lab):
    events = read(lab.train(*BOARD))
    assert sorted(events.Tags()["images"]) == ["val/100", "val/101"]
    shown = events.Images("val/100")
    assert [picture.step for picture in shown] == [6, 12]
    assert (shown[0].width, shown[0].height) == (3 * 64, 64)


def test_options_as_text(lab):
    run = lab.train(*BOARD)
    (event,) = read(run).Tensors("options/text_summary")
    text = event.tensor_proto.string_val[0].decode()
    assert yaml.safe_load(text) == yaml.safe_load((run / "options.yml").read_text())


def test_hparams(lab):
    run = lab.train(*BOARD)
    events = read(run)
    content = str(events.summary_metadata["_hparams_/session_start_info"].plugin_data.content)
    for setting in ("arch", "MSRResNet", "batch_size", "optim_g.lr", "network_g.num_feat"):
        assert setting in content, setting
    assert events.Scalars("best/value")[0].value == pytest.approx(last(run).state()["best"]["value"])


@pytest.mark.parametrize("stop_at", [3, 6, 8])
def test_no_point_twice_after_a_resume(lab, monkeypatch, stop_at):
    with monkeypatch.context() as patch:
        signal_at(patch, stop_at)
        with pytest.raises(Preempted):
            lab.train(*BOARD)
    events = read(lab.train(*BOARD, flags=("--auto_resume",)))
    assert points(events)["losses/l_pixel"] == [4, 8, 12]
    assert points(events)["metrics/val/psnr"] == [6, 12]
    assert [picture.step for picture in events.Images("val/100")] == [6, 12]


@pytest.mark.parametrize("killed_at", [3, 5, 11])
def test_no_point_twice_after_a_kill(lab, monkeypatch, killed_at):
    class Killed(BaseException):
        pass

    from restore.engine.trainer import Trainer

    with monkeypatch.context() as patch:
        step = Trainer.step

        def dying(self, *arguments):
            if self.iter == killed_at:
                raise Killed
            step(self, *arguments)

        patch.setattr(Trainer, "step", dying)
        with pytest.raises(Killed):
            lab.train(*BOARD, "logger.print_freq=2")
    events = read(lab.train(*BOARD, "logger.print_freq=2", flags=("--auto_resume",)))
    assert points(events)["losses/l_pixel"] == [2, 4, 6, 8, 10, 12]
    assert points(events)["metrics/val/psnr"] == [6, 12]


def test_no_point_twice_after_an_interrupted_validation(lab, monkeypatch):
    from restore.engine import validator

    sets = (*BOARD, f"datasets.val_2={yaml.safe_dump(second_set(lab), default_flow_style=True)}")
    score, calls = validator.score, []

    def interrupted(*arguments):
        calls.append(arguments)
        for scored in score(*arguments):
            if len(calls) == 2:
                signal.raise_signal(signal.SIGTERM)
            yield scored

    with monkeypatch.context() as patch:
        patch.setattr(validator, "score", interrupted)
        with pytest.raises(Preempted):
            lab.train(*sets)
    events = read(lab.train(*sets, flags=("--auto_resume",)))
    for name in ("val", "val_2"):
        assert points(events)[f"metrics/{name}/psnr"] == [6, 12]
        assert [picture.step for picture in events.Images(f"{name}/100")] == [6, 12]


def second_set(lab):
    return yaml.safe_load(lab.file.read_text())["datasets"]["val"]


def test_no_board_no_folder(lab):
    assert not (lab.train() / "tb").exists()


def test_loss_of_the_curve_is_the_mean_since_the_last_point(lab):
    every = read(lab.train(*BOARD, "logger.print_freq=1"))
    fourth = read(lab.train(*BOARD, runs="other"))
    losses = [event.value for event in every.Scalars("losses/l_pixel")]
    means = np.reshape(losses, (3, 4)).mean(axis=1)
    assert [event.value for event in fourth.Scalars("losses/l_pixel")] == pytest.approx(means, rel=1e-5)
