"""Free-form regions: their areas, and LaMa's mixtures against LaMa's own generator."""

import cv2
import numpy as np
import pytest

from restore.faces.face import Face
from restore.keyed import draws
from restore.occlusions.stroke_occlusion import Boxes, LamaMedium, LamaThick, LamaThin, Shapes, Strokes, of_size

FREE = (Strokes, Boxes, Shapes, LamaThin, LamaMedium, LamaThick)
SIZES = ((64, 64), (200, 256), (512, 512))


def regions(occlusion, count, size=(256, 256)):
    face = Face.aligned(*size)
    return [occlusion.region(*size, face, draws(type(occlusion).__name__, n)) for n in range(count)]


def areas(occlusion, count, size=(256, 256)):
    return np.array([mask.mean() for mask in regions(occlusion, count, size)])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("limits", [(0.1, 0.4), (0.2, 0.21), (0.0, 0.01), (0.97, 1.0), (0.35, 0.35)])
@pytest.mark.parametrize("kind", FREE)
def test_the_area_is_in_its_range(kind, limits, size):
    """Also where no draw ever is: then the nearest is grown or shrunk."""
    low, high = limits
    pixel = 1 / (size[0] * size[1])
    for area in areas(kind(area=limits), 4, size):
        assert low - pixel <= area <= high + pixel


def test_growing_and_shrinking_keep_the_form():
    mask = np.zeros((100, 100), np.uint8)
    cv2.circle(mask, (50, 50), 20, (1,), -1)
    for radius in (10, 30):
        circle = np.zeros((100, 100), np.uint8)
        cv2.circle(circle, (50, 50), radius, (1,), -1)
        made = of_size(mask.view(bool), int(circle.sum()))
        assert made.sum() == circle.sum()
        assert (made != circle.view(bool)).sum() < 0.06 * circle.sum()


@pytest.mark.parametrize("kind", FREE)
def test_small_and_large_pictures_have_like_masks(kind):
    small, large = (areas(kind(), 150, size).mean() for size in ((64, 64), (512, 512)))
    assert small == pytest.approx(large, abs=0.05)


@pytest.mark.parametrize("kind", FREE)
def test_masks_are_drawn_from_the_whole_picture(kind):
    often = np.mean(regions(kind(), 200, (64, 64)), axis=0)
    quarters = [often[y : y + 32, x : x + 32].mean() for y in (0, 32) for x in (0, 32)]
    assert min(quarters) > 0.4 * max(quarters)


@pytest.mark.parametrize("shape", ["polygon", "blob"])
def test_shapes_use_all_of_their_range(shape):
    found = areas(Shapes(shape, area=(0.1, 0.4)), 300)
    assert np.histogram(found, 6, (0.1, 0.4))[0].min() >= 8


def test_strokes_have_the_width_that_they_are_told():
    """The area of a stroke that hardly moves is that of its round brush."""
    brush = Strokes((1, 1), (1, 1), length=(0, 0.004), width=(0.25, 0.25))
    whole = [
        m for m in regions(brush, 60, (256, 256)) if not (m[0].any() or m[-1].any() or m[:, 0].any() or m[:, -1].any())
    ]
    assert len(whole) > 20
    for mask in whole:
        assert mask.sum() == pytest.approx(np.pi * 32**2, rel=0.06)


def test_boxes_keep_their_distance_from_the_edges():
    often = np.any(regions(Boxes((3, 3), size=(0.2, 0.5), inset=0.1), 100, (100, 100)), axis=0)
    expected = np.zeros((100, 100), bool)
    expected[10:90, 10:90] = True
    assert not often[~expected].any()
    assert often[expected].mean() > 0.98


# `MixedMaskGenerator` of advimman/lama (commit 786f593, saicinpainting/training/data/masks.py) with the numbers of
# configs/data_gen/random_*_256.yaml, 8,000 draws each, those above `max_tamper_area: 0.5` left out (3 %, 1 %, 35 %):
# mean and standard deviation of the area, its 10th, 50th and 90th percentile.
LAMA = {
    LamaThin: (0.2876, 0.1292, 0.100, 0.297, 0.455),
    LamaMedium: (0.2390, 0.1315, 0.034, 0.265, 0.396),
    LamaThick: (0.2653, 0.1292, 0.087, 0.261, 0.446),
}


@pytest.mark.parametrize("kind", LAMA)
def test_lama_masks_are_as_large_as_those_of_its_generator(kind):
    found, count = areas(kind(), 1000), 1000
    mean, deviation, *percentiles = LAMA[kind]
    assert found.mean() == pytest.approx(mean, abs=3.5 * deviation / count**0.5)
    assert found.std() == pytest.approx(deviation, abs=0.008)
    np.testing.assert_allclose(np.percentile(found, (10, 50, 90)), percentiles, atol=0.025)
