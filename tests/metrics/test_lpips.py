"""LPIPS: against the package of its authors, with the same network and the published heads."""

import pytest
import torch
from torch import nn

from restore.errors import UserError
from restore.losses.lpips_loss import LPIPSLoss
from restore.metrics.lpips_metric import NETS, Distance
from restore.registry import METRICS, Part
from restore.step import Step
from tests.oracles import shared

NAMES = ("lpips_alex", "lpips_vgg", "lpips_squeeze", "lpips_squeeze_caffe")
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*random weights, as asked for"),
    pytest.mark.filterwarnings("ignore::UserWarning:torchvision.*"),  # lpips calls it as it was years ago
]


@pytest.fixture(autouse=True)
def heads(monkeypatch):
    """The published heads are real ones in every test."""
    monkeypatch.setenv("RESTORE_WEIGHTS", str(shared("../weights")))


def pair(batch=2, size=(66, 71), seed=0):
    """8-bit pictures, blobs and the same with noise."""
    draw = torch.Generator().manual_seed(seed)
    gt = nn.functional.interpolate(torch.rand(batch, 3, 7, 9, generator=draw), size, mode="bicubic")
    pred = gt + 0.1 * torch.randn(gt.shape, generator=draw)
    return tuple((x.clamp(0, 1) * 255).round() / 255 for x in (pred, gt))


def build(name, **args):
    return METRICS.build(Part(type=name, weights=None if name.endswith("caffe") else "random", **args))


def oracle(net, features):
    """The package's network with the convolutions of ours put into its slices."""
    lpips = pytest.importorskip("lpips")
    theirs = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    slices = [layer for number in range(1, theirs.net.N_slices + 1) for layer in getattr(theirs.net, f"slice{number}")]
    assert len(slices) == len(features.trunk)
    for own, layer in zip(features.trunk, slices, strict=True):
        layer.load_state_dict(own.state_dict())
    return theirs


@pytest.mark.parametrize("name", NAMES)
def test_equals_the_lpips_package(name):
    pred, gt = pair()
    metric = build(name)
    with torch.no_grad():
        expected = oracle(name.split("_")[1], metric.distance.features)(pred, gt, normalize=True).flatten()
    assert metric(pred, gt).tolist() == pytest.approx(expected.tolist(), abs=1e-6, rel=1e-4)
    assert expected.min() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_zero_for_equals_one_value_per_image_and_lower_is_better(name):
    metric = build(name)
    assert metric(pair()[1], pair()[1]).tolist() == [0, 0]
    assert not metric.higher_is_better
    pred, gt = pair(3)
    together = metric(pred, gt)
    assert together.shape == (3,)
    assert together.dtype == torch.float64
    one_by_one = torch.cat([metric(pred[i : i + 1], gt[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, one_by_one, rtol=1e-4, atol=1e-7)
    assert len(set(together.tolist())) == 3


def test_the_other_training_is_told_apart():
    """Caffe's SqueezeNet: no LPIPS that could be compared with papers. Random weights stand in the protocol too."""
    assert "not comparable with published LPIPS" in build("lpips_squeeze_caffe").protocol
    assert "random" in build("lpips_squeeze").protocol
    assert build("lpips_alex", crop_border=4).protocol.startswith("LPIPS 0.1, AlexNet, RGB, 8 bits, border 4")


def test_pictures_are_rounded_to_8_bits_and_the_border_left_out():
    pred, gt = pair()
    metric = build("lpips_squeeze_caffe", crop_border=4)
    spoilt = pred + 0.4 / 255 * (torch.rand(pred.shape) * 2 - 1)
    spoilt[:, :, :4] = 0
    assert metric(spoilt, gt).tolist() == metric(pred, gt).tolist()


def test_small_pictures_are_refused():
    with pytest.raises(ValueError, match="less than 32"):
        build("lpips_alex")(torch.zeros(1, 3, 31, 40), torch.zeros(1, 3, 31, 40))
    for name in NAMES:
        x = torch.zeros(1, 3, 32, 32)
        assert build(name)(x, x).tolist() == [0]


@pytest.mark.parametrize("net", list(NETS))
def test_loss_is_the_metrics_function(net):
    pred, gt = pair()
    step = Step(lq=gt, gt=gt)
    step.pred = pred.clone().requires_grad_()
    value = LPIPSLoss(net, weights="random")(step)
    expected = Distance(net, "random")(pred, gt).mean()
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    value.backward()
    assert step.pred.grad.abs().max() > 0


@pytest.mark.parametrize("net", list(NETS))
def test_no_nan_in_the_gradient_of_dead_pixels(net):
    """Where all channels of a pixel are zero, the root of their squares has no slope."""
    distance = Distance(net, "random")
    for bias in (p for name, p in distance.named_parameters() if name.endswith("bias")):
        bias.fill_(-0.5)  # most ReLUs are shut
    pred = (torch.full((1, 3, 64, 64), 0.45) + torch.rand(1, 3, 64, 64) * 0.1).requires_grad_()
    features = distance.features(pred)
    assert any((value.amax(dim=1) == 0).any() for value in features.values())
    distance(pred, torch.rand(1, 3, 64, 64)).sum().backward()
    assert torch.isfinite(pred.grad).all()


def test_full_precision_under_autocast():
    pred, gt = pair()
    metric = build("lpips_squeeze_caffe")
    expected = metric(pred, gt)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert metric(pred, gt).tolist() == expected.tolist()


def test_missing_file_is_told_when_the_metric_is_built(monkeypatch, tmp_path):
    monkeypatch.delenv("RESTORE_WEIGHTS")
    monkeypatch.setenv("RESTORE_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="squeezenet1_1_caffe_torch.pth"):
        METRICS.build(Part(type="lpips_squeeze_caffe"))
