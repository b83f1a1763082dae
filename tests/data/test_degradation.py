"""LQ made by a `degradation` in the option file: by a worker or on the device, with the target sharpened or not."""

import numpy as np
import pytest
import torch

from restore import images, keyed
from restore.data.image_dataset import GTImageDataset
from restore.data.loader import defer_degradation, train_batches
from restore.degradations.sharpen import usm_sharpen
from restore.errors import UserError
from restore.registry import Part
from tests.lab import assert_same_run, signal_at

REALESRGAN = "datasets.train.degradation=[{type: realesrgan}]"
DEVICE = "datasets.train.degrade_on=device"


def dataset(faces, *parts, **arguments) -> GTImageDataset:
    return GTImageDataset(str(faces), 4, gt_size=48, degradation=[Part(type=part) for part in parts], **arguments)


def batch_of(source, workers=0):
    plan = {"seed": 3, "batch_size": 8, "enlarge": 1, "workers": workers, "start": 0, "stop": 1, "pin": False}
    with train_batches(source, **plan) as batches:
        return next(batches)


@pytest.mark.parametrize("preset", ["gfpgan", "realesrgan", "bicubic"])
@pytest.mark.parametrize("gt_usm", [False, True])
def test_worker_and_device_make_the_same_pictures(faces, preset, gt_usm):
    """Of the batch path run on the CPU; JPEG coefficients may turn over by rounding, hence the share."""
    worker = batch_of(dataset(faces, preset, gt_usm=gt_usm)).to(torch.device("cpu"))
    source = dataset(faces, preset, gt_usm=gt_usm)
    pipeline = defer_degradation(source)
    batch = batch_of(source)
    assert "lq" not in batch.tensors
    gt = batch.to(torch.device("cpu"))["gt"]
    made = {"gt": gt} | pipeline(gt, [keyed.draws("degrade", seed) for seed in batch.seeds])
    assert made.keys() == worker.keys()
    for name in made:
        within = ((made[name] - worker[name]).abs() <= 1.01 / 255).float().mean()
        assert within > 0.99, name


def test_a_sharpened_target_comes_with_the_picture_as_it_was(faces):
    plain, sharp = (batch_of(dataset(faces, "bicubic", gt_usm=usm)).to(torch.device("cpu")) for usm in (False, True))
    assert torch.equal(sharp["real"], plain["gt"])
    expected = usm_sharpen(plain["gt"])
    assert (sharp["gt"] - expected).abs().max() <= 0.501 / 255
    assert not torch.equal(sharp["gt"], plain["gt"])


def test_each_epoch_and_each_picture_has_its_own_draw(faces):
    source = dataset(faces, "realesrgan")
    loads = [source.load(0, keyed.draws(0, "train", epoch, 0, 0))["lq"] for epoch in (0, 1)]
    assert not np.array_equal(*loads)
    again = source.load(0, keyed.draws(0, "train", 1, 0, 0))["lq"]
    assert np.array_equal(loads[1], again)
    batch = batch_of(source)
    assert batch.tensors["lq"].shape == (8, 3, 12, 12)
    assert batch.tensors["lq"].dtype == torch.uint8


def test_augmentation_comes_before_the_degradation(faces):
    """The LQ of a flipped GT is that of the flipped GT, not the flipped LQ."""
    flip = [Part(type="RandomFlip", horizontal=1.0)]
    sample = dataset(faces, "bicubic", transforms=flip).load(1, keyed.draws(5))
    from restore.degradations.resize import shrink

    assert np.array_equal(sample["lq"], shrink(sample["gt"], 4))


@pytest.mark.parametrize("where", [(), (DEVICE,)])
def test_blind_training_resumes_exactly(lab, monkeypatch, where):
    overrides = (REALESRGAN, "datasets.train.gt_usm=true", *where)
    whole = lab.train(*overrides)
    with monkeypatch.context() as patch:
        signal_at(patch, 7)
        with pytest.raises(Exception, match="saved at iteration 7"):
            lab.train(*overrides, runs="stopped")
    assert_same_run(whole, lab.train(*overrides, runs="stopped", flags=("--auto_resume",)))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([DEVICE], "has no `degradation` to run there"),
        (["datasets.train.gt_usm=true"], "gt_usm: true: .* add one"),
        (["datasets.train.degradation=[{type: Blur}]"], "at 32x32 pixels, the LQ has 8x8; end it with `type: Resize"),
        (["datasets.train.degradation=[{type: Blurr}]"], r"degradation.0.type: no `Blurr`.*did you mean `Blur`"),
        (["datasets.train.degradation=[{type: Jpeg, quality: [30, 900]}]"], r"degradation.0.quality.1: should be less"),
    ],
)
def test_mistakes_are_told(lab, overrides, message):
    with pytest.raises(UserError, match=message):
        lab.train(*overrides)


def test_pictures_are_levels_of_eight_bits(faces):
    source = dataset(faces, "realesrgan")
    lq = images.to_unit(source.load(0, keyed.draws(1))["lq"])
    assert torch.equal(lq, (lq * 255).round() / 255)
