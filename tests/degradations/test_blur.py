"""Blur: each way of computing it against BasicSR's filter2D, and what is drawn against its random kernels."""

import random

import numpy as np
import pytest
import torch
from scipy import stats

from restore.degradations.blur_degradation import MIXED, Blur, Sinc
from restore.degradations.convolution import convolve
from restore.degradations.kernels import Kernel, bivariate, isotropic, sinc
from restore.degradations.pictures import Pictures, stack
from restore.errors import UserError
from restore.keyed import draws
from restore.registry import DEGRADATIONS, Part
from tests.degradations.pairs import TARGET, assert_same_alone_and_in_a_batch, pictures
from tests.oracles import basicsr


def turned(size, x, y):
    return Kernel(bivariate("gaussian", size, x, y, 0.6)[0].astype(np.float32))


def lopsided():
    weights = np.random.default_rng(0).random((11, 11), np.float32)
    return Kernel(weights / weights.sum())


KERNELS = {
    "separable": isotropic(21, 2.5),
    "separable, wide": isotropic(41, 9.0),
    "separable, needle": isotropic(21, 0.2),
    "direct": turned(7, 1.0, 2.0),
    "transformed": turned(21, 4.0, 1.0),
    "transformed, wide": turned(41, 9.0, 3.0),
    "sinc": Kernel(sinc(21, 1.2)[0].astype(np.float32)),
}


@pytest.mark.parametrize("name", KERNELS)
def test_equals_basicsr(name):
    """BasicSR's filter2D, a convolution mirrored at the border; what is trimmed off a kernel is worth 1e-5."""
    picture, kernel = pictures()[0][None], KERNELS[name]
    expected = basicsr("utils.img_process_util").filter2D(picture, torch.from_numpy(kernel.weights)[None])
    ours = convolve(Pictures.of(picture, TARGET), [kernel]).canvas
    torch.testing.assert_close(ours, expected, rtol=0, atol=3e-5)
    many = convolve(Pictures.of(picture.expand(2, -1, -1, -1), TARGET), [kernel, None]).canvas
    torch.testing.assert_close(many[:1], expected, rtol=0, atol=3e-5)
    assert torch.equal(many[1:], picture)


def test_lopsided_kernels_are_convolved_not_correlated():
    """OpenCV correlates with what it is given, Fourier transforms convolve."""
    picture, kernel = pictures()[0][None], lopsided()
    small = Kernel(kernel.weights[:5, :5] / kernel.weights[:5, :5].sum())
    for one in (kernel, small):
        alone = convolve(Pictures.of(picture, TARGET), [one]).canvas
        flipped = torch.from_numpy(one.weights[::-1, ::-1].copy())[None]
        expected = basicsr("utils.img_process_util").filter2D(picture, flipped)
        torch.testing.assert_close(alone, expected, rtol=0, atol=3e-5)


def test_pictures_smaller_than_the_kernel_are_mirrored_again_and_again():
    """NumPy's `pad` mirrors as often as it takes."""
    tiny = pictures(sizes=((5, 4),))[0]
    for kernel in (isotropic(21, 4.0), turned(21, 4.0, 1.0)):
        padded = np.pad(tiny.numpy(), ((0, 0), (10, 10), (10, 10)), mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (21, 21), (1, 2))
        expected = (windows * kernel.weights).sum((-2, -1))
        for batch in (Pictures.of(tiny[None], TARGET), stack([tiny, pictures()[0]], TARGET)):
            blurred = convolve(batch, [kernel] * len(batch.sizes)).canvas[0, :, :5, :4]
            np.testing.assert_allclose(blurred, expected, atol=3e-5)


@pytest.mark.parametrize(
    "part",
    [Blur(), Blur(kernel_size=(41, 41), sigma=(0.1, 10.0)), Blur(probability=0.5), Sinc(), Sinc(probability=0.4)],
)
def test_same_alone_and_in_a_batch(part):
    assert_same_alone_and_in_a_batch(part)


def many(part, count=4000):
    return [part.kernel(draws("kernels", number)) for number in range(count)]


def test_kernels_are_drawn_as_basicsr_draws_them():
    """Of 4,000 kernels and BasicSR's 4,000, the distributions of size, centre, spread and tilt agree."""
    module = basicsr("data.degradations")
    np.random.seed(0)
    random.seed(0)
    settings = {"sigma_x_range": (0.2, 3), "sigma_y_range": (0.2, 3), "betag_range": (0.5, 4), "betap_range": (1, 2)}
    theirs = []
    for _ in range(4000):
        size = random.choice(range(7, 22, 2))
        theirs.append(module.random_mixed_kernels(list(MIXED), list(MIXED.values()), size, **settings))
    ours = [kernel.weights for kernel in many(Blur(sinc_probability=0.0))]
    for feature in (len, lambda k: k.max(), _tilt, lambda k: (k * _grid(k) ** 2).sum()):
        first, second = ([round(float(feature(kernel)), 5) for kernel in kernels] for kernels in (ours, theirs))
        assert stats.ks_2samp(first, second).pvalue > 1e-3


def _grid(kernel):
    return np.arange(len(kernel))[None] - len(kernel) // 2


def _tilt(kernel):
    return (kernel * _grid(kernel) * _grid(kernel).T).sum()


def test_published_ranges_are_drawn_evenly():
    """The iso kernel's peak tells its sigma: uniform in the published range, by Kolmogorov and Smirnov's test."""
    part = Blur(kernels={"iso": 1.0}, kernel_size=(41, 41), sigma=(0.8, 3.0), sinc_probability=0.0)
    sigmas = [1 / np.sqrt(2 * np.pi * kernel.weights.max()) for kernel in many(part, 2000)]
    assert stats.kstest(sigmas, stats.uniform(0.8, 2.2).cdf).pvalue > 1e-3
    sizes = [len(kernel.weights) for kernel in many(Blur(), 4000)]
    assert set(sizes) == set(range(7, 22, 2))
    assert stats.chisquare(np.unique(sizes, return_counts=True)[1]).pvalue > 1e-3


@pytest.mark.parametrize(("kind", "argument"), [("generalized_iso", "beta_gaussian"), ("plateau_iso", "beta_plateau")])
def test_exponents_are_as_often_below_one_as_above(kind, argument):
    """However much wider the range is above: a kernel with exponent 1 has its known weights, others more or less."""
    settings = {"kernel_size": (21, 21), "sigma": (2.0, 2.0), argument: (0.5, 4.0), "sinc_probability": 0.0}
    profile = "generalized" if kind == "generalized_iso" else "plateau"
    middle = bivariate(profile, 21, 2.0, 2.0)[0]
    ratio = middle[10, 20] / middle[10, 10]
    tails = [k.weights[10, 20] / k.weights[10, 10] for k in many(Blur(kernels={kind: 1.0}, **settings), 1000)]
    assert sum(tail > ratio for tail in tails) == pytest.approx(500, abs=65)


def test_probabilities():
    kernels = many(Blur(probability=0.8, sinc_probability=0.1))
    assert sum(kernel is None for kernel in kernels) == pytest.approx(800, abs=100)
    ringing = sum(kernel is not None and kernel.weights.min() < -1e-4 for kernel in kernels)
    assert ringing == pytest.approx(320, abs=70)
    assert sum(kernel is None for kernel in many(Sinc())) == pytest.approx(800, abs=100)


def test_options_are_checked():
    with pytest.raises(UserError, match="must be odd"):
        DEGRADATIONS.build(Part(type="Blur", kernel_size=[8, 20]))
    with pytest.raises(UserError, match="above 0"):
        Blur(kernels={"iso": 0.0})
    with pytest.raises(UserError, match=r"beta_plateau \[1.5, 2\] must enclose 1"):
        Blur(beta_plateau=(1.5, 2))
    with pytest.raises(ValueError, match="skewed"):
        DEGRADATIONS.build(Part(type="Blur", kernels={"skewed": 1}))
