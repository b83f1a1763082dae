"""Discriminators: beside BasicSR's classes, receptive fields, normalisation."""

from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from restore.archs.multiscale_discriminator_arch import MultiScalePatchGAN
from restore.archs.patch_discriminator_arch import PatchGAN
from restore.archs.unet_discriminator_arch import UNetDiscriminatorSN
from restore.archs.vgg_discriminator_arch import VGGStyleDiscriminator
from tests.oracles import basicsr

NORMS = ["batch", "instance", "spectral", "none"]


def beside_basicsr(ours, theirs, x):
    """Two steps in training mode, whose forward passes move state, then one in evaluation: equal outputs and states."""
    ours.load_state_dict(theirs.state_dict(), strict=True)
    with torch.no_grad():
        for training in (True, True, False):
            one, other = ours.train(training)(x), theirs.train(training)(x)
            assert (one - other).abs().max() < 1e-5
    for key, tensor in theirs.state_dict().items():
        assert torch.allclose(ours.state_dict()[key], tensor, atol=1e-6), key


@pytest.mark.parametrize("skip", [True, False])
def test_unet_equals_basicsr(skip):
    torch.manual_seed(0)
    theirs = basicsr("archs.discriminator_arch").UNetDiscriminatorSN(3, 8, skip)
    beside_basicsr(UNetDiscriminatorSN(3, 8, skip), theirs, torch.rand(2, 3, 32, 24))


@pytest.mark.parametrize("size", [128, 256])
def test_vgg_style_equals_basicsr(size):
    torch.manual_seed(0)
    theirs = basicsr("archs.discriminator_arch").VGGStyleDiscriminator(3, 4, size)
    beside_basicsr(VGGStyleDiscriminator(3, 4, size), theirs, torch.rand(2, 3, size, size))


def test_vgg_style_judges_one_size():
    with pytest.raises(ValueError, match=r"^VGGStyleDiscriminator judges 128 px, not \(128, 64\)$"):
        VGGStyleDiscriminator(num_feat=2)(torch.rand(1, 3, 128, 64))


def test_unets_weights_are_bounded_after_some_steps():
    network = UNetDiscriminatorSN(num_feat=8)
    with torch.no_grad():
        for _ in range(50):
            network(torch.rand(1, 3, 8, 8))
    assert torch.linalg.matrix_norm(network.conv2.weight.flatten(1), 2) == pytest.approx(1, abs=0.05)


def seen_by(logit, x):
    """Height and width of the part of the picture that a logit hangs on."""
    (gradient,) = torch.autograd.grad(logit, x, retain_graph=True)
    seen = gradient.abs().sum((0, 1)) > 0
    return int(seen.any(1).sum()), int(seen.any(0).sum())


@pytest.mark.parametrize(
    ("n_layers", "last_stride", "field"),
    [(1, 1, 16), (2, 1, 34), (3, 1, 70), (4, 1, 142), (1, 2, 22), (2, 2, 46), (3, 2, 94), (4, 2, 190)],
)
def test_a_patch_has_the_size_that_is_said(n_layers, last_stride, field):
    torch.manual_seed(0)
    network = PatchGAN(num_feat=4, n_layers=n_layers, norm="none", last_stride=last_stride)
    x = torch.rand(1, 3, 320, 320, requires_grad=True)
    output = network(x)
    middle = output.shape[-1] // 2
    assert seen_by(output[0, 0, middle, middle], x) == (field, field)


def test_patchgan_is_pix2pixs():
    """Keys and shapes of its NLayerDiscriminator(3):"""
    network = PatchGAN()
    shapes = {key: tuple(t.shape) for key, t in network.state_dict().items() if t.ndim == 4 or "bias" in key}
    assert shapes == {
        "model.0.weight": (64, 3, 4, 4), "model.0.bias": (64,),
        "model.2.weight": (128, 64, 4, 4), "model.3.bias": (128,),
        "model.5.weight": (256, 128, 4, 4), "model.6.bias": (256,),
        "model.8.weight": (512, 256, 4, 4), "model.9.bias": (512,),
        "model.11.weight": (1, 512, 4, 4), "model.11.bias": (1,),
    }  # fmt: skip
    assert network(torch.rand(1, 3, 256, 256)).shape == (1, 1, 30, 30)


@pytest.mark.parametrize("norm", NORMS)
def test_every_norm_trains_every_parameter(norm):
    torch.manual_seed(0)
    network = PatchGAN(num_feat=4, norm=norm)
    output = network(torch.rand(2, 3, 64, 64))
    (output * torch.randn_like(output)).sum().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize("norm", ["instance", "spectral", "none"])
def test_without_batch_norm_pictures_of_a_batch_do_not_mix(norm):
    torch.manual_seed(0)
    network, x = PatchGAN(num_feat=4, norm=norm).eval(), torch.rand(3, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(network(x)[1:2], network(x[1:2]), atol=1e-5)


@pytest.mark.parametrize("build", [UNetDiscriminatorSN, lambda num_feat: PatchGAN(num_feat=num_feat, norm="spectral")])
def test_gradients_pass_through_it_twice(build):
    """As for a penalty on the gradient (R1)."""
    network = build(num_feat=4)
    x = torch.rand(1, 3, 64, 64, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(x).sum(), x, create_graph=True)
    gradient.square().sum().backward()
    grads = [p.grad for p in network.parameters() if p.grad is not None]
    assert all(grad.isfinite().all() for grad in grads)
    assert sum(grad.abs().sum() for grad in grads) > 0


def grid(size, strides):
    """The side of the grid of logits, by the arithmetic of 4x4 convolutions with a padding of 1."""
    for stride in strides:
        size = (size + 2 - 4) // stride + 1
    return size


@pytest.mark.parametrize("size", [(64, 96), (61, 83), (256, 256)])
@pytest.mark.parametrize(("last_stride", "strides"), [(1, [2, 2, 2, 1, 1]), (2, [2, 2, 2, 2, 1])])
def test_the_grid_of_logits(size, last_stride, strides):
    logits = PatchGAN(num_feat=2, last_stride=last_stride)(torch.rand(2, 3, *size))
    assert logits.shape == (2, 1, *(grid(side, strides) for side in size))


@pytest.mark.parametrize("num_in_ch", [3, 6])
def test_parameters_of_the_published_layers(num_in_ch):
    """A bias in the first and last convolution, batch norm's gain and shift in those between; pix2pix's and
    PremiumGAN's strides differ, their tensors do not."""
    widths = [num_in_ch, 64, 128, 256, 512, 1]
    convs = sum(16 * before * width for before, width in pairwise(widths))
    for last_stride in (1, 2):
        network = PatchGAN(num_in_ch, last_stride=last_stride)
        assert sum(p.numel() for p in network.parameters()) == convs + 64 + 1 + 2 * (128 + 256 + 512)
        assert network.state_dict().keys() == PatchGAN().state_dict().keys()


def test_the_layers_of_premiumgans():
    """Beside its layers written out; a later layer that works in place leaves the earlier ones as they were."""
    torch.manual_seed(0)
    network, x = PatchGAN(num_feat=4, last_stride=2).eval(), torch.rand(2, 3, 64, 48)
    state, y, expected = network.state_dict(), x, []
    for conv, stride in ((0, 2), (2, 2), (5, 2), (8, 2), (11, 1)):
        y = F.conv2d(y, state[f"model.{conv}.weight"], state.get(f"model.{conv}.bias"), stride, 1)
        if conv in (2, 5, 8):
            y = y / (1 + 1e-5) ** 0.5  # batch norm, still at its beginning
        y = y if conv == 11 else torch.where(y > 0, y, 0.2 * y)
        expected.append(y)
    with torch.no_grad():
        layers = network.layers(x)
        assert torch.equal(layers[-1], network(x))
    for one, other in zip(layers, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(("args", "least"), [({}, 24), ({"last_stride": 2}, 32), ({"n_layers": 1}, 6)])
def test_too_small_a_picture_is_refused_in_words(args, least):
    network = PatchGAN(num_feat=2, **args)
    assert network(torch.rand(2, 3, least, least + 5)).shape[2] == 1
    with pytest.raises(ValueError, match=rf"^PatchGAN judges {least} px .*, not {least}x{least - 1}$"):
        network(torch.rand(2, 3, least - 1, least))


def halved(x):
    """Means over 3x3 pixels around every other one, of those that the picture has."""
    padded, inside = F.pad(x, (1, 1, 1, 1)), F.pad(torch.ones_like(x), (1, 1, 1, 1))
    sums = [
        sum(one[..., i : i + x.shape[2], j : j + x.shape[3]] for i in range(3) for j in range(3))
        for one in (padded, inside)
    ]
    return (sums[0] / sums[1])[..., ::2, ::2]


@pytest.mark.parametrize("size", [(64, 96), (61, 83)])
def test_each_scale_judges_the_picture_halved_once_more(size):
    torch.manual_seed(0)
    network, x = MultiScalePatchGAN(num_feat=4, n_layers=1, last_stride=2), torch.rand(2, 3, *size)
    with torch.no_grad():
        logits, layers = network(x), network.layers(x)
        assert [len(scale) for scale in layers] == [3, 3, 3]
        for number, judge in enumerate(network.scales):
            assert torch.allclose(logits[number], judge(x), atol=1e-5)
            assert torch.equal(logits[number], layers[number][-1])
            x = halved(x)


def test_patches_grow_with_the_scale():
    """16 px of the halved picture are 2 * 15 + 3 of the picture, and so on."""
    torch.manual_seed(0)
    network = MultiScalePatchGAN(num_feat=4, n_layers=1, norm="none")
    x = torch.rand(1, 3, 192, 192, requires_grad=True)
    middles = [logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2] for logits in network(x)]
    assert [seen_by(middle, x) for middle in middles] == [(16, 16), (33, 33), (67, 67)]


@pytest.mark.parametrize("norm", NORMS)
def test_every_scale_trains_every_parameter_and_is_restored(norm):
    torch.manual_seed(0)
    args = {"num_in_ch": 6, "num_feat": 4, "n_layers": 2, "norm": norm, "num_scale": 2}
    network, x = MultiScalePatchGAN(**args), torch.rand(2, 6, 64, 64)
    sum((logits * torch.randn_like(logits)).sum() for logits in network(x)).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad.abs().sum() > 0, key
    other = MultiScalePatchGAN(**args)
    other.load_state_dict(network.state_dict(), strict=True)
    with torch.no_grad():
        pairs = zip(network.eval()(x), other.eval().to(memory_format=torch.channels_last)(x), strict=True)
        assert all(torch.allclose(one, two, atol=1e-5) for one, two in pairs)


def test_scales_are_as_many_discriminators():
    single = sum(p.numel() for p in PatchGAN(norm="instance").parameters())
    assert sum(p.numel() for p in MultiScalePatchGAN().parameters()) == 3 * single


def test_too_small_a_picture_for_the_last_scale_is_refused_in_words():
    network = MultiScalePatchGAN(num_feat=2)
    assert [logits.shape[2] for logits in network(torch.rand(1, 3, 93, 93))][-1] == 1
    with pytest.raises(ValueError, match=r"^3 scales of PatchGAN judge 93 px and more, not 100x92$"):
        network(torch.rand(1, 3, 92, 100))
