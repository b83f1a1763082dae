"""Noise: its statistics against BasicSR's and SciPy's, and fields that depend on seed and pixel alone."""

import numpy as np
import pytest
import torch
from scipy import stats

from restore.degradations.fields import hashes, normals, poisson
from restore.degradations.noise_degradation import Drawn, GaussianNoise, PoissonNoise
from restore.degradations.pictures import Pictures
from restore.keyed import draws
from tests.degradations.pairs import TARGET, assert_same_alone_and_in_a_batch, pictures
from tests.oracles import basicsr

CPU = torch.device("cpu")
RAMP = (torch.arange(256).float() / 255).expand(1, 3, 256, 256)


def test_hashes_are_pinned():
    """The fields of a seed must not change: fixed LQ sets rest on them. Wellons' lowbias32 in plain Python."""

    def plain(counter, low, high):
        bits = counter ^ low
        bits ^= bits >> 16
        bits = bits * 0x7FEB352D & 0xFFFFFFFF ^ high
        bits ^= bits >> 15
        bits = bits * 0x846CA68B & 0xFFFFFFFF
        return bits ^ bits >> 16

    seed = (1 << 62) + 123456789
    ours = hashes([seed], 3, (5, 7), CPU)[0].numpy().view(np.uint32)
    for c, y, x in np.ndindex(3, 5, 7):
        assert ours[c, y, x] == plain(c << 28 | y << 14 | x, seed & 0xFFFFFFFF, seed >> 32)


def test_field_depends_on_seed_and_pixel_alone():
    wide = normals([5, 6], 3, (64, 80), CPU)
    assert torch.equal(normals([6], 3, (31, 47), CPU)[0], wide[1, :, :31, :47])
    assert torch.equal(normals([6], 1, (31, 47), CPU)[0], wide[1, :1, :31, :47])
    assert (wide[0] == wide[1]).float().mean() < 1e-3


def test_field_is_normal_and_white():
    """Of 786,432 numbers, and their products with neighbours, channels and other seeds: none should be correlated."""
    field = normals([1, 2], 3, (512, 256), CPU).double()
    assert stats.kstest(field.flatten().numpy(), "norm").pvalue > 1e-3
    a = field[0]
    pairs = [(a[:, 1:], a[:, :-1]), (a[:, 2:], a[:, :-2]), (a[..., 1:], a[..., :-1]), (a[0], a[1]), (a[1], a[2])]
    for one, other in (*pairs, (a, field[1]), (a[:, 1:].square() - 1, a[:, :-1].square() - 1)):
        products = (one * other).flatten()
        assert abs(products.mean()) < 4.5 * products.std() / len(products) ** 0.5


@pytest.mark.parametrize("rate", [0.02, 0.5, 2.0, 5.99, 6.0, 9.0, 20.0, 100.0, 256.0])
def test_poisson_numbers(rate):
    """Frequencies against SciPy's: exact below a rate of 6 (chi-squared), and beyond it to 6e-4 of the probability.

    The normal numbers are the quantiles of an even grid: what is left is the error of the inversion.
    """
    size = 2_000_000
    grid = torch.from_numpy(stats.norm.ppf((np.arange(size) + 0.5) / size)).float()
    counts = poisson(torch.full_like(grid, rate), grid).long().bincount().double() / size
    expected = stats.poisson.pmf(np.arange(len(counts)), rate)
    assert np.abs(counts.numpy() - expected).sum() / 2 < (2e-5 if rate < 6 else 6e-4)


def test_black_gets_no_poisson_noise():
    assert poisson(torch.zeros(1000), torch.randn(1000)).eq(0).all()


@pytest.mark.parametrize("gray", [0.0, 1.0], ids=["colour", "gray"])
@pytest.mark.parametrize(("part", "oracle"), [(GaussianNoise, "gaussian"), (PoissonNoise, "poisson")])
def test_noise_has_the_moments_of_basicsr(part, oracle, gray):
    """Mean and variance at each level of a ramp of all 256, and the correlation of the channels; 40 pictures each."""
    torch.manual_seed(0)
    add = getattr(basicsr("data.degradations"), f"add_{oracle}_noise_pt")
    strength = 12.0 if part is GaussianNoise else 0.8
    theirs = torch.cat([add(RAMP.clone(), strength, gray_noise=torch.tensor([gray])) for _ in range(40)]).double()
    mine = part((strength, strength), gray)
    batches = [mine(Pictures.of(RAMP, TARGET), [draws("moments", i)]).canvas for i in range(40)]
    ours = torch.cat(batches).double()
    assert len({batch.numpy().tobytes() for batch in batches}) == 40
    for moment in (lambda x: x.mean((0, 1, 2)), lambda x: x.var((0, 1, 2)), lambda x: (x[:, 0] - x[:, 1]).var((0, 1))):
        first, second = moment(ours), moment(theirs)
        torch.testing.assert_close(first, second, rtol=0.15, atol=4e-4)
        assert first.mean().item() == pytest.approx(second.mean().item(), rel=0.01, abs=1e-9)


def test_photons_are_the_shades_rounded_up_to_a_power_of_two():
    """BasicSR: a picture of 3 shades is counted with 4 photons for white, so its noise takes steps of a quarter."""
    shades = torch.tensor([0.2, 0.4, 1.0])[torch.randint(3, (1, 3, 32, 32))]
    noisy = PoissonNoise((1.0, 1.0), 0.0)(Pictures.of(shades, TARGET), [draws(1)]).canvas
    own = noisy[(noisy > 0) & (noisy < 1)]
    assert torch.all((own * 4 - (own * 4).round()).abs() < 1e-5)
    assert (own * 2 - (own * 2).round()).abs().max() > 0.4


@pytest.mark.parametrize(
    "part", [GaussianNoise(), PoissonNoise(), GaussianNoise(gray_probability=1.0), PoissonNoise(gray_probability=0.0)]
)
def test_same_alone_and_in_a_batch(part):
    assert_same_alone_and_in_a_batch(part)


def test_strengths_are_drawn_as_published():
    """Kolmogorov and Smirnov: uniform in the range; gray as often as it should be; no seed twice."""
    drawn = Drawn.of((1.0, 30.0), 0.4, [draws("strength", number) for number in range(3000)])
    assert stats.kstest(drawn.strengths, stats.uniform(1, 29).cdf).pvalue > 1e-3
    assert sum(drawn.gray) == pytest.approx(1200, abs=100)
    assert len(set(drawn.seeds)) == 3000


def test_pictures_given_stay_as_they_are_and_results_are_clipped():
    for part in (GaussianNoise((200.0, 200.0)), PoissonNoise((3.0, 3.0))):
        batch = torch.stack(pictures(sizes=((20, 20),)))
        before = batch.clone()
        noisy = part(Pictures.of(batch, TARGET), [draws(3)]).canvas
        assert torch.equal(batch, before)
        assert (noisy.min(), noisy.max()) == (0, 1)
