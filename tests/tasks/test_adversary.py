"""The adversarial game: who gets which gradient, when it begins, and what the losses are."""

import pytest
import torch
import yaml
from torch.nn import functional as F

from restore.engine.experiment import Experiment
from restore.engine.logging import Log
from restore.engine.trainer import Trainer
from restore.losses.gan_loss import GANLoss, RelativisticGANLoss
from restore.step import Step
from tests.oracles import basicsr


@pytest.fixture
def game(lab):
    """Overrides make the tiny experiment a game; gives a trainer and a step of its first batch."""

    def make(*overrides: str, loss: str = "{type: GANLoss, weight: 0.1}"):
        options = lab.options(
            "network_d={type: PatchGAN, num_feat: 8, n_layers: 1, norm: none}",
            "train.optim_d={type: Adam, lr: 0.001}",
            f"train.losses.adversarial={loss}",
            *overrides,
        )
        trainer = Trainer(options, Experiment([options]), Log())
        with trainer._batches() as batches:
            trainer.iter += 1
            (step,) = trainer._prepare(next(batches))
        return trainer, step

    return make


def gradients(network):
    return [p.grad for p in network.parameters()]


def test_the_generator_hears_the_discriminator_and_leaves_no_trace_in_it(game):
    trainer, step = game("train.losses.pixel.weight=0")
    sum(loss for name, loss in trainer.task.generator_losses(step).items() if name.startswith("l_")).backward()
    generator, discriminator = trainer.task.networks.values()
    assert all(grad is not None and grad.abs().max() > 0 for grad in gradients(generator))
    assert all(grad is None for grad in gradients(discriminator))
    assert all(p.requires_grad for p in discriminator.parameters())


def test_the_discriminator_learns_and_the_generator_does_not(game):
    trainer, step = game()
    trainer.task.generator_losses(step)
    losses = trainer.task.adversaries[0].discriminator_losses(step)
    (losses["l_d_real"] + losses["l_d_fake"]).backward()
    generator, discriminator = trainer.task.networks.values()
    assert all(grad is None for grad in gradients(generator))
    assert all(grad is not None and grad.abs().max() > 0 for grad in gradients(discriminator))


def test_a_delayed_discriminator(game):
    trainer, step = game("train.discriminator.start=3")
    assert "l_adversarial" not in trainer.task.generator_losses(step)
    assert not trainer.task.adversaries[0].phase.due(2)
    step.iter = 3
    assert "l_adversarial" in trainer.task.generator_losses(step)
    assert trainer.task.adversaries[0].phase.due(3)


def test_adaptive_weight_makes_the_gradient_as_long_as_the_others_times_the_weight(game):
    trainer, step = game("train.discriminator.adaptive_weight=true")
    losses = trainer.task.generator_losses(step)
    last = trainer.task.network_g.conv_last.weight
    norms = [
        torch.autograd.grad(losses[name], last, retain_graph=True)[0].norm() for name in ("l_pixel", "l_adversarial")
    ]
    assert norms[1] == pytest.approx(0.1 * float(norms[0]), rel=1e-4)  # its weight


def test_penalty_is_the_squared_gradient_of_real_pictures(game):
    """Against a numerical gradient of the logits' sum along random directions."""
    trainer, step = game("train.discriminator={r1_weight: 10, r1_every: 4}")
    adversary = trainer.task.adversaries[0]
    trainer.task.generator_losses(step)
    assert "l_d_r1" not in adversary.discriminator_losses(step)
    step.iter = 4
    r1 = adversary.discriminator_losses(step)["l_d_r1"]
    r1.backward()
    assert any(grad is not None and grad.abs().max() > 0 for grad in gradients(adversary.network))
    network = adversary.network.double()
    real = step.real.double().requires_grad_()
    grad = torch.autograd.grad(network(real).sum(), real)[0]
    direction = grad / grad.norm()
    numeric = (network(real + 1e-5 * direction).sum() - network(real - 1e-5 * direction).sum()) / 2e-5
    expected = 10 / 2 * 4 * numeric.square() / len(real)
    assert float(r1.detach()) == pytest.approx(float(expected.detach()), rel=1e-3)


@pytest.mark.parametrize("loss", ["{type: GANLoss, gan_type: hinge}", "{type: RelativisticGANLoss}"])
def test_a_game_is_trained_resumed_and_saved(lab, loss):
    section = yaml.safe_load(lab.file.read_text())
    section["network_d"] = {"type": "UNetDiscriminatorSN", "num_feat": 4}
    section["train"] |= {"optim_d": {"type": "Adam", "lr": 0.001}, "discriminator": {"r1_weight": 1, "r1_every": 2}}
    section["train"]["losses"]["adversarial"] = yaml.safe_load(loss)
    lab.file.write_text(yaml.safe_dump(section))
    run = lab.train("train.total_iter=4")
    assert {"network_d.safetensors", "network_g_ema.safetensors"} <= {p.name for p in (run / "checkpoints/4").iterdir()}


LOGITS = torch.linspace(-2, 3, 24).reshape(4, 1, 2, 3), torch.linspace(1, -1.5, 24).reshape(4, 1, 2, 3)


def a_step(real, fake):
    step = Step(lq=real, gt=real)
    step.logits_real, step.logits_pred = real, fake
    return step


@pytest.mark.parametrize("kind", ["vanilla", "lsgan", "hinge", "wgan", "wgan_softplus"])
def test_losses_equal_basicsr(kind):
    """BasicSR 1.4.2's GANLoss, within float32's rounding."""
    theirs = basicsr("losses.gan_loss").GANLoss(kind, real_label_val=1.0, fake_label_val=0.0, loss_weight=1.0)
    step = a_step(*LOGITS)
    ours = GANLoss(kind)
    assert float(ours(step)) == pytest.approx(float(theirs(step.logits_pred, True, is_disc=False)), abs=1e-6)
    losses = ours.discriminator(step)
    assert float(losses["l_d_real"]) == pytest.approx(float(theirs(step.logits_real, True, is_disc=True)), abs=1e-6)
    assert float(losses["l_d_fake"]) == pytest.approx(float(theirs(step.logits_pred, False, is_disc=True)), abs=1e-6)


def test_relativistic_loss_is_esrgans():
    """Formula (2) and its mirror in Wang et al., ECCVW 2018, with cross entropy from torch."""
    real, fake = LOGITS
    one, zero = torch.ones_like(real), torch.zeros_like(real)
    bce = F.binary_cross_entropy_with_logits
    ours = RelativisticGANLoss()
    generator = (bce(real - fake.mean(), zero) + bce(fake - real.mean(), one)) / 2
    discriminator = (bce(real - fake.mean(), one) + bce(fake - real.mean(), zero)) / 2
    assert float(ours(a_step(real, fake))) == pytest.approx(float(generator), abs=1e-6)
    assert float(sum(ours.discriminator(a_step(real, fake)).values())) == pytest.approx(float(discriminator), abs=1e-6)
