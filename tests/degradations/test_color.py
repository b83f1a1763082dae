"""Colour: against torchvision, OpenCV and the distributions that GFPGAN publishes."""

import cv2
import numpy as np
import pytest
import torch
from torchvision.transforms import functional

from restore.degradations import color_degradation as color
from restore.degradations.pictures import Pictures, stack
from restore.keyed import draws
from restore.registry import DEGRADATIONS, Part

KINDS = ("brightness", "contrast", "saturation", "hue")


def batch(count=3, height=20, width=24):
    """Random colours, with gray, black, white and pure ones among them."""
    pixels = torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))
    corners = torch.tensor([[r, g, b] for r in (0, 0.5, 1) for g in (0, 0.5, 1) for b in (0, 0.5, 1)])
    pixels[:, :, 0, :24] = corners[:24].T
    return pixels


def build(name, **args):
    return DEGRADATIONS.build(Part(type=name, **args))


@pytest.mark.parametrize("amount", [0.0, 0.37, 1.0, 1.5])
@pytest.mark.parametrize("kind", KINDS)
def test_adjustments_equal_torchvision(kind, amount):
    amount = amount / 3 if kind == "hue" else amount
    pictures = Pictures.of(batch(), (20, 24))
    ours = getattr(color, f"adjust_{kind}")(pictures, torch.full((3, 1, 1, 1), amount))
    theirs = torch.stack([getattr(functional, f"adjust_{kind}")(p, amount) for p in pictures.canvas])
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("turn", [-0.5, -0.1, 0.1, 0.5])
@pytest.mark.parametrize("in_tensors", [False, True], ids=["opencv", "tensors"])
def test_hue_turns_both_ways_both_ways_of_computing(turn, in_tensors):
    """In tensor operations where a gradient is wanted, as on a GPU; else by OpenCV."""
    canvas = batch().requires_grad_(in_tensors)
    ours = color.adjust_hue(Pictures.of(canvas, (20, 24)), torch.full((3, 1, 1, 1), turn))
    theirs = torch.stack([functional.adjust_hue(picture, turn) for picture in batch()])
    assert ours.requires_grad == in_tensors
    torch.testing.assert_close(ours.detach(), theirs, rtol=0, atol=1e-5)


def test_jitter_is_torchvisions_in_the_drawn_order():
    part, pictures = build("ColorJitter", probability=1.0), Pictures.of(batch(8), (20, 24))
    made = part(pictures, [draws("j", n) for n in range(8)]).canvas
    orders = set()
    for n in range(8):
        order, amounts = part.draw(draws("j", n))
        expected = pictures.canvas[n]
        for kind in order:
            expected = getattr(functional, f"adjust_{KINDS[kind]}")(expected, amounts[kind])
        torch.testing.assert_close(made[n], expected, rtol=0, atol=1e-5)
        orders.add(tuple(order))
    assert len(orders) > 4


def test_jitter_is_drawn_as_gfpgan_does():
    """`color_jitter_pt_prob` 0.3; brightness and contrast 0.5 to 1.5, saturation 0 to 1.5, hue -0.1 to 0.1."""
    part, total = build("ColorJitter"), 4000
    drawn = [part.draw(draws("d", n)) for n in range(total)]
    share = np.mean([bool(order) for order, _ in drawn])
    assert abs(share - 0.3) < 4 * (0.3 * 0.7 / total) ** 0.5
    amounts = np.array([a for _, a in drawn])
    for column, (low, high) in zip(amounts.T, ((0.5, 1.5), (0.5, 1.5), (0, 1.5), (-0.1, 0.1)), strict=True):
        assert uniform_distance(column, low, high) < 1.95 / total**0.5  # Kolmogorov's 0.1 % point
    first = np.bincount([order[0] for order, _ in drawn if order], minlength=4) / (share * total)
    assert np.abs(first - 0.25).max() < 0.06


def uniform_distance(values, low, high):
    """Kolmogorov and Smirnov's statistic against the uniform distribution."""
    share = (np.sort(values) - low) / (high - low)
    steps = np.arange(len(values) + 1) / len(values)
    return max(np.abs(share - steps[1:]).max(), np.abs(share - steps[:-1]).max())


def test_null_leaves_an_adjustment_out():
    part = build("ColorJitter", brightness=None, hue=None, probability=1.0)
    orders = {tuple(part.draw(draws(n))[0]) for n in range(30)}
    assert orders == {(1, 2), (2, 1)}


def test_shift_is_gfpgans():
    """Each channel by up to 20 levels, 30 % of the time, clipped."""
    part, total = build("ColorShift"), 3000
    flat = Pictures.of(torch.full((total, 3, 1, 1), 0.5), (1, 1))
    shifts = (part(flat, [draws("s", n) for n in range(total)]).canvas[:, :, 0, 0].double().numpy() - 0.5) * 255
    moved = shifts[(shifts != 0).any(1)]
    assert abs(len(moved) / total - 0.3) < 4 * (0.3 * 0.7 / total) ** 0.5
    assert uniform_distance(moved.ravel(), -20, 20) < 1.95 / moved.size**0.5
    assert np.abs(np.corrcoef(moved.T) - np.eye(3)).max() < 0.15
    bright = build("ColorShift", shift=255, probability=1.0)(
        Pictures.of(batch(), (20, 24)), [draws(n) for n in range(3)]
    )
    assert bright.canvas.min() >= 0
    assert bright.canvas.max() <= 1


def test_gray_is_opencvs():
    pictures = Pictures.of(batch(400, 4, 24), (4, 24))
    made = build("Gray", probability=0.25)(pictures, [draws("g", n) for n in range(400)]).canvas
    is_gray = [bool((row[0] == row[1]).all()) for row in made]
    assert abs(np.mean(is_gray) - 0.25) < 4 * (0.25 * 0.75 / 400) ** 0.5
    for before, after, gray in zip(pictures.canvas, made, is_gray, strict=True):
        theirs = cv2.cvtColor(before.permute(1, 2, 0).numpy(), cv2.COLOR_RGB2GRAY)
        expected = torch.from_numpy(theirs).expand(3, -1, -1) if gray else before
        torch.testing.assert_close(after, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "args"),
    [("ColorShift", {"probability": 0.5}), ("ColorJitter", {"probability": 0.7}), ("Gray", {"probability": 0.5})],
)
def test_each_picture_of_a_batch_as_if_alone(name, args):
    sizes = ((20, 24), (7, 9), (20, 5), (3, 24), (1, 1))
    singles = [batch(1)[0, :, :h, :w] for h, w in sizes]
    together = build(name, **args)(stack(singles, (1, 1)), [draws(n) for n in range(5)])
    for n, (single, (h, w)) in enumerate(zip(singles, sizes, strict=True)):
        alone = build(name, **args)(stack([single], (1, 1)), [draws(n)]).canvas[0]
        torch.testing.assert_close(together.canvas[n, :, :h, :w], alone, rtol=0, atol=1e-6)
