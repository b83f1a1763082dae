"""Degradations made of others, and the canvas they pass on."""

import pytest
import torch

from restore.degradations.compose_degradation import OneOf
from restore.degradations.pictures import Pictures, stack
from restore.errors import UserError
from restore.keyed import draws
from restore.registry import DEGRADATIONS, Part
from tests.degradations.pairs import TARGET, assert_same_alone_and_in_a_batch, pictures


def part(name, **args):
    return Part(type=name, **args)


def build(name, **args):
    return DEGRADATIONS.build(part(name, **args))


def test_a_chain_of_everything_is_the_same_alone_and_in_a_batch():
    noise = {"type": "OneOf", "choices": [{"type": "GaussianNoise"}, {"type": "PoissonNoise"}]}
    last = {"type": "Chain", "parts": [{"type": "ResizeToTarget"}, {"type": "Sinc"}]}
    choices = [last, {"type": "Downsample"}]  # of different sizes in the end
    parts = [{"type": "Blur"}, {"type": "Resize"}, noise, {"type": "Blur"}, {"type": "OneOf", "choices": choices}]
    assert_same_alone_and_in_a_batch(build("Chain", parts=parts))


def test_one_of_draws_by_its_probabilities():
    part_ = build(
        "OneOf", choices=[{"type": "Sinc", "probability": 0}, {"type": "ResizeToTarget"}], probabilities=[3, 1]
    )
    picture = torch.rand(1, 3, 8, 8)
    made = part_(Pictures.of(picture.expand(400, -1, -1, -1), TARGET), [draws("one of", i) for i in range(400)])
    resized = [size == TARGET for size in made.sizes]
    assert sum(resized) == pytest.approx(100, abs=35)
    for row, is_resized in zip(made.canvas, resized, strict=True):
        assert is_resized or torch.equal(row[:, :8, :8], picture[0])


def test_one_of_checks_its_probabilities():
    with pytest.raises(UserError, match=r"^OneOf: 1 probabilities for 2 choices[^\n]*$"):
        OneOf([part("Sinc"), part("Blur")], [1.0])


def test_selecting_and_replacing():
    own = pictures()
    batch = stack(own, TARGET)
    small = batch.select([1, 3])
    assert small.sizes == (batch.sizes[1], batch.sizes[3])
    assert tuple(small.canvas.shape[2:]) == (33, 41)
    grown = Pictures.of(torch.ones(2, 3, 80, 20), TARGET)
    merged = batch.replaced([1, 3], grown)
    assert merged.sizes == ((70, 90), (80, 20), (12, 64), (80, 20))
    assert tuple(merged.canvas.shape[2:]) == (80, 90)
    assert torch.equal(merged.canvas[0, :, :70, :90], own[0])
    assert merged.canvas[3, :, :80, :20].eq(1).all()
    assert torch.equal(batch.canvas[1, :, :33, :41], own[1])  # what was given stays


def test_pipelines_end_at_the_target_and_at_8_bits():
    with pytest.raises(UserError, match="end it with `type: ResizeToTarget`"):
        stack(pictures(), TARGET).batch()
    batch = Pictures.of(torch.tensor([-1.0, 0.5004, 2.0]).expand(1, 3, 1, 3), (1, 3)).batch()
    assert batch[0, 0, 0].tolist() == pytest.approx([0, 128 / 255, 1])
