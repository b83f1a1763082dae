"""MSRResNet and EDSR: sizes, gradients, and BasicSR's own classes beside them."""

import pytest
import torch

from restore.archs.edsr_arch import EDSR
from restore.archs.msrresnet_arch import MSRResNet
from tests.oracles import basicsr

SCALES = [1, 2, 3, 4, 8, 16]


def tiny(arch, upscale, **options):
    torch.manual_seed(0)
    return arch(num_feat=8, num_block=2, upscale=upscale, **options)


def parameters(network):
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("arch", "blocks", "count"),
    [(MSRResNet, 16, 1_517_571), (MSRResNet, 20, 1_812_995), (MSRResNet, 24, 2_108_419), (EDSR, 16, 1_517_571)],
)
def test_parameter_counts_at_scale_4(arch, blocks, count):
    assert parameters(arch(num_feat=64, num_block=blocks, upscale=4)) == count


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("arch", [MSRResNet, EDSR])
def test_output_size_and_a_gradient_for_every_parameter(arch, scale):
    network = tiny(arch, scale)
    out = network(torch.rand(2, 3, 7, 5))
    assert out.shape == (2, 3, 7 * scale, 5 * scale)
    out.square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("arch", [MSRResNet, EDSR])
def test_other_numbers_of_channels(arch):
    options = {"num_in_ch": 1, "num_out_ch": 1} | ({"rgb_mean": (0.5,)} if arch is EDSR else {})
    assert tiny(arch, 2, **options)(torch.rand(1, 1, 6, 9)).shape == (1, 1, 12, 18)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (13, 2)])
@pytest.mark.parametrize("arch", [MSRResNet, EDSR])
def test_odd_sizes(arch, size):
    assert tiny(arch, 4)(torch.rand(1, 3, *size)).shape == (1, 3, 4 * size[0], 4 * size[1])


@pytest.mark.parametrize("arch", [MSRResNet, EDSR])
def test_checkpointed_activations_give_the_same_gradients(arch):
    x = torch.rand(1, 3, 8, 8)
    gradients = []
    for checkpointing in (False, True):
        network = tiny(arch, 2)
        network.grad_checkpointing = checkpointing
        network(x).square().mean().backward()
        gradients.append([p.grad for p in network.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("arch", "module", "name"), [
    (MSRResNet, "archs.srresnet_arch", "MSRResNet"), (EDSR, "archs.edsr_arch", "EDSR"),
])  # fmt: skip
def test_weights_of_basicsr_give_the_same_output(arch, module, name, scale):
    torch.manual_seed(1)
    theirs = getattr(basicsr(module), name)(3, 3, num_feat=16, num_block=3, upscale=scale)
    ours = arch(num_feat=16, num_block=3, upscale=scale)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.rand(2, 3, 11, 9)
    with torch.no_grad():
        assert (ours(x) - theirs(x)).abs().max() < 1e-6


@pytest.mark.parametrize("arch", [MSRResNet, EDSR])
def test_keeps_the_inputs_precision_under_autocast(arch):
    with torch.autocast("cpu", torch.bfloat16):
        assert tiny(arch, 2)(torch.rand(1, 3, 8, 8)).dtype == torch.float32


def test_msrresnet_starts_near_the_bilinear_enlargement():
    torch.manual_seed(0)
    x = torch.rand(1, 3, 16, 16)
    base = torch.nn.functional.interpolate(x, scale_factor=4, mode="bilinear")
    with torch.no_grad():
        assert (MSRResNet()(x) - base).abs().mean() < 0.02


def test_pictures_of_a_batch_do_not_mix():
    network, x = tiny(MSRResNet, 2), torch.rand(3, 3, 8, 8)
    with torch.no_grad():
        assert torch.allclose(network(x)[1:2], network(x[1:2]), atol=1e-6)
