"""`restore infer`: what is outside the hole stays byte for byte, what is inside is the network's; nothing is lost."""

import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from restore import cli, images, infer
from restore.apps.holes import DrawnHole
from restore.apps.inpaint import Inpainter, checked, find_jobs, in_frames
from restore.data.drawn import draw_face
from restore.data.occluded_dataset import OccludedImageDataset
from restore.errors import Fault, UserError
from restore.faces.face import LANDMARKS, Face
from restore.keyed import draws
from restore.registry import ARCHS, Part
from restore.weights import weights_bytes
from tests.lab import run_infer as run

NETWORK = {"type": "UNet", "num_feat": 4, "num_level": 2, "norm": "none"}
MINUTE = {"type": "UNet", "num_feat": 2, "num_level": 1, "norm": "none"}


def network_file(path, section):
    torch.manual_seed(0)
    network = ARCHS.build(Part.model_validate(section)).eval()
    path.write_bytes(weights_bytes(network, {"arch": section, "scale": 1}))
    return network


@pytest.fixture
def model(tmp_path):
    network_file(tmp_path / "model.safetensors", NETWORK)
    return tmp_path / "model.safetensors"


@pytest.fixture
def face(tmp_path):
    """A drawn face of 64 px, and a mask of its lower half."""
    images.write(tmp_path / "in" / "a.png", draw_face(0, 1, 64).image)
    images.write(tmp_path / "masks" / "a.png", lower_half(64, 64))
    return tmp_path / "in" / "a.png"


def lower_half(height, width):
    mask = np.zeros((height, width, 3), np.uint8)
    mask[height // 2 :, 8:-8] = 255
    return mask


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
    network = network_file(tmp_path / "m.safetensors", NETWORK)
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
    run(faces, "--model", model, "-o", tmp_path / "out", *options)
    parts = [Part(type="Strokes"), Part(type="Nose", fill="random")]
    dataset, network = OccludedImageDataset(str(faces), parts), network_file(tmp_path / "same", NETWORK)
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
        return torch.full_like(lq, len(asked) / 10)

    result, rebuilt = in_frames(picture, mask, faces, 64, answer)
    assert np.array_equal(rebuilt, mask)
    assert (result[~mask] == 50).all()
    assert [result[45, x, 0] for x in (20, 75, 100, 135, 150)] == [26, 26, 51, 51, 77]
    second, hole = asked[1]
    assert float(second[0, 0, 32, 2]) == pytest.approx(26 / 255, abs=1e-3)
    assert hole[0, 0, 32, 2] == 0
    assert hole[0, 0, 32, 60] == 1


def test_no_face_is_told(tmp_path):
    inpainter = Inpainter([lambda lq, mask: lq], DrawnHole("LowerFace", 0), lambda picture: [], 64)
    with pytest.raises(UserError, match="no face was found; another --detector, or --whole"):
        inpainter("a", np.zeros((50, 50, 3), np.uint8))


def test_a_mask_beside_the_face_is_told(capsys):
    picture, face = np.zeros((100, 100, 3), np.uint8), Face.of_landmarks((LANDMARKS * 40).astype(np.float32))
    mask = np.zeros((100, 100), bool)

    def hole(key, picture, faces):
        return picture, mask

    inpainter = Inpainter([lambda lq, mask: lq + 1], hole, lambda picture: [face], 64)
    mask[60:70, 60:70] = True
    with pytest.raises(UserError, match="nothing of the mask lies in a face's frame"):
        inpainter("a", picture)
    mask[20:30, 20:30] = True
    done = inpainter("a", picture)
    assert "WARNING a: 100 pixels of the mask lie outside the frames" in capsys.readouterr().err
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


def test_lossy_pictures_become_png_unless_told_otherwise(tmp_path, model, capsys):
    images.write(tmp_path / "in" / "a.jpg", draw_face(0, 1, 64).image)
    images.write(tmp_path / "hole.png", lower_half(64, 64))
    common = (tmp_path / "in", "--model", model, "--mask", tmp_path / "hole.png", "--whole")
    run(*common, "-o", tmp_path / "out")
    mask = lower_half(64, 64)[:, :, 0] > 0
    before = images.read(tmp_path / "in" / "a.jpg")
    assert np.array_equal(images.read(tmp_path / "out" / "a.png")[~mask], before[~mask])
    assert "NOT byte for byte" not in capsys.readouterr().out
    run(*common, "-o", tmp_path / "kept", "--format", "keep")
    assert (tmp_path / "kept" / "a.jpg").is_file()
    assert "lossy format kept: the rest is NOT byte for byte that of the input" in capsys.readouterr().out


def test_bad_pictures_are_told_and_the_rest_goes_on(tmp_path, face, model, capsys):
    (tmp_path / "in" / "broken.png").write_bytes(b"no picture")
    for name in ("unmasked", "small", "empty"):
        shutil.copy(face, tmp_path / "in" / f"{name}.png")
    images.write(tmp_path / "masks" / "small.png", lower_half(32, 48))
    images.write(tmp_path / "masks" / "empty.png", np.zeros((64, 64, 3), np.uint8))
    arguments = (tmp_path / "in", "--model", model, "--mask", tmp_path / "masks", "--whole", "-o", tmp_path / "out")
    with pytest.raises(Fault, match=r"^4 of 5 pictures could not be done"):
        run(*arguments)
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("FAILED")]
    assert [line.split("in/")[1].split(":")[0] for line in told] == [
        f"{name}.png" for name in ("broken", "empty", "small", "unmasked")
    ]
    assert "not a picture" in told[0]
    assert "marks nothing; --mask_polarity" in told[1]
    assert "this mask has 48x32 pixels, its picture 64x64" in told[2]
    assert "no mask called `unmasked`" in told[3]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "a_compare.png"]


def test_skips_what_is_done_and_overwrites_nothing(tmp_path, face, model, capsys):
    arguments = (tmp_path / "in", "--model", model, "--mask", tmp_path / "masks", "--whole", "-o", tmp_path / "out")
    run(*arguments)
    done = tmp_path / "out" / "a.png"
    made = done.read_bytes()
    done.write_bytes(b"mine")
    run(*arguments)
    assert done.read_bytes() == b"mine"
    assert "skipped, since they are there: 1 of 1" in capsys.readouterr().out
    run(*arguments, "--overwrite")
    assert done.read_bytes() == made


class TestShards:
    @pytest.fixture
    def several(self, tmp_path, model):
        """The arguments to rebuild seven pictures, in folders, one of them broken."""
        for number in range(6):
            name = f"{number}" if number % 2 else f"sub/{number}"
            images.write(tmp_path / "in" / f"{name}.png", draw_face(0, number, 48).image)
        (tmp_path / "in" / "broken.png").write_bytes(b"no picture")
        images.write(tmp_path / "hole.png", lower_half(48, 48))
        return (tmp_path / "in", "--model", model, "--mask", tmp_path / "hole.png", "--whole", "--device", "cpu")

    def results(self, folder):
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def run(self, *arguments):
        """How many pictures it said could not be done."""
        try:
            run(*arguments)
        except Fault as error:
            return int(str(error).split()[0])
        return 0

    @pytest.mark.parametrize("count", [1, 2, 3, 5, 9])
    def test_all_parts_together_are_the_whole(self, tmp_path, several, count, capsys):
        """Also into a folder below the input, where the results of some parts are there before others look."""
        assert self.run(*several, "-o", tmp_path / "whole") == 1
        below = tmp_path / "in" / "out"
        parts = [self.run(*several, "-o", below, "--shard", f"{n}/{count}") for n in range(count, 0, -1)]
        assert sum(parts) == 1
        whole = self.results(tmp_path / "whole")
        assert len(whole) == 12
        assert self.results(below) == whole
        told = capsys.readouterr().out
        sizes = [int(line.split(": ")[1].split()[0]) for line in told.splitlines() if line.startswith("part ")]
        assert sum(sizes) == (7 if count > 1 else 0)
        self.run(*several, "-o", below, "--shard", f"1/{count}")
        assert "skipped, since they are there" in capsys.readouterr().out

    def test_results_below_the_pattern_are_no_pictures_to_do(self, tmp_path, several):
        pattern, out = tmp_path / "in" / "**" / "*.png", tmp_path / "in" / "out"
        self.run(pattern, *several[1:], "-o", out)
        first = self.results(out)
        self.run(pattern, *several[1:], "-o", out)
        assert self.results(out) == first
        with pytest.raises(UserError, match="-o .*: is the folder of the pictures"):
            run(tmp_path / "in" / "sub" / "*.png", *several[1:], "-o", tmp_path / "in")

    def test_a_comparison_passes_for_nobodys_result(self, tmp_path, several):
        shutil.copy(tmp_path / "in" / "1.png", tmp_path / "in" / "1_compare.png")
        with pytest.raises(
            UserError, match=r"1_compare.png: its result would have the name of the comparison of .*1\.png"
        ):
            run(*several, "-o", tmp_path / "out")
        self.run(*several, "-o", tmp_path / "out", "--no_compare")
        assert (tmp_path / "out" / "1_compare.png").is_file()

    def test_killed_in_the_middle_of_a_picture(self, tmp_path, several):
        (tmp_path / "in" / "broken.png").unlink()
        arguments = (*several, "-o", tmp_path / "out", "--shard", "1/2")

        def killed():
            write_bytes, written = Path.write_bytes, []

            def write(path, data):
                written.append(path)
                write_bytes(path, data if len(written) < 4 else data[: len(data) // 2])
                if len(written) == 4:  # the second picture; its comparison is there
                    os.kill(os.getpid(), signal.SIGKILL)

            Path.write_bytes = write
            run(*arguments)

        process = multiprocessing.get_context("fork").Process(target=killed)
        process.start()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        there = {name for name in self.results(tmp_path / "out") if not name.split("/")[-1].startswith(".")}
        assert there == {"1.png", "1_compare.png", "5_compare.png"}
        run(*arguments)
        run(*arguments[:-1], "2/2")
        for torn in (tmp_path / "out").glob(".*.tmp"):
            torn.unlink()
        run(*several, "-o", tmp_path / "whole")
        assert self.results(tmp_path / "out") == self.results(tmp_path / "whole")


def test_pictures_by_folder_file_and_pattern(tmp_path, face):
    images.write(tmp_path / "in" / "sub" / "b.jpg", draw_face(0, 1, 64).image)
    images.write(tmp_path / "in" / "out" / "a.png", draw_face(0, 1, 64).image)
    out = tmp_path / "in" / "out"

    def keys(*inputs, to=out):
        return [(job.key, job.target.name) for job in find_jobs([str(each) for each in inputs], to, False)]

    assert keys(tmp_path / "in") == [("a", "a.png"), ("sub/b", "b.png")]
    assert keys(face, tmp_path / "in" / "sub") == [("a", "a.png"), ("b", "b.png")]
    assert keys(tmp_path / "in" / "*.png") == [("a", "a.png")]
    assert keys(face, face) == [("a", "a.png")]
    for inputs, to, told in (
        ([tmp_path / "in"], tmp_path / "in", "is the folder of the pictures"),
        ([face], tmp_path / "in", "would be overwritten by its result"),
        ([face, out / "a.png"], tmp_path / "x", "the same name as that of"),
        ([tmp_path / "none"], tmp_path / "x", "no pictures there"),
        ([tmp_path / "in" / "*.tif"], tmp_path / "x", "no pictures there"),
    ):
        with pytest.raises(UserError, match=told):
            keys(*inputs, to=to)


def test_networks_that_cannot_do_it_are_told(tmp_path, face):
    options = (face, "--mask", tmp_path / "masks", "--whole", "-o", tmp_path / "out", "--model")
    plain = tmp_path / "plain.pth"
    torch.save({"params": {"conv_first.weight": torch.zeros(3)}}, plain)
    with pytest.raises(UserError, match="does not say which network it is for; add --network_g"):
        run(*options, plain)
    section = {"type": "MSRResNet", "num_feat": 4, "num_block": 1, "upscale": 2}
    network = ARCHS.build(Part.model_validate(section))
    sr = tmp_path / "sr.safetensors"
    sr.write_bytes(weights_bytes(network, {"arch": section, "scale": 2}))
    with pytest.raises(UserError, match="enlarges 2 times"):
        run(*options, sr)
    enlarging = checked(lambda lq, mask: torch.nn.functional.interpolate(lq, scale_factor=2), "sr")
    with pytest.raises(UserError, match=r"sr: makes \(1, 3, 16, 16\) of \(1, 3, 8, 8\): no network for inpainting"):
        enlarging(torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 8, 8))
    with pytest.raises(UserError, match=r"--mask .*nowhere: no such file or folder, and none of lower, face_mask"):
        run(face, "--mask", tmp_path / "nowhere", "--whole", "-o", tmp_path / "out", "--model", sr)


def test_a_network_without_a_mask_channel_is_composited_all_the_same(tmp_path, face):
    network_file(tmp_path / "m.safetensors", NETWORK | {"mask_channel": False})
    run(face, "--mask", tmp_path / "masks", "--whole", "-o", tmp_path / "out", "--model", tmp_path / "m.safetensors")
    mask = lower_half(64, 64)[:, :, 0] > 0
    assert np.array_equal(images.read(tmp_path / "out" / "a.png")[~mask], images.read(face)[~mask])


def test_the_command_has_it():
    args = cli.build_parser().parse_args(["infer", "a.png", "--model", "m", "--occlude", "LowerFace", "-o", "out"])
    assert args.run is infer.run
