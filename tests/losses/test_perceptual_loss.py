"""Perceptual and style losses: against BasicSR's with the same numbers, and by their properties."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from restore.errors import UserError
from restore.features.vgg import VGG19
from restore.losses.perceptual_loss import LAYERS, NETWORKS, PerceptualLoss, StyleLoss
from restore.registry import LOSSES, Part
from restore.step import Step
from tests.oracles import basicsr, shared

pytestmark = pytest.mark.filterwarnings("ignore:.*random weights, as asked for")
GFPGAN = {"conv1_2": 0.1, "conv2_2": 0.1, "conv3_4": 1, "conv4_4": 1, "conv5_4": 1}
BEHIND = {"relu1_2": 0.5, "relu3_1": 2.0, "pool4": 1.0}


def step(batch=2, size=(48, 40), seed=0):
    draw = torch.Generator().manual_seed(seed)
    made = Step(lq=torch.zeros(1), gt=torch.rand(batch, 3, *size, generator=draw))
    made.pred = (made.gt + 0.1 * torch.randn(made.gt.shape, generator=draw)).requires_grad_()
    return made


@pytest.fixture
def oracle(monkeypatch):
    """BasicSR's PerceptualLoss over torchvision's VGG19 with the random weights of ours."""
    losses, arch = basicsr("losses.basic_loss"), basicsr("archs.vgg_arch")
    vgg = pytest.importorskip("torchvision").models.vgg
    features = vgg.make_layers(vgg.cfgs["E"])
    features.load_state_dict(VGG19(["pool5"], "random").trunk.state_dict())
    monkeypatch.setattr(arch.vgg, "vgg19", lambda pretrained: SimpleNamespace(features=features))
    monkeypatch.setattr(arch, "VGG_PRETRAIN_PATH", "nowhere.pth")
    return losses.PerceptualLoss


@pytest.mark.parametrize("layers", [GFPGAN, BEHIND])
@pytest.mark.parametrize(("criterion", "batch"), [("l1", 2), ("fro", 1)])
def test_equals_basicsrs(oracle, criterion, batch, layers):
    """Value and gradient, perceptual and style; `fro` of one sample, since BasicSR's is not a mean over samples."""
    for index, ours in enumerate((PerceptualLoss, StyleLoss)):
        made, theirs = step(batch), step(batch)
        got = ours(layers=layers, criterion=criterion, weights="random")(made)
        expected = oracle(layers, criterion=criterion, style_weight=1.0)(theirs.pred, theirs.gt)[index]
        assert got.item() == pytest.approx(expected.item(), rel=1e-5)
        got.backward()
        expected.backward()
        scale = theirs.pred.grad.abs().max().item()
        assert scale > 0
        torch.testing.assert_close(made.pred.grad, theirs.pred.grad, rtol=1e-4, atol=1e-4 * scale)


def test_default_is_the_setting_of_gfpgan():
    assert LAYERS["vgg19"] == GFPGAN
    made = step()
    default = PerceptualLoss(weights="random")(made)
    assert default.item() == PerceptualLoss(layers=GFPGAN, weights="random")(made).item()


def test_l2_is_the_mean_square():
    """BasicSR's `l2` names a class that torch does not have."""
    made = step()
    loss = PerceptualLoss(layers={"conv2_1": 3.0}, criterion="l2", weights="random")
    seen, wanted = (loss.features(x)["conv2_1"] for x in (made.pred, made.gt))
    assert loss(made).item() == pytest.approx(3 * F.mse_loss(seen, wanted).item(), rel=1e-6)


@pytest.mark.parametrize("criterion", ["l1", "l2", "fro"])
@pytest.mark.parametrize("part", ["PerceptualLoss", "StyleLoss"])
def test_a_mean_of_per_sample_values(part, criterion):
    loss = LOSSES.build(Part(type=part, network="squeezenet", criterion=criterion, weights="random"))
    made, singles = step(3), []
    for i in range(3):
        one = Step(lq=made.lq, gt=made.gt[i : i + 1])
        one.pred = made.pred[i : i + 1]
        singles.append(loss(one).item())
    assert loss(made).item() == pytest.approx(sum(singles) / 3, rel=1e-4)
    assert len(set(singles)) == 3


@pytest.mark.parametrize("network", list(NETWORKS))
def test_every_network_pulls_towards_the_target(network):
    """Zero at the target with no NaN in the gradient, and one small step down the gradient lowers it."""
    loss = PerceptualLoss(network, weights="random")
    equal = step()
    equal.pred = equal.gt.clone().requires_grad_()
    loss(equal).backward()
    assert loss(equal).item() == 0
    assert torch.isfinite(equal.pred.grad).all()
    made = step()
    before = loss(made)
    before.backward()
    assert not made.gt.requires_grad
    made.pred = (made.pred - 1e-3 * made.pred.grad / made.pred.grad.abs().max()).detach()
    assert loss(made).item() < before.item()


def test_mistakes_are_told_in_one_line():
    with pytest.raises(UserError, match=r"^no layer `conv4_1` in VGGNormalised; did you mean `conv3_1`\?$"):
        PerceptualLoss("vgg_normalised", layers={"conv4_1": 1.0}, weights="random")
    with pytest.raises(UserError, match="layers is empty"):
        PerceptualLoss(layers={}, weights="random")
    with pytest.raises(ValueError, match="vgg19"):
        LOSSES.get("PerceptualLoss").schema.model_validate({"network": "vgg18"})


def test_style_survives_half_precision():
    made = step(size=(96, 96))
    loss = StyleLoss(layers={"relu1_1": 1.0}, weights="random")
    exact = loss(made).item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = loss(made)
    assert rough.dtype == torch.float32
    assert rough.item() == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize("network", ["vgg_normalised", "squeezenet_caffe"])
def test_substitutes_with_their_real_weights_rank_blur(network, monkeypatch):
    """The more a picture is blurred, the larger the loss."""
    monkeypatch.setenv("RESTORE_WEIGHTS", str(shared("../weights")))
    loss, values = PerceptualLoss(network), []
    made = step(1, (64, 64))
    made.gt = F.interpolate(torch.rand(1, 3, 16, 16), (64, 64), mode="bicubic").clamp(0, 1)
    for width in (1, 3, 5, 9):
        made.pred = F.avg_pool2d(F.pad(made.gt, [width // 2] * 4, mode="reflect"), width, 1)
        values.append(loss(made).item())
    assert values[0] == 0
    assert values == sorted(values)
    assert values[1] > 1e-3
