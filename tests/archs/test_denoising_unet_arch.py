"""DenoisingUNet: diffusers' keys and results, its cost, the time, gradients, what it refuses."""

import inspect
import math

import pytest
import torch
from torch import nn

from restore.archs.blocks.denoising import AttentionBlock, Width, time_waves
from restore.archs.denoising_unet_arch import DenoisingUNet
from restore.diffusers_folder import arch_of
from restore.registry import ARCHS, Part

GOOGLE = {  # config.json of google/ddpm-ema-celebahq-256, and of its sisters for cats, churches and bedrooms
    "_class_name": "UNet2DModel",
    "_diffusers_version": "0.1.1",
    "act_fn": "silu",
    "attention_head_dim": None,
    "block_out_channels": [128, 128, 256, 256, 512, 512],
    "center_input_sample": False,
    "down_block_types": ["DownBlock2D"] * 4 + ["AttnDownBlock2D", "DownBlock2D"],
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "in_channels": 3,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-06,
    "norm_num_groups": 32,
    "out_channels": 3,
    "sample_size": 256,
    "time_embedding_type": "positional",
    "up_block_types": ["UpBlock2D", "AttnUpBlock2D"] + ["UpBlock2D"] * 4,
}
CIFAR = {  # of google/ddpm-cifar10-32
    "block_out_channels": [128, 256, 256, 256],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
    "sample_size": 32,
}
TUTORIAL = {  # what diffusers' training tutorial passes; the rest is UNet2DModel's defaults
    "_class_name": "UNet2DModel",
    "block_out_channels": [128, 128, 256, 256, 512, 512],
    "down_block_types": ["DownBlock2D"] * 4 + ["AttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "AttnUpBlock2D"] + ["UpBlock2D"] * 4,
    "layers_per_block": 2,
    "sample_size": 128,
}
CONFIGS = {
    "google": GOOGLE,
    "cifar": GOOGLE | CIFAR,
    "tutorial": TUTORIAL,
    "defaults": {"_class_name": "UNet2DModel"},
    "one layer, one level": TUTORIAL
    | {
        "block_out_channels": [64],
        "down_block_types": ["AttnDownBlock2D"],
        "up_block_types": ["AttnUpBlock2D"],
        "layers_per_block": 1,
    },
}
TINY = {"block_out_channels": (8, 16, 16), "attention_levels": (1,), "norm_num_groups": 4}


def shrunk(config):
    """The same with an eighth of the channels and groups, for tests."""
    widths = [width // 8 for width in config.get("block_out_channels", [224, 448, 672, 896])]
    head = config.get("attention_head_dim", 8)
    return config | {"block_out_channels": widths, "norm_num_groups": 4, "attention_head_dim": head and 4}


def diffusers_model(config):
    """diffusers' own network of that config; skips the test where it is not installed."""
    model = pytest.importorskip("diffusers").UNet2DModel
    known = inspect.signature(model.__init__).parameters
    return model(**{key: value for key, value in config.items() if key in known})


def tiny(**args):
    torch.manual_seed(0)
    return ARCHS.build(Part(type="DenoisingUNet", **TINY | args))


def noisy(batch=2, height=16, width=24):
    torch.manual_seed(1)
    return torch.randn(batch, 3, height, width), torch.tensor([999, 3, 0, 500][:batch])


@pytest.mark.parametrize("name", CONFIGS)
def test_keys_and_results_are_those_of_diffusers(name):
    """diffusers 0.42.1, random weights at an eighth of the channels; the largest difference seen is 1e-6."""
    config = shrunk(CONFIGS[name])
    torch.manual_seed(0)
    theirs = diffusers_model(config).eval()
    own = ARCHS.build(Part(**arch_of(config, name))).eval()
    assert list(own.state_dict()) == list(theirs.state_dict())
    own.load_state_dict(theirs.state_dict(), strict=True)
    size = 2 ** (len(config["block_out_channels"]) - 1)
    x, time = noisy(4, 2 * size, size)
    with torch.no_grad():
        expected = theirs(x, time).sample
        assert expected.std() > 0.1
        assert torch.allclose(own(x, time), expected, atol=1e-5)


def test_training_gradients_are_those_of_diffusers():
    config = shrunk(GOOGLE | CIFAR)
    theirs = diffusers_model(config)
    own = ARCHS.build(Part(**arch_of(config, "config")))
    own.load_state_dict(theirs.state_dict())
    x, time = noisy()
    own(x, time).square().mean().backward()
    theirs(x, time).sample.square().mean().backward()
    for (name, parameter), other in zip(own.named_parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(parameter.grad, other.grad, atol=1e-5, rtol=1e-3), name


def test_the_published_network_has_its_published_size():
    """The paper's appendix B: 114 million for CelebA-HQ, 35.7 for CIFAR-10; to the last one, what diffusers' have."""
    with torch.device("meta"):
        sizes = [
            sum(p.numel() for p in ARCHS.build(Part(**arch_of(CONFIGS[name], name))).parameters())
            for name in ("google", "cifar")
        ]
    assert sizes == [113_673_219, 35_746_307]


def test_the_defaults_are_small():
    with torch.device("meta"):
        assert sum(p.numel() for p in DenoisingUNet().parameters()) == 4_527_971


@pytest.mark.parametrize("args", [{}, {"layers_per_block": 2, "downsample_padding": 0, "attention_head_dim": 4}])
def test_every_parameter_gets_a_gradient(args):
    network = tiny(**args)
    x, time = noisy()
    (network(x.requires_grad_(), time) * torch.randn_like(x)).sum().backward()
    for key, parameter in network.named_parameters():
        if not key.endswith("to_k.bias"):  # the same for all places: softmax takes it away again
            assert parameter.grad.abs().sum() > 0, key
    assert x.grad.abs().sum() > 0


def test_activations_computed_again_give_the_same_gradients():
    gradients = []
    for checkpointing in (False, True):
        network = tiny(dropout=0.3)
        network.grad_checkpointing = checkpointing
        x, time = noisy()
        network(x, time).square().mean().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


def test_checkpointing_keeps_fewer_activations():
    kept = []
    for checkpointing in (False, True):
        network, count = tiny(), []
        network.grad_checkpointing = checkpointing
        with torch.autograd.graph.saved_tensors_hooks(lambda t, c=count: c.append(t.numel()), lambda _: None):
            network(*noisy())
        kept.append(sum(count))
    assert kept[1] < 0.6 * kept[0]


def test_channels_last_and_double_give_the_same():
    network, (x, time) = tiny().eval(), noisy()
    with torch.no_grad():
        plain = network(x, time)
        exact = network.double()(x.double(), time)
        other = network.float().to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last), time)
    assert (plain - other).abs().max() < 1e-5
    assert (plain - exact).abs().max() < 1e-5
    assert exact.dtype == torch.float64


def test_each_picture_has_its_own_time():
    network, (x, time) = tiny().eval(), noisy(4)
    with torch.no_grad():
        together = network(x, time)
        alone = torch.cat([network(x[i : i + 1], time[i : i + 1]) for i in range(4)])
        other = network(x, time.flip(0))
    assert torch.allclose(together, alone, atol=1e-5)
    assert (together - other).abs().max() > 1e-3


def test_dropout_is_for_training_alone():
    network, (x, time) = tiny(dropout=0.5), noisy()
    with torch.no_grad():
        assert not torch.equal(network(x, time), network(x, time))
        network.eval()
        assert torch.equal(network(x, time), network(x, time))


@pytest.mark.parametrize(("shift", "cosine_first"), [(0, False), (0, True), (1, False)])
def test_waves_of_the_time(shift, cosine_first):
    """Against the formula, number by number: sin and cos of t / 10000 ** (i / (4 - shift))."""
    waves = time_waves(torch.tensor([0, 7, 999]), 8, cosine_first, shift)
    for time, row in zip((0, 7, 999), waves.tolist(), strict=True):
        angles = [time / 10_000 ** (i / (4 - shift)) for i in range(4)]
        parts = [[math.sin(a) for a in angles], [math.cos(a) for a in angles]]
        first, second = parts[::-1] if cosine_first else parts
        assert row == pytest.approx(first + second, abs=2e-4)  # float32 angles up to 999


@pytest.mark.parametrize("head", [None, 4])
def test_attention_equals_a_naive_loop(head):
    torch.manual_seed(0)
    block, x = AttentionBlock(8, Width(8, 2, 1e-6, head, 0.0)).double(), torch.randn(2, 8, 3, 5).double()
    places = nn.functional.group_norm(x, 2, block.group_norm.weight, block.group_norm.bias, 1e-6)
    places = places.reshape(2, 8, 15).transpose(1, 2)
    query, key, value = block.to_q(places), block.to_k(places), block.to_v(places)
    width, found = head or 8, torch.zeros(2, 15, 8).double()
    for n in range(2):
        for start in range(0, 8, width):
            own = slice(start, start + width)
            for i in range(15):
                scores = torch.stack([query[n, i, own] @ key[n, j, own] for j in range(15)]) / math.sqrt(width)
                found[n, i, own] = scores.softmax(0) @ value[n, :, own]
    expected = x + block.to_out[0](found).transpose(1, 2).reshape(2, 8, 3, 5)
    assert torch.allclose(block(x), expected, atol=1e-12)


@pytest.mark.parametrize(("height", "width"), [(16, 22), (18, 16)])
def test_sizes_that_do_not_fit_are_refused(height, width):
    with pytest.raises(ValueError, match=f"DenoisingUNet takes sides in multiples of 4, not {height}x{width}"):
        tiny()(*noisy(height=height, width=width))


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ({"norm_num_groups": 3}, "8 is no multiple of the 3 norm_num_groups"),
        ({"attention_levels": [3]}, "there is no level 3, only 0 to 2"),
        ({"attention_head_dim": 3}, "16 is no multiple of attention_head_dim, 3"),
        ({"block_out_channels": (9, 9, 9), "norm_num_groups": 3}, "the first is 9, not even and 4 or more"),
        ({"block_out_channels": (2, 2, 2), "norm_num_groups": 2}, "the first is 2, not even and 4 or more"),
    ],
)
def test_settings_that_do_not_fit_are_refused(args, told):
    with pytest.raises(ValueError, match=told):
        tiny(**args)
