"""The GANsformer against its paper: assignments, naive loops, symmetry, gradients, cost, and what latents do."""

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from restore.archs.blocks.bipartite_attention import BipartiteAttention, positions
from restore.archs.blocks.modulated_conv import ModulatedConv
from restore.archs.gansformer_arch import GANsformer

MODES = ("simplex", "duplex")
FEAT, LATENTS, DIM = 12, 5, 7


@pytest.fixture
def attended():
    """A block of either mode with its image and latents, in float64."""

    def make(mode, height=4, width=6):
        torch.manual_seed(3)
        block = BipartiteAttention(FEAT, LATENTS, DIM, mode).double()
        x = torch.randn(2, FEAT, height, width, dtype=torch.float64)
        return block, x, torch.randn(2, LATENTS, DIM, dtype=torch.float64)

    return make


def softmax(values):
    """Of a list of numbers."""
    powers = [math.exp(value - max(values)) for value in values]
    return [power / sum(powers) for power in powers]


def dot(one, other):
    """Of two vectors, over the root of their length."""
    return float(one @ other) / FEAT**0.5


@pytest.mark.parametrize("mode", MODES)
def test_assignments_sum_to_one_over_latents_and_centroids_over_places(attended, mode):
    block, x, latents = attended(mode)
    assigned, shares = block.assignments(x, latents)
    assert assigned.shape == (2, 24, LATENTS)
    torch.testing.assert_close(assigned.sum(dim=2), torch.ones(2, 24, dtype=torch.float64))
    if mode == "simplex":
        assert shares is None
    else:
        torch.testing.assert_close(shares.sum(dim=1), torch.ones(2, LATENTS, dtype=torch.float64))


@pytest.mark.parametrize("mode", MODES)
@torch.no_grad()
def test_equal_to_a_loop_over_places(attended, mode):
    block, x, latents = attended(mode)
    result = block(x, latents)
    where = block.place(positions(4, 6, FEAT, x))
    for n in range(2):
        places = [x[n, :, i // 6, i % 6] for i in range(24)]
        keys = [block.keys[k] + block.key(latents[n, k]) for k in range(LATENTS)]
        if mode == "duplex":
            asked = [block.centre_query(place + where[i]) for i, place in enumerate(places)]
            belongs = [softmax([dot(one, key) for key in keys]) for one in asked]
            for k in range(LATENTS):
                weight = sum(shares[k] for shares in belongs)
                centroid = sum(s[k] / weight * block.centre_value(p) for s, p in zip(belongs, places, strict=True))
                keys[k] = block.centre_key(block.centre_norm(keys[k] + centroid))
        mean, deviation = x[n].mean(), x[n].var(correction=0).add(1e-5).sqrt()
        for i, place in enumerate(places):
            query = block.query(place + where[i])
            shares = softmax([dot(query, key) for key in keys])
            found = sum(share * block.value(latents[n, k]) for k, share in enumerate(shares))
            expected = (1 + block.gain(found)) * (place - mean) / deviation + block.shift(found)
            torch.testing.assert_close(result[n, :, i // 6, i % 6], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("mode", MODES)
@torch.no_grad()
def test_the_order_of_latents_and_their_keys_means_nothing(attended, mode):
    block, x, latents = attended(mode)
    before, order = block(x, latents), torch.randperm(LATENTS)
    assert not torch.allclose(before, block(x, latents[:, order]))  # keys of their own tell latents apart
    block.keys.copy_(block.keys[order])
    torch.testing.assert_close(block(x, latents[:, order]), before, rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_every_parameter_gets_gradient(mode):
    """Also the latents' keys, which in the published code's preset do not reach the attention (its issue 45)."""
    torch.manual_seed(0)
    network = GANsformer(num_feat=8, num_level=2, num_latent=4, latent_dim=8, num_mapping=2, mode=mode).double()
    x, mask = torch.rand(3, 3, 16, 16, dtype=torch.float64), torch.zeros(3, 1, 16, 16, dtype=torch.float64)
    mask[..., 4:12] = 1
    y = network(x, mask)
    (y * torch.randn_like(y)).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        size = parameter.grad.norm() / parameter.grad.numel() ** 0.5
        assert size > 1e-9, f"{name}: {size:.1e}"  # rounding would be 1e-16


@pytest.mark.parametrize("mode", MODES)
def test_cost_grows_with_places_times_latents(mode):
    def flops(side, latents):
        block = BipartiteAttention(FEAT, latents, DIM, mode)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            block.assignments(torch.zeros(1, FEAT, side, side), torch.zeros(1, latents, DIM))
        return counter.get_total_flops()

    a_place = (flops(32, 4) - flops(16, 4)) / (32**2 - 16**2)  # what a place more costs
    assert flops(64, 4) - flops(32, 4) == a_place * (64**2 - 32**2)
    a_latent = flops(32, 8) - flops(32, 4)
    assert flops(32, 16) - flops(32, 8) == 2 * a_latent


@torch.no_grad()
def test_latents_draw_other_pictures_and_without_them_there_is_one():
    torch.manual_seed(0)
    network = GANsformer(num_feat=8, num_level=2, num_latent=4, latent_dim=8)
    x, mask = torch.rand(2, 3, 24, 24), torch.ones(2, 1, 24, 24)
    assert not torch.equal(network(x, mask), network(x, mask))  # in training each call draws
    network.eval()
    one = network(x, mask)
    assert torch.equal(one, network(x, mask))
    torch.testing.assert_close(network(x[1:], mask[1:]), one[1:])  # whatever stands beside it in the batch
    drawn = [network(x, mask, network.draw(2, torch.Generator().manual_seed(seed))) for seed in (1, 2)]
    assert (drawn[0] - drawn[1]).abs().mean() > 1e-3  # colours begin faint


@torch.no_grad()
def test_a_picture_reaches_the_smallest_grid():
    """With PyTorch's own initialisation 0.0005 of it did, and holes stayed one tone of skin for hundreds of steps."""
    torch.manual_seed(0)
    network = GANsformer(num_feat=16, num_level=4).eval()
    feat = network.conv_first(torch.cat((torch.rand(4, 3, 64, 64) * 2 - 1, torch.zeros(4, 1, 64, 64)), 1))
    entered = feat.std(dim=0).mean()
    for block in network.down:
        feat = block(feat)
    assert feat.std(dim=0).mean() > 0.2 * entered


@torch.no_grad()
def test_what_is_in_the_hole_is_not_seen():
    network = GANsformer(num_feat=8, num_level=2, num_latent=4, latent_dim=8).eval()
    x, mask = torch.rand(1, 3, 16, 16), torch.zeros(1, 1, 16, 16)
    mask[..., 5:11, 5:11] = 1
    assert torch.equal(network(x, mask), network(torch.where(mask > 0, torch.rand_like(x), x), mask))
    with pytest.raises(ValueError, match="mask"):
        network(x)


@torch.no_grad()
def test_a_modulated_convolution_is_one_of_scaled_weights():
    """StyleGAN2's equations 1 and 3, with the weights of each sample written out."""
    torch.manual_seed(0)
    conv = ModulatedConv(4, 6, 5).double()
    x, style = torch.randn(2, 4, 7, 7, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    for n in range(2):
        weight = conv.weight * conv.style(style[n])[None, :, None, None]
        weight = weight / (weight.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        expected = torch.nn.functional.conv2d(x[n : n + 1], weight, conv.bias, padding=1)
        torch.testing.assert_close(conv(x, style)[n : n + 1], expected, rtol=0, atol=1e-12)
