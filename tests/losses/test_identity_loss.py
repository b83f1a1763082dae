"""Identity loss: against the networks' own vectors, with gradients, and what it refuses."""

import pytest
import torch
from torch.nn import functional as F

from restore.errors import UserError
from restore.faces.align import similarity, warp
from restore.faces.face import Face
from restore.features.mobilefacenet import MobileFaceNet
from restore.losses.identity_loss import IdentityLoss
from restore.options.load import load
from restore.registry import LOSSES, Part
from restore.step import Step

pytestmark = pytest.mark.filterwarnings("ignore:.*random weights, as asked for")
LANDMARKS = torch.tensor([[[20.0, 25], [43, 24], [32, 36], [23, 48], [41, 49]]]).repeat(2, 1, 1)


def step_of(landmarks=LANDMARKS, size=(64, 64)):
    pred, gt = torch.rand(2, 2, 3, *size, generator=torch.Generator().manual_seed(0)).unbind(0)
    step = Step(lq=gt, gt=gt, landmarks=landmarks)
    step.pred = pred.requires_grad_()
    return step


def vectors(loss, step, landmarks):
    network = loss.identity.network
    template = torch.tensor(MobileFaceNet.template)
    return [network(warp(x, similarity(landmarks, template), (112, 96))) for x in (step.pred, step.gt)]


def test_cosine_equals_torchs_and_reaches_the_prediction():
    step, loss = step_of(), IdentityLoss(weights="random")
    expected = 1 - F.cosine_similarity(*vectors(loss, step, LANDMARKS)).mean()
    assert loss(step).item() == pytest.approx(expected.item(), abs=1e-6)
    loss(step).backward()
    assert step.pred.grad[:, :, 20:50, 20:44].abs().max() > 0
    assert all(p.grad is None for p in loss.parameters())
    step.pred = step.gt
    assert loss(step).item() == pytest.approx(0, abs=1e-6)


def test_l2_is_the_distance_of_the_unit_vectors():
    """Between them stands the chord: l2^2 = 2 (1 - cosine)."""
    step, loss = step_of(), IdentityLoss(distance="l2", weights="random")
    one, other = (F.normalize(x) for x in vectors(loss, step, LANDMARKS))
    assert loss(step).item() == pytest.approx((one - other).square().sum(1).sqrt().mean().item(), abs=1e-6)
    loss(step).backward()
    assert step.pred.grad.abs().max() > 0
    single = step_of(LANDMARKS[:1])
    single.gt, single.pred = single.gt[:1], single.pred[:1]
    assert loss(single).item() ** 2 == pytest.approx(2 * IdentityLoss(weights="random")(single).item(), abs=1e-5)


def test_l2_of_equal_pictures_has_no_infinite_gradient():
    step, loss = step_of(), IdentityLoss(distance="l2", weights="random")
    step.pred = step.gt.clone().requires_grad_()
    loss(step).backward()
    assert step.pred.grad.isfinite().all()


@pytest.mark.parametrize("size", [(64, 64), (72, 64)])
def test_aligned_faces_need_no_landmarks(size):
    """The same as landmarks of the average face."""
    average = torch.from_numpy(Face.aligned(*size).landmarks).repeat(2, 1, 1)
    told, known = IdentityLoss(weights="random"), IdentityLoss(weights="random", faces="aligned")
    assert known(step_of(None, size)).item() == pytest.approx(told(step_of(average, size)).item(), abs=1e-7)
    assert known(step_of(LANDMARKS, size)).item() == known(step_of(None, size)).item()


def test_no_landmarks_are_told():
    with pytest.raises(UserError, match="gives no landmarks; set datasets.train.landmarks, or `faces: aligned`"):
        IdentityLoss(weights="random")(step_of(None))


def test_what_it_needs_of_the_option_file(lab):
    """Landmarks, before anything is built; nothing with aligned faces."""
    loss = "train.losses.identity={type: IdentityLoss, weights: random"
    with pytest.raises(UserError, match="IdentityLoss needs `datasets.train.landmarks`"):
        load(lab.file, [f"{loss}}}"])
    load(lab.file, [f"{loss}, faces: aligned, distance: l2}}"])


def test_a_network_without_gradients():
    with pytest.raises(UserError, match="`sface` has no gradient and cannot train"):
        LOSSES.build(Part(type="IdentityLoss", network="sface"))


def test_a_network_without_a_registered_file():
    with pytest.raises(UserError, match="resnet50: has no registered file; give `weights: FILE`"):
        IdentityLoss("resnet50")


def test_stays_in_evaluation_and_draws_nothing():
    torch.manual_seed(3)
    loss = IdentityLoss(weights="random").train()
    assert not any(module.training for module in loss.identity.network.modules())
    assert torch.initial_seed() == 3
    number = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(number, torch.rand(1))
