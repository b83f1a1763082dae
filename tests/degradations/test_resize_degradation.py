"""Random resizing: every picture as `torch.nn.functional.interpolate` makes it, and factors drawn as published."""

import cv2
import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from restore.degradations.pictures import Pictures, stack
from restore.degradations.resize_degradation import MODES, Downsample, Plan, Resize, ResizeToTarget, resize
from restore.errors import UserError
from restore.keyed import draws
from restore.registry import DEGRADATIONS, Part
from tests.degradations.pairs import SIZES, TARGET, assert_same_alone_and_in_a_batch, pictures

FACTORS = np.random.default_rng(0).uniform(0.15, 1.5, 25)


def interpolated(picture, mode, factor, by_size):
    height, width = (int(length * factor) for length in picture.shape[2:])
    wanted = {"size": (height, width)} if by_size else {"scale_factor": factor}
    return F.interpolate(picture, mode=mode, **wanted)


@pytest.mark.parametrize("by_size", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_equals_interpolate(mode, by_size):
    """Both of its ways to place samples: by the sizes, and by the factor, where a size was cut to a whole number.

    Real-ESRGAN takes the second for its first resizing. Alone and in a batch; PyTorch computes positions in float32.
    """
    own = [picture[None] for picture in pictures()[:2]]
    for factor in FACTORS:
        expected = [interpolated(picture, mode, factor, by_size) for picture in own]
        plans = [Plan(tuple(e.shape[2:]), mode, None if by_size else 1 / factor) for e in expected]
        if any(plan.size == tuple(picture.shape[2:]) for plan, picture in zip(plans, own, strict=True)):
            continue  # see below
        together = resize(stack([picture[0] for picture in own], TARGET), plans)
        for index, (picture, plan) in enumerate(zip(own, plans, strict=True)):
            alone = resize(Pictures.of(picture, TARGET), [plan]).canvas
            torch.testing.assert_close(alone, expected[index], rtol=0, atol=1e-5)
            part = together.canvas[index : index + 1, :, : plan.size[0], : plan.size[1]]
            torch.testing.assert_close(part, expected[index], rtol=0, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_what_keeps_its_size_keeps_its_pixels(mode):
    """So PyTorch has it on GPUs (on CPUs but for bicubic): a factor of 1.005 that is cut to the same size is a copy."""
    picture = pictures()[0][None]
    assert resize(Pictures.of(picture, TARGET), [Plan(SIZES[0], mode, 1 / 1.005)]).canvas is picture
    batch = resize(stack(pictures(), TARGET), [Plan(SIZES[0], mode, 1 / 1.005), *[Plan((7, 9), mode)] * 3]).canvas
    torch.testing.assert_close(batch[0], picture[0], rtol=0, atol=0)


def test_a_factor_of_the_pictures_own_size_places_the_samples_too():
    """Real-ESRGAN's first resizing: `interpolate` gets its `scale_factor`, the second its size."""
    picture, factor = pictures()[0][None], 1.237
    enlarging = Resize(scale=(1.0, factor), probabilities=(1, 0, 0), modes=("bilinear",))
    enlarging._factor = lambda rng: factor
    made = enlarging(Pictures.of(picture, TARGET), [draws(0)]).canvas
    torch.testing.assert_close(made, interpolated(picture, "bilinear", factor, False), rtol=0, atol=1e-5)
    assert (made - interpolated(picture, "bilinear", factor, True)).abs().max() > 1e-3


def test_downsample_equals_opencv():
    """GFPGAN: cv2.resize, INTER_LINEAR, to the sides divided and cut to whole numbers."""
    picture = pictures()[0]
    made = Downsample()(Pictures.of(picture[None], TARGET), [draws("downsample")])
    factor = draws("downsample").uniform(0.8, 8.0)
    assert made.sizes == ((int(70 // factor), int(90 // factor)),)
    expected = cv2.resize(picture.permute(1, 2, 0).numpy(), made.sizes[0][::-1], interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(made.canvas[0].permute(1, 2, 0), expected, atol=1e-5)


@pytest.mark.parametrize(
    "part", [Resize(), Resize(of="target"), Resize(modes=("area",)), Downsample(), ResizeToTarget()]
)
def test_same_alone_and_in_a_batch(part):
    assert_same_alone_and_in_a_batch(part)


def sizes_of(part, count=3000, side=10_000):
    """The sides that a part gives to pictures without a width: only the drawing is looked at."""
    picture = torch.zeros(1, 0, side, 1)
    with pytest.MonkeyPatch.context() as patch:
        plans = []
        patch.setattr("restore.degradations.resize_degradation.resize", lambda _, plan: plans.extend(plan))
        for number in range(count):
            part(Pictures.of(picture, (side, 1)), [draws("sizes", number)])
    return np.array([plan.size[0] / side for plan in plans]), [plan.mode for plan in plans]


@pytest.mark.parametrize("of", ["picture", "target"])
def test_factors_are_drawn_as_published(of):
    """Real-ESRGAN: up 0.2, down 0.7, keep 0.1, each range drawn evenly (Kolmogorov-Smirnov), each mode as likely."""
    factors, modes = sizes_of(Resize(scale=(0.15, 1.5), probabilities=(0.2, 0.7, 0.1), of=of))
    up, down = factors[factors > 1], factors[factors < 1]
    assert (len(up), len(down)) == (pytest.approx(600, abs=80), pytest.approx(2100, abs=90))
    assert stats.kstest(up, stats.uniform(1, 0.5).cdf).pvalue > 1e-3
    assert stats.kstest(down, stats.uniform(0.15, 0.85).cdf).pvalue > 1e-3
    assert stats.chisquare([modes.count(mode) for mode in MODES]).pvalue > 1e-3


def test_divisors_are_drawn_as_published():
    factors, _ = sizes_of(Downsample(factor=(0.8, 8.0)))
    assert stats.kstest(1 / factors, stats.uniform(0.8, 7.2).cdf).pvalue > 1e-3


def test_smallest_and_target_sizes():
    tiny = Pictures.of(torch.rand(1, 3, 3, 3), TARGET)
    assert Downsample(factor=(8.0, 8.0))(tiny, [draws(0)]).sizes == ((1, 1),)
    assert ResizeToTarget()(tiny, [draws(0)]).sizes == (TARGET,)
    assert Resize(probabilities=(0, 0, 1), of="target")(tiny, [draws(0)]).sizes == (TARGET,)
    with pytest.raises(UserError, match="must enclose 1"):
        Resize(scale=(1.2, 1.5))


@pytest.mark.parametrize("kind", ["Resize", "Downsample", "ResizeToTarget"])
def test_one_interpolation_at_least_is_needed(kind):
    with pytest.raises(ValueError, match="at least 1 item"):
        DEGRADATIONS.build(Part(type=kind, modes=[]))
