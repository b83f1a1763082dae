"""The data steps, one move at a time: against their equations, and numerical solutions."""

import math

import pytest
import torch

from restore.diffusion.operators import AreaDown, BicubicDown, Compose, Mask
from restore.diffusion.proximal import proximal
from restore.diffusion.steps import STEPS, Known, Place
from tests.diffusion.priors import hole

SIZE = 8
NOW, NEXT = 0.3, 0.5
OPERATORS = {
    "mask": lambda: Mask(hole(size=SIZE)),
    "area": lambda: AreaDown(2),
    "bicubic": lambda: BicubicDown(2, (SIZE, SIZE)),
    "bicubic then mask": lambda: Compose(BicubicDown(2, (SIZE, SIZE)), Mask(hole(size=SIZE // 2))),
}


def randn(seed, count=2, size=SIZE):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(params=OPERATORS)
def operator(request):
    return OPERATORS[request.param]()


def place(next_alpha=NEXT):
    x_t, noise = randn(0), randn(1)
    x0 = ((x_t - math.sqrt(1 - NOW) * noise) / math.sqrt(NOW)).clamp(-1, 1)
    return Place(x_t, noise, x0, NOW, next_alpha)


def known(operator, sigma=0.0):
    return Known(operator, operator.forward(randn(2)), sigma)


def draw(what):
    return randn({"step": 3, "known": 4}[what])


def moved(name, operator, eta=0.85, sigma=0.0, next_alpha=NEXT):
    return STEPS[name](place(next_alpha), known(operator, sigma), eta, draw)


def matrix(operator, picture):
    """A of one picture of the batch, one channel, as a matrix."""
    pixels = SIZE * SIZE
    basis = torch.eye(pixels, dtype=torch.float64).reshape(pixels, 1, 1, SIZE, SIZE).expand(-1, 2, -1, -1, -1)
    return torch.stack([operator.forward(b)[picture].flatten() for b in basis], 1)


@pytest.mark.parametrize("rho", [1e-4, 0.1, 3.0])
def test_the_proximal_step_minimizes_its_objective(operator, rho):
    """Against the normal equations, picture by picture and channel by channel."""
    x, y = randn(0), operator.forward(randn(1))
    z = proximal(operator, x, y, rho)
    for picture in range(2):
        a = matrix(operator, picture)
        for channel in range(3):
            x_flat, y_flat = x[picture, channel].flatten(), y[picture, channel].flatten()
            expected = torch.linalg.solve(a.T @ a + rho * torch.eye(len(x_flat)), a.T @ y_flat + rho * x_flat)
            torch.testing.assert_close(z[picture, channel].flatten(), expected, rtol=0, atol=1e-6)


def test_the_proximal_step_of_a_mask_is_the_published_closed_form():
    """(mask y + rho x) / (mask + rho), mask being 1 where it is known; in the hole, y is anything."""
    mask, x = hole(size=SIZE), randn(0)
    y = torch.where(mask > 0, torch.nan, randn(1))
    expected = torch.where(mask > 0, x, (y + 0.1 * x) / 1.1)
    torch.testing.assert_close(proximal(Mask(mask), x, y, 0.1), expected, rtol=0, atol=1e-12)


def test_the_proximal_step_does_not_depend_on_the_batch():
    x, y, operator = randn(0, 3).float(), randn(1, 3, SIZE // 2).float(), BicubicDown(2, (SIZE, SIZE))
    x[1], y[1] = 0, 0  # done at once
    alone = torch.cat([proximal(operator, x[i : i + 1], y[i : i + 1], 0.1) for i in range(3)])
    assert torch.equal(proximal(operator, x, y, 0.1), alone)


def test_ddnm_is_its_equation(operator):
    """x0 + A+(y - A x0), then sqrt(a) x0 + sqrt(1 - a) (eta z + sqrt(1 - eta^2) noise)."""
    p, k = place(), known(operator)
    x0 = p.x0 + operator.pinv(k.y - operator.forward(p.x0))
    expected = math.sqrt(NEXT) * x0 + math.sqrt(1 - NEXT) * (0.6 * draw("step") + 0.8 * p.noise)
    torch.testing.assert_close(moved("ddnm", operator, eta=0.6), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["ddnm", "ddnm+", "diffpir", "repaint"])
def test_the_last_move_without_noise_agrees_with_y(name, operator):
    torch.testing.assert_close(
        operator.forward(moved(name, operator, next_alpha=1.0)), known(operator).y, rtol=0, atol=1e-12
    )


def test_ddnm_plus_without_noise_is_ddnm(operator):
    assert torch.equal(moved("ddnm+", operator), moved("ddnm", operator))


def test_ddnm_plus_ends_with_the_networks_own_estimate(operator):
    assert torch.equal(moved("ddnm+", operator, sigma=0.1, next_alpha=1.0), place().x0)


@pytest.mark.parametrize("sigma", [0.05, 0.2, 0.5, 2.0])
@pytest.mark.parametrize("name", ["mask", "area"])
def test_ddnm_plus_leaves_as_much_noise_as_the_next_time_wants(name, sigma):
    """y's noise and the added one together have variance 1 - alpha in every pixel, x0 and the network being right.

    Measured over many pictures: x0 = 0, y and z standard noise. For sigma at most the noise wanted, eta plays no part
    in what is known, and the network's noise none either.
    """
    many, size = 4000, 4
    operator = Mask(hole(1, size)) if name == "mask" else AreaDown(2)
    zero, noise, fresh = torch.zeros(many, 3, size, size), randn(1, many, size), randn(2, many, size)
    y = sigma * operator.forward(zero + 1) * randn(3, many, operator.forward(zero).shape[-1])
    x_s = STEPS["ddnm+"](Place(noise, noise, zero, NOW, NEXT), Known(operator, y, sigma), 0.5, lambda what: fresh)
    torch.testing.assert_close(x_s.var(), torch.tensor(1 - NEXT).double(), rtol=0.03, atol=0)
    ranged = operator.forward(x_s)[operator.forward(zero + 1) > 0]
    torch.testing.assert_close(
        ranged.var(), torch.tensor((1 - NEXT) * operator.singular**2).double(), rtol=0.03, atol=0
    )


def test_ddnm_plus_takes_all_of_y_while_its_noise_is_less_than_wanted(operator):
    """Equation 19's first case: what is known is y's, and new noise, here 0, on it."""
    k = known(operator, 0.01)
    x_s = STEPS["ddnm+"](place(), k, 0.85, lambda what: torch.zeros_like(place().x0))
    torch.testing.assert_close(operator.forward(x_s), math.sqrt(NEXT) * k.y, rtol=0, atol=1e-12)


def test_diffpir_is_its_algorithm(operator):
    """With sigma 0.2 on [-1, 1]'s scale, lambda 1 and zeta 0.36."""
    p, k = place(), known(operator, 0.2)
    x0 = proximal(operator, p.x0, k.y, 0.2**2 / ((1 - NOW) / NOW))
    noise = (p.x_t - math.sqrt(NOW) * x0) / math.sqrt(1 - NOW)
    expected = math.sqrt(NEXT) * x0 + math.sqrt(1 - NEXT) * (math.sqrt(0.64) * noise + math.sqrt(0.36) * draw("step"))
    torch.testing.assert_close(moved("diffpir", operator, eta=0.6, sigma=0.2), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("next_alpha", [NEXT, 1.0])
def test_repaint_is_ddpm_in_the_hole_and_the_noisy_picture_outside(next_alpha):
    """Ho et al. 2020, equation 7, the posterior's mean and variance, for a step of beta = 1 - now / next."""
    mask, p = hole(size=SIZE), place(next_alpha)
    beta = 1 - NOW / next_alpha
    mean = (math.sqrt(next_alpha) * beta * p.x0 + math.sqrt(1 - beta) * (1 - next_alpha) * p.x_t) / (1 - NOW)
    drawn = mean + math.sqrt(beta * (1 - next_alpha) / (1 - NOW)) * draw("step")
    noisy = math.sqrt(next_alpha) * known(Mask(mask)).y + math.sqrt(1 - next_alpha) * draw("known")
    expected = torch.where(mask > 0, drawn, noisy)
    torch.testing.assert_close(moved("repaint", Mask(mask), next_alpha=next_alpha), expected, rtol=0, atol=1e-12)
