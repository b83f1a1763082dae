"""Several stages in one file: each begins with the weights of the one before, and a run resumes in and across them."""

import pytest
import torch
import yaml
from safetensors.torch import load_file

from restore.engine.checkpoint import Checkpoint, open_checkpoint
from restore.engine.experiment import dump_stages
from restore.errors import Preempted, UserError
from restore.options.load import load, load_stages
from tests.lab import assert_same_run, last, signal_at

STAGES = [
    {"name": "first", "train": {"total_iter": 5}},
    {
        "name": "second",
        "train": {
            "total_iter": 4,
            "optim_g": {"lr": 0.0005},
            "losses": {"pixel": {"weight": 0.5}, "sharp": {"type": "MSELoss"}},
        },
    },
    {
        "name": "third",
        "start_from": "best",
        "network_d": {"type": "PatchGAN", "num_feat": 8, "n_layers": 1},
        "train": {
            "total_iter": 3,
            "optim_d": {"type": "Adam", "lr": 0.001},
            "losses": {"pixel": {"weight": 0.01}, "adversarial": {"type": "GANLoss", "weight": 0.1}},
        },
    },
]


@pytest.fixture
def staged(lab):
    section = yaml.safe_load(lab.file.read_text())
    section["stages"] = STAGES
    section["logger"] |= {"save_checkpoint_freq": 2, "keep_checkpoints": 0}
    section["val"]["val_freq"] = 2
    lab.file.write_text(yaml.safe_dump(section))
    return lab


def test_stages_follow_each_other(staged):
    run = staged.train()
    assert sorted(int(path.name) for path in (run / "checkpoints").glob("[0-9]*")) == [2, 4, 5, 6, 8, 9, 10, 12]
    assert last(run).iteration == 12
    stages = {n: open_checkpoint(run / "checkpoints" / str(n)).state()["stage"] for n in (5, 6, 9, 10)}
    assert stages == {5: "first", 6: "second", 9: "second", 10: "third"}
    assert (last(run).path / "network_d.safetensors").is_file()
    assert not (run / "checkpoints" / "9" / "network_d.safetensors").exists()


def test_a_stage_begins_with_the_averaged_weights_of_the_one_before(staged, monkeypatch):
    seen = {}
    from restore.engine import stages

    begin = stages.begin_from

    def watching(trainer, checkpoint: Checkpoint):
        begin(trainer, checkpoint)
        own = trainer.task.networks["network_g"].state_dict()
        seen[trainer.options.stage.name] = checkpoint, {name: tensor.clone() for name, tensor in own.items()}

    monkeypatch.setattr(stages, "begin_from", watching)
    run = staged.train()
    for name, iteration in (("second", 5), ("third", int((run / "checkpoints" / "best").read_text()))):
        checkpoint, weights = seen[name]
        expected = load_file(checkpoint.path / "network_g_ema.safetensors")
        assert all(torch.equal(weights[key], expected[key]) for key in expected)
        if name == "second":
            assert checkpoint.iteration == iteration


@pytest.mark.parametrize("stop_at", [3, 5, 6, 8, 9, 11])
def test_resuming_in_and_across_stages_is_exact(staged, monkeypatch, stop_at):
    whole = staged.train()
    with monkeypatch.context() as patch:
        signal_at(patch, stop_at)
        with pytest.raises(Preempted, match=f"saved at iteration {stop_at}"):
            staged.train(runs="stopped")
    assert_same_run(whole, staged.train(runs="stopped", flags=("--auto_resume",)))


def test_a_stage_alone(staged):
    run = staged.train("stages.1.train.total_iter=2", flags=("--stage", "second"))
    alone = run.with_name("tiny_second")
    assert last(alone).iteration == 2
    with pytest.raises(UserError, match="--stage secnd: no such stage; did you mean `second`"):
        staged.train(flags=("--stage", "secnd"))


def test_what_a_later_stage_lacks_is_told_before_the_first_is_trained(staged):
    loss = "{type: PerceptualLoss, network: vgg_normalised, weights: random, layers: {conv9_9: 1}}"
    with pytest.raises(UserError, match="conv9_9"):
        staged.train(f"stages.2.train.losses.looks={loss}")
    assert not (staged.experiment() / "checkpoints").exists()


def test_stages_differ_as_the_file_says(staged):
    first, second, third = load_stages(staged.file)
    assert [options.train.total_iter for options in (first, second, third)] == [5, 4, 3]
    assert list(second.train.losses) == ["pixel", "sharp"]
    assert list(third.train.losses) == ["pixel", "adversarial"]
    assert third.network_d.type == "PatchGAN"
    assert second.network_d is None


def test_the_saved_options_are_the_same_stages(staged, tmp_path):
    stages = load_stages(staged.file)
    (tmp_path / "again.yml").write_text(dump_stages(stages))
    assert load_stages(tmp_path / "again.yml") == stages


def test_testing_needs_no_stages(staged):
    assert load(staged.file, testing=True).train is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nme": "x"}, r"tiny.yml:\d+: stages.1.nme: unknown key; did you mean `name`"),
        ({"name": "first"}, r"tiny.yml:\d+: stages.1.name: `first` is written twice"),
        ({"name": "x", "trian": {}}, r"tiny.yml:\d+: stages.1.trian: unknown key; did you mean `train`"),
        (
            {"name": "x", "train": {"totl_iter": 3}},
            r"tiny.yml:\d+: train.totl_iter: unknown key; did you mean `total_iter`",
        ),
        (
            {"name": "x", "train": {"losses": {"gan": {"type": "GANLoss"}}}},
            r"tiny.yml:\d+: train.losses.gan.type: GANLoss needs `network_d`",
        ),
    ],
)
def test_mistakes_in_stages_are_told_once_with_their_line(staged, change, message):
    section = yaml.safe_load(staged.file.read_text())
    section["stages"][1] = change
    staged.file.write_text(yaml.safe_dump(section))
    with pytest.raises(UserError, match=message) as caught:
        load_stages(staged.file)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(set(lines))
