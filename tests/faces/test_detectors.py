"""Finding faces, with the real weights: drawn faces, whose landmarks are known, photos, and an independent decoder."""

import re

import numpy as np
import pytest
import torch

from restore import images
from restore.data.drawn import draw_face
from restore.errors import UserError
from restore.faces.detector import distinct, overlaps
from restore.faces.draw import BOX, draw_faces
from restore.faces.face import Face
from restore.features.retinaface import RetinaFace
from restore.registry import DETECTORS, Part
from tests.oracles import facexlib, shared

NAMES = ("aligned", "retinaface", "ssd", "yunet")
LOOKING = NAMES[1:]
SEEING = ("retinaface", "yunet")  # landmarks too


def build(name, **args):
    return DETECTORS.build(Part(type=name, **args))


@pytest.fixture
def weights(monkeypatch):
    monkeypatch.setenv("RESTORE_WEIGHTS", str(shared("../weights")))


@pytest.fixture(params=LOOKING)
def looking(request, weights):
    return build(request.param)


@pytest.fixture(params=SEEING)
def seeing(request, weights):
    return build(request.param)


def test_names():
    assert tuple(entry.name for entry in DETECTORS if entry.module.startswith("restore.")) == NAMES


def test_a_name_that_is_none():
    with pytest.raises(UserError, match="did you mean `retinaface`"):
        build("retinafaces")


# ------------------------------------------------------------------------------------------------- where faces are


@pytest.mark.parametrize("size", [64, 128, 300])
def test_landmarks_of_drawn_faces(seeing, size):
    """Each within a quarter of the distance between the eyes, 0.05 of it on average (measured: 0.04 and less)."""
    errors = []
    for index in range(8):
        drawn = draw_face(5, index, size)
        truth = drawn.landmarks - 0.5  # a drawn face's pixels count from the corner
        (face,) = seeing(drawn.image)
        errors.append(np.abs(face.landmarks - truth) / np.linalg.norm(truth[1] - truth[0]))
        x, y = face.landmarks.T
        x0, y0, x1, y1 = face.box
        assert ((x0 < x) & (x < x1) & (y0 < y) & (y < y1)).all()
    assert np.max(errors) < 0.25
    assert np.mean(errors) < 0.05


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [64, 256])
def test_one_box_on_each_drawn_face(weights, name, size):
    """All detectors mean about the same box: intersection over union with the average face's above a half."""
    for index in range(6):
        (face,) = build(name)(draw_face(5, index, size).image)
        average = Face.aligned(size, size).box
        assert overlaps(np.array(face.box, np.float32), np.array([average], np.float32))[0] > 0.5
        assert 0.6 < face.score <= 1 + 1e-6
        assert face.landmarks.shape == (5, 2)


def test_photos_are_aligned_as_their_set_is(weights):
    """CelebA-HQ brings every face into the frame of FFHQ: mean landmarks there, 10 px of 512, from boxes 20."""
    paths = sorted(shared("faces_celebahq512", "val").iterdir())[:12]
    photos = [images.read(path) for path in paths]
    frame = [[192.98, 239.95], [318.90, 240.19], [256.63, 314.02], [201.26, 371.41], [313.09, 371.15]]
    for name, tolerance in (("aligned", 10), ("yunet", 10), ("retinaface", 10), ("ssd", 20)):
        detector = build(name)
        landmarks = [detector(photo)[0].landmarks for photo in photos]
        assert np.abs(np.mean(landmarks, 0) - frame).max() < tolerance, name


def test_a_border_cures_ssd_of_shifted_boxes(weights):
    """Faces that fill the picture: one box each with the border, more without (measured: 2.0 on 200 photos)."""
    photos = [images.read(path) for path in sorted(shared("faces_celebahq512", "val").iterdir())[:8]]
    with_border, without = (
        [len(detector(photo)) for photo in photos] for detector in (build("ssd"), build("ssd", border=0))
    )
    assert with_border == [1] * 8
    assert sum(without) >= 14


def test_people_with_masks_are_found_by_retinaface(weights):
    """Real masks (measured on 60: none missed by retinaface, 4 by ssd, 10 by yunet)."""
    photos = [images.read(path) for path in sorted(shared("real_masks").iterdir())[:8]]
    detector = build("retinaface")
    assert all(detector(photo) for photo in photos)


# ------------------------------------------------------------------------------------------ how many, and which ones


def scene():
    canvas = np.full((400, 820, 3), 128, np.uint8)
    for index, (size, x) in enumerate([(140, 20), (330, 190), (230, 550)]):
        canvas[30 : 30 + size, x : x + size] = draw_face(5, index, size).image
    return canvas


def test_several_faces_the_largest_first(looking):
    faces = looking(scene())
    assert [int(face.landmarks[2, 0]) // 180 for face in faces] == [1, 3, 0]
    assert faces[0].area > faces[1].area > faces[2].area


def test_no_face(looking):
    assert looking(np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)) == []
    assert looking(np.zeros((64, 64, 3), np.uint8)) == []


def test_a_face_half_outside_is_found_as_far_as_it_shows(seeing):
    """Its box stays where the face is, also beyond the edge; landmarks too."""
    drawn = draw_face(5, 1, 256)
    (whole,) = seeing(drawn.image)
    cut = drawn.image[:, 90:]
    (face,) = seeing(cut)
    moved = whole.landmarks - np.array([90, 0])
    seen = moved[:, 0] > 5
    assert seen.sum() >= 3
    apart = np.linalg.norm(whole.landmarks[1] - whole.landmarks[0])
    assert np.abs(face.landmarks - moved)[seen].max() < 0.3 * apart
    assert face.box[0] < 0.15 * apart


def test_what_lies_in_the_border_is_no_face(weights):
    """Only the cheek of a face is in the picture: boxes whose middle is outside are left out."""
    for name in LOOKING:
        for face in build(name)(draw_face(5, 1, 256).image[:, 200:]):
            assert 0 <= (face.box[0] + face.box[2]) / 2 <= 56


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (1, 200), (16, 16)])
def test_tiny_pictures(looking, size):
    assert looking(np.full((*size, 3), 90, np.uint8)) == []


def test_16_bits_are_found_as_8(looking):
    picture = draw_face(5, 0, 128).image
    (deep,), (plain,) = looking(picture.astype(np.uint16) * 257), looking(picture)
    assert np.array_equal(deep.landmarks, plain.landmarks)


def test_grey_pictures(looking):
    grey = draw_face(5, 0, 128).image.mean(2).astype(np.uint8)
    before = grey.copy()
    assert len(looking(np.repeat(grey[:, :, None], 3, 2))) == 1
    assert np.array_equal(grey, before)


@pytest.mark.parametrize("picture", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.float32), np.zeros((0, 9, 3))])
def test_what_is_no_picture(picture):
    with pytest.raises(
        ValueError, match=r"a picture is \(H, W, 3\) of 8 or 16 bits, not " + re.escape(str(picture.shape))
    ):
        build("aligned")(picture)


def test_thresholds_out_of_range():
    with pytest.raises(ValueError, match="less than or equal to 1"):
        build("yunet", threshold=1.5)


# -------------------------------------------------------------------------------------------- one box for each face


def test_distinct_equals_torchvisions_nms():
    ops = pytest.importorskip("torchvision.ops")
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, 60, (80, 2)).astype(np.float32)
    boxes = np.concatenate([corners, corners + rng.uniform(10, 50, (80, 2)).astype(np.float32)], 1)
    scores = rng.uniform(0, 1, 80).astype(np.float32)
    expected = ops.nms(torch.from_numpy(boxes), torch.from_numpy(scores), 0.3).tolist()
    assert distinct(boxes, scores) == expected
    assert len(expected) < 40
    assert distinct(boxes[:0], scores[:0]) == []


# ------------------------------------------------------------------------------------------------------ RetinaFace


@pytest.fixture
def theirs(weights):
    path = shared("../weights", "detection", "retinaface_mobilenet0.25_Final.pth")
    network = facexlib("detection.retinaface").RetinaFace("mobile0.25", device="cpu")
    state = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict({name.removeprefix("module."): value for name, value in state.items()}, strict=True)
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("size", [(128, 128), (203, 161), (64, 330)])
def test_retinaface_equals_facexlibs(theirs, size):
    """All squares, also in sizes that no stride divides: within float32's rounding, in pixels."""
    utils = facexlib("detection.retinaface_utils")
    picture = 255 * torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        boxes, scores, points = theirs(picture - torch.tensor([104.0, 117.0, 123.0]).view(3, 1, 1))
        priors = utils.PriorBox(theirs.cfg, image_size=size).forward()
        scale = torch.tensor([size[1], size[0]])
        expected = utils.decode(boxes[0], priors, [0.1, 0.2]) * scale.repeat(2)
        landmarks = utils.decode_landm(points[0], priors, [0.1, 0.2]) * scale.repeat(5)
        ours = RetinaFace()(picture)
    torch.testing.assert_close(ours[0][0], scores[0, :, 1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours[1][0], expected, rtol=1e-4, atol=5e-3)
    torch.testing.assert_close(ours[2][0].flatten(1), landmarks, rtol=1e-4, atol=5e-3)


def test_retinaface_finds_what_facexlib_finds(theirs):
    """The whole way on a scene of that size: the same faces, half a pixel apart since theirs count from the corner."""
    canvas = scene()[:, :640]
    found = theirs.detect_faces(np.ascontiguousarray(canvas[:, :, ::-1]), conf_threshold=0.8, nms_threshold=0.3)
    faces = build("retinaface")(canvas)
    assert len(found) == len(faces) == 2
    for face in faces:
        nearest = found[np.argmin(np.abs(found[:, :4] - np.array(face.box)).sum(1))]
        assert np.abs(nearest[:4] - 0.5 - np.array(face.box)).max() < 0.01
        assert np.abs(nearest[5:].reshape(5, 2) - 0.5 - face.landmarks).max() < 0.01
        assert face.score == pytest.approx(nearest[4], abs=1e-4)


def test_a_file_of_another_network(tmp_path):
    torch.save({"x": torch.zeros(1)}, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"x\.pth: does not hold `retinaface`"):
        build("retinaface", weights=str(tmp_path / "x.pth"))


def test_weights_that_cannot_be_had(monkeypatch, tmp_path):
    for name, value in (
        ("RESTORE_WEIGHTS", tmp_path),
        ("RESTORE_CACHE", tmp_path),
        ("https_proxy", "http://127.0.0.1:9"),
    ):
        monkeypatch.setenv(name, str(value))
    for name in LOOKING:
        with pytest.raises(UserError, match="cannot be fetched"):
            build(name)
    assert len(build("aligned")(np.zeros((8, 8, 3), np.uint8))) == 1


# --------------------------------------------------------------------------------------------------------- drawing


def test_drawn_boxes_and_landmarks():
    picture = np.zeros((120, 100, 3), np.uint8)
    face = Face.aligned(120, 100)
    drawn = draw_faces(picture, [face])
    assert not picture.any()
    x0, y0, x1, y1 = (round(value) for value in face.box)
    assert tuple(drawn[y1, (x0 + x1) // 2]) == tuple(drawn[(y0 + y1) // 2, x0]) == BOX
    assert all(drawn[round(y), round(x)].any() for x, y in face.landmarks.tolist())
    deep = draw_faces(np.full((60, 60, 3), 0x8000, np.uint16), [])
    assert deep.dtype == np.uint8
    assert (deep == 0x80).all()
