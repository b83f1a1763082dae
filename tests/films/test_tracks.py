"""Faces followed through a film: jitter, lag, gaps, crossings, cuts, and the flicker of what is pasted back."""

from itertools import pairwise

import numpy as np
import pytest

from restore.data.drawn import draw_face
from restore.faces.crop import Crop
from restore.faces.face import LANDMARKS, Face
from restore.films.tracks import GAP, Seen, is_cut, smoothed, thumbnail
from restore.images import to_uint8

RATE = 25.0
SIDE = 100.0


def face(x: float, y: float = 100, side: float = SIDE, jitter: np.ndarray | float = 0.0) -> Face:
    """A face whose unit frame has its corner at (x, y)."""
    landmarks = LANDMARKS * side + np.array([x, y], np.float32) + jitter
    return Face.of_landmarks(landmarks.astype(np.float32))


def through(faces: list[list[Face]], cuts: tuple[int, ...] = ()) -> list[list[Face]]:
    """The smoothed faces of frames, which come out in their order."""
    frames = [(i, Seen(i / RATE, i in cuts, found)) for i, found in enumerate(faces)]
    result = list(smoothed(frames))
    assert [index for index, _ in result] == list(range(len(faces)))
    return [found for _, found in result]


def path(found: list[list[Face]], number: int = 0) -> np.ndarray:
    """(frames, 5, 2): the landmarks of one face of each frame."""
    return np.stack([faces[number].landmarks for faces in found]).astype(np.float64)


def truth(xs: np.ndarray) -> np.ndarray:
    """(frames, 5, 2): the landmarks of faces at these places."""
    return np.stack([face(x).landmarks for x in xs]).astype(np.float64)


def test_jitter_shrinks_to_less_than_half():
    noise = np.random.default_rng(0).normal(0, 1.0, (400, 5, 2))
    xs = np.linspace(0, 400, 400)  # a walk through the picture
    found = through([[face(x, jitter=n)] for x, n in zip(xs, noise, strict=True)])
    left = (path(found) - truth(xs))[8:-8].std()
    ends = (path(found) - truth(xs))[[0, -1]].std()
    print(f"jitter of 1 px becomes {left:.3f} px, {ends:.2f} at a track's ends")
    assert left < 1 / 2.2
    assert ends < 1.0


@pytest.mark.parametrize("speed", [1.0, 6.0, 20.0])
def test_no_lag_at_even_speed_and_acceleration(speed):
    frames = np.arange(60)
    for xs in (speed * frames, 0.1 * speed * frames**2 / 2):
        found = through([[face(x)] for x in xs])
        assert np.abs(path(found) - truth(xs)).max() < 0.01 * speed


def test_a_shaking_head_keeps_its_swing():
    """Once a second, by 30 px: its swing shrinks by less than 5 %, and it is nowhere late by more than 2 px."""
    xs = 100 + 30 * np.sin(np.arange(100) * 2 * np.pi / RATE)
    middle = path(through([[face(x)] for x in xs]))[:, 2, 0] - face(0).landmarks[2, 0]
    print(f"swing of 30 px: off by at most {np.abs(middle - xs)[8:-8].max():.2f} px")
    assert np.abs(middle - xs)[8:-8].max() < 2
    swings = [np.sqrt(2) * np.std(values[12:87]) for values in (middle, xs)]
    assert swings[0] > 0.95 * swings[1]


@pytest.mark.parametrize("missing", [1, GAP, GAP + 1])
def test_small_gaps_are_filled_and_others_are_not(missing):
    xs = np.arange(50) * 2.0
    faces = [[] if 20 <= i < 20 + missing else [face(x)] for i, x in enumerate(xs)]
    found = through(faces)
    if missing <= GAP:
        assert [len(each) for each in found] == [1] * 50
        assert np.abs(path(found) - truth(xs)).max() < 0.05
    else:
        assert [len(each) for each in found] == [len(each) for each in faces]


def test_no_face_before_it_comes_and_after_it_left():
    found = through([[face(i * 1.0)] if 10 <= i < 30 else [] for i in range(60)])
    assert [bool(each) for each in found] == [10 <= i < 30 for i in range(60)]


@pytest.mark.parametrize("hidden", [0, 4])
def test_two_faces_that_cross_do_not_swap(hidden):
    """One walks right, one left, through each other; `hidden` frames long only the nearer one is found."""
    noise = np.random.default_rng(1).normal(0, 0.5, (60, 2, 5, 2))
    right, left = np.arange(60) * 5.0, 300 - np.arange(60) * 5.0
    faces = []
    for i in range(60):
        both = [face(right[i], jitter=noise[i, 0]), face(left[i], 104, jitter=noise[i, 1])]
        if abs(i - 30) < hidden / 2:
            both = both[:1]
        faces.append(both[:: -1 if i % 2 else 1])  # a detector's order says nothing
    found = through(faces)
    assert all(len(each) == 2 for each in found)
    assert np.abs(path(found, 0) - truth(right)).max() < 3
    assert np.abs(path(found, 1)[:, :, 0] - truth(left)[:, :, 0]).max() < 3


def test_nothing_reaches_across_a_cut():
    """The next scene has a face nearly where this one had its own."""
    faces = [[face(0.0)]] * 20 + [[face(20.0)]] * 20
    found = path(through(faces, cuts=(20,)))
    assert np.abs(found - truth(np.repeat([0.0, 20.0], 20))).max() < 1e-3
    blended = path(through(faces))
    assert np.abs(blended - truth(np.repeat([0.0, 20.0], 20))).max() > 2


def test_a_cut_is_seen_and_a_pan_is_none():
    scenes = [draw_face(3, index, 64).image for index in range(12)]
    thumbs = [thumbnail(scene) for scene in scenes]
    assert sum(is_cut(a, b) for a, b in pairwise(thumbs)) >= 9
    assert not is_cut(None, thumbs[0])
    assert not is_cut(thumbs[0], thumbnail(np.roll(scenes[0], 2, axis=1)))
    assert is_cut(thumbnail(np.zeros((8, 8, 3), np.uint16)), thumbnail(np.full((8, 8, 3), 65535, np.uint16)))


def test_what_was_seen_comes_back_from_json_to_the_last_bit():
    import json

    seen = Seen(1 / 3, True, [face(1 / 7, jitter=0.1)])
    back = Seen.of(json.loads(json.dumps(seen.plain())))
    assert (back.time, back.cut, back.faces[0].box) == (seen.time, True, seen.faces[0].box)
    assert np.array_equal(back.faces[0].landmarks, seen.faces[0].landmarks)
    assert back.faces[0].landmarks.dtype == np.float32


def test_what_is_pasted_back_flickers_less():
    """A drawn face moves slowly; what a network would invent, a pattern fixed to the crop, trembles with the crop."""
    drawn = draw_face(0, 5, 96)
    own = np.asarray(drawn.landmarks, np.float32) - 0.5
    pattern = np.kron(np.indices((16, 16)).sum(0) % 2, np.ones((4, 4)))[None, None]
    random = np.random.default_rng(2)
    canvas = np.pad(drawn.image, ((20, 20), (20, 20), (0, 0)), mode="edge")
    shifts = 0.2 * np.arange(40)
    true = [(own + [20 + shift, 20]).astype(np.float32) for shift in shifts]
    jittered = [[Face.of_landmarks(each + random.normal(0, 1, (5, 2)).astype(np.float32))] for each in true]

    def flicker(faces: list[list[Face]]) -> float:
        """Standard deviation over time, in levels, of what stands at each place of the face that moves."""
        import cv2
        import torch

        steady = []
        for shift, (found,) in zip(shifts, faces, strict=True):
            move = np.float32([[1, 0, shift], [0, 1, 0]])
            frame = cv2.warpAffine(canvas, move, canvas.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
            frame = np.clip(frame + random.normal(0, 2, frame.shape), 0, 255).astype(np.uint8)
            crop = Crop.of(found, 64)
            restored = crop.cut(frame) * 0.7 + 0.3 * torch.from_numpy(pattern).float()
            window = (slice(0, frame.shape[0]), slice(0, frame.shape[1]))
            pasted = np.where(crop.holds(window)[..., None], to_uint8(crop.back(restored, window)[0]), frame)
            steady.append(cv2.warpAffine(pasted, move, canvas.shape[1::-1], flags=cv2.WARP_INVERSE_MAP))
        return float(np.stack(steady)[8:-8, 35:100, 35:100].astype(np.float64).std(axis=0).mean())

    without, with_smoothing = flicker(jittered), flicker(through(jittered))
    still = flicker([[Face.of_landmarks(each)] for each in true])
    print(f"flicker: {without:.2f} levels without, {with_smoothing:.2f} with, {still:.2f} with the true landmarks")
    assert with_smoothing - still < 0.6 * (without - still)
