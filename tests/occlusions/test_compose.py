"""Occlusions made of others, and masks from files."""

import cv2
import numpy as np
import pytest

from restore.errors import UserError
from restore.faces.face import Face
from restore.images import UnreadableImage
from restore.keyed import draws
from restore.registry import OCCLUSIONS, Part

FACE = Face.aligned(64, 64)
PICTURE = np.random.default_rng(0).integers(1, 255, (64, 64, 3), np.uint8)
LEFT, RIGHT, TOP = ({"type": "Half", "side": side} for side in ("left", "right", "top"))


def build(name, **args):
    return OCCLUSIONS.build(Part(type=name, **args))


def occlude(name, number=0, **args):
    return build(name, **args)(PICTURE, FACE, draws("compose", number))


def test_a_chain_unites_the_masks_and_paints_in_order():
    after, mask = occlude("Chain", parts=[LEFT | {"fill": "white"}, TOP | {"fill": "grey"}])
    expected = PICTURE.copy()
    expected[:, :32] = 255
    expected[:32] = 128
    np.testing.assert_array_equal(after, expected)
    assert not mask[32:, 32:].any()
    assert mask[:32].all()
    assert mask[:, :32].all()


def test_one_of_draws_by_its_probabilities():
    part = build("OneOf", choices=[LEFT, RIGHT], probabilities=[3, 1])
    masks = [part(PICTURE, FACE, draws(number)).mask for number in range(400)]
    assert all(mask[0, 0] != mask[0, -1] for mask in masks)
    assert sum(mask[0, 0] for mask in masks) == pytest.approx(300, abs=35)
    even = build("OneOf", choices=[LEFT, RIGHT])
    assert sum(even(PICTURE, FACE, draws(number)).mask[0, 0] for number in range(400)) == pytest.approx(200, abs=40)


@pytest.mark.parametrize("probabilities", [[1.0], [0.0, 0.0]])
def test_one_of_checks_its_probabilities(probabilities):
    with pytest.raises(UserError, match=r"^OneOf: \d probabilities for 2 choices[^\n]*$"):
        build("OneOf", choices=[LEFT, RIGHT], probabilities=probabilities)


def test_maybe():
    results = [occlude("Maybe", number, part=LEFT, probability=0.3) for number in range(400)]
    masked = [result for result in results if result.mask.any()]
    assert len(masked) == pytest.approx(120, abs=35)
    for after, mask in results:
        np.testing.assert_array_equal(after, np.where(mask[:, :, None], 0, PICTURE))
    assert all(occlude("Maybe", n, part=LEFT, probability=1).mask.any() for n in range(20))
    assert not any(occlude("Maybe", n, part=LEFT, probability=0).mask.any() for n in range(20))


def test_dilation_is_by_a_disk_and_fills_the_ring():
    part = {"type": "Centre", "share": 0.25, "fill": "grey"}
    inner = occlude("Centre", share=0.25).mask
    after, mask = occlude("Dilate", part=part, pixels=6, fill="white")
    y, x = np.mgrid[-6:7, -6:7]
    np.testing.assert_array_equal(mask, cv2.dilate(inner.view(np.uint8), (x**2 + y**2 <= 36).astype(np.uint8)) > 0)
    assert (after[inner] == 128).all()
    assert (after[mask & ~inner] == 255).all()
    np.testing.assert_array_equal(after[~mask], PICTURE[~mask])
    by_share = occlude("Dilate", part=part, share=6 / 64)
    np.testing.assert_array_equal(by_share.mask, mask)
    np.testing.assert_array_equal(occlude("Dilate", part=part, pixels=0).mask, inner)


def test_nothing_dilated_is_nothing():
    after, mask = occlude("Dilate", part={"type": "Maybe", "part": LEFT, "probability": 0}, pixels=9)
    assert not mask.any()
    np.testing.assert_array_equal(after, PICTURE)


@pytest.mark.parametrize("radius", [{}, {"pixels": 2, "share": 0.1}])
def test_dilation_has_one_radius(radius):
    with pytest.raises(UserError, match=r"^Dilate: give the radius once[^\n]*$"):
        build("Dilate", part=LEFT, **radius)


def test_masks_from_files_in_either_polarity(tmp_path):
    mask = np.zeros((16, 32), np.uint8)
    mask[4:8, 4:12] = 200
    mask[8:, 20:] = 100
    (tmp_path / "below").mkdir()
    cv2.imwrite(str(tmp_path / "below" / "mask.png"), mask)
    white = occlude("MaskFile", dataroot=str(tmp_path)).mask
    expected = np.zeros((64, 64), bool)
    expected[16:32, 8:24] = True
    np.testing.assert_array_equal(white, expected)
    black = occlude("MaskFile", dataroot=str(tmp_path), polarity="black_missing")
    np.testing.assert_array_equal(black.mask, ~white)
    assert not black.picture[black.mask].any()


def test_each_file_is_drawn(tmp_path):
    for number in range(3):
        mask = np.zeros((8, 8), np.uint8)
        mask[number] = 255
        cv2.imwrite(str(tmp_path / f"{number}.png"), mask)
    rows = [np.flatnonzero(occlude("MaskFile", n, dataroot=str(tmp_path)).mask[:, 0])[0] // 8 for n in range(90)]
    assert [rows.count(row) for row in range(3)] == pytest.approx([30, 30, 30], abs=15)


def test_files_that_are_no_masks(tmp_path):
    with pytest.raises(UserError, match=r"no mask in this folder"):
        build("MaskFile", dataroot=str(tmp_path))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(UnreadableImage, match=r"broken\.png: [^\n]*$"):
        occlude("MaskFile", dataroot=str(tmp_path))
    part = build("MaskFile", dataroot=str(tmp_path))
    (tmp_path / "broken.png").unlink()
    with pytest.raises(UnreadableImage, match=r"broken\.png: No such file"):
        part(PICTURE, FACE, draws(0))
