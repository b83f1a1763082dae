"""Pictures to look at: sizes that fit, pixels that stay pixels, cells, rows and lines of text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from restore.fitting import celled, fitted, joined, resized, size_within, text_line, tiled

SIDES = st.integers(1, 3000)


def noise(height: int, width: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (height, width, 3), dtype)


@given(SIDES, SIDES, SIDES, SIDES)
def test_a_size_fits_touches_an_edge_and_keeps_the_aspect(height, width, cell_height, cell_width):
    y, x = size_within((height, width, 3), cell_width, cell_height)
    assert 1 <= y <= cell_height
    assert 1 <= x <= cell_width
    assert y == cell_height or x == cell_width
    ratio = min(cell_height / height, cell_width / width)
    assert abs(y - height * ratio) <= 1
    assert abs(x - width * ratio) <= 1


def test_without_a_height_the_cell_is_a_square():
    assert size_within((10, 20), 40) == (20, 40)
    assert size_within((20, 10), 40) == (40, 20)


@pytest.mark.parametrize("side", [7, 12, 21, 256])
def test_pixels_stay_pixels_as_those_of_pillow(side):
    picture = noise(7, 5)
    ours = fitted(picture, side, pixels=True)
    theirs = Pillow.fromarray(picture).resize(ours.shape[1::-1], Pillow.Resampling.NEAREST)
    assert np.array_equal(ours, np.asarray(theirs))


def test_what_shrinks_is_averaged_with_or_without_pixels():
    picture = noise(64, 64)
    means = picture.reshape(16, 4, 16, 4, 3).mean((1, 3))
    for pixels in (False, True):
        assert np.abs(fitted(picture, 16, pixels) - means).max() <= 0.5


def test_what_has_the_size_is_not_touched_and_sixteen_bits_stay():
    picture = noise(8, 8, np.uint16)
    assert resized(picture, (8, 8)) is picture
    assert resized(picture, (4, 4)).dtype == resized(picture, (16, 16)).dtype == np.uint16
    assert resized(picture[:, :, 0], (4, 6)).shape == (4, 6)


def test_a_picture_lies_in_the_middle_of_its_cell():
    cell = celled(np.zeros((2, 4, 3), np.uint8), 8, 6)
    assert cell.shape == (6, 8, 3)
    assert (cell[2:4, 2:6] == 0).all()
    assert cell.sum() == 255 * 3 * (6 * 8 - 2 * 4)


def test_gaps_are_white_and_stand_only_between():
    black = np.zeros((3, 5, 3), np.uint8)
    assert joined([black], axis=1).shape == black.shape
    row = joined([black, black], axis=1, gap=2)
    assert (row[:, 5:7] == 255).all()
    assert row.shape == (3, 12, 3)
    assert row.sum() == 255 * 3 * 3 * 2
    assert joined([black, black], axis=0, gap=2).shape == (8, 5, 3)


@pytest.mark.parametrize(("count", "columns", "shape"), [(1, None, (3, 5)), (5, None, (10, 23)), (5, 4, (10, 32))])
def test_cells_make_a_square_or_that_many_columns(count, columns, shape):
    sheet = tiled([np.full((3, 5, 3), number, np.uint8) for number in range(count)], columns)
    assert sheet.shape[:2] == shape
    assert [(sheet == number).sum() for number in range(count)] == [3 * 5 * 3] * count


def test_a_line_of_text_is_in_the_middle_and_cut_to_the_strip():
    ys, xs = (text_line("HH", 100, 20, 14)[:, :, 0] < 128).nonzero()
    assert abs((xs.min() + xs.max()) / 2 - 50) <= 1.5
    assert abs((ys.min() + ys.max()) / 2 - 10) <= 2
    assert (text_line("", 100, 20, 14) == 255).all()
    assert np.array_equal(text_line("H" * 500, 100, 20, 14), text_line("H" * 600, 100, 20, 14))
    assert (text_line("H", 30, 20, 14, (255, 0, 0))[:, :, 0] == 255).all()
