"""Discriminators: beside BasicSR's classes, receptive fields, normalisation."""

import pytest
import torch

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


@pytest.mark.parametrize(("n_layers", "field"), [(1, 16), (2, 34), (3, 70), (4, 142)])
def test_a_patch_has_the_size_that_is_said(n_layers, field):
    torch.manual_seed(0)
    network = PatchGAN(num_feat=4, n_layers=n_layers, norm="none")
    x = torch.rand(1, 3, 256, 256, requires_grad=True)
    output = network(x)
    middle = output.shape[-1] // 2
    output[0, 0, middle, middle].backward()
    seen = x.grad.abs().sum((0, 1))
    assert (seen.sum(0) > 0).sum() == field
    assert (seen.sum(1) > 0).sum() == field


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
