"""The bare loops do what the trainer does, the clocks add up, and every shipped option file can be measured."""

import time

import pytest
import torch

from benchmarks import bare_loops
from benchmarks.profiles import KINDS, kind_of
from benchmarks.recipes import LESS, picture_size, recipes
from benchmarks.shares import Shares, clock
from benchmarks.step_tasks import TASKS, Pair, bare_and_trainer, fit_with, held_batches, task_trainer
from benchmarks.steps import Row, file_claim
from restore import keyed


@pytest.fixture(autouse=True)
def alone():
    torch.set_num_threads(1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*random weights")
@pytest.mark.parametrize("name", TASKS)
def test_a_step_by_hand_is_the_trainers_step(name, tmp_path):
    trainer = task_trainer(TASKS[name], tmp_path, quick=True)
    batches = held_batches(trainer)[:2]
    copies, own = [], bare_loops.own
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(bare_loops, "own", lambda *which: copies.append(own(*which)) or copies[-1])
        step = TASKS[name].bare(trainer)
    before = {key: value.clone() for key, value in copies[0].state_dict().items()}
    for number, batch in enumerate(batches, 1):
        torch.default_generator.manual_seed(keyed.number(trainer.seed, "step", number))
        step(batch)
    fit_with(trainer, batches)
    for ours, by_hand in zip(trainer.task.networks.values(), copies, strict=True):
        for key, value in ours.state_dict().items():
            torch.testing.assert_close(by_hand.state_dict()[key], value, rtol=1e-4, atol=2e-5, msg=f"{name}: {key}")
    moved = max(float((before[key] - value).abs().max()) for key, value in copies[0].state_dict().items())
    assert moved > 2e-4, "two steps of Adam at 2e-4 move weights by about that each"


@pytest.mark.slow
def test_steps_are_taken_in_turns(tmp_path):
    order = []
    task = TASKS["sr"]._replace(bare=lambda trainer: lambda batch: order.append("bare"))
    trainer = task_trainer(task, tmp_path, quick=True)
    step = trainer.step
    trainer.step = lambda *given: order.append("trainer") or step(*given)
    pairs = bare_and_trainer(task, trainer, rounds=2)
    assert all(isinstance(pair, Pair) and pair.ours > pair.bare for pair in pairs)
    changes = [one for one, last in zip(order, [None, *order], strict=False) if one != last]
    assert changes == ["bare", "trainer", "bare", "trainer", "bare", "trainer"]  # the first of each warms up


def test_a_clock_counts_what_the_function_took():
    spent = {"part": 0.0}
    timed = clock(spent, "part", torch.device("cpu"), lambda seconds: time.sleep(seconds) or "result")
    assert timed(0.02) == "result"
    timed(0.03)
    assert 0.05 <= spent["part"] < 0.5


def test_outside_is_what_is_not_work():
    parts = {"forward and losses": 0.4, "backward": 0.3, "optimizer": 0.1, "data wait": 0.15, "rest": 0.05}
    assert Shares(parts, 1.0).outside == pytest.approx(0.2)


def test_the_claim_of_a_file_is_its_worst_stage(tmp_path):
    def row(stage, wait):
        return Row(stage, "2 of 8", 2, 0.1, Shares({"forward and losses": 1 - wait, "data wait": wait}, 2.0))

    claim = file_claim(tmp_path / "train_x.yml", [row("pixels", 0.01), row("game", 0.08), row("last", 0.02)])
    assert claim.key == "steps.files.train_x"
    assert "stage game" in claim.what
    assert claim.ours == "8.00 % of 2.00 s"
    assert claim.met is False
    assert "data wait, 8.0 %" in claim.why
    killed = file_claim(tmp_path / "train_x.yml", "its process was killed")
    assert killed.met is None
    assert killed.why == "its process was killed"


def test_every_file_has_a_name_of_its_own_and_smaller_batches_are_of_files_that_ship():
    stems = [recipe.stem for recipe in recipes()]
    assert len(stems) == len(set(stems)) > 20
    assert "quickstart" in stems
    assert LESS.keys() <= set(stems)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("datasets/celebahq_256_train.lmdb", (256, 256)),
        ("datasets/drawn_160/train.lmdb", (160, 160)),
        ("datasets/drawn_128_1000/train.lmdb", (128, 128)),
        ("datasets/congress_photos_train.lmdb", (275, 225)),
        ("datasets/drawn_faces/train.lmdb", (256, 256)),
    ],
)
def test_drawn_pictures_have_the_size_that_a_name_tells(name, size):
    assert picture_size(name) == size


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ("aten::mkldnn_convolution", "convolution, forward"),
        ("aten::convolution_backward", "convolution, backward"),
        ("ConvolutionBackward0", "convolution, backward"),
        ("aten::native_batch_norm_backward", "normalisation"),
        ("aten::normal_", "elementwise and copies"),
        ("aten::_fused_adam_", "optimizer"),
        ("aten::upsample_nearest2d", "resampling"),
        ("aten::mul", "elementwise and copies"),
    ],
)
def test_operations_fall_into_their_groups(operation, kind):
    assert kind in KINDS
    assert kind_of(operation) == kind
