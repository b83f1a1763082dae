"""`restore prepare`: folders and drawn faces to LMDBs, killed half-way and run again."""

import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from restore import images
from restore.apps import picture_lmdb, prepare
from restore.apps.makers import Item
from restore.apps.pool import in_order
from restore.data.drawn import draw_face
from restore.data.encode import encode, square, sub_images
from restore.data.lmdb_store import LmdbReader
from restore.errors import Fault, UserError

ROOT = Path(__file__).parents[2]
MAIN = "import sys; from tests.apps.test_prepare import run; run(*sys.argv[1:])"


def run(*arguments):
    """Calls `restore prepare` with these arguments."""
    parser = argparse.ArgumentParser(prog="restore")
    prepare.add_parser(parser.add_subparsers(required=True))
    args = parser.parse_args(["prepare", *map(str, arguments)])
    args.run(args)


def picture(seed, height=40, width=56):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def records(path):
    reader = LmdbReader(path)
    return {key: images.decode(reader.get(key), key) for key in reader.keys}


@pytest.fixture
def folder(tmp_path):
    """Six pictures: dots, a space, UTF-8, a subfolder."""
    names = ["b.png", "a.png", "x.y.z.png", "sub/a.png", "Größe/面 1.png", "sub/deep er/~.bmp"]
    for seed, name in enumerate(names):
        images.write(tmp_path / "in" / name, picture(seed))
    return tmp_path / "in"


def originals(folder):
    return {p.relative_to(folder).with_suffix("").as_posix(): images.read(p) for p in images.find(folder)}


def equal(found, expected):
    return list(found) == list(expected) and all(np.array_equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize("flags", [(), ("--compact",), ("--workers", "3")])
def test_holds_the_folder(folder, tmp_path, capsys, flags):
    run("lmdb", folder, tmp_path / "x.lmdb", "--verify", *flags)
    assert equal(records(tmp_path / "x.lmdb"), originals(folder))
    magic = b"\x89PNG" if "--compact" in flags else b"BM"
    assert LmdbReader(tmp_path / "x.lmdb").get("x.y.z").startswith(magic)
    told = capsys.readouterr().out
    assert "x.lmdb: 6 records\n" in told
    assert "verified, 6 records equal their source" in told


def test_16_bits_stay(folder, tmp_path, capsys):
    deep = np.random.default_rng(0).integers(0, 65536, (40, 40, 3), dtype=np.uint16)
    images.write(folder / "deep.png", deep)
    run("lmdb", folder, tmp_path / "x.lmdb", "--verify")
    found = records(tmp_path / "x.lmdb")["deep"]
    assert found.dtype == np.uint16
    assert np.array_equal(found, deep)
    assert "7 records, 1 of them 16-bit, kept as PNG" in capsys.readouterr().out


def test_size(folder, tmp_path):
    run("lmdb", folder, tmp_path / "x.lmdb", "--size", "20")
    for key, image in originals(folder).items():
        expected = cv2.resize(image, (28, 20), interpolation=cv2.INTER_AREA)[:, 4:24]
        assert np.array_equal(records(tmp_path / "x.lmdb")[key], expected)


def test_square_averages_areas_and_keeps_the_middle():
    image = picture(0, 64, 32)
    means = image.reshape(32, 2, 16, 2, 3).mean((1, 3))[8:24]
    assert np.abs(square(image, 16, "x") - means).max() <= 0.5 + 1e-6
    assert np.array_equal(square(picture(1, 16, 16), 16, "x"), picture(1, 16, 16))
    with pytest.raises(images.UnreadableImage, match="x: 32x64 is smaller than --size 33"):
        square(image, 33, "x")


@pytest.mark.parametrize(
    ("length", "crop", "step", "thresh", "starts"),
    [(40, 40, 20, 0, [0]), (60, 40, 20, 0, [0, 20]), (65, 40, 20, 0, [0, 20, 25]), (65, 40, 20, 5, [0, 20])],
)
def test_sub_images(length, crop, step, thresh, starts):
    image = picture(0, crop, length)
    cut = sub_images(image, crop, step, thresh, "x")
    assert len(cut) == len(starts)
    assert all(np.array_equal(c, image[:, x : x + crop]) for c, x in zip(cut, starts, strict=True))


def test_crop_names_row_by_row(tmp_path):
    images.write(tmp_path / "in" / "a.b.png", picture(0, 48, 64))
    run("lmdb", tmp_path / "in", tmp_path / "x.lmdb", "--crop", "32", "--step", "16", "--verify")
    found = records(tmp_path / "x.lmdb")
    assert list(found) == [f"a.b_s{n:03d}" for n in range(1, 7)]
    assert np.array_equal(found["a.b_s004"], picture(0, 48, 64)[16:48, :32])


class TestSplit:
    def test_is_exact_and_whole(self, folder, tmp_path):
        run("lmdb", folder, tmp_path / "x.lmdb", "--split", "0.5,0.3,0.2")
        parts = [records(tmp_path / f"x_{name}.lmdb") for name in picture_lmdb.PARTS]
        assert [len(part) for part in parts] == [3, 2, 1]
        assert sorted(key for part in parts for key in part) == sorted(originals(folder))

    def test_hangs_on_keys_and_seed_alone(self):
        items = [Item(f"{n}", n) for n in range(1000)]
        parts = picture_lmdb.split(items, (0.9, 0.05, 0.05), 0)
        assert [len(part) for part in parts] == [900, 50, 50]
        assert picture_lmdb.split(items[::-1], (0.9, 0.05, 0.05), 0) == parts
        assert picture_lmdb.split(items, (0.9, 0.05, 0.05), 1) != parts

    @pytest.mark.parametrize("total", range(30))
    def test_counts_add_up(self, total):
        assert sum(picture_lmdb._shares(total, (0.9, 0.05, 0.05))) == total

    def test_empty_part_is_told(self, folder, tmp_path):
        with pytest.raises(UserError, match="6 pictures are too few for --split, val would be empty"):
            run("lmdb", folder, tmp_path / "x.lmdb", "--split", "0.98,0.01,0.01")

    @pytest.mark.parametrize("text", ["0.9", "a,b", "0.9,0.2", "1.0,0.0", "0.4,0.2,0.2,0.2"])
    def test_bad_shares(self, folder, tmp_path, text, capsys):
        with pytest.raises(SystemExit) as stopped:
            run("lmdb", folder, tmp_path / "x.lmdb", "--split", text)
        assert stopped.value.code == 2
        assert f"`{text}` is not" in capsys.readouterr().err


class TestRefusals:
    def told(self, *arguments):
        with pytest.raises(UserError) as told:
            run("lmdb", *arguments)
        assert "\n" not in str(told.value)
        return str(told.value)

    def test_two_files_of_one_key(self, folder, tmp_path):
        images.write(folder / "sub" / "a.jpg", picture(9))
        told = self.told(folder, tmp_path / "x.lmdb")
        assert "a.png: would have the same key as a.jpg, `sub/a`" in told
        assert [p.name for p in tmp_path.iterdir()] == ["in"]

    def test_no_folder(self, tmp_path):
        assert "no such folder" in self.told(tmp_path / "in", tmp_path / "x.lmdb")

    def test_no_pictures(self, tmp_path):
        assert "no pictures in this folder" in self.told(tmp_path, tmp_path / "x.lmdb")

    def test_name(self, folder, tmp_path):
        assert "ends in `.lmdb`" in self.told(folder, tmp_path / "x")
        assert [p.name for p in tmp_path.iterdir()] == ["in"]

    def test_long_key(self, tmp_path):
        images.write(tmp_path / "in" / ("d" * 200) / ("e" * 200) / ("f" * 200 + ".png"), picture(0))
        assert "has 602 bytes, LMDB takes 511" in self.told(tmp_path / "in", tmp_path / "x.lmdb")

    def test_other_parameters(self, folder, tmp_path):
        run("lmdb", folder, tmp_path / "x.lmdb")
        told = self.told(folder, tmp_path / "x.lmdb", "--size", "16")
        assert "x.lmdb: exists, made with size = None, not 16; choose another name, or --overwrite" in told

    def test_other_pictures(self, folder, tmp_path):
        run("lmdb", folder, tmp_path / "x.lmdb")
        (folder / "a.png").unlink()
        assert "made with pictures = 6 (" in self.told(folder, tmp_path / "x.lmdb")

    def test_what_is_no_lmdb_is_never_replaced(self, folder, tmp_path):
        (tmp_path / "x.lmdb").mkdir()
        (tmp_path / "x.lmdb" / "thesis.txt").write_text("mine")
        assert "exists and is no LMDB" in self.told(folder, tmp_path / "x.lmdb", "--overwrite")
        (tmp_path / "y.lmdb").write_text("a file")
        assert "exists and is no LMDB" in self.told(folder, tmp_path / "y.lmdb", "--overwrite")

    def test_step_without_crop(self, folder, tmp_path):
        assert "give --crop" in self.told(folder, tmp_path / "x.lmdb", "--step", "4")


def test_again_does_nothing(folder, tmp_path, capsys):
    run("lmdb", folder, tmp_path / "x.lmdb")
    before = (tmp_path / "x.lmdb" / "data.mdb").stat().st_mtime_ns
    run("lmdb", folder, tmp_path / "x.lmdb")
    assert "already there, 6 records" in capsys.readouterr().out
    assert (tmp_path / "x.lmdb" / "data.mdb").stat().st_mtime_ns == before


def test_overwrite_replaces(folder, tmp_path):
    run("lmdb", folder, tmp_path / "x.lmdb")
    run("lmdb", folder, tmp_path / "x.lmdb", "--size", "16", "--overwrite")
    assert records(tmp_path / "x.lmdb")["a"].shape == (16, 16, 3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "x.lmdb"]


class TestSetAside:
    def test_by_name(self, folder, tmp_path, capsys):
        whole = (folder / "a.png").read_bytes()
        (folder / "cut.png").write_bytes(whole[:200])
        (folder / "text.jpg").write_text("not a picture")
        (folder / "empty.png").write_bytes(b"")
        images.write(folder / "small.png", picture(0, 10, 10))
        run("lmdb", folder, tmp_path / "x.lmdb", "--size", "16", "--verify")
        assert "6 records; 4 pictures set aside, see" in capsys.readouterr().out
        lines = (tmp_path / "x.lmdb" / "set_aside.txt").read_text().splitlines()
        assert [Path(line.split(":")[0]).name for line in lines] == ["cut.png", "empty.png", "small.png", "text.jpg"]
        assert lines[2].endswith("10x10 is smaller than --size 16; take a smaller --size")

    def test_all_of_them(self, folder, tmp_path):
        with pytest.raises(UserError, match=r"none of 6 pictures can be used; the first: .*smaller than --size 99"):
            run("lmdb", folder, tmp_path / "x.lmdb", "--size", "99")
        assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_verify_finds_a_changed_record(folder, tmp_path):
    run("lmdb", folder, tmp_path / "x.lmdb")
    data = (tmp_path / "x.lmdb" / "data.mdb").read_bytes()
    pixels = encode("a", originals(folder)["a"], compact=False).data[-3000:-2000]
    assert data.count(pixels) == 1
    (tmp_path / "x.lmdb" / "data.mdb").write_bytes(data.replace(pixels, bytes(1000)))
    with pytest.raises(Fault, match=r"x\.lmdb: record `a`: its pixels are not the source's"):
        run("lmdb", folder, tmp_path / "x.lmdb", "--verify")


def test_follows_restore_data(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("RESTORE_DATA", str(tmp_path / "disk"))
    run("lmdb", folder, "datasets/x.lmdb")
    assert len(LmdbReader(tmp_path / "disk" / "x.lmdb")) == 6


def test_drawn(tmp_path, capsys):
    words = ("drawn", tmp_path, "--count", 3, "--val", 2, "--size", 64)
    run(*words)
    train, val = records(tmp_path / "train.lmdb"), records(tmp_path / "val.lmdb")
    assert (len(train), len(val)) == (3, 2)
    assert all(np.array_equal(train[f"{n:06d}"], draw_face(0, n, 64).image) for n in range(3))
    assert all(np.array_equal(val[f"{n:06d}"], draw_face(0, -1 - n, 64).image) for n in range(2))
    run(*words)
    assert capsys.readouterr().out.count("already there") == 2


def test_importing_is_light():
    code = (
        "import sys; import restore.apps.prepare; sys.exit(bool({'torch', 'cv2', 'lmdb', 'rich'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


class TestKilled:
    """A real SIGKILL in the middle of a build by a real process."""

    @pytest.fixture
    def many(self, tmp_path):
        for n in range(400):
            images.write(tmp_path / "in" / f"{n % 7}" / f"{n:03d}.bmp", picture(n, 256, 256))
        return tmp_path / "in"

    def kill_half_way(self, many, output):
        process = subprocess.Popen([sys.executable, "-c", MAIN, "lmdb", str(many), str(output)], cwd=ROOT)
        data = output.with_name(output.name + ".partial") / "data.mdb"
        while process.poll() is None and not (data.exists() and data.stat().st_size > 36 << 20):  # behind one batch
            time.sleep(0.005)
        assert process.poll() is None, "it ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()

    @pytest.mark.slow
    def test_goes_on_to_the_same_result(self, many, tmp_path, capsys):
        self.kill_half_way(many, tmp_path / "killed.lmdb")
        assert not (tmp_path / "killed.lmdb").exists()
        run("lmdb", many, tmp_path / "killed.lmdb")
        told = capsys.readouterr().out
        assert "goes on behind" in told
        assert 0 < int(told.split("goes on behind ")[1].split(" of")[0]) < 400
        run("lmdb", many, tmp_path / "whole.lmdb")
        killed, whole = tmp_path / "killed.lmdb", tmp_path / "whole.lmdb"
        assert (killed / "meta_info.txt").read_bytes() == (whole / "meta_info.txt").read_bytes()
        one, other = LmdbReader(killed), LmdbReader(whole)
        assert all(one.get(key) == other.get(key) for key in other.keys)
        assert equal(records(killed), originals(many))

    @pytest.mark.slow
    def test_half_built_with_other_parameters_is_refused(self, many, tmp_path):
        self.kill_half_way(many, tmp_path / "x.lmdb")
        with pytest.raises(UserError, match=r"x\.lmdb\.partial: exists, made with size = None, not 64"):
            run("lmdb", many, tmp_path / "x.lmdb", "--size", "64")
        run("lmdb", many, tmp_path / "x.lmdb", "--size", "64", "--overwrite")
        assert len(LmdbReader(tmp_path / "x.lmdb")) == 400
        assert not (tmp_path / "x.lmdb.partial").exists()


def test_in_order_is_bounded():
    taken = []

    def items():
        for n in range(100):
            taken.append(n)
            yield n

    results = in_order(abs, items(), workers=1)
    assert next(results) == 0
    assert len(taken) <= 3
    assert list(results) == list(range(1, 100))
