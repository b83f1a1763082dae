"""FaceEnhanceNet and its light form: sizes, cost, and where they begin."""

import pytest
import torch
from torch.nn.functional import interpolate
from torch.utils.flop_counter import FlopCounterMode

from restore.archs.face_enhance_arch import FaceEnhanceNet, FaceEnhanceNetLight

TINY = {"num_feat": 8, "num_group": 2, "num_block": 2}


def gmacs(network, size):
    counter = FlopCounterMode(display=False)
    with counter, torch.device("meta"):
        network.to("meta")(torch.empty(1, 3, size, size))
    return counter.get_total_flops() / 2e9


def test_the_network_is_the_published_one():
    network = FaceEnhanceNet()
    convs = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    blocks = 60 * 2 + 6  # 6 groups of 10 blocks of two convolutions, and one behind each group
    assert sum(c.kernel_size == (3, 3) and c.in_channels == c.out_channels == 64 for c in convs) == blocks + 1
    assert {(c.in_channels, c.out_channels) for c in convs if c.kernel_size == (1, 1)} == {(64, 16), (16, 64)}
    assert sum(isinstance(m, torch.nn.PixelShuffle) for m in network.modules()) == 2


def test_cost_as_the_docs_say():
    assert sum(p.numel() for p in FaceEnhanceNet().parameters()) == 5_116_483
    assert gmacs(FaceEnhanceNet(), 64) == pytest.approx(22.32, abs=0.01)


def test_the_light_ones_cost_as_the_docs_say():
    assert sum(p.numel() for p in FaceEnhanceNetLight().parameters()) == 280_336
    assert gmacs(FaceEnhanceNetLight(), 64) == pytest.approx(1.12, abs=0.01)


@pytest.mark.parametrize("upscale", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("arch", [FaceEnhanceNet, FaceEnhanceNetLight])
def test_begins_near_the_bilinear_enlargement_at_every_scale(arch, upscale):
    torch.manual_seed(0)
    x = torch.rand(2, 3, 16, 12)
    with torch.no_grad():
        out = arch(**TINY, upscale=upscale)(x)
    assert out.shape == (2, 3, 16 * upscale, 12 * upscale)
    assert (out - interpolate(x, scale_factor=upscale, mode="bilinear")).abs().mean() < 0.1


@pytest.mark.parametrize("arch", [FaceEnhanceNet, FaceEnhanceNetLight])
def test_pictures_of_a_batch_do_not_mix(arch):
    network, x = arch(**TINY), torch.rand(3, 3, 8, 8)
    with torch.no_grad():
        assert torch.allclose(network(x)[1:2], network(x[1:2]), atol=1e-6)


def test_learns_a_picture_in_few_steps():
    """Sixty steps bring it well below the bilinear enlargement's error."""
    torch.manual_seed(0)
    gt = interpolate(torch.rand(4, 3, 12, 12), size=32, mode="bicubic").clamp(0, 1)
    lq = interpolate(gt, scale_factor=0.25, mode="area")
    network = FaceEnhanceNetLight(**TINY)
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    errors = []
    for _ in range(60):
        error = (network(lq) - gt).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.5 * errors[0]
