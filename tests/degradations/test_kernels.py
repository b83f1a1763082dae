"""Blur kernels: equal to BasicSR's for the same parameters."""

import numpy as np
import pytest

from restore.degradations.kernels import bivariate, centred, gaussian, isotropic, sinc, trimmed
from tests.oracles import basicsr

NAMES = {"gaussian": "Gaussian", "generalized": "generalized_Gaussian", "plateau": "plateau"}


@pytest.mark.parametrize("size", [7, 13, 21, 41])
@pytest.mark.parametrize("profile", NAMES)
@pytest.mark.parametrize("alike", [True, False], ids=["isotropic", "anisotropic"])
def test_equals_basicsr(profile, size, alike):
    """BasicSR 1.4.2 computes in float64 as we do; the bar is 1e-5."""
    oracle = getattr(basicsr("data.degradations"), f"bivariate_{NAMES[profile]}")
    rng = np.random.default_rng(size)
    x, y, theta, beta = (rng.uniform(*limits, 8) for limits in ((0.1, 10), (0.1, 10), (-np.pi, np.pi), (0.5, 8)))
    if alike:
        y, theta = x, 0 * theta
    beta = np.ones(8) if profile == "gaussian" else beta
    ours = bivariate(profile, size, x, y, theta, beta)
    for row, number in zip(ours, range(8), strict=True):
        power = () if profile == "gaussian" else (beta[number],)
        expected = oracle(size, x[number], y[number], theta[number], *power, isotropic=alike)
        np.testing.assert_allclose(row, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [7, 15, 21])
@pytest.mark.parametrize("cutoff", [np.pi / 5, 1.0, np.pi])
def test_sinc_equals_basicsr(size, cutoff):
    """BasicSR takes J1 from SciPy, we from PyTorch: they agree to 1e-7."""
    oracle = basicsr("data.degradations").circular_lowpass_kernel
    np.testing.assert_allclose(sinc(size, cutoff)[0], oracle(cutoff, size), rtol=0, atol=1e-6)
    np.testing.assert_allclose(
        centred([sinc(size, cutoff)[0]] + [np.ones((21, 21))])[0], oracle(cutoff, size, 21), atol=1e-6
    )


def test_isotropic_gaussian_is_the_product_of_its_factors():
    kernel = isotropic(21, 2.3)
    np.testing.assert_allclose(kernel.weights, bivariate("gaussian", 21, 2.3, 2.3)[0], atol=1e-8)
    np.testing.assert_allclose(np.outer(*kernel.factors), kernel.weights, atol=1e-9)


def test_turning_by_a_right_angle_transposes():
    np.testing.assert_allclose(
        bivariate("gaussian", 21, 3.0, 1.0, np.pi / 2)[0], bivariate("gaussian", 21, 3.0, 1.0, 0.0)[0].T, atol=1e-12
    )
    across = bivariate("gaussian", 21, 3.0, 1.0, 0.0)[0]
    assert across[10, 15] > across[15, 10]  # the first sigma lies along x at angle 0


def test_only_what_cannot_be_seen_is_trimmed():
    kernel = bivariate("gaussian", 41, 2.0, 2.0)[0]
    middle = trimmed(kernel)
    assert len(middle) < 25
    assert 1 - middle.sum() < 1e-5
    assert 1 - kernel[20 - 8 : 20 + 9, 20 - 8 : 20 + 9].sum() > 1e-5  # one ring less would have been too few
    assert len(trimmed(gaussian(21, 0.1))) == 1
    assert len(trimmed(sinc(21, 1.0)[0])) == 21


def test_even_sides_are_refused():
    with pytest.raises(ValueError, match=r"^a kernel of 20 pixels[^\n]*$"):
        sinc(20, 1.0)
