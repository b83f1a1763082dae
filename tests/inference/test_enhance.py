"""Photos made larger or clearer: where faces land, what stays, what is told, and faces of every size and place."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from restore.data.drawn import draw_face
from restore.errors import UserError
from restore.faces.crop import Crop
from restore.faces.detector import Detector
from restore.faces.face import LANDMARKS, Face
from restore.inference.enhance import BATCH, Enhancer
from restore.inference.model import Model
from restore.inference.paste import distance
from restore.inference.people import Choice

HEIGHT, WIDTH, FRAME = 150, 190, 64


class Keeps(nn.Module):
    """Changes nothing, and remembers what it was shown; enlarging it is Keys's bicubic."""

    def __init__(self, scale=1):
        super().__init__()
        self.scale, self.shown = scale, []

    def forward(self, x):
        self.shown.append(x)
        size = [side * self.scale for side in x.shape[-2:]]
        return x if self.scale == 1 else F.interpolate(x, size, mode="bicubic", antialias=True)


class Shades(Keeps):
    """Makes everything one grey."""

    def forward(self, x):
        return torch.full_like(super().forward(x), 0.5)


class finds(Detector):
    def __init__(self, *faces):
        super().__init__()
        self.faces = faces

    def find(self, picture):
        return list(self.faces)


def model_of(network=Keeps, scale=1, size=FRAME, **facts):
    return Model.of(network(scale), scale=scale, size=size, **facts)


def face_at(center, side, angle=0.0):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return Face.of_landmarks(((LANDMARKS - 0.5) * side @ turn.T + center).astype(np.float32))


def photo_of(dtype=np.uint8):
    """Two drawn faces beside each other, with noise."""
    pair = np.concatenate([draw_face(0, index, 190).image[:HEIGHT, :95] for index in (1, 2)], axis=1)
    noisy = pair + np.random.default_rng(0).normal(0, 6, pair.shape)
    return np.rint(noisy.clip(0, 255) * (np.iinfo(dtype).max // 255)).astype(dtype)


PHOTO = photo_of()
FACES = [face_at([60, 70], 90, 0.2), face_at([130, 80], 70, -0.4)]


@pytest.mark.parametrize("outscale", [1, 2, 1.5, 0.7])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_model_that_changes_nothing_only_enlarges(outscale, dtype):
    """At every frequency, to the last bit: the photo is noisy."""
    photo = photo_of(dtype)
    enhancer = Enhancer(model_of(), outscale=outscale)
    made = enhancer(photo, FACES)
    assert made.picture.dtype == dtype
    assert made.picture.shape == (round(HEIGHT * outscale), round(WIDTH * outscale), 3)
    assert np.array_equal(made.picture, enhancer(photo, []).picture)
    if outscale == 1:
        assert np.array_equal(made.picture, photo)
    assert 0.1 < made.invented.mean() < 0.9


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("outscale", [1, 2, 1.5])
def test_a_model_that_enlarges_and_changes_nothing(scale, outscale):
    """Waves that its LQ frame of 128 px shows, 16 of its pixels long: within 1 level of the photo enlarged, where its
    kernel does not reach over the frame's edge. The faces lie inside the picture."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    wave = 128 + 100 * np.sin(2 * np.pi * (0.6 * x + 0.8 * y) / 18)
    photo = np.rint(wave).astype(np.uint8)[:, :, None].repeat(3, axis=2)
    enhancer = Enhancer(model_of(scale=scale, size=128 * scale), outscale=outscale)
    for face in (face_at([95, 75], 80, 0.6), face_at([95, 75], 100, 3)):
        made = enhancer(photo, [face])
        far = distance(Crop.of(made.faces[0], 128), (slice(0, len(made.picture)), slice(0, made.picture.shape[1])))
        apart = np.abs(made.picture.astype(int) - enhancer(photo, []).picture).max(2)
        assert apart[far < 0.9].max() <= 1
        assert not apart[~made.invented].any()


def test_outside_the_faces_every_byte_stays():
    made = Enhancer(model_of(Shades), match=False)(PHOTO, FACES)
    assert np.array_equal(made.picture[~made.invented], PHOTO[~made.invented])
    assert (made.picture != PHOTO)[made.invented].mean() > 0.9


@pytest.mark.parametrize("outscale", [1, 1.5, 3])
def test_faces_are_told_where_they_are_in_the_result(outscale):
    """Within rounding of the result's size: a dot in the photo is where the face's landmark is in the result."""
    face = FACES[0]
    x, y = face.landmarks[2]
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    dot = 60000 * np.exp(-((u - x) ** 2 + (v - y) ** 2) / 18)
    made = Enhancer(model_of(), outscale=outscale)(np.rint(dot).astype(np.uint16)[:, :, None].repeat(3, axis=2), [face])
    light = made.picture[:, :, 0].astype(float)
    v, u = np.mgrid[: light.shape[0], : light.shape[1]]
    found = np.array([(light * u).sum(), (light * v).sum()]) / light.sum()
    assert np.abs(found - made.faces[0].landmarks[2]).max() < 0.1


class TestSurroundings:
    def test_by_another_model(self):
        """Its picture in the result's size; everything is invented, and the face is the face model's."""
        made = Enhancer(model_of(Shades), background=model_of(Keeps, 2), match=False)(PHOTO, FACES[:1])
        assert made.picture.shape[:2] == (2 * HEIGHT, 2 * WIDTH)  # the background's scale
        plain = Enhancer(model_of(Keeps, 2))(PHOTO)
        far = distance(Crop.of(made.faces[0], FRAME), (slice(0, 2 * HEIGHT), slice(0, 2 * WIDTH)))
        assert np.array_equal(made.picture[far >= 1], plain.picture[far >= 1])
        assert np.abs(made.picture[far < 0.7].mean() - 127.5) < 2
        assert made.invented.all()

    def test_without_faces_the_model_gets_the_whole_picture(self):
        model = model_of(Keeps, 2)
        made = Enhancer(model, tile=None)(PHOTO)
        assert np.array_equal(made.picture, model.picture(PHOTO, tile=None))
        assert made.invented.all()
        assert made.faces == []
        assert Enhancer(model, outscale=3, tile=None)(PHOTO).picture.shape[:2] == (3 * HEIGHT, 3 * WIDTH)

    def test_nobody_there(self):
        with pytest.raises(UserError, match="no face was found"):
            Enhancer(model_of(), detector=finds())(PHOTO)
        made = Enhancer(model_of(), detector=finds(), background=model_of(Keeps, 2))(PHOTO)
        assert made.picture.shape[:2] == (2 * HEIGHT, 2 * WIDTH)
        assert any("no face was found" in note for note in made.notes)

    def test_lanczos_is_another_interpolation(self):
        both = [Enhancer(model_of(), outscale=2, background=how)(PHOTO, []).picture for how in ("bicubic", "lanczos")]
        assert 0 < np.abs(both[0].astype(int) - both[1]).max() < 80


def test_faces_are_found_and_chosen():
    detector = finds(*FACES)
    model = model_of(Shades)
    one = Enhancer(model, detector=detector, choice=Choice.parse("2"))(PHOTO)
    assert [face.box for face in one.faces] == [FACES[1].box]
    assert Enhancer(model, detector=detector)(PHOTO).invented.sum() > one.invented.sum()


def test_many_faces_go_through_in_batches_with_the_same_result():
    faces = [face_at([20 + 16 * index, 70], 30) for index in range(BATCH + 3)]
    model = model_of(Shades)
    made = Enhancer(model, match=False)(PHOTO, faces)
    assert [len(batch) for batch in model.network.shown] == [BATCH, 3]
    turned = Enhancer(model, match=False)(PHOTO, faces[::-1])
    assert np.array_equal(made.picture, turned.picture)


@pytest.mark.parametrize(("scale", "size", "shown"), [(1, 64, 64), (4, 64, 16), (4, 66, 16)])
def test_the_model_sees_its_frame(scale, size, shown):
    model = model_of(Keeps, scale, size)
    Enhancer(model, outscale=1, size=size)(PHOTO, FACES[:1])
    assert model.network.shown[0].shape == (1, 3, shown, shown)
    assert model.network.shown[0].min() >= 0
    assert model.network.shown[0].max() <= 1


class TestFacesOfEverySize:
    @pytest.mark.parametrize(
        ("center", "side"),
        [([90, 70], 8), ([90, 70], 3), ([90, 70], 4000), ([0, 0], 100), ([189, 149], 30), ([-10, 75], 60)],
    )
    @pytest.mark.parametrize("scale", [1, 4])
    def test_tiny_huge_and_half_outside(self, center, side, scale):
        made = Enhancer(model_of(Shades, scale), outscale=1, size=64)(PHOTO, [face_at(center, side, 0.5)])
        assert made.invented.any()
        assert np.array_equal(made.picture[~made.invented], PHOTO[~made.invented])

    @pytest.mark.parametrize("face", [face_at([900, 75], 60), Face((9, 9, 9, 9), np.full((5, 2), 9, np.float32))])
    def test_what_is_none_is_left_and_told(self, face):
        made = Enhancer(model_of(Shades))(PHOTO, [FACES[0], face])
        assert [note for note in made.notes if "face 2 was left as it is" in note]
        assert len(made.faces) == 1
        assert np.array_equal(made.picture, Enhancer(model_of(Shades))(PHOTO, FACES[:1]).picture)

    def test_a_face_that_an_enlarging_model_would_blur_is_left_unless_it_is_asked_for(self):
        """The second face fits into what the model makes; the first has more pixels in the photo than that."""
        faces, model = [face_at([60, 70], 90), face_at([140, 80], 30)], model_of(Shades, 2, 64)
        made = Enhancer(model, outscale=1)(PHOTO, faces)
        assert [note for note in made.notes if "face 1 was left to the background: its frame has 90 px" in note]
        assert len(made.faces) == 1
        assert np.array_equal(made.picture, Enhancer(model, outscale=1)(PHOTO, faces[1:]).picture)
        assert len(Enhancer(model, outscale=1, size=64)(PHOTO, faces).faces) == 2
        assert len(Enhancer(model_of(Shades, 1, 64), outscale=1)(PHOTO, faces).faces) == 2  # its change keeps the rest

    def test_a_face_larger_than_the_frame_is_told(self):
        face = face_at([95, 75], 140)
        assert Enhancer(model_of(size=256))(PHOTO, [face]).notes == []
        (note,) = Enhancer(model_of(size=64))(PHOTO, [face]).notes
        assert "face 1 is 140 px in the result, the model's frame 64: what is finer stays the photo's" in note
        (note,) = Enhancer(model_of(scale=4, size=256), outscale=1)(PHOTO, [face]).notes
        assert "face 1 is 140 px in the photo, of which the model sees 64" in note

    @pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 50), (40, 2)])
    def test_a_picture_of_few_pixels(self, height, width):
        photo = np.full((height, width, 3), 200, np.uint8)
        made = Enhancer(model_of(), outscale=2)(photo, [face_at([width / 2, height / 2], 30)])
        assert (made.picture == 200).all()


def test_what_cannot_be_is_told():
    with pytest.raises(UserError, match="another kind"):
        Enhancer(Model.of(Keeps(), kind="unmask"))
    with pytest.raises(UserError, match="another kind"):
        Enhancer(model_of(), background=Model.of(Keeps(), kind="unmask"))
    for outscale in (0, -1, 65, float("nan")):
        with pytest.raises(UserError, match="outscale"):
            Enhancer(model_of(), outscale=outscale)
    with pytest.raises(UserError, match="frame of 3 px"):
        Enhancer(model_of(scale=4), size=3)
