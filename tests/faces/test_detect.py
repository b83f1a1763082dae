"""Finding faces, with YuNet's real weights: drawn faces, whose landmarks are known, and photos."""

import numpy as np
import pytest

from restore import images
from restore.data.drawn import draw_face
from restore.faces.detect import FaceDetector
from tests.oracles import shared


@pytest.fixture
def detector(monkeypatch):
    monkeypatch.setenv("RESTORE_WEIGHTS", str(shared("../weights")))
    return FaceDetector()


@pytest.mark.parametrize("size", [64, 128, 300])
def test_drawn_faces(detector, size):
    """Each landmark within a quarter of the distance between the eyes, 0.05 of it on average (measured: 0.03)."""
    errors = []
    for index in range(12):
        drawn = draw_face(5, index, size)
        truth = drawn.landmarks - 0.5  # a drawn face's pixels count from the corner
        (face,) = detector(drawn.image)
        errors.append(np.abs(face.landmarks - truth) / np.linalg.norm(truth[1] - truth[0]))
        x, y = face.landmarks.T
        x0, y0, x1, y1 = face.box
        assert ((x0 < x) & (x < x1) & (y0 < y) & (y < y1)).all()
    assert np.max(errors) < 0.25
    assert np.mean(errors) < 0.05


def test_several_faces_the_largest_first(detector):
    canvas = np.full((300, 700, 3), 128, np.uint8)
    for index, (size, x) in enumerate([(120, 20), (280, 160), (180, 470)]):
        canvas[10 : 10 + size, x : x + size] = draw_face(5, index, size).image
    faces = detector(canvas)
    assert [int(face.landmarks[2, 0]) // 160 for face in faces] == [1, 3, 0]
    assert faces[0].area > faces[1].area > faces[2].area


def test_no_face(detector):
    assert detector(np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)) == []


def test_16_bits_are_found_as_8(detector):
    picture = draw_face(5, 0, 128).image
    (deep,), (plain,) = detector(picture.astype(np.uint16) * 257), detector(picture)
    assert np.array_equal(deep.landmarks, plain.landmarks)


def test_photos_are_aligned_as_their_set_is(detector):
    """CelebA-HQ brings every face into the frame of FFHQ: its mean landmarks there, to 10 px of 512."""
    paths = sorted(shared("faces_celebahq512", "val").iterdir())[:12]
    landmarks = [detector(images.read(path))[0].landmarks for path in paths]
    frame = [[192.98, 239.95], [318.90, 240.19], [256.63, 314.02], [201.26, 371.41], [313.09, 371.15]]
    assert np.abs(np.mean(landmarks, 0) - frame).max() < 10
