"""Training a face network against discriminators of the picture, the eyes and the mouth, and with an identity loss."""

import pytest
import torch
import yaml

from restore.data.drawn import draw_face
from restore.data.landmarks import write_landmarks
from restore.engine.experiment import Experiment
from restore.engine.logging import Log
from restore.engine.trainer import Trainer
from restore.errors import Preempted, UserError
from restore.options.load import load_stages
from tests.lab import assert_same_run, signal_at

pytestmark = pytest.mark.filterwarnings("ignore:.*random weights, as asked for")

GAMES = {
    "adversarial": {"type": "GANLoss", "weight": 0.1},
    "parts": {"type": "ComponentGANLoss", "weight": 0.1, "size": 16},
    "identity": {"type": "IdentityLoss", "weight": 0.1, "weights": "random"},
}


@pytest.fixture
def faces_lab(lab):
    """The tiny experiment with landmarks, two discriminators and all losses on faces."""
    points = {f"{n:03d}": draw_face(0, n, 64).landmarks - 0.5 for n in range(12)}
    write_landmarks(lab.root / "landmarks.json", points)
    section = yaml.safe_load(lab.file.read_text())
    section["network_d"] = {"type": "PatchGAN", "num_feat": 4, "n_layers": 1}
    section["network_d_parts"] = {"type": "FacialComponentDiscriminator", "num_feat": 4}
    section["datasets"]["train"] |= {"landmarks": str(lab.root / "landmarks.json"), "gt_size": 64, "batch_size": 2}
    section["train"] |= {"optim_d": {"type": "Adam", "lr": 0.001}}
    section["train"]["losses"] |= GAMES
    lab.file.write_text(yaml.safe_dump(section))
    return lab


def begin(options):
    trainer = Trainer(options, Experiment([options]), Log())
    with trainer._batches() as batches:
        trainer.iter += 1
        (step,) = trainer._prepare(next(batches))
    return trainer, step


def has_gradients(network):
    return [p.grad is not None and bool(p.grad.any()) for p in network.parameters() if p.requires_grad]


@pytest.mark.parametrize("name", GAMES)
def test_the_generator_hears_each_loss_and_leaves_no_trace_in_a_discriminator(faces_lab, name):
    trainer, step = begin(faces_lab.options())
    trainer.task.generator_losses(step)[f"l_{name}"].backward()
    networks = trainer.task.networks
    assert all(has_gradients(networks["network_g"]))
    for discriminator in ("network_d", "network_d_parts"):
        assert not any(has_gradients(networks[discriminator]))
        assert all(p.requires_grad for p in networks[discriminator].parameters())


@pytest.mark.parametrize("phase", ["d", "d_parts"])
def test_each_discriminator_learns_alone(faces_lab, phase):
    trainer, step = begin(faces_lab.options("train.discriminator={r1_weight: 1, r1_every: 1}"))
    assert [p.name for p in trainer.task.phases] == ["g", "d", "d_parts"]
    trainer.task.generator_losses(step)
    (own,) = (p for p in trainer.task.phases if p.name == phase)
    losses = own.losses(step)
    assert list(losses) == [
        f"{name}_{phase}_{end}"
        for name, end in (("l", "real"), ("l", "fake"), ("out", "real"), ("out", "fake"), ("l", "r1"))
    ]
    sum(loss for name, loss in losses.items() if name.startswith("l_")).backward()
    for name, network in trainer.task.networks.items():
        assert all(has_gradients(network)) if name == f"network_{phase}" else not any(has_gradients(network))


def test_each_adversary_has_its_adaptive_weight(faces_lab):
    trainer, step = begin(faces_lab.options("train.discriminator.adaptive_weight=true"))
    losses = trainer.task.generator_losses(step)
    last = trainer.task.network_g.conv_last.weight
    lengths = {n: torch.autograd.grad(x, last, retain_graph=True)[0].norm() for n, x in losses.items() if n[:2] == "l_"}
    others = torch.autograd.grad(losses["l_pixel"] + losses["l_identity"], last, retain_graph=True)[0].norm()
    for name in ("l_adversarial", "l_parts"):
        assert float(lengths[name]) == pytest.approx(0.1 * float(others), rel=1e-3)
    assert {"adaptive_weight_d", "adaptive_weight_d_parts"} < set(losses)


def test_trains_and_resumes_exactly(faces_lab, monkeypatch):
    whole = faces_lab.train("train.total_iter=6", runs="whole")
    saved = {path.name for path in (whole / "checkpoints" / "6").iterdir()}
    assert {"network_d.safetensors", "network_d_parts.safetensors"} <= saved
    signal_at(monkeypatch, 3)
    with pytest.raises(Preempted):
        faces_lab.train("train.total_iter=6")
    monkeypatch.undo()
    assert_same_run(faces_lab.train("train.total_iter=6", flags=("--auto_resume",)), whole)


def test_landmarks_survive_a_degradation_on_the_device(faces_lab):
    options = faces_lab.options(
        "datasets.train.degradation=[{type: bicubic}]", "datasets.train.degrade_on=device", "train.accumulate=2"
    )
    trainer = Trainer(options, Experiment([options]), Log())
    with trainer._batches() as batches:
        steps = trainer._prepare(next(batches))
    assert [step.landmarks.shape for step in steps] == [(1, 5, 2), (1, 5, 2)]
    assert 0 < steps[0].landmarks.min() < steps[0].landmarks.max() < 64


def test_a_stage_may_change_the_discriminator_of_parts(faces_lab):
    section = yaml.safe_load(faces_lab.file.read_text())
    section["stages"] = [
        {"name": "one", "train": {"total_iter": 1, "losses": {"parts": None}}},
        {"name": "two", "train": {"total_iter": 1}, "network_d_parts": {"num_feat": 2}},
    ]
    faces_lab.file.write_text(yaml.safe_dump(section))
    stages = load_stages(faces_lab.file)
    assert [stage.network_d_parts.args["num_feat"] for stage in stages] == [4, 2]
    faces_lab.train()


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("network_d_parts=null", "ComponentGANLoss needs `network_d_parts`"),
        ("datasets.train.landmarks=null", "IdentityLoss needs `datasets.train.landmarks`"),
        ("train.losses.parts_2={type: ComponentGANLoss}", "parts_2: there is no `network_d_parts` of its own"),
    ],
)
def test_mistakes(faces_lab, override, told):
    with pytest.raises(UserError, match=told):
        begin(faces_lab.options(override))
