"""The inpainting task: what the network sees, what stays as it was, which layers a loss may look at; exact resuming."""

import shutil
from functools import partial

import pytest
import torch

from restore.engine.described import inpainting_task
from restore.engine.experiment import Experiment
from restore.engine.logging import Log
from restore.engine.methods import model_methods
from restore.engine.trainer import Trainer
from restore.errors import UserError
from restore.weights import read_weights
from tests.lab import assert_same_run

OVERRIDES = (
    "scale=1",
    "task={type: Inpainting}",
    "network_g={type: UNet, num_feat: 4, num_level: 2}",
    "datasets.train.type=OccludedImageDataset",
    "datasets.train.gt_size=null",
    "datasets.train.occlusion=[{type: LowerFace}]",
    "datasets.val.type=OccludedImageDataset",
    "datasets.val.occlusion=[{type: LowerFace}]",
    "val.metrics={psnr: {}, psnr_hole: {}, psnr_known: {}}",
)
GAME = (
    "network_d={type: PatchGAN, num_feat: 4, n_layers: 1, norm: instance}",
    "train.optim_d={type: Adam, lr: 0.001}",
    "train.losses.adversarial={type: GANLoss, weight: 0.1}",
)
MATCHING = "train.losses.matching={type: FeatureMatchingLoss, weight: 2}"


@pytest.fixture
def trainer(lab):
    def make(*overrides):
        options = lab.options(*OVERRIDES, *overrides)
        return Trainer(options, Experiment([options]), Log())

    return make


def first_step(trainer):
    with trainer._batches() as batches:
        trainer.iter += 1
        (step,) = trainer._prepare(next(batches))
    return step


def test_the_mask_reaches_network_losses_and_metrics(trainer, lab):
    run = trainer()
    step = first_step(run)
    assert step.mask.shape == (4, 1, 64, 64)
    assert set(step.mask.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(step.lq * (1 - step.mask), step.gt * (1 - step.mask))
    network = run.task.network_g.eval()
    with torch.no_grad():
        assert not torch.equal(network(step.lq, step.mask), network(step.lq, torch.zeros_like(step.mask)))
    with pytest.raises(ValueError, match="mask"):
        network(step.lq)
    scores = run.validator  # a validation scores the hole
    table, _ = scores._score_share("val", scores.sets["val"], partial(run.task.predict, network), 0, _NeverStopped())
    assert table.means("model").keys() == {"psnr", "psnr_hole", "psnr_known"}


class _NeverStopped:
    received = None


def test_known_pixels_stay_and_the_raw_answer_is_beside(lab, tmp_path):
    folder = lab.train(*OVERRIDES, "train.total_iter=2")
    weights = f"path.pretrain_network_g={folder}"
    methods = model_methods(lab.options(*OVERRIDES, weights), torch.device("cpu"))
    assert list(methods) == ["model", "model_raw"]
    generator = torch.Generator().manual_seed(0)
    lq = torch.rand(1, 3, 50, 61, generator=generator)
    mask = (torch.rand(1, 1, 50, 61, generator=generator) > 0.7).float()
    with torch.no_grad():
        final, raw = (method(lq, mask) for method in methods.values())
    missing = mask.expand_as(lq) > 0
    assert torch.equal(final[~missing], lq[~missing])
    assert torch.equal(final[missing], raw[missing])
    assert not torch.equal(raw[~missing], lq[~missing])
    plain = model_methods(lab.options(*OVERRIDES, weights, "task.composite=false"), torch.device("cpu"))
    assert list(plain) == ["model"]
    with torch.no_grad():
        assert torch.equal(plain["model"](lq, mask), raw)


def test_a_hole_that_is_not_shown_tells_nothing_and_the_weights_say_so(lab):
    folder = lab.train(*OVERRIDES, "task={type: Inpainting, show_hole: false}", "train.total_iter=2")
    weights = f"path.pretrain_network_g={folder}"
    task = inpainting_task((facts := read_weights(folder).facts), facts["arch"])
    assert task == {"type": "Inpainting", "show_hole": False}
    generator = torch.Generator().manual_seed(0)
    lq, mask = torch.rand(1, 3, 64, 64, generator=generator), torch.zeros(1, 1, 64, 64)
    mask[..., 20:40, 10:50] = 1
    other = torch.where(mask > 0, torch.rand(1, 3, 64, 64, generator=generator), lq)
    for section, same in ((task, True), ({"type": "Inpainting"}, False)):
        method = model_methods(lab.options(*OVERRIDES, weights, f"task={section}"), torch.device("cpu"))["model_raw"]
        with torch.no_grad():
            assert torch.equal(method(lq, mask), method(other, mask)) == same


def test_a_network_without_a_mask_can_be_trained_too(lab):
    lab.train(*OVERRIDES, "network_g={type: MSRResNet, num_feat: 4, num_block: 1, upscale: 1}", "train.total_iter=2")


def test_a_data_set_without_masks_is_told(lab):
    root = lab.options().datasets.train.args["dataroot_gt"]
    section = {"type": "PairedImageDataset", "dataroot_gt": root, "dataroot_lq": root}
    with pytest.raises(UserError, match="yields no masks"):
        lab.train(*OVERRIDES, f"datasets.train={section}", "val.metrics={}")


@pytest.mark.parametrize("overrides", [OVERRIDES, (*OVERRIDES, *GAME, MATCHING)], ids=["plain", "game"])
def test_resumed_equals_uninterrupted(lab, overrides):
    whole = lab.train(*overrides, "train.total_iter=6", runs="whole")
    lab.train(*overrides, "train.total_iter=6", "logger.save_checkpoint_freq=3", runs="cut")
    for checkpoint in (lab.experiment("cut") / "checkpoints").iterdir():
        if checkpoint.name in ("6", "latest"):
            _remove(checkpoint)
    lab.train(*overrides, "train.total_iter=6", runs="cut", flags=("--auto_resume",))
    assert_same_run(whole, lab.experiment("cut"))


def _remove(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_matching_looks_at_the_discriminators_layers(trainer):
    run = trainer(*GAME, MATCHING)
    step = first_step(run)
    losses = run.task.generator_losses(step)
    real, pred = (run.task.networks["network_d"].layers(picture)[:-1] for picture in (step.gt, step.pred))
    assert len(step.features_pred) == len(real)
    expected = 2 * torch.stack([(one - other).abs().mean() for one, other in zip(pred, real, strict=True)]).mean()
    assert torch.allclose(losses["l_matching"], expected, rtol=1e-5)
    losses["l_matching"].backward()
    assert all(p.grad is None for p in run.task.networks["network_d"].parameters())
    assert any(p.grad is not None and p.grad.any() for p in run.task.network_g.parameters())


def test_matching_without_a_discriminator_that_shows_layers_is_told(trainer):
    with pytest.raises(UserError, match="UNetDiscriminatorSN does not show its layers"):
        trainer(*GAME[1:], "network_d={type: UNetDiscriminatorSN, num_feat: 4}", MATCHING)


def test_a_discriminator_of_several_scales_plays(lab):
    multi = "network_d={type: MultiScalePatchGAN, num_scale: 2, num_feat: 4, n_layers: 1, norm: instance}"
    r1 = "train.discriminator={r1_weight: 1.0, r1_every: 1}"
    lab.train(*OVERRIDES, multi, *GAME[1:], MATCHING, r1, "train.total_iter=2")


@pytest.mark.parametrize("shown", ["input", "mask"])
def test_a_conditional_discriminator_sees_more(lab, shown):
    channels = {"input": 6, "mask": 4}[shown]
    network = f"network_d={{type: PatchGAN, num_in_ch: {channels}, num_feat: 4, n_layers: 1, norm: instance}}"
    loss = f"train.losses.adversarial={{type: GANLoss, conditional: {shown}}}"
    lab.train(*OVERRIDES, network, GAME[1], loss, "train.total_iter=2")
