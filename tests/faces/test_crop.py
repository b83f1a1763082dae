"""Cropping faces: against OpenCV's warp, there and back again, and what of a mask comes along."""

import cv2
import numpy as np
import pytest
import torch

from restore.data.drawn import draw_face
from restore.faces.crop import Crop
from restore.faces.face import LANDMARKS, Face

HEIGHT, WIDTH = 360, 440


def face_at(center, side, angle):
    """A face as in FFHQ's frame of that side, turned about a place in the picture."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return Face.of_landmarks(((LANDMARKS - 0.5) * side @ turn.T + center).astype(np.float32))


def random_faces(number, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(number):
        side = rng.uniform(60, 300)
        yield face_at([rng.uniform(180, 260), rng.uniform(150, 210)], side, rng.uniform(-3, 3)), side, rng


def waves(length, angle):
    """A pattern of one wave length in pixels, 28 to 228, of 8 bits."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    wave = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / length)
    return np.rint(128 + 100 * wave).astype(np.uint8)[:, :, None].repeat(3, axis=2)


def levels(tensor):
    return tensor[0].permute(1, 2, 0).numpy() * 255


def test_an_aligned_picture_is_its_own_crop():
    picture = draw_face(0, 3, 96).image
    crop = Crop.of(Face.aligned(96, 96), 96)
    assert np.abs(levels(crop.cut(picture)) - picture).max() < 1e-3
    window = slice(10, 90), slice(7, 80)
    assert np.abs(levels(crop.back(crop.cut(picture), window)) - picture[window]).max() < 1e-3
    assert crop.holds((slice(0, 96), slice(0, 96))).all()


def test_there_and_back_a_band_limited_pattern_is_the_same():
    """Waves of 24 pixels, of the picture or of the crop, whichever are larger. Bilinear interpolation of such a wave
    of amplitude 100 is off by (2 pi / 24)^2 * 100 / 8 = 0.9 levels at most, each way; rounding adds a half."""
    for face, side, rng in random_faces(15):
        crop = Crop.of(face, 128)
        picture = waves(24 * max(1, side / 128), rng.uniform(0, 3))
        window = slice(0, HEIGHT), slice(0, WIDTH)
        inner = Crop(crop.matrix - [[0, 0, 2], [0, 0, 2]], 124).holds(window)  # beyond, the crop's border goes on
        inner[:8] = inner[-8:] = inner[:, :8] = inner[:, -8:] = False  # and there the picture's
        back = np.rint(levels(crop.back(crop.cut(picture), window)))
        assert np.abs(back - picture)[inner].max() <= 2


def test_a_window_is_a_part_of_the_whole():
    face = face_at([230, 180], 200, 0.4)
    crop, picture = Crop.of(face, 128), waves(40, 1)
    made = crop.cut(picture)
    whole = crop.back(made, (slice(0, HEIGHT), slice(0, WIDTH)))
    part = crop.back(made, (slice(130, 230), slice(180, 300)))
    assert torch.allclose(part, whole[..., 130:230, 180:300], atol=1e-4)


def test_cuts_as_opencv_does():
    """`cv2.warpAffine`, where the crop is no smaller than the face; it rounds places to 1/32 pixel."""
    for face, side, rng in random_faces(10, seed=1):
        if side <= 256:
            crop, picture = Crop.of(face, 256), waves(40, rng.uniform(0, 3))
            theirs = cv2.warpAffine(picture, crop.matrix, (256, 256), borderMode=cv2.BORDER_REPLICATE)
            slope = 100 * 2 * np.pi / 40
            assert np.abs(levels(crop.cut(picture)) - theirs).max() <= 2 * slope / 32 + 0.6


def test_what_shrinks_is_averaged():
    """Black and white columns, of which four come to a pixel, are grey."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[:, ::2] = 255
    crop = Crop.of(face_at([220, 180], 256, 0), 64)
    assert np.abs(levels(crop.cut(picture))[2:-2, 2:-2] - 127.5).max() < 2


def test_dots_at_the_landmarks_land_on_the_template():
    """Centroids of Gaussian dots of sigma 3 in the crop, within 0.1 px of it."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    for face, side, _ in random_faces(4, seed=2):
        size = round(side)
        crop = Crop.of(face, size)
        for point, wanted in zip(face.landmarks, LANDMARKS * size - 0.5, strict=True):
            dot = 60000 * np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / 18)
            cut = crop.cut(np.rint(dot).astype(np.uint16)[:, :, None].repeat(3, axis=2))[0, 0].numpy()
            v, u = np.mgrid[:size, :size]
            found = np.array([(cut * u).sum(), (cut * v).sum()]) / cut.sum()
            assert np.abs(found - wanted).max() < 0.1


@pytest.mark.parametrize("size", [64, 256])
def test_what_the_mask_leaves_known_knows_nothing_of_the_hole(size):
    """Whatever is in the hole, known pixels of the crop change by their share of it, 2 % at most."""
    rng = np.random.default_rng(3)
    mask = cv2.GaussianBlur(rng.normal(size=(HEIGHT, WIDTH)), (0, 0), 12) > 0
    black, white = (np.where(mask, np.uint8(c), np.uint8(90))[:, :, None].repeat(3, axis=2) for c in (0, 255))
    for face, _, _ in random_faces(6, seed=4):
        crop = Crop.of(face, size)
        known = crop.cut_mask(mask)[0, 0] == 0
        assert 0.1 < float(known.float().mean()) < 0.9
        assert float((crop.cut(white) - crop.cut(black))[0, :, known].abs().max()) <= 0.021


def test_a_face_half_outside_is_cut_with_the_border_going_on():
    picture = np.full((40, 50, 3), 77, np.uint8)
    for center in ([0, 0], [60, 20], [25, -30]):
        crop = Crop.of(face_at(center, 60, 0.3), 64)
        assert np.abs(levels(crop.cut(picture)) - 77).max() < 1e-3
        assert crop.cut_mask(np.zeros((40, 50), bool)).sum() == 0
    far = Crop.of(face_at([500, 500], 20, 0), 16)
    assert not far.holds((slice(0, 40), slice(0, 50))).any()
