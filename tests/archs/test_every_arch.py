"""What every registered network owes: output size, gradients, its state, odd sizes, both memory layouts."""

import inspect
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from restore.registry import ARCHS

ODD = (23, 29)
BATCH = 3  # the facial components come in threes


@dataclass
class Tiny:
    """A network at a size that tests afford. `out` is the output's size for `size`; None: `size` times its scale."""

    args: dict[str, Any] = field(default_factory=dict)
    size: tuple[int, int] = (16, 24)
    out: tuple[int, int] | None = None
    odd: bool = True  # works at any size


SMALL = {"num_feat": 8, "num_block": 1}
GROUPS = {"num_feat": 16, "num_group": 2, "num_block": 1, "reduction": 1}  # none of its few ReLUs is dead
TINY = {  # a network without an entry is built with its defaults
    "MSRResNet": Tiny(SMALL),
    "EDSR": Tiny(SMALL),
    "RRDBNet": Tiny({**SMALL, "num_grow_ch": 4, "scale": 2}),
    "SRVGGNetCompact": Tiny({"num_feat": 8, "num_conv": 2}),
    "SAFMN": Tiny({"dim": 8, "n_blocks": 2}),
    "SAFMN_NTIRE2023": Tiny({"dim": 8, "n_blocks": 2}),
    "RCAN": Tiny(GROUPS),
    "FaceEnhanceNet": Tiny(GROUPS),
    "FaceEnhanceNetLight": Tiny(GROUPS),
    "FFCGenerator": Tiny({**SMALL, "num_down": 2, "mask_channel": False}),
    "UNetDiscriminatorSN": Tiny({"num_feat": 4}, out=(16, 24)),
    "VGGStyleDiscriminator": Tiny({"num_feat": 2}, size=(128, 128), out=(1, 1), odd=False),
    "PatchGAN": Tiny({"num_feat": 4}, size=(64, 96), out=(6, 10), odd=False),
    "UNet": Tiny({"mask_channel": False, "num_feat": 4, "num_level": 2}),
    "GANsformer": Tiny({"mask_channel": False, "num_feat": 4, "num_level": 2, "num_latent": 3, "latent_dim": 8}),
    "ContextEncoder": Tiny({"mask_channel": False, "num_feat": 4, "num_level": 2, "num_bottleneck": 8}),
    "FacialComponentDiscriminator": Tiny({"num_feat": 4}, size=(32, 40), out=(8, 10), odd=False),
}
LOADED = {"Spandrel"}  # built from a file; tests/archs/test_spandrel.py
LISTING = {"MultiScalePatchGAN"}  # answers with a list; tests/archs/test_discriminators.py
TIMED = {"DenoisingUNet"}  # is told a time, too; tests/archs/test_denoising_unet_arch.py
NAMES = [e.name for e in ARCHS if e.module.startswith("restore.") and e.name not in LOADED | LISTING | TIMED]


def tiny(name: str) -> tuple[torch.nn.Module, Tiny]:
    torch.manual_seed(0)
    case = TINY.get(name, Tiny())
    return ARCHS.get(name).build(**case.args), case


def scale_of(name: str, case: Tiny) -> int:
    """The factor between input and output size, by whatever name the network gives it."""
    signature = inspect.signature(ARCHS.get(name).build).parameters
    for key in ("upscale", "scale"):
        if key in signature:
            return case.args.get(key, signature[key].default)
    return 1


def size_of(output: torch.Tensor) -> tuple[int, int]:
    """Height and width; a single judgement of a picture counts as one pixel."""
    return tuple(output.shape[2:]) if output.ndim == 4 else (1, output.shape[1])


def test_the_table_names_networks_that_exist():
    assert set(TINY) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_output_size_and_a_gradient_for_every_parameter(name):
    network, case = tiny(name)
    x = torch.rand(BATCH, 3, *case.size, requires_grad=True)
    output = network(x)
    expected = case.out or tuple(scale_of(name, case) * side for side in case.size)
    assert len(output) == BATCH
    assert size_of(output) == expected
    (output * torch.randn_like(output)).sum().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().sum() > 0, key
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("name", NAMES)
def test_the_state_makes_an_equal_network(name):
    network, case = tiny(name)
    x = torch.rand(BATCH, 3, *case.size)
    network(x)  # moves what a forward pass moves: running means, power iterations
    torch.manual_seed(1)
    other = ARCHS.get(name).build(**case.args)
    other.load_state_dict(network.state_dict(), strict=True)
    with torch.no_grad():
        assert torch.equal(network.eval()(x), other.eval()(x))


@pytest.mark.parametrize("size", [ODD, (8, 9), (1, 3)])
@pytest.mark.parametrize("name", [name for name in NAMES if TINY.get(name, Tiny()).odd])
def test_odd_sizes(name, size):
    network, case = tiny(name)
    if name == "UNetDiscriminatorSN" and min(size) < 8:
        pytest.skip("halves three times")
    with torch.no_grad():
        output = network(torch.rand(BATCH, 3, *size))
    scale = 1 if case.out else scale_of(name, case)
    assert size_of(output) == tuple(scale * side for side in size)
    assert output.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_channels_last_gives_the_same(name):
    network, case = tiny(name)
    x = torch.rand(BATCH, 3, *case.size)
    with torch.no_grad():
        for _ in range(5):
            network(x)  # power iterations settle
        plain = network.eval()(x)
        network.to(memory_format=torch.channels_last)
        other = network(x.to(memory_format=torch.channels_last))
    assert (plain - other).abs().max() < 1e-5


@pytest.mark.parametrize("name", [name for name in NAMES if hasattr(tiny(name)[0], "grad_checkpointing")])
def test_activations_computed_again_give_the_same_gradients(name):
    gradients = []
    for checkpointing in (False, True):
        network, case = tiny(name)
        network.grad_checkpointing = checkpointing
        torch.manual_seed(2)
        network(torch.rand(BATCH, 3, *case.size)).square().mean().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
