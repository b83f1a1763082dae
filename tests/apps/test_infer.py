"""`restore infer`: which photos are done and where results go; nothing is lost, one that fails stops no other."""

import argparse
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from restore import cli, images, infer
from restore.apps.infer import Work
from restore.apps.infer_plan import Plan
from restore.apps.jobs import Job, find_jobs
from restore.data.drawn import draw_face
from restore.errors import Fault, UserError, run_main
from restore.films.parts import Parts
from restore.inference.holes import NothingHidden
from restore.inference.model import Model
from restore.registry import ARCHS, Part
from restore.weights import weights_bytes
from tests.lab import killed_in_write, lower_half, network_file
from tests.lab import run_infer as run

PLAN = partial(Plan, kind="unmask", network=None, task=None, keep=False, compare=False)


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
    assert "no picture that is read here" in told[0]
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

        killed_in_write(4, *arguments)  # the second picture; its comparison is there
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


def test_one_stem_twice_is_a_clash_only_where_both_become_png(tmp_path):
    for name in ("a.png", "a.jpg", "a.JPEG"):
        images.write(tmp_path / "in" / name.lower(), draw_face(0, 1, 32).image)
    kept = [job.target.name for job in find_jobs([str(tmp_path / "in")], tmp_path / "out", True)]
    assert kept == ["a.jpeg", "a.jpg", "a.png"]
    with pytest.raises(UserError, match="the same name as that of .*; do one by itself, or --format keep"):
        find_jobs([str(tmp_path / "in")], tmp_path / "out", False)


def test_a_folder_that_cannot_be_written_is_told_before_any_work(tmp_path, face, model, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # whoever runs this may write everywhere
    monkeypatch.setattr(Model, "picture", None)
    with pytest.raises(UserError, match="-o .*out: nothing can be written there"):
        run(face, "--model", model, "--mask", "lower", "--detector", "aligned", "-o", tmp_path / "out")


def test_networks_that_cannot_do_it_are_told(tmp_path, face, model, monkeypatch):
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None
    )  # as if there were no spandrel, which asks for long
    options = (face, "--mask", tmp_path / "masks", "--whole", "-o", tmp_path / "out", "--model")
    plain = tmp_path / "plain.pth"
    torch.save({"params": {"conv_first.weight": torch.zeros(3)}}, plain)
    with pytest.raises(UserError, match="does not say which network it is for; name it"):
        run(*options, plain)
    section = {"type": "MSRResNet", "num_feat": 4, "num_block": 1, "upscale": 2}
    network = ARCHS.build(Part.model_validate(section))
    sr = tmp_path / "sr.safetensors"
    sr.write_bytes(weights_bytes(network, {"arch": section, "scale": 2}))
    with pytest.raises(UserError, match="enlarges or cleans photos, which has no use for --mask"):
        run(*options, sr)
    with pytest.raises(UserError, match=r"--mask .*: no such file or folder, and none of auto, lower, face_mask"):
        run(face, "--mask", tmp_path / "nowhere", "--whole", "-o", tmp_path / "out", "--model", model)


def test_the_command_has_it():
    args = cli.build_parser().parse_args(["infer", "a.png", "--model", "m", "--occlude", "LowerFace", "-o", "out"])
    assert args.run is infer.run


class TestEnlarging:
    """Super-resolution by a network that doubles."""

    @pytest.fixture
    def doubling(self, tmp_path):
        section = {"type": "MSRResNet", "num_feat": 4, "num_block": 1, "upscale": 2}
        network_file(tmp_path / "sr.safetensors", section, 2)
        return tmp_path / "sr.safetensors"

    @pytest.fixture
    def photos(self, tmp_path):
        """Names that are patterns, letters of several alphabets, bytes that are no letters; links; one stem twice."""
        folder = tmp_path / "in"
        names = ("a.png", "sub/a.png", "sub/a.jpg", "photo[1].png", "grüße 照片 (2).png", "[x]/b*.png", ".c d.png")
        for number, name in enumerate(names):
            images.write(folder / name, draw_face(0, number, 32).image)
        shutil.copy(folder / "a.png", os.path.join(os.fsencode(folder), b"n\xff\n.png"))
        (folder / "link.png").symlink_to(folder / "sub" / "a.jpg")
        (folder / "round.png").symlink_to(folder / "round.png")
        (folder / "nowhere.png").symlink_to(folder / "missing.png")
        (folder / "elsewhere").symlink_to(folder)
        (folder / "dir.png").mkdir()
        os.mkfifo(folder / "pipe.png")
        (folder / "notes.txt").write_text("no picture")
        return folder

    def results(self, folder):
        return {
            os.fsencode(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
        }

    def test_any_name_and_the_same_again(self, tmp_path, doubling, photos):
        run(photos, "--model", doubling, "-o", tmp_path / "out")
        made = self.results(tmp_path / "out")
        wanted = {os.fsencode(p.relative_to(photos)) for p in photos.rglob("*") if p.is_file() and p.suffix != ".txt"}
        assert len(wanted) == 9
        assert set(made) == wanted
        for name in wanted:
            path = tmp_path / "out" / os.fsdecode(name)
            data = path.read_bytes()
            assert images.decode(data, "").shape == (64, 64, 3)
        run(photos, "--model", doubling, "-o", tmp_path / "again", "--seed", 0)
        assert self.results(tmp_path / "again") == made

    @pytest.mark.parametrize("name", ["photo[1].png", "[x]", "[x]/b*.png", "grüße 照片 (2).png", "p*o[[]1].png"])
    def test_a_name_is_taken_as_it_is_before_it_is_a_pattern(self, tmp_path, photos, name):
        (job,) = find_jobs([str(photos / name)], tmp_path / "out", True)
        assert job.source.is_file()

    def test_bytes_that_no_terminal_shows_are_told_all_the_same(self, tmp_path, doubling, photos, monkeypatch):
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
        run(photos, "--model", doubling, "-o", tmp_path / "out", "--dry-run")
        sys.stdout.flush()
        told = sys.stdout.buffer.getvalue()
        assert rb"n\udcff" in told
        assert b"9 to do, 0 skipped" in told

    def test_format_depth_and_metadata_are_kept(self, tmp_path, doubling, capsys):
        exif = Pillow.Exif()
        exif[0x0112], exif[0x010F] = 6, "Maker"
        picture = draw_face(0, 1, 48).image[:40]
        (tmp_path / "in").mkdir()
        Pillow.fromarray(picture).save(tmp_path / "in" / "a.jpg", exif=exif)
        images.write(tmp_path / "in" / "deep.png", picture.astype(np.uint16) * 257)
        run(tmp_path / "in", "--model", doubling, "-o", tmp_path / "out", "--outscale", "2.5", "--compare")
        assert "a.jpg: 40x48 to 100x120" in capsys.readouterr().out
        with Pillow.open(tmp_path / "out" / "a.jpg") as made:
            assert made.size == (100, 120)  # upright
            assert (made.getexif()[0x0112], made.getexif()[0x010F]) == (1, "Maker")
        assert b"DigitalSourceType" not in (tmp_path / "out" / "a.jpg").read_bytes()
        assert images.read(tmp_path / "out" / "deep.png").dtype == np.uint16
        assert images.read(tmp_path / "out" / "a_compare.png").shape == (120, 2 * 100 + 4, 3)
        run(tmp_path / "in", "--model", doubling, "-o", tmp_path / "png", "--format", "lossless", "--mark")
        data = (tmp_path / "png" / "a.png").read_bytes()
        assert b"compositeWithTrainedAlgorithmicMedia" in data
        assert hashlib.sha256(doubling.read_bytes()).hexdigest().encode() in data

    def test_a_result_is_resampled_to_the_size_asked_for(self, tmp_path, doubling):
        images.write(tmp_path / "a.png", draw_face(0, 1, 48).image[:33, :21])
        for scale in ("0.5", "1", "1.7", "2", "3.3"):
            run(tmp_path / "a.png", "--model", doubling, "-o", tmp_path / scale, "--outscale", scale)
            wanted = tuple(round(side * float(scale)) for side in (33, 21))
            assert images.read(tmp_path / scale / "a.png").shape[:2] == wanted

    def test_tiles_change_nothing(self, tmp_path, doubling):
        images.write(tmp_path / "a.png", draw_face(0, 1, 150).image)
        for tile in ("0", "96"):
            run(tmp_path / "a.png", "--model", doubling, "-o", tmp_path / tile, "--tile", tile)
        whole, tiled = (images.read(tmp_path / tile / "a.png").astype(int) for tile in ("0", "96"))
        assert np.abs(whole - tiled).max() <= 1

    def test_a_face_in_its_frame(self, tmp_path, capsys):
        section = {"type": "MSRResNet", "num_feat": 4, "num_block": 1, "upscale": 1}
        facts = {"arch": section, "scale": 1, "task": {"type": "Restoration"}, "size": 32, "faces": True}
        network = network_file(tmp_path / "x1.safetensors", section)
        torch.nn.init.constant_(network.conv_last.bias, 0.2)
        (tmp_path / "x1.safetensors").write_bytes(weights_bytes(network, facts))
        rng = np.random.default_rng(0)
        picture = rng.integers(40, 180, (64, 96, 3), np.uint8)
        images.write(tmp_path / "a.png", picture)
        options = ("--model", tmp_path / "x1.safetensors")
        run(
            tmp_path / "a.png",
            *options,
            "--background",
            "none",
            "--no_match",
            "--detector",
            "aligned",
            "-o",
            tmp_path / "out",
        )
        made = images.read(tmp_path / "out" / "a.png")
        changed = (made != picture).any(axis=2)
        raised = made[20:44, 36:60].astype(int) - picture[20:44, 36:60]
        assert raised.min() >= 0
        assert np.median(raised) == pytest.approx(51, abs=2)
        assert not changed[:, 80:].any()
        assert "1 face" in capsys.readouterr().out
        run(tmp_path / "a.png", *options, "-o", tmp_path / "whole", "--whole")
        assert (images.read(tmp_path / "whole" / "a.png") != picture).any(axis=2)[:, 80:].any()

    def test_a_dry_run_opens_no_network_and_writes_nothing(self, tmp_path, doubling, photos, monkeypatch, capsys):
        images.write(tmp_path / "out" / "a.png", draw_face(0, 1, 48).image)
        before = self.results(tmp_path)
        monkeypatch.setattr("restore.apps.infer.load_model", None)
        run(photos, "--model", doubling, "-o", tmp_path / "out", "--dry_run")
        told = capsys.readouterr().out.splitlines()
        assert told[0] == f"model {doubling} (sr)"
        assert f"skip {photos / 'a.png'}: {tmp_path / 'out' / 'a.png'} is there" in told
        assert f"{photos / 'sub' / 'a.jpg'} -> {tmp_path / 'out' / 'sub' / 'a.jpg'}" in told
        assert told[-1] == "8 to do, 1 skipped; nothing was done: --dry_run"
        assert self.results(tmp_path) == before
        run(photos, "--model", doubling, "-o", tmp_path / "out", "--dry-run", "--overwrite")
        assert f"{tmp_path / 'out' / 'a.png'} (replaces what is there)" in capsys.readouterr().out
        run(photos, "--model", doubling, "-o", tmp_path / "out", "--overwrite", "--dry-run", "--shard", "2/3")
        assert "part 2-of-3: 3 of 9 pictures" in capsys.readouterr().out

    def test_killed_in_the_middle_of_a_folder(self, tmp_path, doubling, photos):
        """Then the same command: what was done is not done again, and all is as if nothing had been."""
        arguments = (photos, "--model", doubling, "-o", tmp_path / "out", "--device", "cpu")

        killed_in_write(5, *arguments)
        torn = list((tmp_path / "out").rglob(".*.tmp"))
        assert len(torn) == 1
        torn[0].unlink()
        there = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()}
        assert len(there) == 4
        run(*arguments)
        assert {path: path.stat().st_mtime_ns for path in there} == there
        run(photos, "--model", doubling, "-o", tmp_path / "whole", "--device", "cpu")
        assert self.results(tmp_path / "out") == self.results(tmp_path / "whole")

    def test_bad_files_and_a_lack_of_memory_stop_no_other(self, tmp_path, doubling, monkeypatch, capsys):
        for name in ("a", "huge", "z"):
            images.write(tmp_path / "in" / f"{name}.png", draw_face(0, 1, 34 if name == "huge" else 32).image)
        (tmp_path / "in" / "empty.jpg").touch()
        (tmp_path / "in" / "text.png").write_text("hello")
        picture = Model.picture

        def short_of_memory(model, pixels, *rest, **named):
            if len(pixels) == 34:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return picture(model, pixels, *rest, **named)

        monkeypatch.setattr(Model, "picture", short_of_memory)
        command = (tmp_path / "in", "--model", doubling, "-o", tmp_path / "out")
        with pytest.raises(SystemExit) as left:
            run_main(lambda: run(*command))
        assert left.value.code == 1
        told = capsys.readouterr().err.splitlines()
        assert len(told) == 4
        assert re.search(r"^FAILED .*empty\.jpg: empty file", told[0])
        assert re.search(r"^FAILED .*huge\.png: out of memory; a smaller --tile", told[1])
        assert re.search(r"^FAILED .*text\.png: no picture", told[2])
        assert told[3] == "error: 3 of 5 pictures could not be done; see above"
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "z.png"]

    def test_a_bug_is_no_bad_photo(self, tmp_path, doubling, face, monkeypatch):
        monkeypatch.setattr(Model, "picture", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(face, "--model", doubling, "-o", tmp_path / "out")

    def test_a_film(self, tmp_path, doubling, capsys):
        av = pytest.importorskip("av", reason="no PyAV: pip install 'restore-faces[video]'")
        with av.open(str(tmp_path / "film.mp4"), "w") as film:
            stream = film.add_stream("libx264", rate=5)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for number in range(4):
                frame = av.VideoFrame.from_ndarray(draw_face(0, number, 64).image[:48], format="rgb24")
                film.mux(stream.encode(frame))
            film.mux(stream.encode())
        run(tmp_path / "film.mp4", "--model", doubling, "-o", tmp_path / "out")
        told = capsys.readouterr()
        assert "film.mp4: 4 frames, 0.8 s, libx264 crf 17, yuv420p, BT.601, limited range" in told.out
        assert "libx264" not in told.err
        with av.open(str(tmp_path / "out" / "film.mp4")) as film:
            assert [(frame.width, frame.height) for frame in film.decode(video=0)] == [(128, 96)] * 4
        assert not (tmp_path / "out" / "film.mp4.parts").exists()
        Parts(tmp_path / "out" / "film.mp4.parts", {})  # as a kill after joining leaves it
        os.utime(tmp_path / "out" / "film.mp4")
        run(tmp_path / "film.mp4", "--model", doubling, "-o", tmp_path / "out")
        assert "skipped, since they are there: 1 of 1" in capsys.readouterr().out
        assert not (tmp_path / "out" / "film.mp4.parts").exists()

    def test_a_film_in_which_a_frame_shows_nothing_to_rebuild(self, tmp_path, model):
        av = pytest.importorskip("av", reason="no PyAV: pip install 'restore-faces[video]'")
        with av.open(str(tmp_path / "film.mkv"), "w") as film:
            stream = film.add_stream("ffv1", rate=5)
            stream.width, stream.height, stream.pix_fmt = 64, 64, "bgr0"
            for level in (40, 200):
                picture = np.full((64, 64, 3), level, np.uint8)
                film.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            film.mux(stream.encode())
        plan = argparse.ArgumentParser()
        infer.add_arguments(plan)
        options = ("--model", model, "--mask", "lower", "--detector", "aligned", "--size", 64, "-o", tmp_path / "out")
        options += ("--blend", "feather", "--no_match")
        work = Work.of(plan.parse_args([*map(str, (tmp_path / "film.mkv", *options))]), PLAN(str(model)), tell=False)
        hole = work.restorer.hole

        class Sometimes:
            needs_faces = True

            def __call__(self, key, picture, faces):
                if picture[0, 0, 0] > 100:
                    raise NothingHidden("nothing")
                return hole(key, picture, faces)

        work.restorer.hole = Sometimes()
        work.do(Job("film", tmp_path / "film.mkv", tmp_path / "out" / "film.mkv"))
        with av.open(str(tmp_path / "out" / "film.mkv")) as film:
            first, second = (frame.to_ndarray(format="rgb24") for frame in film.decode(video=0))
        assert (second == 200).all()
        assert (first[:20] == 40).all()
        assert (first[40:60, 16:48] != 40).any()

    def test_what_does_not_go_together(self, tmp_path, doubling, model, face, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        masked = ("--mask", "lower", "--detector", "aligned")
        (tmp_path / "file").touch()
        for options, told in (
            ((), "which model\\? --model NAME or FILE, or --task sr or unmask"),
            (("--task", "{num_steps: 3}"), "which model"),
            (("--task", "sharpen", "--model", doubling), "--task sharpen: is none of sr, unmask, nor written as"),
            (("--task", "unmask", "--model", doubling), "is a model for --task sr, not unmask"),
            (("--task", "sr", "--model", model, *masked), "is a model for --task unmask, not sr"),
            (("--model", model), "rebuilds what is hidden; say what: --mask auto"),
            (("--model", model, *masked, "--outscale", 2), "which has no use for --outscale"),
            (("--model", doubling, *masked, "--candidates", 2), "which has no use for --mask and --candidates"),
            (("--model", model, *masked, "--whole", "--size", 64), "--size is that of a face's frame"),
            (("--model", doubling, "--background", "bicubic", "--no_match"), "--background and --no_match: of no use"),
            (("--model", doubling, "--whole", "--blend", "poisson"), "--blend: of no use where the model is shown"),
            (("--model", doubling, "--fill", "black"), "which has no use for --fill"),
            (("--model", doubling, "--faces", "second"), "`second` is none of"),
            (("--model", doubling, "--faces", "all", "--detector", "[{type: aligned}, {type: yunet}]"), "names 2; one"),
            (("--model", doubling, "-o", tmp_path / "file" / "out"), "-o .*: Not a directory; choose another"),
            (("--model", doubling, "--network_g", "[1]"), "--network_g \\[1\\]"),
            (("--model", "foto_x4"), "no model of that name"),
        ):
            with pytest.raises(SystemExit) as left:
                run_main(lambda options=options: run(face, *options))
            assert left.value.code == 2
            said = capsys.readouterr().err
            assert re.search(told, said), said
            assert len(said.splitlines()) == 1
        assert not (tmp_path / "results").exists()


def test_the_command_starts_light():
    code = (
        "import sys; from restore import cli; cli.build_parser(); print({'torch', 'cv2', 'pydantic'} & {*sys.modules})"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


@pytest.mark.parametrize("wrong", ["--outscale 0", "--outscale -1", "--tile -3", "--fidelity 1.2", "--seed x"])
def test_numbers_out_of_range_are_told(wrong, capsys):
    with pytest.raises(SystemExit) as left:
        cli.build_parser().parse_args(["infer", "a.png", *wrong.split()])
    assert left.value.code == 2
    assert f"argument {wrong.split()[0]}" in capsys.readouterr().err
