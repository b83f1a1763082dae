"""Data sets of hidden faces: what the mask says, that it is a function of the key, and mistakes told."""

import json

import cv2
import numpy as np
import pytest

from restore import images, keyed
from restore.data.image_dataset import PairedImageDataset
from restore.data.occluded_dataset import OccludedImageDataset
from restore.data.records import open_records
from restore.errors import UserError
from restore.faces.face import BOX, LANDMARKS, Face
from restore.registry import Part

LOWER = Part(type="LowerFace")
NOISE = Part(type="Centre", fill="noise")


def dataset(faces, *parts, **options):
    return OccludedImageDataset(str(faces), list(parts or (LOWER,)), **options)


def test_the_picture_changes_inside_the_mask_alone(faces):
    data = dataset(faces, LOWER, NOISE)
    for index in range(len(data)):
        sample = data.load(index, keyed.draws(0, "train", index))
        mask = sample["mask"][:, :, 0] > 0
        assert sample["mask"].dtype == np.uint8
        assert set(np.unique(sample["mask"])) == {0, 255}
        assert (sample["lq"][~mask] == sample["gt"][~mask]).all()
        assert (sample["lq"][mask] != sample["gt"][mask]).any()


def test_masks_of_several_occlusions_are_united(faces):
    draws = [keyed.draws(0, "x") for _ in range(3)]
    lower, centre, both = (
        dataset(faces, *parts).load(0, own)
        for parts, own in zip([[LOWER], [Part(type="Centre")], [LOWER, Part(type="Centre")]], draws, strict=True)
    )
    assert (both["mask"] == np.maximum(lower["mask"], centre["mask"])).all()


def test_a_sample_is_a_function_of_its_draws(faces):
    data, again = dataset(faces, NOISE), dataset(faces, NOISE)
    one, other = (d.load(3, keyed.draws(0, "evaluate", "003")) for d in (data, again))
    assert (one["lq"] == other["lq"]).all()
    assert (data.load(3, keyed.draws(1, "evaluate", "003"))["lq"] != one["lq"]).any()


def test_the_mask_follows_the_landmarks_and_they_follow_the_mirror(faces, tmp_path):
    points = Face.aligned(64, 64).landmarks + np.float32([9, 0])
    file = tmp_path / "landmarks.json"
    file.write_text(json.dumps(dict.fromkeys(open_records(str(faces)).keys, points.tolist())))
    still = dataset(faces).load(0, keyed.draws(0))["mask"]
    moved = dataset(faces, landmarks=str(file)).load(0, keyed.draws(0))["mask"]
    assert (moved[:, 9:] == still[:, :-9]).all()
    mirror = Part(type="RandomFlip", horizontal=1.0)
    mirrored = dataset(faces, landmarks=str(file), transforms=[mirror]).load(0, keyed.draws(0))
    assert (mirrored["mask"] == moved[:, ::-1]).all()


def test_sixteen_bits_stay_sixteen(tmp_path):
    picture = np.random.default_rng(0).integers(0, 65536, (64, 64, 3), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    sample = dataset(tmp_path).load(0, keyed.draws(0))
    assert sample["lq"].dtype == np.uint16
    assert (sample["lq"] == sample["gt"])[sample["mask"][:, :, 0] == 0].all()


@pytest.mark.parametrize(
    ("options", "told"),
    [({"gt_size": 32}, "only `landmarks` tell"), ({"occlusion": []}, "names nothing that hides a face")],
)
def test_mistakes_of_the_user(faces, options, told):
    with pytest.raises(UserError, match=told):
        OccludedImageDataset(str(faces), **({"occlusion": [LOWER]} | options))


@pytest.mark.parametrize("size", [64, 200])
def test_faces_from_landmarks_and_boxes_agree_on_the_average_face(size):
    face = Face.aligned(size, size)
    shares = (np.array(face.box) + 0.5) / size
    assert np.allclose(shares, BOX, atol=1e-5)
    assert np.allclose((face.landmarks + 0.5) / size, LANDMARKS, atol=1e-5)
    assert np.allclose(Face.of_landmarks(face.landmarks).box, face.box, atol=1e-3)
    assert np.allclose(Face.of_box(face.box).landmarks, face.landmarks, atol=1e-3)


def test_a_face_turned_by_a_quarter_has_its_box_turned():
    face = Face.aligned(101, 101)
    turned = Face.of_landmarks(np.stack([100 - face.landmarks[:, 1], face.landmarks[:, 0]], 1))
    x0, y0, x1, y1 = face.box
    assert np.allclose(turned.box, (100 - y1, x0, 100 - y0, x1), atol=1e-2)


# ------------------------------------------------------------------------------------------------------ mask files


@pytest.fixture
def pairs(tmp_path, faces):
    """A folder of LQ and one of masks, white in the upper left quarter, for the drawn faces."""
    for key in open_records(str(faces)).keys:
        mask = np.zeros((64, 64, 3), np.uint8)
        mask[:32, :32] = 250
        images.write(tmp_path / "masks" / f"{key}.png", mask)
        images.write(tmp_path / "lq" / f"{key}.png", images.read(faces / f"{key}.png"))
    return tmp_path


def test_masks_from_files_of_either_polarity(faces, pairs):
    roots = (str(faces), str(pairs / "lq"))
    white = PairedImageDataset(*roots, dataroot_mask=str(pairs / "masks"))
    black = PairedImageDataset(*roots, dataroot_mask=str(pairs / "masks"), mask_polarity="black_missing")
    one, other = (data.load(0, keyed.draws(0))["mask"] for data in (white, black))
    assert (one[:32, :32] == 255).all()
    assert one.mean() == 255 / 4
    assert (one + other == 255).all()


def test_a_mask_that_does_not_fit_is_told(faces, pairs):
    roots = (str(faces), str(pairs / "lq"))
    images.write(pairs / "masks" / "000.png", np.zeros((10, 10, 3), np.uint8))
    with pytest.raises(images.UnreadableImage, match=r"000.png: the mask is \(10, 10\), the GT \(64, 64\)"):
        PairedImageDataset(*roots, dataroot_mask=str(pairs / "masks")).load(0, keyed.draws(0))
    (pairs / "masks" / "001.png").unlink()
    with pytest.raises(UserError, match="no mask for GT `001`"):
        PairedImageDataset(*roots, dataroot_mask=str(pairs / "masks"))


def test_the_hidden_picture_is_spoilt_afterwards_and_nothing_else(faces):
    spoilt = dataset(faces, NOISE, degradation=[Part(type="GaussianNoise", sigma=(20, 20)), Part(type="Jpeg")])
    for index in range(4):
        plain, made, again = (
            d.load(index, keyed.draws(0, "t", index)) for d in (dataset(faces, NOISE), spoilt, spoilt)
        )
        assert (made["gt"] == plain["gt"]).all()
        assert (made["mask"] == plain["mask"]).all()
        assert (made["lq"] == again["lq"]).all()
        away = np.abs(made["lq"].astype(float) - plain["lq"])[plain["mask"][:, :, 0] == 0]
        assert 4 < away.mean() < 25
