"""UNet and ContextEncoder: their published layers and cost, the mask, any size, the range, attention."""

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from restore.archs.blocks.self_attention import SelfAttention
from restore.archs.context_encoder_arch import ContextEncoder
from restore.archs.unet_arch import UNet
from restore.registry import ARCHS, Part

NORMS = ["batch", "instance", "group", "none"]
TINY = {
    "UNet": {"num_feat": 8, "num_level": 2},
    "ContextEncoder": {"num_feat": 8, "num_level": 2, "num_bottleneck": 32},
}
NAMES = list(TINY)


def tiny(name, **args):
    torch.manual_seed(0)
    return ARCHS.build(Part(type=name, **TINY[name], **args))


def picture(height=16, width=24, batch=2):
    """A picture and a mask of its lower half."""
    mask = torch.zeros(batch, 1, height, width)
    mask[:, :, height // 2 :] = 1
    return torch.rand(batch, 3, height, width), mask


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def macs(network, size):
    x, mask = torch.empty(1, 3, size, size, device="meta"), torch.empty(1, 1, size, size, device="meta")
    counter = FlopCounterMode(display=False)
    with counter:
        network.eval().to("meta")(x, mask)
    return counter.get_total_flops() / 2


def unet_cost(channels, size):
    """Parameters and MACs of PremiumGAN's layers, level by level, without the biases that batch norm takes away."""
    count, work, before = 0, 0, channels
    for width, side in ((64, size), (128, size // 2), (256, size // 4), (512, size // 8), (1024, size // 16)):
        count += 9 * (before + width) * width + 2 * 2 * width
        work += 9 * (before + width) * width * side**2
        before = width
    for width, side in ((512, size // 8), (256, size // 4), (128, size // 2), (64, size)):
        count += 2 * width * width * 2**2 + width + 9 * (2 * width + width) * width + 2 * 2 * width
        work += 2 * width * width * side**2 + 9 * (2 * width + width) * width * side**2
    return count + 64 * 3 + 3, work + 64 * 3 * size**2


def test_unet_costs_what_its_published_layers_do():
    """31,037,633 is the count of milesial/Pytorch-UNet of the same layers with one output channel for our three."""
    assert parameters(UNet(mask_channel=False)) == unet_cost(3, 256)[0] == 31_037_633 + 2 * 65
    assert (parameters(UNet()), macs(UNet(), 256)) == unet_cost(4, 256)
    assert unet_cost(4, 256) == (31_038_339, 48_213_524_480)  # docs/archs.md


def test_unet_computes_its_published_layers():
    """Beside the layers written out with functions, fed with the network's tensors in their order."""
    network, (x, _) = tiny("UNet", mask_channel=False), picture()
    for _ in range(2):
        network(x)  # moves the running means
    network.eval()
    state = {
        start: iter([tensor for key, tensor in network.state_dict().items() if key.split(".")[0] == start])
        for start in ("down", "bottleneck", "enlarge", "up", "conv_last")
    }

    def double(tensors, y):
        for _ in range(2):
            y = F.conv2d(y, next(tensors), padding=1)
            gain, shift, mean, variance, _ = (next(tensors) for _ in range(5))
            y = ((y - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()) * gain[:, None, None]
            y = (y + shift[:, None, None]).clamp(min=0)
        return y

    one = double(state["down"], x * 2 - 1)
    two = double(state["down"], F.max_pool2d(one, 2))
    low = double(state["bottleneck"], F.max_pool2d(two, 2))
    for across in (two, one):
        higher = F.conv_transpose2d(low, next(state["enlarge"]), next(state["enlarge"]), stride=2)
        low = double(state["up"], torch.cat((across, higher), 1))
    expected = F.conv2d(low, next(state["conv_last"]), next(state["conv_last"])).tanh() / 2 + 0.5
    with torch.no_grad():
        assert (network(x) - expected).abs().max() < 1e-5


TORCH_LAYERS = [(3, 64), (64, 64), (64, 128), (128, 256), (256, 512), (512, 4000)]
TORCH_LAYERS += [(4000, 512), (512, 256), (256, 128), (128, 64), (64, 64), (64, 3)]


def context_encoder_cost(channels):
    """train_random.lua's twelve 4x4 convolutions at 128 px, biases and norms as UNet's; MACs by the smaller side."""
    layers = [(channels, 64), *TORCH_LAYERS[1:]]
    inner = sum(16 * i * o + 2 * o for i, o in layers[1:-1])
    sides = [64, 32, 16, 8, 4, 1, 1, 4, 8, 16, 32, 64]
    work = sum(16 * i * o * side**2 for (i, o), side in zip(layers, sides, strict=True))
    return inner + 16 * channels * 64 + 64 + 16 * 64 * 3 + 3, work


def test_context_encoder_costs_what_its_published_layers_do():
    assert parameters(ContextEncoder(mask_channel=False)) == context_encoder_cost(3)[0]
    network = ContextEncoder()
    assert (parameters(network), macs(network, 128)) == context_encoder_cost(4) == (71_191_299, 430_440_448)


def test_context_encoder_has_its_published_layers():
    network = ContextEncoder(mask_channel=False)
    convs = [m for m in network.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.ConvTranspose2d))]
    assert [(conv.in_channels, conv.out_channels) for conv in convs] == TORCH_LAYERS
    assert [conv.kernel_size for conv in convs] == [(4, 4)] * 12
    assert [conv.stride[0] for conv in convs] == [2] * 5 + [1, 1] + [2] * 5
    assert [isinstance(conv, torch.nn.ConvTranspose2d) for conv in convs] == [False] * 6 + [True] * 6
    kinds = [type(m).__name__ for m in network.modules() if not list(m.children())]
    assert [kinds.count(kind) for kind in ("BatchNorm2d", "LeakyReLU", "ReLU")] == [10, 6, 5]
    assert {m.negative_slope for m in network.modules() if isinstance(m, torch.nn.LeakyReLU)} == {0.2}


@pytest.mark.parametrize(("num_level", "size"), [(2, 16), (3, 32), (4, 64)])
def test_the_code_sees_the_whole_picture(num_level, size):
    """One pixel of the answer hangs on every pixel of the input, at the size that is said."""
    torch.manual_seed(0)
    network = ContextEncoder(num_feat=4, num_level=num_level, num_bottleneck=64).double().eval()
    x, mask = torch.rand(1, 3, size, size).double().requires_grad_(), torch.zeros(1, 1, size, size)
    network(x, mask)[0, 0, 0, 0].backward()
    assert (x.grad.abs().sum(1) > 0).all()


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_gets_a_gradient(name, norm, attention):
    network = tiny(name, norm=norm, attention=attention)
    if attention:
        torch.nn.init.constant_(network.attention.gain, 0.5)
    out = network(*picture(32, 32, batch=3))
    (out * torch.randn_like(out)).sum().backward()
    largest = max(p.grad.abs().max() for p in network.parameters())
    for key, parameter in network.named_parameters():
        assert parameter.grad.abs().max() > 1e-6 * largest, key  # rounding alone makes less


@pytest.mark.parametrize("size", [(61, 83), (1, 3), (16, 16), (40, 7)])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", NAMES)
def test_any_size_gives_a_picture(name, norm, size):
    network = tiny(name, norm=norm)
    torch.nn.init.normal_(network.conv_last.weight, std=3)
    x, mask = picture(*size)
    for training in (True, False):
        with torch.no_grad():
            out = network.train(training)(x, mask)
        assert out.shape == x.shape
        assert ((out >= 0) & (out <= 1)).all()


@pytest.mark.parametrize("size", [64, 128, 256, 512])
def test_the_context_encoder_of_128_px_takes_the_usual_sizes(size):
    network = ContextEncoder(num_feat=2, num_bottleneck=8).eval()
    with torch.no_grad():
        assert network(*picture(size, size, batch=1)).shape == (1, 3, size, size)


@pytest.mark.parametrize("name", NAMES)
def test_odd_sizes_are_grown_by_replication_and_cut_again(name):
    network, (x, mask) = tiny(name).eval(), picture(61, 83)
    with torch.no_grad():
        grown = network(*(F.pad(one, (0, 1, 0, 3), mode="replicate") for one in (x, mask)))
        assert torch.equal(network(x, mask), grown[:, :, :61, :83])


@pytest.mark.parametrize("name", NAMES)
def test_the_mask_is_required_and_seen(name):
    network, (x, mask) = tiny(name).eval(), picture()
    with pytest.raises(ValueError, match=r"sees the mask, and was given none; `mask_channel: false`"):
        network(x)
    with torch.no_grad():
        assert (network(x, mask) - network(x, 1 - mask)).abs().max() > 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_without_its_channel_the_mask_is_ignored(name):
    network, (x, mask) = tiny(name, mask_channel=False).eval(), picture()
    with torch.no_grad():
        assert torch.equal(network(x, mask), network(x))


@pytest.mark.parametrize("name", NAMES)
def test_in_evaluation_pictures_do_not_mix_and_nothing_is_drawn(name):
    network, (x, mask) = tiny(name, attention=True).eval(), picture(batch=3)
    torch.nn.init.constant_(network.attention.gain, 0.5)
    with torch.no_grad():
        out = network(x, mask)
        assert torch.equal(out, network(x, mask))
        assert torch.allclose(out[1:2], network(x[1:2], mask[1:2]), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_leaves_the_picture_in_full(name):
    network, (x, mask) = tiny(name, attention=True), picture(32, 32)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        out = network(x, mask)
    assert out.dtype == torch.float32
    assert (out != out.bfloat16()).float().mean() > 0.5


@pytest.mark.parametrize("name", NAMES)
def test_attention_begins_as_if_it_were_not_there(name):
    plain, network, (x, mask) = tiny(name).eval(), tiny(name, attention=True).eval(), picture()
    network.load_state_dict(plain.state_dict(), strict=False)
    with torch.no_grad():
        assert torch.equal(network(x, mask), plain(x, mask))


def test_attention_is_the_softmax_of_products():
    torch.manual_seed(0)
    block, x = SelfAttention(16).double(), torch.randn(2, 16, 3, 5).double()
    block.gain.data.fill_(0.5)
    with torch.no_grad():
        query, key, value = block.qkv(x).flatten(2).split([2, 2, 8], 1)
        shares = (torch.einsum("ncq,nck->nqk", query, key) / 2**0.5).softmax(2)
        found = torch.einsum("nqk,nck->ncq", shares, value).reshape(2, 8, 3, 5)
        assert torch.allclose(block(x), x + 0.5 * block.out(found))


@pytest.mark.parametrize("name", NAMES)
def test_the_last_layer_is_the_last_parameter(name):
    """Where an adaptive adversarial weight looks for it."""
    network = tiny(name, attention=True)
    assert [key for key, p in network.named_parameters() if p.ndim > 1][-1] == "conv_last.weight"


@pytest.mark.parametrize("name", NAMES)
def test_learns_to_fill_a_hole(name):
    torch.manual_seed(0)
    network, mask = tiny(name), picture(16, 16, batch=4)[1]
    gt = F.interpolate(torch.rand(4, 3, 4, 4), size=16, mode="bicubic").clamp(0, 1)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    errors = []
    for _ in range(150):
        loss = (network(gt * (1 - mask), mask) - gt).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(loss.item())
    assert errors[-1] < errors[0] / 4
