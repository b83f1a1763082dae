"""What time does to a print: properties, since nobody has published numbers for it."""

import numpy as np
import pytest
import torch

from restore.degradations.pictures import Pictures, stack
from restore.keyed import draws
from restore.registry import DEGRADATIONS, Part

NAMES = ("Fade", "Scratches", "Dust")


def build(name, **args):
    return DEGRADATIONS.build(Part(type=name, **args))


def flat(count, value=0.5, size=(48, 40)):
    return Pictures.of(torch.full((count, 3, *size), value), size)


def keys(count):
    return [draws("old", n) for n in range(count)]


@pytest.mark.parametrize("name", NAMES)
def test_each_picture_of_a_batch_as_if_alone(name):
    sizes = ((48, 40), (20, 64), (7, 7), (1, 1), (33, 18))
    pictures = [torch.rand(3, h, w, generator=torch.Generator().manual_seed(h)) for h, w in sizes]
    together = build(name)(stack(pictures, (1, 1)), keys(5))
    changed = 0
    for n, (picture, (h, w)) in enumerate(zip(pictures, sizes, strict=True)):
        alone = build(name)(stack([picture], (1, 1)), [draws("old", n)]).canvas[0]
        torch.testing.assert_close(together.canvas[n, :, :h, :w], alone, rtol=0, atol=1e-6)
        assert 0 <= alone.min() <= alone.max() <= 1
        changed += not torch.equal(alone, picture)
    assert changed >= 3


@pytest.mark.parametrize("name", NAMES)
def test_probability(name):
    made = build(name, probability=0.3)(flat(400), keys(400)).canvas
    share = (made != 0.5).flatten(1).any(1).float().mean().item()
    assert abs(share - 0.3) < 4 * (0.3 * 0.7 / 400) ** 0.5 + 0.02  # a scratch may miss the picture
    assert torch.equal(build(name, probability=0)(flat(9), keys(9)).canvas, flat(9).canvas)


def test_fading_takes_contrast_and_colour():
    pixels = torch.rand(200, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    made = build("Fade", probability=1, sepia=[1, 1])(Pictures.of(pixels, (24, 24)), keys(200)).canvas
    assert (made.flatten(2).std(2) < pixels.flatten(2).std(2)).float().mean() > 0.95
    red, green, blue = made.flatten(2).mean(2).unbind(1)
    assert (red > green).all()
    assert (green > blue).all()


@pytest.mark.parametrize("name", ["Scratches", "Dust"])
def test_marks_cover_little_and_grow_with_the_picture(name):
    """Light and dark ones, of about the same share of a small and of a large picture."""
    shares = []
    for size in ((64, 64), (256, 256)):
        made = build(name, probability=1)(flat(60, size=size), keys(60)).canvas
        shares.append((made - 0.5).abs().mean().item())
    assert made.max() > 0.75
    assert made.min() < 0.25
    assert 0.0005 < shares[1] < 0.02
    assert shares[0] == pytest.approx(shares[1], rel=0.5)


def test_scratches_are_upright():
    made = build("Scratches", probability=1, count=[6, 6])(flat(40, size=(128, 128)), keys(40)).canvas
    marks = (made - 0.5).abs()[:, 0].numpy()
    along, across = (np.abs(np.diff(marks, axis=axis)).mean() for axis in (1, 2))
    assert along < 0.6 * across


def test_strength_is_the_opacity():
    made = build("Dust", probability=1, strength=[0.5, 0.5], lint=[0, 0], specks=[40, 40])(flat(30), keys(30)).canvas
    assert made.max() <= 0.5 + 0.5 * (0.94 - 0.5) + 1e-5
    assert made.min() >= 0.5 - 0.5 * (0.5 - 0.08) - 1e-5
