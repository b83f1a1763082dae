"""The operators: linear, with true adjoints and exact inverses; the bicubic is the one of the degradations."""

import numpy as np
import pytest
import torch

from restore.degradations.resize import shrink
from restore.diffusion.operators import AreaDown, BicubicDown, Compose, Mask
from tests.diffusion.priors import OPERATORS, hole, pictures
from tests.oracles import basicsr

OPERATORS = OPERATORS | {"area then bicubic": lambda: Compose(AreaDown(2), BicubicDown(2, (8, 8)))}


def randn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture(params=OPERATORS)
def operator(request):
    return OPERATORS[request.param]()


def test_what_the_inverse_gives_has_the_same_measurement(operator):
    y = operator.forward(randn(2, 3, 16, 16))
    torch.testing.assert_close(operator.forward(operator.pinv(y)), y, rtol=0, atol=1e-12)


def test_the_adjoint_is_the_transpose(operator):
    x, y = randn(2, 3, 16, 16), operator.forward(randn(2, 3, 16, 16, seed=1)).cos()
    torch.testing.assert_close((operator.forward(x) * y).sum(), (x * operator.adjoint(y)).sum(), rtol=1e-12, atol=1e-12)


def test_a_consistent_picture_differs_in_the_range_space_only(operator):
    x, y = randn(2, 3, 16, 16), operator.forward(randn(2, 3, 16, 16, seed=1))
    z = operator.consistent(x, y)
    torch.testing.assert_close(operator.forward(z), y, rtol=0, atol=1e-12)
    null = operator.pinv(operator.forward(x)) - x
    torch.testing.assert_close(operator.pinv(operator.forward(z)) - z, null, rtol=0, atol=1e-12)


def test_measurements_of_grey_are_grey(operator):
    """So that [0, 1] and [-1, 1] are the same to them."""
    grey = torch.full((2, 3, 16, 16), 0.3, dtype=torch.float64)
    y = operator.forward(grey)
    torch.testing.assert_close(y[y != 0], torch.full_like(y[y != 0], 0.3), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["mask", "area", "area then mask"])
def test_singular_is_the_only_singular_value(name):
    operator = OPERATORS[name]()
    y = operator.forward(randn(2, 3, 16, 16))
    torch.testing.assert_close(operator.forward(operator.adjoint(y)), operator.singular**2 * y, rtol=1e-12, atol=0)


def test_singular_of_the_bicubic_is_its_largest():
    operator = BicubicDown(4, (16, 8))
    matrix = operator.forward(torch.eye(128, dtype=torch.float64).reshape(128, 1, 16, 8)).reshape(128, -1)
    assert torch.linalg.svdvals(matrix)[0].item() == pytest.approx(operator.singular, rel=1e-12)


def test_the_inverses_are_moore_and_penroses():
    for operator in (AreaDown(4), BicubicDown(4, (16, 8))):
        a = operator.forward(torch.eye(128, dtype=torch.float64).reshape(128, 1, 16, 8)).reshape(128, -1)
        p = operator.pinv(torch.eye(8, dtype=torch.float64).reshape(8, 1, 4, 2)).reshape(8, -1)
        torch.testing.assert_close(p, torch.linalg.pinv(a), rtol=0, atol=1e-12)


def test_the_bicubic_is_matlabs():
    """Of an 8-bit picture, whose result MATLAB rounds after each axis: within a level of it."""
    image = (pictures(1, 32)[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    expected = shrink(image, 4, "bicubic")
    ours = BicubicDown(4, (32, 32)).forward(torch.from_numpy(image).permute(2, 0, 1)[None].double())
    assert np.abs(ours[0].permute(1, 2, 0).numpy() - expected).max() <= 1.01


def test_the_bicubic_is_basicsrs():
    """Its port of `imresize`, in float32."""
    picture = pictures(1, 32)
    expected = basicsr("utils.matlab_functions").imresize(picture[0], 0.25)
    torch.testing.assert_close(BicubicDown(4, (32, 32)).forward(picture)[0], expected, rtol=0, atol=1e-6)


def test_the_bicubic_is_not_the_mean():
    x = pictures(1, 32)
    assert (BicubicDown(4, (32, 32)).forward(x) - AreaDown(4).forward(x)).abs().max() > 0.01


def test_a_picture_is_shrunk_alike_in_any_batch():
    x = pictures(5, 20)
    for operator in (AreaDown(4), BicubicDown(4, (20, 20))):
        alone = torch.cat([operator.pinv(operator.forward(picture[None])) for picture in x])
        assert torch.equal(operator.pinv(operator.forward(x)), alone)


def test_autocast_does_not_reach_the_bicubic():
    x, operator = pictures(), BicubicDown(4, (16, 16))
    expected = operator.forward(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(operator.forward(x), expected)


def test_known_pixels_are_exact_to_the_bit():
    x, y, mask = pictures(seed=1), pictures(), hole()
    z = Mask(mask).consistent(x, y)
    assert torch.equal(z, torch.where(mask > 0, x, y))


def test_a_mask_before_shrinking_is_refused():
    with pytest.raises(ValueError, match="last"):
        Compose(Mask(hole()), AreaDown(4))


@pytest.mark.parametrize(
    "wrong",
    [lambda: BicubicDown(4, (18, 16)), lambda: AreaDown(0), lambda: AreaDown(4).forward(torch.rand(1, 3, 18, 16))],
)
def test_sizes_that_do_not_divide_are_refused(wrong):
    with pytest.raises(ValueError, match="scale|shrink"):
        wrong()


def test_masks_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match="mask"):
        Mask(torch.zeros(2, 3, 16, 16))
