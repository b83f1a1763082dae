"""Two and four ranks train as one process does: the same samples in the same order, the same losses and weights."""

from pathlib import Path

import pytest

from restore import images
from restore.data.drawn import draw_face
from tests.distributed.diaries import assert_close_curves, assert_close_weights, curves, samples
from tests.distributed.ranks import train
from tests.lab import Lab, tiny_options

TOLERANCE = 1e-9
STEPS = 50
COMMON = (
    f"train.total_iter={STEPS}",
    "train.precision=fp64",
    "datasets.train.batch_size=8",  # of 12 records, so that epochs end within batches
    "val.val_freq=1000",
    "logger.save_checkpoint_freq=1000",
)
RESTORATION = ("task={type: ToldRestoration}",)
SR = (
    *RESTORATION,
    "train.losses.ssim={type: SSIMLoss, weight: 0.1}",
    "train.losses.frequency={type: FocalFrequencyLoss, ave_spectrum: true}",
)
GAME = (
    "network_d={type: PatchGAN, num_feat: 8, n_layers: 1, norm: batch}",
    "train.optim_d={type: Adam, lr: 0.001}",
    "train.sync_bn=true",
    "train.losses.matching={type: FeatureMatchingLoss, weight: 0.1}",
    "train.discriminator={r1_weight: 1, r1_every: 3, start: 4, adaptive_weight: true}",
)
RELATIVISTIC = (*RESTORATION, *GAME, "train.losses.adversarial={type: RelativisticGANLoss, weight: 0.1}")
UNMASKING = (
    "scale=1",
    "task={type: ToldInpainting}",
    "network_g={type: UNet, num_feat: 4, num_level: 1}",
    "datasets.train.type=OccludedImageDataset",
    "datasets.train.gt_size=null",
    "datasets.train.occlusion=[{type: Strokes}]",
    "datasets.val.type=OccludedImageDataset",
    "datasets.val.occlusion=[{type: LowerFace}]",
    "train.losses.pixel={type: HoleL1Loss, weight_hole: 5}",
)
# Parts of an accumulated batch are computed one after the other: nothing here couples samples.
ACCUMULATED = (
    *RESTORATION,
    *GAME,
    "network_d.norm=instance",
    "train.discriminator.adaptive_weight=false",
    "train.losses.adversarial={type: GANLoss, weight: 0.1}",
)
INPAINTING = (*UNMASKING, *GAME, "train.losses.adversarial={type: HoleGANLoss, weight: 0.1, mask_resize: max}")
TASKS = {"sr": SR, "gan": RELATIVISTIC, "inpainting": INPAINTING, "accumulated": ACCUMULATED}
MORE = {  # what the ranks do, and one process does not
    "inpainting": ("datasets.train.num_workers=2",),
    "accumulated": ("train.accumulate=2",),
}


@pytest.fixture(scope="module")
def shared_lab(tmp_path_factory, val_faces) -> Lab:
    """A laboratory whose single-process runs several tests compare with, on twelve faces of 32 px."""
    root = tmp_path_factory.mktemp("lab")
    for index in range(12):
        images.write(root / "faces" / f"{index}.png", draw_face(0, index, 32).image)
    return Lab(root, tiny_options(root / "faces", val_faces))


FAST = "gan"  # reductions with and without gradients, of the most phases
PARAMS = [pytest.param(name, marks=[] if name == FAST else pytest.mark.slow) for name in TASKS]


@pytest.fixture(scope="module", params=PARAMS)
def alone(request, shared_lab):
    """The name of a task, and its run in one process."""
    return request.param, train(shared_lab, 1, *COMMON, *TASKS[request.param], runs=f"{request.param}_1")


def check(lab: Lab, name: str, whole: Path, ranks: int) -> None:
    """That some ranks do the same."""
    experiment = train(lab, ranks, *COMMON, *TASKS[name], *MORE.get(name, ()), runs=f"{name}_{ranks}")
    wanted = samples(whole.parent, 1)
    assert len(wanted) == STEPS
    assert samples(experiment.parent, ranks) == wanted
    assert_close_curves(curves(whole.parent, 1), curves(experiment.parent, ranks), TOLERANCE)
    assert_close_weights(whole, experiment, TOLERANCE)


def test_two_ranks(shared_lab, alone):
    name, whole = alone
    check(shared_lab, name, whole, 2)


@pytest.mark.slow
def test_four_ranks(shared_lab, alone):
    name, whole = alone
    check(shared_lab, name, whole, 4)
