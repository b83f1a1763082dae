"""`restore prepare faces`: faces in one frame, the same cut for pictures that belong together, and mistakes told."""

import json

import cv2
import numpy as np
import pytest

from restore import images
from restore.cli import build_parser
from restore.data.drawn import draw_face
from restore.data.lmdb_store import LmdbReader
from restore.errors import UserError
from restore.faces.face import Face

SIZE = 96


def prepare(*arguments):
    args = build_parser().parse_args(["prepare", "faces", *map(str, arguments), "--workers", "2"])
    args.run(args)


@pytest.fixture
def photos(tmp_path):
    """Drawn faces somewhere in larger pictures, turned; where they are; and one picture without a face."""
    points = {}
    for index, angle in enumerate((0, 25, -40)):
        face = draw_face(0, index, 128)
        turn = cv2.getRotationMatrix2D((64, 64), angle, 1.2) + np.array([[0, 0, 90], [0, 0, 60]])
        photo = cv2.warpAffine(face.image, turn, (320, 260), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        images.write(tmp_path / "photos" / "in" / f"{index}.png", photo)
        points[f"in/{index}"] = ((face.landmarks - 0.5) @ turn[:, :2].T + turn[:, 2]).tolist()
    images.write(tmp_path / "photos" / "none.png", np.zeros((40, 40, 3), np.uint8))
    (tmp_path / "photos_landmarks.json").write_text(json.dumps(points | {"none": None}))
    return tmp_path / "photos"


def test_faces_stand_where_faces_stand(photos, tmp_path, capsys):
    prepare(photos, tmp_path / "faces.lmdb", "--size", SIZE)
    assert "1 of 4 pictures without a face are left out" in capsys.readouterr().out
    reader = LmdbReader(tmp_path / "faces.lmdb")
    assert list(reader.keys) == ["in/0", "in/1", "in/2"]
    for index, key in enumerate(reader.keys):
        cut = images.decode(reader.get(key), key)
        face = draw_face(0, index, 128)
        upright = cv2.estimateAffinePartial2D(
            face.landmarks - 0.5, Face.aligned(SIZE, SIZE).landmarks, method=cv2.LMEDS
        )
        expected = cv2.warpAffine(face.image, upright[0], (SIZE, SIZE), flags=cv2.INTER_AREA)
        middle = (slice(30, 75), slice(25, 71))
        error = np.abs(cut[middle].astype(float) - expected[middle]).mean()
        assert error < 12  # two resamplings apart, and OpenCV's robust fit; a shift by 3 pixels is above 20
        shifted = np.abs(np.roll(cut, 3, 1)[middle].astype(float) - expected[middle]).mean()
        assert error < 0.7 * shifted


def test_the_same_landmarks_cut_masks_in_the_same_place(photos, tmp_path):
    masks = tmp_path / "masks"
    for index in range(3):
        key = f"in/{index}"
        points = json.loads((tmp_path / "photos_landmarks.json").read_text())[key]
        picture = np.zeros((260, 320, 3), np.uint8)
        cv2.circle(picture, tuple(round(c) for c in points[2]), 4, (255, 255, 255), -1)
        images.write(masks / f"{key}.png", picture)
    prepare(masks, tmp_path / "masks.lmdb", "--size", SIZE, "--landmarks", tmp_path / "photos_landmarks.json")
    reader = LmdbReader(tmp_path / "masks.lmdb")
    for key in reader.keys:
        y, x = np.nonzero(images.decode(reader.get(key), key)[:, :, 0] > 127)
        assert np.hypot(*(np.array([x.mean(), y.mean()]) - Face.aligned(SIZE, SIZE).landmarks[2])) < 5


def test_without_landmarks_it_says_how_to_find_them(photos, tmp_path):
    (tmp_path / "photos_landmarks.json").unlink()
    with pytest.raises(UserError, match="write it first: `restore prepare landmarks"):
        prepare(photos, tmp_path / "faces.lmdb")
