"""What holds for every occlusion; then regions of the face and of the picture, their fills, and blur."""

from functools import cache

import cv2
import numpy as np
import pytest

from restore.faces.face import BOX, Face
from restore.keyed import draws
from restore.occlusions.blur_occlusion import Blur
from restore.occlusions.box_occlusion import Centre, Eyes, Half, LowerFace, Mouth, Nose
from restore.registry import OCCLUSIONS, Part
from tests.oracles import shared

MASKS = "masks"  # stands for a folder that `built` fills
ARGUMENTS = {  # of those that cannot be built without
    "Chain": {"parts": [{"type": "Eyes"}, {"type": "Shapes"}]},
    "OneOf": {"choices": [{"type": "Eyes"}, {"type": "Mouth"}]},
    "Maybe": {"part": {"type": "Eyes"}},
    "Dilate": {"part": {"type": "Shapes", "area": [0.1, 0.2]}, "share": 0.02},
    "MaskFile": {"dataroot": MASKS},
}
ALWAYS_THE_SAME = {"LowerFace", "Centre", "Eyes", "Nose", "Mouth"}
ON_THE_FACE = ("LowerFace", "Eyes", "Nose", "Mouth", "Blur", "Pixelate")
EVERY = [entry.name for entry in OCCLUSIONS]
SIZES = ((64, 64), (200, 256), (512, 512))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp(MASKS)
    for number in range(4):
        mask = np.zeros((50, 60), np.uint8)
        mask[10 * number : 10 * number + 20, 5:40] = 255
        cv2.imwrite(str(folder / f"{number}.png"), mask)

    @cache  # templates take seconds to read
    def build(name, **args):
        given = ARGUMENTS.get(name, {}) | args
        if given.get("dataroot") == MASKS:
            given = given | {"dataroot": str(folder)}
        if name == "TemplateMask":
            given = given | {"templates": str(shared("mask_templates"))}
        return OCCLUSIONS.build(Part(type=name, **given))

    return build


def picture(height, width, dtype=np.uint8):
    """Noise that is not to be written to."""
    levels = np.random.default_rng(height).integers(0, np.iinfo(dtype).max, (height, width, 3), dtype, endpoint=True)
    levels.flags.writeable = False
    return levels


def quarter_turned(face, width):
    """The face of a picture that `np.rot90` turned."""

    def turned(points):
        return np.stack([points[:, 1], width - 1 - points[:, 0]], 1).astype(np.float32)

    corners = turned(np.array(face.box).reshape(2, 2))
    return Face((*corners.min(0).tolist(), *corners.max(0).tolist()), turned(face.landmarks))


def overlap(one, other):
    return (one & other).sum() / (one | other).sum()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", EVERY)
def test_outside_the_mask_nothing_changes(built, name, size, dtype):
    before = picture(*size, dtype)
    for number in range(3):
        after, mask = built(name)(before, Face.aligned(*size), draws(name, number))
        assert (after.shape, after.dtype, mask.shape, mask.dtype) == (before.shape, dtype, size, np.bool_)
        np.testing.assert_array_equal(after[~mask], before[~mask])
        assert not np.shares_memory(after, before)
        assert mask.any() or name == "Maybe"


@pytest.mark.parametrize("name", EVERY)
def test_equal_draws_give_equal_results_and_others_differ(built, name):
    face, occlusion = Face.aligned(96, 96), built(name)
    results = [occlusion(picture(96, 96), face, draws(name, number // 2)) for number in range(24)]
    for one, other in zip(results[::2], results[1::2], strict=True):
        np.testing.assert_array_equal(one.picture, other.picture)
        np.testing.assert_array_equal(one.mask, other.mask)
    kinds = {result.picture.tobytes() for result in results}
    assert (len(kinds) == 1) == (name in ALWAYS_THE_SAME)


@pytest.mark.parametrize("name", EVERY)
def test_a_view_with_strides_is_as_good(built, name):
    """Decoded pictures are views with their channels reversed."""
    plain, face = picture(80, 80), Face.aligned(80, 80)
    view = np.ascontiguousarray(plain[:, :, ::-1])[:, :, ::-1]
    results = [built(name)(given, face, draws(name)).picture for given in (plain, view)]
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("name", ON_THE_FACE)
def test_regions_turn_and_grow_with_the_face(built, name):
    occlusion, face = built(name), Face.aligned(240, 320)
    upright = occlusion(picture(240, 320), face, draws(0)).mask
    turned = occlusion(picture(320, 240), quarter_turned(face, 320), draws(0)).mask
    assert overlap(np.rot90(upright), turned) > 0.98
    large = occlusion(picture(480, 640), Face.aligned(480, 640), draws(0)).mask
    assert large.mean() == pytest.approx(upright.mean(), rel=0.1)


@pytest.mark.parametrize("name", ["Eyes", "Nose", "Mouth", "Blur"])
@pytest.mark.parametrize("shape", ["box", "ellipse"])
def test_regions_are_slanted_as_the_face_is(built, name, shape):
    face, matrix = Face.aligned(200, 200), cv2.getRotationMatrix2D((99.5, 99.5), 28, 1.1)
    slanted = Face.of_landmarks((face.landmarks @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32))
    occlusion = built(name, **({} if name == "Blur" else {"shape": shape}))
    masks = [occlusion(picture(200, 200), f, draws(0)).mask for f in (face, slanted)]
    expected = cv2.warpAffine(masks[0].view(np.uint8) * 255, matrix, (200, 200)) > 127
    assert overlap(expected, masks[1]) > 0.93


@pytest.mark.parametrize("name", ON_THE_FACE)
def test_of_a_face_half_outside_the_half_inside_is_hidden(built, name):
    occlusion, face = built(name), Face.aligned(200, 200)
    whole = occlusion(picture(200, 200), face, draws(0)).mask
    cut, mask = occlusion(picture(200, 200)[:, 100:], moved(face, -100), draws(0))
    np.testing.assert_array_equal(mask, whole[:, 100:])
    away, nothing = occlusion(picture(200, 200), moved(face, 1000), draws(0))
    assert not nothing.any()
    np.testing.assert_array_equal(away, picture(200, 200))


def moved(face, x):
    return Face.of_landmarks(face.landmarks + np.float32([x, 0]))


def test_the_lower_face_is_the_lower_45_percent_of_the_box():
    mask = LowerFace().region(100, 100, Face.of_box((20, 10, 79.5, 90)), draws(0))
    expected = np.zeros((100, 100), bool)
    expected[54:91, 20:80] = True  # 10 + 0.55 * 80
    np.testing.assert_array_equal(mask, expected)


def test_face_parts_hide_what_they_are_called_after():
    """And not each other's landmarks."""
    face = Face.aligned(256, 256)
    eyes, nose, mouth = ([0, 1], [2], [3, 4])
    for part, own in ((Eyes, eyes), (Nose, nose), (Mouth, mouth)):
        for shape in ("box", "ellipse"):
            mask = part(shape).region(256, 256, face, draws(0))
            x, y = np.rint(face.landmarks).astype(int).T
            assert np.flatnonzero(mask[y, x]).tolist() == own
    box, ellipse = (Eyes(shape, margin=0.5).region(256, 256, face, draws(0)).sum() for shape in ("box", "ellipse"))
    assert ellipse / box == pytest.approx(np.pi / 4, abs=0.02)


@pytest.mark.parametrize("size", [(64, 64), (65, 31), (200, 256)])
def test_centre_and_halves(size):
    face = Face.aligned(*size)
    assert Centre().region(*size, face, draws(0)).mean() == pytest.approx(0.25, abs=0.02)
    centre = Centre(0.75).region(64, 64, face, draws(0))
    np.testing.assert_array_equal(centre, centre[::-1, ::-1])
    left, right, top, bottom = (Half(side).region(*size, face, draws(0)) for side in ("left", "right", "top", "bottom"))
    for one, other, axis in ((left, right, 1), (top, bottom, 0)):
        assert one.mean() == pytest.approx(0.5, abs=0.02)
        np.testing.assert_array_equal(one, np.flip(other, axis))
        assert one.take(0, axis).all()
        assert not other.take(0, axis).any()
    drawn = {Half().region(*size, face, draws(number)).tobytes() for number in range(40)}
    assert drawn == {half.tobytes() for half in (left, right, top, bottom)}


@pytest.mark.parametrize(("fill", "level"), [("black", 0), ("white", 255), ("grey", 128), ((1, 2, 3), (1, 2, 3))])
def test_colours_are_the_same_in_8_and_16_bits(fill, level):
    before, face = picture(32, 32), Face.aligned(32, 32)
    small, mask = Centre(fill=fill)(before, face, draws(0))
    assert (small[mask] == level).all()
    large, _ = Centre(fill=fill)(before.astype(np.uint16) * 257, face, draws(0))
    np.testing.assert_array_equal(large, small.astype(np.uint16) * 257)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_fills_that_are_drawn_or_measured(dtype):
    before, face, top = picture(64, 64, dtype), Face.aligned(64, 64), np.iinfo(dtype).max

    def fills(fill, count=60):
        for number in range(count):
            after, mask = Centre(fill=fill)(before, face, draws(number))
            yield after[mask], after[~mask]

    colours = [tuple(hidden[0].tolist()) for hidden, _ in fills([(0, 0, 255), (255, 0, 0)])]
    assert set(colours) == {(0, 0, top), (top, 0, 0)}
    assert 15 < colours.count((top, 0, 0)) < 45
    assert len({tuple(hidden[0].tolist()) for hidden, _ in fills("random")}) == 60
    hidden, seen = next(fills("mean"))
    np.testing.assert_array_equal(hidden, np.broadcast_to(np.rint(seen.mean(0)).astype(dtype), hidden.shape))
    hidden, _ = next(fills("noise"))
    assert hidden.mean() == pytest.approx(top / 2, rel=0.05)
    assert hidden.std() == pytest.approx(top / 12**0.5, rel=0.05)


@pytest.mark.parametrize("sigma", [1.0, 5.0, 9.5, 20.0, 47.0])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_wide_blur_on_a_smaller_picture_is_the_same_blur(dtype, sigma):
    """Against OpenCV's in 64-bit floats, on a picture that is mostly low frequencies, as pictures are."""
    rough = np.random.default_rng(0).integers(0, 255, (190, 250, 3)).astype(np.float64)
    smooth = cv2.GaussianBlur(rough, (0, 0), 4)
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min()) * np.iinfo(dtype).max
    exact = cv2.GaussianBlur(smooth, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    made = Blur().coarse(smooth.astype(dtype), np.ones((190, 250), bool), sigma)
    assert np.abs(made - exact).max() < 0.012 * np.iinfo(dtype).max  # 3 levels of 255


def test_pixelated_blocks_have_one_colour(built):
    occlusion = built("Pixelate", region="all", block=(0.3, 0.3))
    block = 0.3 * (0.619 - 0.381) * 200
    after, mask = occlusion(picture(200, 200), Face.aligned(200, 200), draws(0))
    assert mask.all()
    changes = (np.diff(after.astype(int), axis=1) != 0).any((0, 2)).sum()
    assert changes + 1 == round(200 / block)


def test_the_oval_lies_in_the_face_box(built):
    mask = built("Blur", region="face")(picture(300, 300), Face.aligned(300, 300), draws(0)).mask
    y, x = np.nonzero(mask)
    np.testing.assert_allclose(np.array([x.min(), y.min(), x.max(), y.max()]) + 0.5, BOX * 300, atol=1.5)
