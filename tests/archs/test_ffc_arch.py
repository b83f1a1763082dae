"""FFCGenerator: LaMa's keys and numbers, published weights, masks, sizes, half precision."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from restore.archs.ffc_arch import FFCGenerator, FourierUnit, SpectralTransform, mirrored
from restore.errors import UserError
from restore.weights import load_weights

# Names and shapes of the state of `FFCResNetGenerator` in advimman/lama at 786f5936, built with the generator section
# of its configs/training/big-lama.yaml: one a line, the counters of batch normalisation without a shape.
KEYS = Path(__file__).with_name("ffc_keys.txt")
SMALL = {"num_feat": 8, "num_down": 2, "num_block": 2}


def shaken(network: nn.Module) -> nn.Module:
    """In evaluation, with normalisations that do something."""
    for name, value in network.state_dict().items():
        if name.endswith(("running_var", "bn.weight", "bn_l.weight", "bn_g.weight")):
            value.uniform_(0.5, 1.5)
        elif name.endswith("running_mean"):
            value.normal_(0, 0.1)
    return network.eval()


def small(**args) -> FFCGenerator:
    torch.manual_seed(0)
    return shaken(FFCGenerator(**(SMALL | args)))


def picture(height=32, width=40, n=2):
    draw = torch.Generator().manual_seed(3)
    mask = torch.zeros(n, 1, height, width)
    mask[..., height // 4 : height // 2, width // 4 : width // 2] = 1
    return torch.rand(n, 3, height, width, generator=draw), mask


@pytest.fixture(scope="module")
def big():
    torch.manual_seed(0)
    return shaken(FFCGenerator())


def test_names_and_shapes_are_big_lamas(big):
    own = [f"{name} {'x'.join(map(str, value.shape))}".rstrip() for name, value in big.state_dict().items()]
    assert own == KEYS.read_text().splitlines()


def test_parameters_by_the_layout_of_the_paper(big):
    """7x7 in and out, three halvings, 18 blocks of two convolutions with 128 local and 384 global channels."""
    spectral = 384 * 192 + 2 * 192 + 384 * 384 + 2 * 384 + 192 * 384
    convolution = 9 * (128 * 128 + 2 * 128 * 384) + spectral + 2 * 512
    down = sum(9 * width * 2 * width + 2 * 2 * width for width in (64, 128, 256))
    up = sum(9 * width * 2 * width + width + 2 * width for width in (64, 128, 256))
    ends = 49 * 4 * 64 + 2 * 64 + 49 * 64 * 3 + 3
    expected = 36 * convolution + down + up + ends
    assert sum(p.numel() for p in big.parameters()) == expected == 50_975_875
    assert sum(value.numel() for value in big.state_dict().values()) == 51_057_179  # "51M": means and counters too
    with torch.device("meta"):
        light = FFCGenerator(num_block=9)
    assert sum(p.numel() for p in light.parameters()) == expected - 18 * convolution == 27_048_835  # the paper's 27M


def test_equals_spandrels_lama(big):
    """spandrel's class is that of LaMa's authors, but for what it does with the mask; it composites."""
    lama = pytest.importorskip("spandrel.architectures.LaMa").LaMa(in_nc=4, out_nc=3).eval()
    lama.load_state_dict({f"model.{name}": value for name, value in big.state_dict().items()}, strict=True)
    x, mask = picture(64, 72, n=1)
    with torch.no_grad():
        ours, theirs = mask * big(x, mask) + (1 - mask) * x, lama(x, mask)
    assert (mask * ours).std() > 0.01
    assert (ours - theirs).abs().max() < 1e-5


@pytest.mark.parametrize("prefix", ["generator.", "model.generator."])
def test_loads_from_a_checkpoint_of_the_whole_training(tmp_path, prefix):
    """As in LaMa's own files: the generator under `state_dict`, beside other networks."""
    network, other = small(), FFCGenerator(**SMALL)
    state = {f"{prefix}{name}": value for name, value in network.state_dict().items()}
    torch.save(
        {"epoch": 39, "state_dict": {"discriminator.model0.0.bias": torch.zeros(1)} | state}, tmp_path / "b.ckpt"
    )
    assert load_weights(other, tmp_path / "b.ckpt").complete
    x, mask = picture()
    with torch.no_grad():
        assert torch.equal(network(x, mask), other.eval()(x, mask))
    with pytest.raises(UserError, match="does not fit FFCGenerator"):
        load_weights(FFCGenerator(**(SMALL | {"num_block": 3})), tmp_path / "b.ckpt")


@pytest.mark.filterwarnings("ignore")  # tracing is old
def test_weights_of_a_traced_module(tmp_path):
    """How docs/archs.md gets at the tensors of big-lama.pt, a trace of the generator inside other modules."""
    network, other = small(), FFCGenerator(**SMALL)
    holder = nn.ModuleDict({"model": nn.ModuleDict({"generator": network})})
    holder.forward = lambda x, mask: network(x, mask)
    torch.jit.trace(holder, picture(), check_trace=False).save(tmp_path / "big.pt")
    state = torch.jit.load(tmp_path / "big.pt", "cpu").state_dict()
    assert "model.generator.model.1.bn_l.running_mean" in state
    torch.save({"model." + name.split("model.")[-1]: value for name, value in state.items()}, tmp_path / "big.pth")
    assert load_weights(other, tmp_path / "big.pth").complete


def test_what_the_mask_covers_is_not_seen():
    network = small()
    x, mask = picture()
    with torch.no_grad():
        answer = network(x, mask)
        assert torch.equal(answer, network(x * (1 - mask) + mask, mask))
        assert not torch.equal(answer, network(x * (1 - mask), torch.zeros_like(mask)))
    with pytest.raises(ValueError, match=r"^FFCGenerator sees the mask: give it one, or set mask_channel: false$"):
        network(x)


def test_without_a_mask_channel_the_mask_is_ignored():
    network = small(mask_channel=False)
    assert network.model[1].ffc.convl2l.in_channels == 3
    x, mask = picture()
    with torch.no_grad():
        assert torch.equal(network(x), network(x, mask))


@pytest.mark.parametrize("lfu", [False, True])
@pytest.mark.parametrize("size", [(33, 50), (1, 3), (8, 9), (64, 40)])
def test_any_size_is_mirrored_and_cut(size, lfu):
    network = small(lfu=lfu, num_feat=16)
    x, mask = picture(*size)
    fold = 8 if lfu else 4
    sides = [max(-(-side // fold) * fold, 2 * fold) for side in size]
    assert [network.padded(side) for side in size] == sides
    with torch.no_grad():
        whole = [mirrored(mirrored(part, 2, sides[0]), 3, sides[1]) for part in (x, mask)]
        answer = network(x, mask)
        assert answer.shape == x.shape
        torch.testing.assert_close(answer, network(*whole)[..., : size[0], : size[1]])
    assert 0 <= answer.min() <= answer.max() <= 1


def test_mirroring_is_numpys_symmetric():
    np = pytest.importorskip("numpy")
    x = torch.rand(1, 2, 3, 5)
    expected = np.pad(x.numpy(), ((0, 0), (0, 0), (0, 8), (0, 4)), mode="symmetric")
    assert np.array_equal(mirrored(mirrored(x, 2, 11), 3, 9).numpy(), expected)


def test_fourier_unit_by_definition():
    """Sums over all pixels with sines and cosines, a 1x1 convolution of the two, and back."""
    unit = shaken(FourierUnit(2))
    x = torch.rand(1, 2, 4, 6)
    rows, columns = torch.arange(4.0), torch.arange(6.0)
    angle = (
        2
        * torch.pi
        * (torch.outer(rows, rows)[:, None, :, None] / 4 + torch.outer(columns, columns)[None, :, None] / 6)
    )
    wave = torch.complex(angle.cos(), -angle.sin()) / 24**0.5  # (frequency, frequency, row, column)
    spectrum = torch.einsum("uvhw,nchw->ncuv", wave, x.to(wave.dtype))[..., :4]
    parts = torch.stack([spectrum[:, 0].real, spectrum[:, 0].imag, spectrum[:, 1].real, spectrum[:, 1].imag], 1)
    parts = F.relu(unit.bn(F.conv2d(parts, unit.conv_layer.weight)))
    expected = torch.fft.irfft2(torch.complex(parts[:, ::2], parts[:, 1::2]), s=(4, 6), norm="ortho")
    torch.testing.assert_close(unit(x), expected, rtol=1e-5, atol=1e-6)


def test_quadrants_share_a_spectrum():
    """A quarter of the channels, cut in four: upper left, lower left, upper right, lower right."""
    transform = shaken(SpectralTransform(16, lfu=True))
    x = torch.rand(1, 16, 6, 8)
    inner = transform.conv1(x)
    cut = inner[:, :2]
    cut = torch.cat([cut[..., :3, :4], cut[..., 3:, :4], cut[..., :3, 4:], cut[..., 3:, 4:]], 1)
    expected = transform.conv2(inner + transform.fu(inner) + transform.lfu(cut).repeat(1, 1, 2, 2))
    torch.testing.assert_close(transform(x), expected)


def test_half_precision():
    """The spectrum stays float32 under autocast, and a network of bfloat16 works whole."""
    x, mask = picture()
    unit = shaken(FourierUnit(3))
    network = small()
    with torch.no_grad():
        exact = network(x, mask)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = network(x, mask)
            assert torch.equal(unit(x), unit.float()(x))
        with torch.autocast("cpu", dtype=torch.float16):
            large = unit(torch.full((1, 3, 512, 512), 1000.0))  # its mean's coefficient is 512,000
        whole = network.bfloat16()(x.bfloat16(), mask.bfloat16())
    assert large.isfinite().all()
    assert rough.dtype == torch.float32
    assert whole.dtype == torch.bfloat16
    assert (rough - exact).abs().max() < 0.02
    assert (whole.float() - exact).abs().max() < 0.05


def test_mistakes_are_told():
    with pytest.raises(ValueError, match=r"^ratio 0.01 of 32 channels leaves 32 local and 0 global ones$"):
        FFCGenerator(num_feat=8, num_down=2, ratio=0.01)
    with pytest.raises(ValueError, match=r"^lfu needs a multiple of 8 global channels, not 12"):
        FFCGenerator(num_feat=8, num_down=1, lfu=True)
