"""The faces the project draws itself: reproducible, where they say they are, and worth restoring."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from restore.data.drawn import DrawnFace, draw_face

SHARED = Path(os.environ.get("RESTORE_SHARED", Path(__file__).resolve().parents[2].parent / "shared"))
YUNET = SHARED / "weights" / "detection" / "face_detection_yunet_2023mar.onnx"


@pytest.fixture(scope="module")
def faces() -> list[DrawnFace]:
    return [draw_face(0, index) for index in range(20)]


def test_same_key_same_bytes(faces: list[DrawnFace]) -> None:
    np.random.seed(1)  # nothing global may matter
    again = draw_face(0, 3)
    assert again.image.tobytes() == faces[3].image.tobytes()
    assert again.landmarks.tobytes() == faces[3].landmarks.tobytes()
    assert again.box == faces[3].box


def test_other_index_or_seed_other_face(faces: list[DrawnFace]) -> None:
    for other in (faces[4], draw_face(1, 3)):
        difference = np.abs(other.image.astype(int) - faces[3].image).mean()
        assert difference > 10


def test_types_and_shapes(faces: list[DrawnFace]) -> None:
    for face in faces:
        assert face.image.shape == (256, 256, 3)
        assert face.image.dtype == np.uint8
        assert face.image.flags.c_contiguous
        assert face.landmarks.shape == (5, 2)
        assert face.landmarks.dtype == np.float32


def test_landmarks_and_box_are_inside_and_ordered() -> None:
    for index in range(40):
        face = draw_face(3, index, 64)
        x0, y0, x1, y1 = face.box
        left, right, nose, mouth_left, mouth_right = face.landmarks
        assert 0 <= x0 < x1 <= 64
        assert 0 <= y0 < y1 <= 64
        assert np.all(face.landmarks > (x0, y0))
        assert np.all(face.landmarks < (x1, y1))
        assert left[0] < nose[0] < right[0]
        assert mouth_left[0] < mouth_right[0]
        assert max(left[1], right[1]) < nose[1] < min(mouth_left[1], mouth_right[1])


def test_aligned_as_the_public_face_sets_are(faces: list[DrawnFace]) -> None:
    eyes = np.array([face.landmarks[:2] for face in faces]) / 256
    mouths = np.array([face.landmarks[3:] for face in faces]) / 256
    distance = np.linalg.norm(eyes[:, 1] - eyes[:, 0], axis=1)
    assert distance.min() > 0.21
    assert distance.max() < 0.26
    assert abs(eyes[..., 1].mean() - 0.47) < 0.02
    assert abs(mouths[..., 1].mean() - 0.70) < 0.02


@pytest.mark.parametrize("index", [0, 1, 7, 11])
def test_size_changes_only_the_resolution(index: int) -> None:
    small, large = draw_face(0, index, 256), draw_face(0, index, 512)
    np.testing.assert_allclose(large.landmarks, 2 * small.landmarks, atol=1e-2)
    np.testing.assert_allclose(large.box, 2 * np.array(small.box), atol=1e-2)
    shrunk = cv2.resize(large.image, (256, 256), interpolation=cv2.INTER_AREA)
    difference = np.abs(shrunk.astype(float) - small.image)
    assert difference.mean() < 4
    # without the finest strands, whose width is a whole number of pixels, hardly anything is left
    assert cv2.GaussianBlur(difference, (0, 0), 6).max() < 25


@pytest.mark.parametrize("size", [32, 99, 200])
def test_any_size(size: int) -> None:
    face, reference = draw_face(0, 5, size), draw_face(0, 5)
    shrunk = cv2.resize(reference.image, (size, size), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk.astype(float) - face.image).mean() < 10


def test_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="size is 8"):
        draw_face(0, 0, 8)


def bicubic_psnr(image: NDArray[np.uint8], scale: int = 4) -> float:
    small = cv2.resize(image, None, fx=1 / scale, fy=1 / scale, interpolation=cv2.INTER_AREA)
    back = cv2.resize(small, image.shape[:2], interpolation=cv2.INTER_CUBIC)
    return float(10 * np.log10(255**2 / np.mean((back.astype(float) - image) ** 2)))


def test_super_resolution_has_something_to_do(faces: list[DrawnFace]) -> None:
    """CelebA-HQ faces of this size give about 27 to 33 dB; flat cartoons far more, noise far less."""
    values = np.array([bicubic_psnr(face.image) for face in faces])
    assert 26 < values.mean() < 33
    assert values.min() > 21
    assert values.max() < 37


def test_faces_vary(faces: list[DrawnFace]) -> None:
    def skin(face: DrawnFace) -> NDArray[np.float64]:
        x, y = face.landmarks[:3].mean(0).astype(int)  # the bridge of the nose
        return np.asarray(face.image[y - 6 : y + 6, x - 6 : x + 6].mean((0, 1)), np.float64)

    tones = np.array([skin(face) for face in faces])
    assert tones.std(0).min() > 20
    assert np.all(tones[:, 0] > tones[:, 2])  # whatever the tone, skin is redder than blue
    whole = np.array([face.image.mean((0, 1)) for face in faces])
    assert whole.std(0).min() > 12
    assert len({face.image.tobytes() for face in faces}) == len(faces)


def test_a_face_detector_agrees(faces: list[DrawnFace]) -> None:
    """YuNet, trained on photographs, finds the faces where they were drawn."""
    if not YUNET.is_file():
        pytest.skip(f"no {YUNET}: set RESTORE_SHARED to the folder that has weights/")
    detector = cv2.FaceDetectorYN.create(str(YUNET), "", (256, 256), 0.6)
    errors = []
    for face in faces:
        _, found = detector.detect(np.ascontiguousarray(face.image[..., ::-1]))
        if found is None:
            continue
        points = found[np.argmax(found[:, -1])][4:14].reshape(5, 2)
        unit = np.linalg.norm(face.landmarks[1] - face.landmarks[0])
        errors.append(np.linalg.norm(points - face.landmarks, axis=1).mean() / unit)
    assert len(errors) >= 0.9 * len(faces)
    assert np.mean(errors) < 0.08
