"""The schedule of noise: against its published formulas, written down again, and diffusers."""

import math
from itertools import pairwise

import pytest
import torch

from restore.diffusion.noise import Schedule


def test_the_linear_schedule_is_that_of_ddpm():
    """Ho et al. 2020, section 4: T = 1000, betas from 1e-4 linearly to 0.02; one factor after another."""
    alphas, product = Schedule().alphas, 1.0
    for t in range(1000):
        product *= 1 - (1e-4 + (0.02 - 1e-4) * t / 999)
        assert alphas[t].item() == pytest.approx(product, rel=1e-12)
    assert alphas[999].item() == pytest.approx(4.0358e-5, rel=1e-4)  # google/ddpm-*: scheduler's alphas_cumprod[-1]


def test_the_cosine_schedule_is_that_of_improved_ddpm():
    """Nichol & Dhariwal 2021, equation 17, until their betas meet 0.999."""
    alphas = Schedule("cosine").alphas

    def f(t):
        return math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2

    for t in range(999):
        assert alphas[t].item() == pytest.approx(f(t + 1) / f(0), rel=1e-9)
    assert alphas[999] / alphas[998] == pytest.approx(0.001)


@pytest.mark.parametrize(("ours", "theirs"), [("linear", "linear"), ("cosine", "squaredcos_cap_v2")])
def test_alphas_are_those_of_diffusers(ours, theirs):
    """In float32, which diffusers works in."""
    schedulers = pytest.importorskip("diffusers.schedulers.scheduling_ddpm")
    scheduler = schedulers.DDPMScheduler(beta_schedule=theirs)
    torch.testing.assert_close(Schedule(ours).alphas.float(), scheduler.alphas_cumprod, rtol=5e-4, atol=1e-8)


def test_a_pictures_own_time_decides_how_noisy_it_is():
    x0, noise, time = torch.ones(3, 1, 2, 2), torch.full((3, 1, 2, 2), 2.0), torch.tensor([0, 500, 999])
    noisy = Schedule().noised(x0, noise, time)
    for i, t in enumerate(time.tolist()):
        a = Schedule().alphas[t].item()
        assert noisy[i].unique().tolist() == pytest.approx([math.sqrt(a) + 2 * math.sqrt(1 - a)], rel=1e-6)


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_clean_undoes_noised(kind):
    generator = torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, 5, 3, 4, 4, generator=generator, dtype=torch.float64)
    time = torch.tensor([0, 1, 500, 998, 999])
    schedule = Schedule(kind)
    torch.testing.assert_close(schedule.clean(schedule.noised(x0, noise, time), noise, time), x0, rtol=0, atol=1e-9)


def test_float32_loses_nothing_where_there_is_hardly_any_noise():
    x0, noise, time = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1), torch.tensor([0])
    assert Schedule().noised(x0, noise, time).item() == pytest.approx(0.01, rel=1e-7)  # sqrt(1e-4)


@pytest.mark.parametrize("num_steps", [1, 2, 7, 10, 20, 100, 250, 999, 1000])
def test_timesteps_go_from_the_last_evenly_to_the_first(num_steps):
    times = Schedule().timesteps(num_steps)
    assert len(times) == num_steps
    assert times[0] == 999
    gaps = [a - b for a, b in pairwise(times)]
    assert num_steps == 1 or (times[-1] == 0 and min(gaps) > 0 and max(gaps) - min(gaps) <= 1)


def test_timesteps_from_in_between():
    assert Schedule().timesteps(4, 399) == [399, 266, 133, 0]


@pytest.mark.parametrize(("num_steps", "first"), [(0, None), (1001, None), (401, 399)])
def test_more_steps_than_times_are_refused(num_steps, first):
    with pytest.raises(ValueError, match="num_steps"):
        Schedule().timesteps(num_steps, first)


def test_betas_that_are_none_are_refused():
    with pytest.raises(ValueError, match="betas"):
        Schedule(beta_start=0.02, beta_end=1e-4)
