"""Faces put back: nothing outside changes, no seams, in any order; what stands in a hole is not looked at."""

import numpy as np
import pytest
import torch

from restore.faces.align import warp
from restore.faces.crop import Crop
from restore.faces.face import LANDMARKS, Face
from restore.inference.paste import Patch, distance, membrane, paste, paste_all

HEIGHT, WIDTH, FRAME = 180, 220, 128
WHOLE = slice(0, HEIGHT), slice(0, WIDTH)
BLENDS = "feather", "multiband", "poisson"


def face_at(center, side, angle=0.0):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return Face.of_landmarks(((LANDMARKS - 0.5) * side @ turn.T + center).astype(np.float32))


def crops(number, seed=0):
    """Of faces anywhere, also over the border, much smaller and much larger than the frame."""
    rng = np.random.default_rng(seed)
    for _ in range(number):
        side = float(np.exp(rng.uniform(np.log(8), np.log(6 * FRAME))))
        yield Crop.of(face_at(rng.uniform([0, 0], [WIDTH, HEIGHT]), side, rng.uniform(-3, 3)), FRAME)


def noise(dtype=np.uint8, low=0.3, high=0.5, seed=0):
    """A photo that is as hard as can be: each pixel by itself."""
    levels = np.random.default_rng(seed).uniform(low, high, (HEIGHT, WIDTH, 3)) * np.iinfo(dtype).max
    return np.rint(levels).astype(dtype)


def seen_by(crop, photo):
    return crop.cut(photo, "bicubic").clamp(0, 1)


def step(made, photo):
    """The most that what was added differs between two neighbouring pixels, in levels of 255."""
    added = made.astype(int) - photo
    return max(np.abs(np.diff(added, axis=axis)).max() for axis in (0, 1)) / (np.iinfo(photo.dtype).max / 255)


class TestWhatStays:
    @pytest.mark.parametrize("blend", BLENDS)
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_no_change_changes_nothing(self, blend, dtype):
        photo = noise(dtype)
        for crop in crops(6):
            made = photo.copy()
            paste(made, crop, seen_by(crop, photo), blend)
            assert np.array_equal(made, photo)

    @pytest.mark.parametrize("blend", BLENDS)
    def test_what_is_outside_stays_byte_for_byte(self, blend):
        photo = noise()
        for crop in crops(8, seed=1):
            made = photo.copy()
            where = paste(made, crop, torch.rand(1, 3, FRAME, FRAME), blend)
            assert np.array_equal(where, distance(crop, WHOLE) < 1)
            assert not (where & ~crop.holds(WHOLE)).any()
            assert np.array_equal(made[~where], photo[~where])
            assert (made != photo).any() == where.any()

    def test_what_is_finer_than_the_frame_stays(self):
        """Noise in a photo whose face is six frames large: a model that adds light adds nothing but that."""
        crop, photo = Crop.of(face_at([110, 90], 6 * FRAME), FRAME), noise()
        made = photo.copy()
        paste(made, crop, seen_by(crop, photo) + 0.1, match=False)
        added = made.astype(int) - photo
        assert added.min() >= 25
        assert added.max() <= 26

    def test_a_crop_beside_the_picture(self):
        photo, crop = noise(), Crop.of(face_at([900, 900], 40), FRAME)
        made = photo.copy()
        assert not paste(made, crop, torch.ones(1, 3, FRAME, FRAME)).any()
        assert np.array_equal(made, photo)


def test_a_dot_painted_at_a_landmark_lands_there():
    """Gaussian dots of 2 px at least, in the frame and the photo; their centroid within 0.1 px."""
    rng = np.random.default_rng(3)
    for index in range(8):
        side = rng.uniform(60, 300)
        face = face_at([110, 90], side, rng.uniform(-3, 3))
        place, wanted = LANDMARKS[index % 5] * FRAME - 0.5, face.landmarks[index % 5]
        sigma = 2 * max(1, FRAME / side)
        v, u = np.mgrid[:FRAME, :FRAME]
        dot = np.exp(-((u - place[0]) ** 2 + (v - place[1]) ** 2) / (2 * sigma**2)).astype(np.float32)
        photo = np.full((HEIGHT, WIDTH, 3), 20000, np.uint16)
        made = photo.copy()
        paste(
            made,
            Crop.of(face, FRAME),
            torch.from_numpy(dot)[None, None].expand(1, 3, -1, -1) / 2 + 20000 / 65535,
            match=False,
        )
        light = (made[:, :, 0].astype(float) - 20000).clip(100) - 100
        y, x = np.mgrid[WHOLE]
        found = np.array([(light * x).sum(), (light * y).sum()]) / light.sum()
        if (wanted > 10).all() and (wanted < [WIDTH - 10, HEIGHT - 10]).all():
            assert np.abs(found - wanted).max() < 0.1


class TestSeams:
    """A model that adds 16 levels: its step shows where the face is put in plainly, and nowhere else."""

    CROP = Crop.of(face_at([110, 90], 150, 0.3), FRAME)

    def with_offset(self, photo):
        return seen_by(self.CROP, photo) + 16 / 255

    def test_plainly_pasted_it_shows(self):
        photo = noise()
        back = self.CROP.back(self.with_offset(photo) - seen_by(self.CROP, photo), WHOLE)[0].permute(1, 2, 0).numpy()
        made = np.rint(photo + 255 * back * self.CROP.holds(WHOLE)[:, :, None]).astype(np.uint8)
        assert step(made, photo) == 16

    @pytest.mark.parametrize("blend", BLENDS)
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_blended_it_does_not(self, blend, dtype):
        """Over a fade of 15 px the steepest part of a smooth step is 1.5 * 16 / 15 levels a pixel; 8 bits round."""
        photo = noise(dtype)
        made = photo.copy()
        paste(made, self.CROP, self.with_offset(photo), blend, match=False)
        assert step(made, photo) <= (3 if dtype == np.uint8 else 1.7)
        if blend != "poisson":  # which holds an offset for what it is
            assert (made.astype(int) - photo).max() == pytest.approx(16 * np.iinfo(dtype).max / 255, rel=0.02)

    def test_poisson_takes_an_offset_away(self):
        photo = noise()
        made = photo.copy()
        paste(made, self.CROP, self.with_offset(photo), "poisson", match=False)
        assert np.abs(made.astype(int) - photo).max() <= 1

    @pytest.mark.parametrize("blend", BLENDS)
    def test_matched_a_tint_is_gone(self, blend):
        """Contrast and brightness changed by known amounts in each channel; a waving photo says what they were."""
        y, x = np.mgrid[WHOLE]
        wave = 0.45 + 0.12 * np.sin(x / 17 + y / 29)[:, :, None] * [1, 0.8, -1]
        photo = np.rint(wave * 65535).astype(np.uint16)
        tinted = seen_by(self.CROP, photo) * torch.tensor([0.9, 1.0, 1.15]).view(1, 3, 1, 1) + 0.04
        apart = []
        for match in (False, True):
            made = photo.copy()
            paste(made, self.CROP, tinted, blend, match)
            apart.append(np.abs(made.astype(int) - photo).max() / 257)
        assert apart[1] <= 1.5
        assert apart[0] > 4 * apart[1]

    def test_one_colour_says_nothing_about_contrast(self):
        """The face's own contrast stays: its detail is as strong as it was."""
        photo = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
        face = torch.full((1, 3, FRAME, FRAME), 100 / 255)
        face[..., 50:70, 50:70] = 0.8
        made = photo.copy()
        paste(made, self.CROP, face)
        x, y = (np.linalg.inv(np.vstack([self.CROP.matrix, [0, 0, 1]])) @ [59.5, 59.5, 1])[:2].round().astype(int)
        assert np.abs(made[y, x] - 0.8 * 255).max() <= 2

    def test_detail_reaches_further_than_light(self):
        """multiband: near the border what is fine still is there, when what is coarse has gone."""
        photo = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
        crop, stripes = Crop.of(Face.aligned(HEIGHT, WIDTH), 180), torch.zeros(1, 3, 180, 180)
        stripes[..., ::2] = 0.1
        near = np.abs(distance(crop, WHOLE) - 0.85) < 0.02
        strength = {}
        for name, change in (("fine", stripes - stripes.mean()), ("coarse", torch.full_like(stripes, 0.05))):
            made = photo.copy()
            paste(made, crop, change + 100 / 255, "multiband", match=False)
            strength[name] = np.abs(made[near].astype(int) - 100).mean() / 12.75
        assert strength["fine"] > 2 * strength["coarse"]


class TestSeveral:
    def patches(self, shade=(0.2, 0.9, 0.6)):
        places = ([80, 90], 120, 0.2), ([140, 90], 100, -0.3), ([110, 150], 80, 0.1)
        for (center, side, angle), light in zip(places, shade, strict=True):
            yield Patch(Crop.of(face_at(center, side, angle), FRAME), torch.full((1, 3, FRAME, FRAME), light))

    @pytest.mark.parametrize("blend", BLENDS)
    def test_their_order_does_not_matter(self, blend):
        patches, made = list(self.patches()), []
        for order in ((0, 1, 2), (2, 0, 1), (1, 0, 2)):
            photo = noise()
            where = paste_all(photo, [patches[index] for index in order], blend, match=False)
            made.append(photo)
        assert np.array_equal(made[0], made[1])
        assert np.array_equal(made[0], made[2])
        assert np.array_equal(where, np.any([distance(patch.crop, WHOLE) < 1 for patch in patches], axis=0))

    def test_each_pixel_is_the_nearest_faces(self):
        patches, photo = list(self.patches()), noise()
        paste_all(photo, patches, match=False)
        far = np.stack([distance(patch.crop, WHOLE) for patch in patches])
        nearest, second = np.sort(far, axis=0)[:2]
        sure = (second - nearest > 0.15) & (nearest < 0.75)
        wanted = np.array([51, 229.5, 153])[far.argmin(0)]
        assert set(far.argmin(0)[sure]) == {0, 1, 2}
        assert np.abs(photo - wanted[:, :, None])[sure].max() <= 30  # the photo's noise is finer than the frame

    def test_where_they_meet_is_no_gap(self):
        """Two faces that both add 20 levels: between them as well."""
        photo = noise()
        made = photo.copy()
        all_crops = [Crop.of(face_at([x, 90], 120), FRAME) for x in (80, 140)]
        paste_all(made, [Patch(crop, seen_by(crop, photo) + 20 / 255) for crop in all_crops], match=False)
        added = (made.astype(int) - photo)[90, 80:141]
        assert added.min() >= 19
        assert added.max() <= 21


class TestHoles:
    FACE = face_at([110, 90], 150, 0.2)

    def hole(self):
        y, x = np.mgrid[WHOLE]
        return (x - 115) ** 2 + (y - 110) ** 2 < 35**2

    @pytest.mark.parametrize("blend", BLENDS)
    def test_what_stands_in_it_is_not_looked_at(self, blend):
        hole, crop, face = self.hole(), Crop.of(self.FACE, FRAME), torch.rand(1, 3, FRAME, FRAME)
        made = []
        for inside in (0, 255):
            photo = noise()
            photo[hole] = inside
            where = paste(photo, crop, face, blend, hole=hole)
            made.append(photo)
        assert np.array_equal(where, hole & crop.holds(WHOLE))
        assert np.array_equal(made[0][~hole], noise()[~hole])
        # what is known of the crop changes by 2 % of the hole's at most, see `FAINTEST`
        assert np.abs(made[0].astype(int) - made[1]).max() <= 6

    def test_unmatched_and_feathered_it_is_the_face_itself(self):
        hole, crop = self.hole(), Crop.of(self.FACE, FRAME)
        face = torch.rand(1, 3, 16, 16).repeat_interleave(8, 2).repeat_interleave(8, 3)
        photo = noise()
        paste(photo, crop, face, "feather", match=False, hole=hole)
        wanted = crop.back(face, WHOLE, "bicubic")[0].permute(1, 2, 0).numpy() * 255
        assert np.abs(photo - wanted.clip(0, 255))[hole].max() <= 0.51

    @pytest.mark.parametrize(("blend", "match"), [("feather", True), ("poisson", False), ("multiband", False)])
    def test_an_offset_leaves_no_step(self, blend, match):
        y, x = np.mgrid[WHOLE]
        photo = np.rint(120 + 30 * np.sin(x / 20 + y / 30)).astype(np.uint8)[:, :, None].repeat(3, axis=2)
        crop = Crop.of(self.FACE, FRAME)
        made = photo.copy()
        paste(made, crop, crop.cut(photo) + 16 / 255, blend, match, self.hole())
        assert np.abs(made.astype(int) - photo).max() <= 2

    def test_a_hole_over_all_of_the_frame(self):
        photo, crop = noise(), Crop.of(self.FACE, FRAME)
        for blend in BLENDS:
            where = paste(
                photo, crop, torch.full((1, 3, FRAME, FRAME), 0.7), blend, hole=np.ones((HEIGHT, WIDTH), bool)
            )
            assert np.abs(photo[where] - 0.7 * 255).max() <= 0.51


class TestMembrane:
    def test_a_plane_goes_on_as_a_plane(self):
        """Planes have no Laplacian: known on a ring, the membrane is the plane, to 2 % of its rise of 1."""
        y, x = np.mgrid[:96, :128] / 128
        plane = np.stack([x, y, 0.5 * x - y], -1).astype(np.float32)
        known = np.ones((96, 128), bool)
        known[4:-4, 4:-4] = False
        film = membrane(plane * known[:, :, None], known)
        assert np.abs(film - plane).max() < 0.02
        assert np.array_equal(film[known], plane[known])

    def test_nothing_known(self):
        assert not membrane(np.ones((9, 7, 3), np.float32), np.zeros((9, 7), bool)).any()


@pytest.mark.parametrize(("share", "bicubic"), [(1 / 3, 1e-9), (0.5, 1 / 36 + 1e-9)])
def test_bicubic_warps_as_keys_wrote(share, bicubic):
    """Third-order: of a parabola every third of a pixel is met to rounding, what is between them to a ninth of what a
    straight line between pixels is off by (at most a quarter)."""
    x = torch.arange(16, dtype=torch.float64)
    parabola = (x * x).expand(1, 1, 16, 16)
    shift = torch.tensor([[[1.0, 0, -share], [0, 1, share]]], dtype=torch.float64)
    wanted = (x + share) ** 2
    found = {kernel: warp(parabola, shift, (16, 16), kernel=kernel) for kernel in ("bicubic", "bilinear")}
    assert (found["bicubic"] - wanted)[..., 2:-3].abs().max() < bicubic
    assert (found["bilinear"] - wanted)[..., 2:-3].abs().max() > 0.2


@pytest.mark.parametrize("side", [40, 128, 500])
def test_waves_of_twelve_pixels_come_back(side):
    """Of the photo's or the frame's pixels, whichever are larger, as the bicubic kernel brings them: amplitude 100."""
    crop = Crop.of(face_at([110, 90], side, 0.5), FRAME)
    y, x = np.mgrid[WHOLE]
    wave = 128 + 100 * np.sin(2 * np.pi * (0.8 * x + 0.6 * y) / (12 * max(1, side / FRAME)))
    photo = np.rint(wave * 257).astype(np.uint16)[:, :, None].repeat(3, axis=2)
    back = crop.back(crop.cut(photo, "bicubic"), WHOLE, "bicubic")[0, 0].numpy() * 255
    inner = distance(crop, WHOLE) < 0.85
    edge = int(4 * max(1, side / FRAME))
    inner[:edge] = inner[-edge:] = inner[:, :edge] = inner[:, -edge:] = False
    assert inner.any()
    assert np.abs(back - wave)[inner].max() < 1


def test_a_crop_of_the_enlarged_picture():
    """The same place of the frame comes from the same place of the picture; `resized` is the crop in other pixels."""
    face = face_at([110, 90], 90, 0.7)
    crop = Crop.of(face, FRAME)
    larger = crop.scaled(1.5, 2.5)
    point = np.array([31.2, 77.7, 1])
    there = np.append((point[:2] + 0.5) * [1.5, 2.5] - 0.5, 1)
    assert np.allclose(larger.matrix @ there, crop.matrix @ point)
    assert np.allclose(crop.resized(64).matrix, Crop.of(face, 64).matrix, atol=1e-5)
