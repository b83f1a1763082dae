"""The sampler with networks that are right: what it finds, how often it calls, and that keys alone decide."""

from collections import Counter

import pytest
import torch
from torch import nn

from restore.diffusion.noise import Schedule
from restore.diffusion.operators import AreaDown, Mask
from restore.diffusion.sampler import Sampler, path
from restore.diffusion.steps import STEPS
from tests.diffusion.priors import OPERATORS, Normal, hole, pictures

GREY = Normal(0.0, 0.3)


@pytest.fixture(params=OPERATORS)
def operator(request):
    return OPERATORS[request.param]()


def sampled(operator, step="ddnm", network=GREY, keys=("a", "b"), y=None, start=None, **options):
    options = {"num_steps": 10, **options}
    y = operator.forward(pictures()) if y is None else y
    return Sampler(Schedule(), step, **options)(network, operator, y, keys, start)


@pytest.mark.parametrize("step", STEPS)
def test_who_knows_the_picture_finds_it(step, operator):
    x0 = pictures()
    x = sampled(operator, step, Normal(2 * x0 - 1))
    torch.testing.assert_close(x, x0, rtol=0, atol=1e-5)


@pytest.mark.parametrize("step", ["ddnm+", "diffpir"])
def test_who_knows_the_picture_finds_it_in_noise(step, operator):
    """DDNM+ ends with the network's estimate; DiffPIR in between, the nearer to it the less noise is left."""
    x0 = pictures()
    y = operator.forward(x0) + 0.1 * torch.randn(operator.forward(x0).shape, generator=torch.Generator().manual_seed(0))
    x = sampled(operator, step, Normal(2 * x0 - 1), y=y, sigma=0.1)
    torch.testing.assert_close(x, x0, rtol=0, atol=1e-5 if step == "ddnm+" else 2e-3)


@pytest.mark.parametrize("step", STEPS)
def test_the_result_agrees_with_what_is_known(step, operator):
    y = operator.forward(pictures())
    torch.testing.assert_close(operator.forward(sampled(operator, step)), y, rtol=0, atol=1e-5)


@pytest.mark.parametrize("step", STEPS)
def test_known_pixels_are_exact_and_the_hole_plays_no_part(step):
    x0, mask = pictures(), hole()
    x = sampled(Mask(mask), step, y=torch.where(mask > 0, torch.nan, x0))
    assert torch.equal(torch.where(mask > 0, 0, x), torch.where(mask > 0, 0, x0))
    assert x.min() >= 0
    assert x.max() <= 1


def expected_std(step, eta, num_steps, std):
    """What pixels' standard deviation becomes from move to move, all of them being linear; nothing is clipped.

    From x_t the network estimates x0 = gain x_t around the mean, and leaves (x_t - sqrt(a) x0) / sqrt(1 - a) as noise.
    """
    alphas = [*Schedule().alphas[Schedule().timesteps(num_steps)].tolist(), 1.0]
    variance = 1.0
    for here, there in path(num_steps, step == "repaint"):
        a, b = alphas[here], alphas[there]
        if there < here:
            variance = b / a * variance + 1 - b / a
            continue
        new = (1 - a / b) / (1 - a) if step == "repaint" else eta**2
        gain = a**0.5 * std**2 / (a * std**2 + 1 - a)
        factor = b**0.5 * gain + ((1 - b) * (1 - new) / (1 - a)) ** 0.5 * (1 - a**0.5 * gain)
        variance = factor**2 * variance + (1 - b) * new
    return variance**0.5


@pytest.mark.parametrize(("step", "eta"), [("ddnm", 0.85), ("ddnm", 0.0), ("diffpir", 1.0), ("repaint", 0.0)])
def test_the_hole_is_drawn_from_the_distribution(step, eta):
    """Pixels are independent, so that what is known tells nothing of the hole, where the prior is (0.2, 0.3).

    The methods have their own bias: DDIM falls 4 % short of the std, RePaint and DDNM 15 %, DiffPIR 30 %.
    """
    mask = torch.ones(1, 1, 48, 48)
    mask[..., :4] = 0
    y = torch.full((1, 3, 48, 48), 0.9)
    num_steps = 60 if step == "repaint" else 100
    x = 2 * sampled(Mask(mask), step, Normal(0.2, 0.3), ["a"], y, num_steps=num_steps, eta=eta)[..., 4:] - 1
    assert x.mean().item() == pytest.approx(0.2, abs=0.03)
    assert x.std().item() == pytest.approx(expected_std(step, eta, num_steps, 0.3), rel=0.04)
    assert eta or step == "repaint" or x.std().item() == pytest.approx(0.3, rel=0.07)


def test_super_resolution_is_drawn_from_the_posterior():
    """Independent normal pixels, given the mean of each 2 x 2: around it, with 3/4 of the variance (DDIM, as above)."""
    y = torch.full((1, 3, 32, 32), 0.6)
    x = sampled(AreaDown(2), "ddnm", Normal(0.0, 0.3), ["a"], y, num_steps=100, eta=0.0)
    assert x.mean().item() == pytest.approx(0.6, abs=1e-6)
    assert 2 * x.std().item() == pytest.approx(0.3 * 0.75**0.5, rel=0.07)


@pytest.mark.parametrize("step", ["ddnm+", "diffpir"])
def test_noise_in_y_is_weighed_with_the_prior(step):
    """Gaussian prior (0, 0.3) and noise 0.15 * 2 on [-1, 1]'s scale: the mean of the posterior is half of y.

    All pixels are known, and denoised. Neither method is exact: here both are 0.02 above it.
    """
    y = torch.full((1, 3, 24, 24), 0.8)
    x = sampled(Mask(torch.zeros(1, 1, 24, 24)), step, Normal(0.0, 0.3), ["a"], y, sigma=0.15, num_steps=100)
    assert x.mean().item() == pytest.approx(0.65, abs=0.03)


@pytest.mark.parametrize("step", ["ddnm", "ddnm+", "diffpir"])
@pytest.mark.parametrize("num_steps", [1, 10, 37])
def test_each_step_calls_the_network_once(step, num_steps):
    network = Normal(0.0, 0.3)
    sampled(Mask(hole()), step, network, num_steps=num_steps)
    assert network.calls == Schedule().timesteps(num_steps)


def test_repaint_calls_2410_times_as_published():
    """Lugmayr et al. 2022: 250 steps, jumps of 10, 10 times at each. Their `get_schedule_jump` has 4,570 moves.

    Nine jumps of ten start at each of t = 0, 10, ..., 230: the 240 levels above the cleanest are met ten times.
    """
    network = Normal(0.0, 0.3)
    sampled(Mask(hole(1, 4)), "repaint", network, ["a"], torch.zeros(1, 3, 4, 4), num_steps=250)
    moves, visits = path(250, jumping=True), Counter(network.calls)
    assert len(network.calls) == 2410
    assert len(moves) == 4570
    assert [visits[time] for time in Schedule().timesteps(250)] == [1] * 9 + [10] * 240 + [1]
    assert [here for here, there in moves if there < here][:10] == list(range(19, 9, -1))


@pytest.mark.parametrize("step", STEPS)
def test_a_picture_is_the_same_in_any_batch_and_run(step, operator):
    y = operator.forward(pictures())
    both = sampled(operator, step, y=y)
    assert torch.equal(both, sampled(operator, step, y=y))
    if not any(isinstance(part, Mask) for part in (operator, *getattr(operator, "parts", ()))):
        alone = torch.cat([sampled(operator, step, keys=[key], y=y[i : i + 1]) for i, key in enumerate("ab")])
        assert torch.equal(both, alone)


@pytest.mark.parametrize("step", STEPS)
def test_a_masked_picture_is_the_same_alone_and_elsewhere_in_a_batch(step):
    mask, x0 = hole(3), pictures(3)
    sigma = 0.1 if step in ("ddnm+", "diffpir") else 0.0
    batch = sampled(Mask(mask), step, keys=["a", 7, ("c", 1)], y=x0, sigma=sigma)
    alone = sampled(Mask(mask[2:]), step, keys=[("c", 1)], y=x0[2:], sigma=sigma)
    assert torch.equal(batch[2:], alone)


def test_keys_and_seed_decide():
    mask = Mask(hole())
    a, b = sampled(mask, keys=["a", "a"], y=pictures(1).expand(2, -1, -1, -1)), sampled(mask, keys=["b", ("a", 1)])
    inner = (slice(None), slice(4, 8), slice(8, 12))  # missing in both
    assert torch.equal(a[0][inner], a[1][inner])
    assert not torch.equal(a[0][inner], b[0][inner])
    assert not torch.equal(b[0][inner], b[1][inner])
    assert not torch.equal(sampled(mask, seed=1), sampled(mask))


def test_it_begins_at_the_first_guess():
    """Made as noisy as 0.4 of the way wants it; from hardly any way, it comes back."""
    network, start = Normal(0.0, 0.3), pictures(seed=3)
    x = sampled(Mask(torch.ones(2, 1, 16, 16)), network=network, start=start, start_from=0.4, num_steps=5)
    assert network.calls == [399, 299, 200, 100, 0]
    again = sampled(Mask(torch.ones(2, 1, 16, 16)), start=start.flip(0), start_from=0.4, num_steps=5)
    assert not torch.equal(x, again)
    near = sampled(Mask(torch.ones(2, 1, 16, 16)), start=start, start_from=0.001, num_steps=1)
    assert (near - start).abs().mean() < 0.01


def test_halves_under_autocast_stay_in_the_network():
    """Known pixels keep their last bit, and the rest is what a network in float32 draws, to its rounding."""
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 3, 3, padding=1)

    def network(x, time):
        return convolution(x) * 0.1

    operator, x0 = Mask(hole()), pictures()
    full = sampled(operator, network=network, y=x0)
    with torch.autocast("cpu", torch.bfloat16):
        assert network(x0, None).dtype == torch.bfloat16
        half = sampled(operator, network=network, y=x0)
    assert half.dtype == torch.float32
    assert torch.equal(half[~operator.missing.expand(-1, 3, -1, -1)], x0[~operator.missing.expand(-1, 3, -1, -1)])
    torch.testing.assert_close(half, full, rtol=0, atol=0.05)
    assert not torch.equal(half, full)


def test_a_compiled_network_is_compiled_once():
    network = nn.Conv2d(3, 3, 1)
    compiled_for = []

    def backend(graph, inputs):
        compiled_for.append(inputs)
        return graph.forward

    class Predictor(nn.Module):
        def forward(self, x, time):
            return network(x) + time.reshape(-1, 1, 1, 1) / 1000

    expected = sampled(Mask(hole()), network=Predictor())
    x = sampled(Mask(hole()), network=torch.compile(Predictor(), backend=backend))
    assert len(compiled_for) == 1
    torch.testing.assert_close(x, expected, rtol=0, atol=1e-6)


def test_no_gradients_are_kept():
    network = nn.Conv2d(3, 3, 1)
    assert not sampled(Mask(hole()), network=lambda x, time: network(x)).requires_grad


def test_progress_is_told_only_when_asked(capsys, monkeypatch):
    monkeypatch.setattr("restore.progress._EVERY", 0.0)
    sampler, y = Sampler(Schedule(), num_steps=3), pictures()
    quiet = sampler(GREY, Mask(hole()), y, ["a", "b"])
    assert not capsys.readouterr().err
    assert torch.equal(sampler(GREY, Mask(hole()), y, ["a", "b"], tell="sampling"), quiet)
    assert capsys.readouterr().err.splitlines()[-1].startswith("sampling: 3 of 3")


@pytest.mark.parametrize(
    "options",
    [
        {"sigma": 0.1},
        {"sigma": 0.1, "step": "repaint"},
        {"sigma": -0.1, "step": "ddnm+"},
        {"eta": 1.1},
        {"start_from": 1.1},
        {"num_steps": 0},
        {"num_steps": 401, "start_from": 0.4},
    ],
)
def test_options_that_contradict_are_refused(options):
    with pytest.raises(ValueError, match="|".join(options)):
        Sampler(Schedule(), **options)


def test_calls_that_contradict_are_refused():
    operator, y = Mask(hole()), pictures()
    with pytest.raises(ValueError, match="1 keys for 2 pictures"):
        Sampler(Schedule())(GREY, operator, y, ["a"])
    with pytest.raises(ValueError, match="start"):
        Sampler(Schedule())(GREY, operator, y, ["a", "b"], start=y)
    with pytest.raises(ValueError, match="start"):
        Sampler(Schedule(), start_from=0.4)(GREY, operator, y, ["a", "b"])
