"""The segmentation task: what the network is shown, what losses compare, that it learns; mistakes told."""

import pytest
import torch

from restore.engine.experiment import Experiment
from restore.engine.logging import Log
from restore.engine.trainer import Trainer
from restore.errors import UserError
from restore.weights import read_facts

OVERRIDES = (
    "scale=1",
    "task={type: Segmentation}",
    "network_g={type: UNet, mask_channel: false, num_feat: 8, num_level: 2, num_out_ch: 1}",
    "datasets.train.type=OccludedImageDataset",
    "datasets.train.gt_size=null",
    "datasets.train.occlusion=[{type: LowerFace, fill: [200, 30, 30]}]",
    "datasets.val.type=OccludedImageDataset",
    "datasets.val.occlusion=[{type: LowerFace, fill: [200, 30, 30]}]",
    "train.losses={bce: {type: MaskBCELoss}, dice: {type: MaskDiceLoss, weight: 0.5}}",
    "val.metrics={iou: {}}",
)


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


def test_the_losses_compare_the_answer_to_the_hidden_picture_with_the_mask(trainer):
    run = trainer()
    step = first_step(run)
    assert step.mask.shape == (4, 1, 64, 64)
    losses = run.task.generator_losses(step)
    assert losses.keys() == {"l_bce", "l_dice"}
    with torch.no_grad():
        assert torch.allclose(step.pred, run.task.network_g(step.lq), atol=1e-5)
    assert step.pred.shape == step.mask.shape


def test_what_it_predicts_is_a_grey_picture_whatever_the_mask(trainer):
    task = trainer().task
    lq = torch.rand(2, 3, 50, 61, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        network = task.network_g.eval()
        pred = task.predict(network, lq)
        assert torch.equal(pred, network(lq).expand(-1, 3, -1, -1))
        assert torch.equal(pred, task.predict(network, lq, torch.ones(2, 1, 50, 61)))
    assert pred.shape == lq.shape
    assert pred.min() >= 0
    assert pred.max() <= 1


def test_it_learns_where_a_colour_is_and_its_file_says_what_it_is(lab, capsys):
    folder = lab.train(*OVERRIDES, "train.total_iter=60", "val.val_freq=60", "train.optim_g={type: Adam, lr: 0.005}")
    told = [line for line in capsys.readouterr().out.splitlines() if "iou" in line]
    assert float(told[0].split("iou: ")[1]) > 0.8
    facts = read_facts(folder)
    assert facts["task"] == {"type": "Segmentation"}
    assert facts["size"] == 64


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (("scale=2",), "scale"),
        (("network_g={type: UNet, mask_channel: false, num_feat: 4}",), "num_out_ch"),
        (("network_g={type: MSRResNet}", "train.losses={bce: {type: MaskBCELoss}}"), "one"),
    ],
)
def test_mistakes_are_told(lab, overrides, told):
    with pytest.raises(UserError, match=told):
        lab.train(*OVERRIDES, "train.total_iter=1", *overrides)


def test_data_without_masks_is_told(lab):
    unmasked = [each for each in OVERRIDES if not each.startswith("datasets.train")]
    with pytest.raises(UserError, match="OccludedImageDataset"):
        lab.train(*unmasked, "datasets.train.scale=1", "train.total_iter=1")
