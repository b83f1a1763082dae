"""Masks, glasses, hands and things: what they hide, what they leave alone, and that they hang on the face."""

import json

import cv2
import numpy as np
import pytest

from restore import images
from restore.data.drawn import draw_face
from restore.errors import UserError
from restore.faces.face import LANDMARKS, Face
from restore.keyed import draws
from restore.occlusions.pose import Pose
from restore.registry import OCCLUSIONS, Part
from tests.oracles import shared

DRAWN = ("FaceMask", "Glasses", "Hand", "Blob")
MASKS = [{"kind": kind} for kind in ("surgical", "cloth", "n95")]
POINTS = {"a": (2, 8), "b": (32, 2), "c": (62, 8), "d": (6, 30), "e": (32, 46), "f": (58, 30)}
BLUE = (40, 90, 200)


def part(name, **args):
    return OCCLUSIONS.build(Part(type=name, **args))


def drawn(index, size=256):
    found = draw_face(3, index, size)
    return found.image, Face.of_landmarks(found.landmarks - np.float32(0.5))


def turned(yaw=0.0, roll=0.0, side=256):
    """A face in the middle of a picture, whose head is a rigid body of five points."""
    points = np.column_stack([(LANDMARKS - [0.5, 0.58]) / 0.238, [0, 0, 0.45, 0.08, 0.08]])
    y, r = np.radians(yaw), np.radians(roll)
    flat = np.stack([points[:, 0] * np.cos(y) + points[:, 2] * np.sin(y), points[:, 1]], -1)
    roll_by = np.array([[np.cos(r), np.sin(r)], [-np.sin(r), np.cos(r)]])
    return Face.of_landmarks((flat @ roll_by * 0.2 * side + side / 2).astype(np.float32))


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    """A folder as MaskTheFace's: one blue mask, and a red one for faces turned to the left."""
    root = tmp_path_factory.mktemp("templates")
    (root / "templates").mkdir()
    lines = []
    for name, colour in (("plain", BLUE), ("plain_left", (200, 40, 40))):
        rgba = np.zeros((48, 64, 4), np.uint8)
        rgba[2:46, 2:62] = (*colour[::-1], 255)
        cv2.imwrite(str(root / "templates" / f"{name}.png"), rgba)
        lines += [f"[{name}]", f"template: masks/templates/{name}.png"]
        lines += [f"mask_{key}: {x}, {y}" for key, (x, y) in POINTS.items()]
    (root / "masks.cfg").write_text("\n".join([*lines, "[empty]"]))
    return root


@pytest.fixture(scope="module")
def textures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("textures")
    images.write(folder / "green.png", np.full((40, 40, 3), (30, 200, 40), np.uint8))
    return folder


def every(templates):
    return [*(part(name) for name in DRAWN), part("TemplateMask", templates=str(templates))]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_outside_the_mask_nothing_changes(templates, dtype):
    for index in range(8):
        picture, face = drawn(index, (64, 129, 256)[index % 3])
        picture = picture.astype(dtype) * (257 if dtype == np.uint16 else 1)
        before = picture.copy()
        for occlusion in every(templates):
            result, mask = occlusion(picture, face, draws(index))
            assert result.dtype == dtype
            assert mask.dtype == bool
            assert mask.any()
            assert mask.mean() < 0.9
            np.testing.assert_array_equal(result[~mask], picture[~mask])
            assert (result != picture).any(-1)[mask].mean() > 0.9
        np.testing.assert_array_equal(picture, before)


def test_same_draws_same_result(templates):
    picture, face = drawn(0, 128)
    for occlusion in every(templates):
        first, again, other = (occlusion(picture, face, draws(key)) for key in (1, 1, 2))
        np.testing.assert_array_equal(first.picture, again.picture)
        np.testing.assert_array_equal(first.mask, again.mask)
        assert (first.picture != other.picture).any()


def test_16_bits_equal_8_to_rounding(templates):
    picture, face = drawn(5, 128)
    for occlusion in every(templates):
        low, high = occlusion(picture, face, draws(0)), occlusion(picture.astype(np.uint16) * 257, face, draws(0))
        np.testing.assert_array_equal(low.mask, high.mask)
        assert np.abs(high.picture / 257 - low.picture).max() < 0.51


def covers(mask, face):
    """Whether nose tip and mouth are hidden, and neither eye nor what is a tenth of the eyes' distance around it."""
    height, width = mask.shape
    hidden = all(mask[round(y), round(x)] for x, y in face.landmarks[2:].tolist())
    y, x = np.mgrid[:height, :width]
    unit = Pose.of(face).unit
    eyes = [mask[np.hypot(x - ex, y - ey) < 0.1 * unit].any() for ex, ey in face.landmarks[:2].tolist()]
    return hidden, not any(eyes)


def test_covers_nose_and_mouth_of_drawn_faces_and_never_the_eyes():
    occlusion = part("FaceMask")
    for index in range(100):
        picture, face = drawn(index, 96)
        assert covers(occlusion(picture, face, draws(index)).mask, face) == (True, True), index


@pytest.mark.parametrize("args", MASKS)
@pytest.mark.parametrize("roll", [-30, 0, 30])
def test_covers_turned_faces(args, roll):
    picture = np.full((256, 256, 3), 150, np.uint8)
    for yaw in (-45, -25, 0, 25, 45):
        face = turned(yaw, roll)
        assert covers(part("FaceMask", **args)(picture, face, draws(yaw + 50)).mask, face) == (True, True), yaw


def test_template_covers_turned_faces(templates):
    picture = np.full((256, 256, 3), 150, np.uint8)
    for yaw in (-40, 0, 40):
        for roll in (-30, 0, 30):
            face = turned(yaw, roll)
            mask = part("TemplateMask", templates=str(templates))(picture, face, draws(yaw + 50)).mask
            assert covers(mask, face) == (True, True), (yaw, roll)


def test_the_cheek_that_is_turned_away_is_foreshortened():
    picture = np.full((256, 256, 3), 150, np.uint8)
    occlusion = part("FaceMask", kind="surgical", straps=False, shadow=False)
    for yaw, far in ((40, "right"), (-40, "left")):
        face = turned(yaw)
        columns = np.nonzero(occlusion(picture, face, draws(0)).mask.any(0))[0]
        nose = face.landmarks[2, 0]
        left, right = nose - columns[0], columns[-1] - nose
        assert (right if far == "right" else left) < 0.5 * (left if far == "right" else right)


def test_yaw_is_that_of_a_rigid_head():
    for yaw in (-40, -20, 0, 20, 40):
        for roll in (-30, 30):
            found = np.degrees(np.arctan(Pose.of(turned(yaw, roll)).yaw))
            assert abs(found - yaw) < 6  # the nose is trusted only so far


@pytest.mark.parametrize("name", DRAWN)
def test_scales_with_the_picture(name):
    for index in range(3):
        masks = [
            part(name)(np.full((side, side, 3), 128, np.uint8), Face.aligned(side, side), draws(index)).mask
            for side in (64, 128, 256, 512)
        ]
        whole = masks[-1]
        for mask in masks[:-1]:
            large = cv2.resize(mask.astype(np.uint8), whole.shape, interpolation=cv2.INTER_NEAREST) > 0
            wanted = 0.85 if name == "Glasses" and len(mask) == 64 else 0.9  # there, wires are thinner than a pixel
            assert (large & whole).sum() / (large | whole).sum() > wanted, (index, len(mask))


def core(mask, face):
    """The pixels around the middle of the mouth."""
    x, y = face.landmarks[3:].mean(0)
    inside = np.zeros_like(mask)
    inside[round(y - 12) : round(y + 12), round(x - 20) : round(x + 20)] = True
    return inside & mask


@pytest.mark.parametrize("kind", ["surgical", "cloth", "n95"])
@pytest.mark.parametrize("color", [(230, 51, 51), (51, 178, 76), (51, 76, 230)])
def test_has_the_colour_asked_for(kind, color):
    picture, face = drawn(1)
    result, mask = part("FaceMask", kind=kind, colors=[color], pattern="plain")(picture, face, draws(4))
    seen = result[core(mask, face)].mean(0) / 255
    np.testing.assert_allclose(seen / seen.sum(), np.array(color) / sum(color), atol=0.03)


@pytest.mark.parametrize("pattern", ["stripes", "checks", "dots"])
def test_patterns_have_two_colours(pattern):
    picture, face = np.full((256, 256, 3), 150, np.uint8), Face.aligned(256, 256)
    colors = [(230, 25, 25), (25, 25, 230)]
    result, mask = part("FaceMask", kind="cloth", colors=colors, pattern=pattern)(picture, face, draws(1))
    red = result[core(mask, face)][:, 0].astype(int) - result[core(mask, face)][:, 2]
    assert red.max() > 80
    assert red.min() < -80


def test_is_printed_with_textures(templates, textures):
    picture, face = drawn(2)
    for occlusion in (
        part("FaceMask", texture=str(textures)),
        part("TemplateMask", templates=str(templates), texture=str(textures)),
    ):
        result, mask = occlusion(picture, face, draws(0))
        red, green, blue = result[core(mask, face)].mean(0)
        assert green > 2.5 * max(red, blue)
    result, mask = part("Blob", texture=str(textures), shadow=False)(picture, face, draws(0))
    assert result[mask].mean(0).argmax() == 1


def test_straps_and_shadow_belong_to_the_mask():
    picture, face = np.full((256, 256, 3), 150, np.uint8), Face.aligned(256, 256)
    whole, bare = (
        part("FaceMask", kind="surgical", straps=yes, shadow=yes)(picture, face, draws(0)).mask for yes in (True, False)
    )
    assert (whole & ~bare).sum() > 0.05 * bare.sum()
    assert not (bare & ~whole).any()


def test_is_darker_where_the_face_is():
    """A face lit from the left wears a mask lit from the left; a dark picture a dark mask."""
    face = Face.aligned(256, 256)
    ramp = np.linspace(220, 40, 256).astype(np.uint8)
    picture = np.broadcast_to(ramp[None, :, None], (256, 256, 3)).copy()
    occlusion = part("FaceMask", kind="surgical", colors=[(230, 230, 230)])
    result, mask = occlusion(picture, face, draws(0))
    inside = core(mask, face)
    left, right = inside.copy(), inside.copy()
    left[:, 128:], right[:, :128] = False, False
    assert result[left].mean() > 1.14 * result[right].mean()
    dark, _ = occlusion(picture // 4, face, draws(0))
    assert dark[inside].mean() < 0.6 * result[inside].mean()


def test_sunglasses_hide_the_eyes_and_clear_ones_do_not():
    picture, face = np.full((256, 256, 3), 150, np.uint8), Face.aligned(256, 256)
    y, x = np.mgrid[:256, :256]
    hidden = {"sun": [], "clear": []}
    for index in range(10):
        for kind, shares in hidden.items():
            mask = part("Glasses", kind=kind)(picture, face, draws(index)).mask
            shares += [mask[np.hypot(x - ex, y - ey) < 8].mean() for ex, ey in face.landmarks[:2].tolist()]
            assert not mask[round(face.landmarks[3, 1]) :].any()
    assert min(hidden["sun"]) == 1
    assert np.mean(hidden["clear"]) < 0.6


def test_a_hand_has_the_colour_of_the_face_and_reaches_in():
    picture = np.full((256, 256, 3), (180, 120, 90), np.uint8)
    for index in range(10):
        result, mask = part("Hand", shadow=False)(picture, Face.aligned(256, 256), draws(index))
        edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
        assert edge.any()
        seen = result[mask].mean(0)
        np.testing.assert_allclose(seen / seen.sum(), np.array([180, 120, 90]) / 390, atol=0.03)


def test_a_face_beyond_the_picture_is_let_be(templates):
    picture = np.full((64, 64, 3), 120, np.uint8)
    away = Face.of_landmarks(LANDMARKS * 64 + np.float32(9000))
    for occlusion in (part("FaceMask"), part("Glasses"), part("Blob"), part("TemplateMask", templates=str(templates))):
        result, mask = occlusion(picture, away, draws(0))
        np.testing.assert_array_equal(result, picture)
        assert not mask.any()


def test_a_face_half_outside_and_points_in_one_place_do_no_harm(templates):
    picture = np.full((64, 80, 3), 120, np.uint8)
    half = Face.of_landmarks(LANDMARKS * 64 + np.float32([50, 20]))
    point = Face((0, 0, 1, 1), np.full((5, 2), 30, np.float32))
    for occlusion in every(templates):
        for face in (half, point):
            result, mask = occlusion(picture, face, draws(0))
            np.testing.assert_array_equal(result[~mask], picture[~mask])


def test_templates_have_their_colour_and_turn(templates):
    picture = np.full((256, 256, 3), 150, np.uint8)
    occlusion = part("TemplateMask", templates=str(templates))
    for yaw, strongest in ((0, 2), (40, 2), (-40, 0)):  # there is no view from the right
        face = turned(yaw)
        result, mask = occlusion(picture, face, draws(0))
        assert result[core(mask, face)].mean(0).argmax() == strongest


def test_masks_of_mask_the_face_hide_the_mouth():
    occlusion = part("TemplateMask", templates=str(shared("mask_templates")))
    assert set(occlusion.kinds) == {"surgical", "surgical_green", "surgical_blue", "N95", "cloth", "KN95"}
    picture = np.full((256, 256, 3), 150, np.uint8)
    for index, yaw in enumerate((-30, -30, 0, 0, 0, 0, 30, 30)):
        face = turned(yaw)
        mask = occlusion(picture, face, draws(index)).mask
        assert all(mask[round(y), round(x)] for x, y in face.landmarks[3:].tolist())


def copied(templates, tmp_path, config=None):
    for file in (templates / "templates").iterdir():
        (tmp_path / "templates").mkdir(exist_ok=True)
        (tmp_path / "templates" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "masks.cfg").write_text(config or (templates / "masks.cfg").read_text())
    return tmp_path


def test_mistakes_in_templates_are_told_in_one_line(templates, tmp_path):
    root = copied(templates, tmp_path)
    text = (root / "masks.cfg").read_text()

    def told(pattern, **args):
        with pytest.raises(UserError, match=pattern) as error:
            part("TemplateMask", templates=str(root), **args)
        assert "\n" not in str(error.value)

    told(r"no section \[plian\].*did you mean `plain`", kinds=["plian"])
    told("no pictures in this folder", texture=str(root / "none"))
    file = root / "templates" / "plain.png"
    whole = file.read_bytes()
    for content in (b"", b"no picture", whole[:40]):
        file.write_bytes(content)
        told(r"masks.cfg: \[plain\]: template .*plain.png: not a whole")
    file.unlink()
    told(r"\[plain\]: template .*plain.png: No such file")
    file.write_bytes(whole)
    for wrong in ("2", "2, x", "2, 8, 9", "nan, 3"):
        (root / "masks.cfg").write_text(text.replace("mask_a: 2, 8", f"mask_a: {wrong}", 1))
        told(r"\[plain\]: mask_a to mask_f must each be `x, y`")
    for broken in ("template: x", "[a]\n[a]", ""):
        (root / "masks.cfg").write_text(broken)
        told("masks.cfg: ")
    (root / "masks.cfg").unlink()
    told("masks.cfg: no such file")


def test_configuration_is_data(templates, tmp_path):
    """Nothing in it is unfolded or followed: a path counts by its last name, inside the folder."""
    text = (templates / "masks.cfg").read_text().replace("masks/templates/plain.png", "../../%(home)s/plain.png")
    part("TemplateMask", templates=str(copied(templates, tmp_path, text)))


def test_options_are_checked():
    schema = OCCLUSIONS.get("FaceMask").schema
    schema.model_validate_json(json.dumps({"kind": "n95", "colors": [[1, 1, 1]]}))
    for wrong in ({"kind": "scarf"}, {"colors": [[256, 0, 0]]}, {"colour": []}):
        with pytest.raises(ValueError, match="validation error"):
            schema.model_validate_json(json.dumps(wrong))
