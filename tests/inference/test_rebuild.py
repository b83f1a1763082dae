"""Rebuilding: what is outside the hole stays byte for byte, what is inside is the network's."""

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from restore import images
from restore.data.drawn import draw_face
from restore.data.occluded_dataset import OccludedImageDataset
from restore.errors import UserError
from restore.faces.face import LANDMARKS, Face
from restore.inference.holes import DrawnHole, NothingHidden
from restore.inference.model import Model
from restore.inference.people import Choice
from restore.inference.rebuild import Rebuilder, in_frames
from restore.keyed import draws
from restore.registry import Part
from tests.lab import HOLE_FILLER, lower_half, network_file
from tests.lab import run_infer as run

MINUTE = {"type": "UNet", "num_feat": 2, "num_level": 1, "norm": "none"}


def blob(rng, height, width):
    """A random mask, white or black where it is missing being decided elsewhere."""
    field = cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), rng.uniform(1, 8))
    return field > np.quantile(field, rng.uniform(0.1, 0.98))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("seen", ["whole", "frames"])
def test_outside_the_hole_every_byte_stays(tmp_path, dtype, suffix, seen):
    """25 random pictures and masks of each kind, 200 in all, of either polarity; noise, so that any change shows."""
    rng = np.random.default_rng([dtype().itemsize, len(suffix), len(seen)])
    network_file(tmp_path / "m.safetensors", MINUTE)
    polarity = "black_missing" if seen == "whole" else "white_missing"
    masks = {}
    for number in range(25):
        size = rng.integers(24, 72, 2)
        picture = rng.integers(0, np.iinfo(dtype).max, (*size, 3), dtype, endpoint=True)
        images.write(tmp_path / "in" / f"{number}{suffix}", picture)
        masks[number] = blob(rng, *size)
        colours = np.where(masks[number] == (polarity == "white_missing"), np.uint8(255), np.uint8(0))
        images.write(tmp_path / "masks" / f"{number}.png", colours[:, :, None].repeat(3, axis=2))
    how = ("--whole",) if seen == "whole" else ("--detector", "aligned", "--size", "48")
    options = ("--mask", tmp_path / "masks", "--mask_polarity", polarity, "--no_compare", *how)
    run(tmp_path / "in", "--model", tmp_path / "m.safetensors", "-o", tmp_path / "out", *options)
    for number, mask in masks.items():
        before = images.read(tmp_path / "in" / f"{number}{suffix}")
        after = images.read(tmp_path / "out" / f"{number}{suffix}")
        assert after.dtype == before.dtype == dtype
        assert np.array_equal(after[~mask], before[~mask])
        if mask.sum() > 20 and seen == "whole":
            assert (after[mask] != before[mask]).any(axis=1).mean() > 0.9


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_inside_is_what_the_network_says_at_the_pictures_depth(tmp_path, dtype):
    network = network_file(tmp_path / "m.safetensors", HOLE_FILLER)
    full = np.iinfo(dtype).max
    picture = (draw_face(0, 2, 64).image.astype(np.float64) / 255 * full).round().astype(dtype)
    images.write(tmp_path / "a.png", picture)
    images.write(tmp_path / "hole.png", lower_half(64, 64))
    run(
        *(tmp_path / "a.png", "--model", tmp_path / "m.safetensors", "--mask", tmp_path / "hole.png"),
        *("-o", tmp_path / "out", "--whole", "--fill", "black"),
    )
    mask = lower_half(64, 64)[:, :, 0] > 0
    lq = torch.from_numpy(np.where(mask[:, :, None], 0, picture / full).astype(np.float32)).permute(2, 0, 1)[None]
    with torch.no_grad():
        pred = network(lq, torch.from_numpy(mask)[None, None].float())[0].permute(1, 2, 0).numpy()
    made = images.read(tmp_path / "out" / "a.png")
    assert np.abs(made[mask] - pred[mask].clip(0, 1) * full).max() <= 0.5 + 1e-4 * full / 255
    if dtype == np.uint16:
        assert len(np.unique(made[mask] % 257)) > 20  # not 8 bits, spread out


def test_what_is_hidden_first_is_what_restore_test_hides(tmp_path, faces, model):
    """The same draws, and in an aligned picture of the network's size the same answer, up to a level of rounding."""
    section = "[{type: Strokes}, {type: Nose, fill: random}]"
    options = ("--occlude", section, "--seed", "5", "--detector", "aligned", "--size", "64", "--no_compare")
    as_it_is = ("--blend", "feather", "--no_match")
    run(faces, "--model", model, "-o", tmp_path / "out", *options, *as_it_is)
    parts = [Part(type="Strokes"), Part(type="Nose", fill="random")]
    dataset, network = OccludedImageDataset(str(faces), parts), network_file(tmp_path / "same", HOLE_FILLER)
    for index, key in enumerate(dataset.keys):
        sample = dataset.load(index, draws(5, "evaluate", key))
        lq, mask = images.to_unit(sample["lq"]), images.to_unit(sample["mask"])
        with torch.no_grad():
            wanted = images.to_uint8(torch.where(mask > 0, network(lq, mask), lq)[0])
        made = images.read(tmp_path / "out" / f"{key}.png")
        assert np.abs(made.astype(int) - wanted).max() <= 1
        assert np.array_equal(made[sample["mask"][:, :, 0] == 0], sample["gt"][sample["mask"][:, :, 0] == 0])


def test_several_faces_are_all_done():
    """Each hole is filled out of its own frame; what lies in two frames by the first, and is known to the second."""
    picture = np.full((80, 200, 3), 50, np.uint8)
    faces = [Face.of_landmarks((LANDMARKS * 80 + [x, 0]).astype(np.float32)) for x in (0, 60, 118)]
    mask = np.zeros((80, 200), bool)
    mask[30:60, 10:190] = True
    asked = []

    def answer(lq, hole):
        asked.append((lq, hole))
        return torch.full_like(lq, len(asked) / 8)

    result, rebuilt = in_frames(picture, mask, faces, 64, answer, "feather", match=False)
    assert np.array_equal(rebuilt, mask)
    assert (result[~mask] == 50).all()
    assert [result[45, x, 0] for x in (20, 75, 100, 135, 150)] == [32, 32, 64, 64, 96]
    second, hole = asked[1]
    assert float(second[0, 0, 32, 2]) == pytest.approx(32 / 255, abs=1e-3)
    assert hole[0, 0, 32, 2] == 0
    assert hole[0, 0, 32, 60] == 1


class Brighter(nn.Module):
    """Answers with white."""

    def forward(self, lq, mask):
        return lq + 1


def brighter():
    return Model.of(Brighter(), kind="unmask")


def test_no_face_is_told():
    rebuilder = Rebuilder(brighter(), DrawnHole([Part(type="LowerFace")], 0), lambda picture: [], Choice(), 64)
    with pytest.raises(UserError, match="no face was found; another detector"):
        rebuilder("a", np.zeros((50, 50, 3), np.uint8))


def test_a_mask_beside_the_face_is_told():
    picture, face = np.zeros((100, 100, 3), np.uint8), Face.of_landmarks((LANDMARKS * 40).astype(np.float32))
    mask = np.zeros((100, 100), bool)

    def hole(key, picture, faces):
        return picture, mask

    rebuilder = Rebuilder(brighter(), hole, lambda picture: [face], Choice(), 64, blend="feather", match=False)
    mask[60:70, 60:70] = True
    with pytest.raises(NothingHidden, match="nothing of the mask lies in a face's frame"):
        rebuilder("a", picture)
    mask[20:30, 20:30] = True
    done = rebuilder("a", picture)
    assert len(done.notes) == 1
    assert done.notes[0].startswith("100 pixels of the mask lie outside the frames")
    assert done.mask.sum() == 100
    assert (done.results[0][20:30, 20:30] == 255).all()
    assert (done.results[0][60:70, 60:70] == 0).all()


@pytest.mark.parametrize("name", ["lower", "face_mask"])
def test_a_hole_by_geometry(tmp_path, face, model, name, capsys):
    options = ("--mask", name, "--detector", "aligned", "--size", "64", "--fill", "grey")
    run(face, "--model", model, "-o", tmp_path / "out", *options)
    changed = (images.read(tmp_path / "out" / "a.png") != images.read(face)).any(axis=2)
    mouth = Face.aligned(64, 64).landmarks[3:].mean(0).round().astype(int)
    assert changed[mouth[1] - 2 : mouth[1] + 3, mouth[0] - 2 : mouth[0] + 3].mean() > 0.8
    assert not changed[:28].any()
    assert "geometry, from the face's landmarks alone" in capsys.readouterr().out
    assert images.read(tmp_path / "out" / "a_compare.png").shape == (64, 3 * 64 + 8, 3)


def test_a_network_without_a_mask_channel_is_composited_all_the_same(tmp_path, face):
    network_file(tmp_path / "m.safetensors", HOLE_FILLER | {"mask_channel": False})
    run(face, "--mask", tmp_path / "masks", "--whole", "-o", tmp_path / "out", "--model", tmp_path / "m.safetensors")
    mask = lower_half(64, 64)[:, :, 0] > 0
    assert np.array_equal(images.read(tmp_path / "out" / "a.png")[~mask], images.read(face)[~mask])
