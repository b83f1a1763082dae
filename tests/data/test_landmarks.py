"""Landmarks of a data set: read, moved with crops and transforms, and batched."""

import json

import cv2
import numpy as np
import pytest
import torch

from restore import images, keyed
from restore.data.image_dataset import GTImageDataset
from restore.data.landmarks import read_landmarks, write_landmarks
from restore.data.loader import train_batches
from restore.data.transforms import geometry
from restore.errors import UserError
from restore.registry import Part

POINTS = np.array([[9, 7], [22, 6], [15, 13], [10, 19], [21, 18]], np.float32)
HEIGHT, WIDTH = 26, 36


def marked(points=POINTS, height=HEIGHT, width=WIDTH):
    """A dark picture with a pixel of its own brightness at each landmark."""
    picture = np.zeros((height, width, 3), np.uint8)
    for number, (x, y) in enumerate(points.astype(int)):
        picture[y, x] = 100 + number
    return picture


def marks_at(picture, points):
    return [int(picture[int(y), int(x), 0]) - 100 for x, y in points]


def signed_area(points):
    """Of left eye, right eye, mouth corner: it is positive for a face, negative for its mirror image."""
    (ax, ay), (bx, by), (cx, cy) = points[0], points[1], points[3]
    return (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)


CHANGES = {
    "flip": (geometry.RandomFlip(1, 0), True),
    "upside down": (geometry.RandomFlip(0, 1), True),
    "both": (geometry.RandomFlip(1, 1), False),
    "transpose": (geometry.RandomTranspose(1), True),
    "turn": (geometry.RandomRotate90(1), False),
}


@pytest.mark.parametrize("name", CHANGES)
def test_landmarks_stay_on_their_marks(name):
    """After every transform and every draw; a mirror swaps the sides, so that a face stays a face."""
    transform, mirrors = CHANGES[name]
    order = [1, 0, 2, 4, 3] if mirrors else [0, 1, 2, 3, 4]
    shapes = set()
    for number in range(12):
        sample = {"gt": marked(), "lq": marked()[::2, ::2], "landmarks": POINTS, "key": "", "path": ""}
        changed = transform(sample, keyed.draws(number))
        assert marks_at(changed["gt"], changed["landmarks"]) == order
        assert changed["landmarks"].dtype == np.float32
        assert signed_area(changed["landmarks"]) > 0
        assert changed["lq"].shape[0] * 2 == changed["gt"].shape[0]
        shapes.add(changed["gt"].shape)
    assert len(shapes) == (2 if name == "turn" else 1)
    assert np.array_equal(POINTS, sample["landmarks"])


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_turns_are_numpys(quarters):
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    turned = geometry.rotated({"gt": picture, "key": "", "path": ""}, quarters)
    assert np.array_equal(turned["gt"], np.rot90(picture, quarters))


@pytest.fixture
def marks(tmp_path):
    """Four pictures in a folder, one of which shows no face, and their landmarks."""
    landmarks = {}
    for number in range(4):
        points = POINTS + np.float32(number)
        images.write(tmp_path / "gt" / f"{number}.png", marked(points))
        landmarks[str(number)] = None if number == 2 else points
    write_landmarks(tmp_path / "x.json", landmarks)
    return tmp_path


def dataset(folder, **options):
    return GTImageDataset(str(folder / "gt"), landmarks=str(folder / "x.json"), **options)


@pytest.mark.parametrize("degraded", [False, True])
def test_crops_move_them(marks, degraded):
    options = {"degradation": [Part(type="bicubic")]} if degraded else {}
    source = dataset(marks, scale=2, gt_size=24, transforms=[Part(type="RandomRotate90")], **options)
    for number in range(20):
        sample = source.load(number % 3, keyed.draws(number))
        inside = [(n, point) for n, point in enumerate(sample["landmarks"]) if ((point >= 0) & (point < 24)).all()]
        assert marks_at(sample["gt"], [point for _, point in inside]) == [n for n, _ in inside]
        assert len(inside) >= 3
        assert "lq" in sample


def test_pictures_without_a_face_are_left_out(marks):
    assert list(dataset(marks).keys) == ["0", "1", "3"]
    assert "landmarks" not in GTImageDataset(str(marks / "gt")).load(0, keyed.draws(0))


def test_what_is_written_is_read(tmp_path):
    points = {'a/Größe "1"': POINTS / 3, "b": None}
    write_landmarks(tmp_path / "x.json", points)
    (found,) = read_landmarks(tmp_path / "x.json", list(points)).values()
    assert np.abs(found - POINTS / 3).max() <= 0.005 + 1e-6
    assert json.loads((tmp_path / "x.json").read_text())["b"] is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"0": null}', "knows nothing of `1` and 2 others; run `restore prepare landmarks`"),
        ('{"0": null, "1": null, "2": null, "3": null}', "no face in any of the 4 pictures"),
        ('{"0": [[1, 2]], "1": null, "2": null, "3": null}', "landmarks of `0` are not five pairs"),
        ('{"0": [[1,2],[1,2],[1,2],[1,2],[1]], "1": null, "2": null, "3": null}', "landmarks of `0` are not five"),
        ('{"0": 1', "cannot read these landmarks"),
        ("[]", "holds no landmarks by key"),
    ],
)
def test_mistakes(marks, text, told):
    (marks / "x.json").write_text(text)
    with pytest.raises(UserError, match="x.json: .*" + told) as error:
        dataset(marks)
    assert "\n" not in str(error.value)


def test_batches_hold_them_in_pixels(marks):
    """Pictures become [0, 1] on the device, landmarks stay what they are; a 16-bit picture changes nothing in that."""
    images.write(marks / "gt" / "1.png", marked(POINTS + 1).astype(np.uint16) * 257)
    source = dataset(marks, scale=2)
    with train_batches(source, seed=0, batch_size=3, enlarge=1, workers=0, start=0, stop=1, pin=False) as batches:
        tensors = next(batches).to(torch.device("cpu"))
    assert tensors["landmarks"].shape == (3, 5, 2)
    assert tensors["landmarks"].dtype == torch.float32
    assert tensors["gt"].max() <= 1
    for gt, points in zip(tensors["gt"], tensors["landmarks"], strict=True):
        assert [round(float(gt[0, int(y), int(x)]) * 255) - 100 for x, y in points] == list(range(5))


def test_uneven_pictures_are_told_without_landmarks(marks):
    cv2.imwrite(str(marks / "gt" / "1.png"), np.zeros((40, 40, 3), np.uint8))
    source = dataset(marks, scale=2)
    batches = train_batches(source, seed=0, batch_size=3, enlarge=1, workers=0, start=0, stop=1, pin=False)
    with batches as one, pytest.raises(Exception, match=r"different sizes \[\(\d+, \d+\), \(\d+, \d+\), ") as error:
        next(one)
    assert "(2,)" not in str(error.value)
