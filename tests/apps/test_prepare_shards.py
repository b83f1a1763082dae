"""`restore prepare ... --shard` and `--merge`: parts make what one process makes, byte for byte, also when killed."""

import fcntl
import functools
import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from restore import images
from restore.apps.makers import PictureMaker
from restore.data.drawn import draw_face
from restore.data.landmarks import write_landmarks
from restore.data.lmdb_store import LmdbReader, LmdbWriter
from restore.errors import UserError
from tests.apps.test_prepare import picture, run

COUNTS = (1, 2, 3, 5)
FORK = multiprocessing.get_context("fork")
PIPELINE = "[{type: Blur}, {type: GaussianNoise}, {type: ResizeToTarget}]"


@pytest.fixture
def folder(tmp_path):
    """Eleven pictures of several sizes, UTF-8, a folder below, and one that is none."""
    names = [
        "b.png",
        "a.png",
        "x.y.z.png",
        "sub/a.png",
        "Größe/面 1.png",
        "sub/deep er/~.bmp",
        *(f"c/{n}.png" for n in range(5)),
    ]
    for seed, name in enumerate(names):
        images.write(tmp_path / "in" / name, picture(seed, 40 + 8 * (seed % 3), 56))
    (tmp_path / "in" / "broken.png").write_bytes(b"no picture")
    return tmp_path / "in"


@functools.cache
def drawn(number):
    return draw_face(0, number, 72)


@pytest.fixture
def faces(tmp_path):
    """Eleven faces, what is known of where their landmarks are, one picture without a face and one that is none."""
    points = {"blank": None, "broken": None}
    for number in range(11):
        face = drawn(number)
        key = f"sub/{number}" if number % 3 else f"{number}"
        images.write(tmp_path / "gt" / f"{key}.png", face.image)
        points[key] = face.landmarks - np.float32(0.5)
    images.write(tmp_path / "gt" / "blank.png", np.zeros((72, 72, 3), np.uint8))
    (tmp_path / "gt" / "broken.png").write_bytes(b"no picture")
    write_landmarks(tmp_path / "points.json", points)
    return tmp_path / "gt"


def content(root):
    """All that stands below a folder, by name: files as they are, LMDBs as their records, in order, and their files."""
    found = {}
    for path in sorted([root] if root.is_file() else root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.name == "data.mdb":
            reader = LmdbReader(path.parent)
            found[name] = [(key, reader.get(key)) for key in reader.keys]
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def in_parts(count, *arguments, order=1):
    """Runs a verb once for each part, and once to merge them."""
    for index in range(1, count + 1)[::order]:
        run(*arguments, "--shard", f"{index}/{count}")
    run(*arguments, "--merge")


# ------------------------------------------------------------------------------------------------------------ LMDBs


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("flags", [("--verify",), ("--crop", "32", "--step", "8"), ("--size", "20", "--compact")])
def test_lmdb(folder, tmp_path, count, flags):
    run("lmdb", folder, tmp_path / "whole.lmdb", *flags)
    in_parts(count, "lmdb", folder, tmp_path / "x.lmdb", *flags, order=-1)
    whole = content(tmp_path / "whole.lmdb")
    assert content(tmp_path / "x.lmdb") == whole
    assert {*whole} == {"data.mdb", "meta_info.txt", "prepare.json", "set_aside.txt"}
    assert len(whole["data.mdb"]) == (11 if "--crop" not in flags else 4 * (4 * 2 + 4 * 3 + 3 * 4))  # of four columns
    parts = [tmp_path / f"x_{n}-of-{count}.lmdb" for n in range(1, count + 1)] if count > 1 else []
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        ["in", "whole.lmdb", "x.lmdb", *(p.name for p in parts)]
    )
    assert sum(len(LmdbReader(path)) for path in parts) in (0, len(whole["data.mdb"]))


@pytest.mark.parametrize("count", [2, 5])
def test_each_part_of_a_split_is_divided(folder, tmp_path, count):
    split = ("--split", "0.5,0.3,0.2", "--seed", "4")
    (folder / "broken.png").unlink()
    run("lmdb", folder, tmp_path / "whole.lmdb", *split)
    in_parts(count, "lmdb", folder, tmp_path / "x.lmdb", *split)
    for name, total in (("train", 6), ("val", 3), ("test", 2)):
        whole = content(tmp_path / f"whole_{name}.lmdb")
        assert len(whole["data.mdb"]) == total
        assert content(tmp_path / f"x_{name}.lmdb") == whole
        assert len(list(tmp_path.glob(f"x_{name}_*-of-{count}.lmdb"))) == min(count, total)


@pytest.mark.parametrize("count", COUNTS)
def test_drawn(tmp_path, count, capsys):
    words = ("--count", 7, "--val", 2, "--size", 32)
    run("drawn", tmp_path / "whole", *words)
    in_parts(count, "drawn", tmp_path / "parts", *words)
    for name in ("train.lmdb", "val.lmdb"):
        assert content(tmp_path / "parts" / name) == content(tmp_path / "whole" / name)
    assert ("part 3-of-5 is not needed, 2 pictures fill fewer parts" in capsys.readouterr().out) == (count == 5)


@pytest.mark.parametrize("count", COUNTS)
def test_faces(faces, tmp_path, count):
    words = ("--landmarks", tmp_path / "points.json", "--size", 48)
    run("faces", faces, tmp_path / "whole.lmdb", *words)
    in_parts(count, "faces", faces, tmp_path / "x.lmdb", *words)
    assert len(content(tmp_path / "whole.lmdb")["data.mdb"]) == 11
    assert content(tmp_path / "x.lmdb") == content(tmp_path / "whole.lmdb")


# ---------------------------------------------------------------------------------------- sets with a manifest, JSON


@pytest.mark.parametrize("count", COUNTS)
def test_degrade(faces, tmp_path, count):
    for name in ("blank", "broken"):
        (faces / f"{name}.png").unlink()
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    for files in ("", ".lmdb"):
        how = ("--degradation", PIPELINE, "--gt")
        run("degrade", faces, tmp_path / "whole" / f"lq{files}", *how, tmp_path / "whole" / f"gt{files}")
        parts = tmp_path / "parts"
        in_parts(count, "degrade", faces, parts / f"lq{files}", *how, parts / f"gt{files}")
        for name in (f"lq{files}", f"gt{files}"):
            whole = content(tmp_path / "whole" / name)
            assert len(json.loads(whole["manifest.json"])["pictures"]) == 11
            assert content(tmp_path / "parts" / name) == whole


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("files", [(), ("--lmdb",)])
@pytest.mark.parametrize("where", [(), ("--landmarks",), ("--landmarks", "--size")])
def test_occlude(faces, tmp_path, monkeypatch, count, files, where):
    more = (*(("--landmarks", tmp_path / "points.json") if where else ()), *(("--size", 48) if len(where) > 1 else ()))
    words = ("occlude", faces, "set", "--occlusion", "[{type: LowerFace}, {type: Strokes}]", *files, *more)
    for name in ("whole", "parts"):  # each with the same path, which LMDBs remember
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        run(*words) if name == "whole" else in_parts(count, *words, order=-1)
    for part in list((tmp_path / "parts" / "set").glob("*_*-of-*.lmdb")):
        shutil.rmtree(part)
    whole = content(tmp_path / "whole" / "set")
    told = json.loads(whole["manifest.json"])
    assert list(told["set_aside"]) == (["blank", "broken"] if where else ["broken"])
    assert len(told["pictures"]) == (11 if where else 12)
    assert content(tmp_path / "parts" / "set") == whole


@pytest.mark.parametrize("count", COUNTS)
def test_masks(faces, tmp_path, count):
    for number, path in enumerate(images.find(faces)):
        if path.stem not in ("blank", "broken", "4"):
            pasted = images.read(path).copy()
            pasted[20 + number : 50, 20:40] = 255 - pasted[20 + number : 50, 20:40] // 2
            images.write(tmp_path / "with" / path.relative_to(faces), pasted)
    images.write(tmp_path / "with" / "alone.png", picture(0))
    images.write(tmp_path / "with" / "blank.png", np.zeros((72, 72, 3), np.uint8))
    words = ("masks", tmp_path / "with", faces)
    run(*words, tmp_path / "whole")
    in_parts(count, *words, tmp_path / "parts")
    assert list(json.loads((tmp_path / "whole" / "manifest.json").read_text())["set_aside"]) == ["blank", "alone"]
    assert content(tmp_path / "parts") == content(tmp_path / "whole")


@pytest.mark.parametrize("count", COUNTS)
def test_landmarks(faces, tmp_path, count, capsys):
    """`aligned` finds a face in all but the broken one, at the place that the size tells: sizes differ here."""
    images.write(faces / "large.png", picture(0, 90, 91))
    words = ("landmarks", faces, "--detector", "aligned")
    run(*words, "-o", tmp_path / "whole.json")
    in_parts(count, *words, "-o", tmp_path / "x.json", order=-1)
    assert (tmp_path / "x.json").read_bytes() == (tmp_path / "whole.json").read_bytes()
    assert json.loads((tmp_path / "x.json").read_text())["broken"] is None
    assert "x.json: 13 faces\n" in capsys.readouterr().out


# --------------------------------------------------------------------------------------------- again, killed, refused


def test_again_does_nothing(folder, faces, tmp_path, capsys):
    for words, output in (
        (("lmdb", folder, tmp_path / "x.lmdb"), "x.lmdb"),
        (("degrade", tmp_path / "x.lmdb", tmp_path / "lq", "--degradation", "[{type: ResizeToTarget}]"), "lq"),
        (("occlude", faces, tmp_path / "set", "--occlusion", "LowerFace"), "set"),
        (("landmarks", faces, "--detector", "aligned", "-o", tmp_path / "x.json"), "x.json"),
    ):
        run(*words, "--shard", "1/2")
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        capsys.readouterr()
        run(*words, "--shard", "1/2")
        assert "already there" in capsys.readouterr().out
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
        run(*words, "--shard", "2/2")
        run(*words, "--merge")
        whole = content(tmp_path / output)
        for flag in (("--shard", "2/2"), ("--merge",)):
            run(*words, *flag)
        assert content(tmp_path / output) == whole


def test_a_task_that_comes_late_sees_the_whole(folder, tmp_path, capsys):
    in_parts(2, "lmdb", folder, tmp_path / "x.lmdb")
    for part in tmp_path.glob("x_*"):
        shutil.rmtree(part)
    run("lmdb", folder, tmp_path / "x.lmdb", "--shard", "2/2")
    assert "x.lmdb: already there as a whole; nothing to do for part 2-of-2" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "x.lmdb"]


class TestRefusals:
    def told(self, *arguments):
        with pytest.raises(UserError) as told:
            run(*arguments)
        assert "\n" not in str(told.value)
        return str(told.value)

    def test_a_part_is_missing(self, folder, tmp_path):
        words = ("lmdb", folder, tmp_path / "x.lmdb")
        assert "no parts of it are there" in self.told(*words, "--merge")
        run(*words, "--shard", "2/3")
        assert "x.lmdb: 2 of its 3 parts are not there or not whole; --shard 1/3, 3/3" in self.told(*words, "--merge")
        run(*words, "--shard", "1/2")
        assert "parts of several jobs" in self.told(*words, "--merge")
        assert not (tmp_path / "x.lmdb").exists()

    def test_a_part_of_a_folder_is_missing_or_not_whole(self, faces, tmp_path):
        words = ("occlude", faces, tmp_path / "set", "--occlusion", "LowerFace")
        run(*words, "--shard", "2/2")
        assert "manifest.json: 1 of its 2 parts are not there or not whole; --shard 1/2" in self.told(*words, "--merge")
        run(*words, "--shard", "1/2")
        path = tmp_path / "set" / "manifest_1-of-2.json"
        part = json.loads(path.read_text())
        path.write_text(json.dumps({key: value for key, value in part.items() if key != "pictures"}))
        assert "that part is not whole; run it again: --shard 1/2" in self.told(*words, "--merge")

    def test_other_parameters(self, folder, tmp_path):
        words = ("lmdb", folder, tmp_path / "x.lmdb")
        run(*words, "--shard", "1/2")
        run(*words, "--shard", "2/2", "--size", "16")
        told = self.told(*words, "--merge")
        assert "x_2-of-2.lmdb: is no part of what is asked for, made with size = 16, not None; remove it" in told
        assert "exists, made with size = None, not 16" in self.told(*words, "--shard", "1/2", "--size", "16")

    def test_other_pictures(self, folder, faces, tmp_path):
        words = ("lmdb", folder, tmp_path / "x.lmdb")
        run(*words, "--shard", "1/2")
        (folder / "broken.png").unlink()
        run(*words, "--shard", "2/2")
        assert "x_1-of-2.lmdb: is no part of what is asked for, made with pictures = 12 (" in self.told(
            *words, "--merge"
        )
        for verb in (
            ("occlude", faces, tmp_path / "set", "--occlusion", "LowerFace"),
            ("landmarks", faces, "--detector", "aligned", "-o", tmp_path / "x.json"),
        ):
            run(*verb, "--shard", "1/2")
            run(*verb, "--shard", "2/2")
            (faces / "0.png").rename(faces / "00.png")
            assert "is of other pictures" in self.told(*verb, "--merge")
            (faces / "00.png").rename(faces / "0.png")

    def test_other_options_of_a_set(self, faces, tmp_path):
        words = ("occlude", faces, tmp_path / "set", "--occlusion", "LowerFace")
        run(*words, "--shard", "1/2")
        assert "made with other parameters or versions" in self.told(*words, "--shard", "2/2", "--seed", "1")
        run("landmarks", faces, "--detector", "aligned", "-o", tmp_path / "x.json", "--shard", "1/1")
        (tmp_path / "x_1-of-2.json").write_text('{"about": {}, "landmarks": {}}')
        (tmp_path / "x_2-of-2.json").write_text("torn")
        told = self.told("landmarks", faces, "--detector", "aligned", "-o", tmp_path / "x.json", "--merge")
        assert "x_1-of-2.json: is of other pictures or another detector" in told

    def test_records_that_are_not_the_parts(self, folder, tmp_path):
        words = ("lmdb", folder, tmp_path / "x.lmdb")
        run(*words, "--shard", "1/2")
        run(*words, "--shard", "2/2")
        meta = tmp_path / "x_2-of-2.lmdb" / "meta_info.txt"
        own, other = meta.read_bytes(), (tmp_path / "x_1-of-2.lmdb" / "meta_info.txt").read_bytes()
        for text in (other, own + own.split(b"\n")[0] + b"\n"):
            meta.write_bytes(text)
            assert "x_2-of-2.lmdb: its records are not those of this part's pictures" in self.told(*words, "--merge")
        meta.write_bytes(own)
        for path in tmp_path.glob("x_*/set_aside.txt"):
            path.unlink()
        assert "its records are not those of this part's pictures" in self.told(*words, "--merge")

    def test_a_part_of_other_pictures_is_not_the_one_asked_for(self, faces, tmp_path):
        (faces / "broken.png").unlink()
        words = ("degrade", faces, tmp_path / "x.lmdb", "--degradation", "bicubic", "--shard", "1/2")
        run(*words)
        (faces / "0.png").rename(faces / "00.png")
        assert "x_1-of-2.lmdb: exists, made with keys = " in self.told(*words)

    def test_overwriting_in_parts(self, folder, tmp_path, capsys):
        for flag in (("--shard", "1/2"), ("--merge",)):
            with pytest.raises(SystemExit):
                run("lmdb", folder, tmp_path / "x.lmdb", "--overwrite", *flag)
            assert "not allowed with argument" in capsys.readouterr().err


def test_a_second_task_with_the_same_part_is_told(folder, tmp_path):
    partial = tmp_path / "x_1-of-2.lmdb.partial"
    partial.mkdir()
    with open(partial / ".writing", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=r"x_1-of-2\.lmdb\.partial: another process is building this"):
            run("lmdb", folder, tmp_path / "x.lmdb", "--shard", "1/2")
        assert [path.name for path in partial.iterdir()] == [".writing"]
    run("lmdb", folder, tmp_path / "x.lmdb", "--shard", "1/2")
    assert not (tmp_path / "x_1-of-2.lmdb" / ".writing").exists()


def test_two_processes_do_not_spoil_one_part(folder, tmp_path):
    """The first is stopped in the middle of building; the second gives up and the first ends well."""
    words = ("lmdb", folder, tmp_path / "x.lmdb", "--shard", "1/2", "--workers", "1")
    began, go_on = FORK.Event(), FORK.Event()

    def waiting():
        records = PictureMaker.records
        PictureMaker.records = lambda maker, item: (began.set(), go_on.wait(60), records(maker, item))[2]
        run(*words)

    first = FORK.Process(target=waiting)
    first.start()
    assert began.wait(60)
    with pytest.raises(UserError, match="another process is building this"):
        run(*words)
    go_on.set()
    first.join(60)
    assert first.exitcode == 0
    run(*words[:-4], "--shard", "2/2")
    run(*words[:-4], "--merge")
    run("lmdb", folder, tmp_path / "whole.lmdb")
    assert content(tmp_path / "x.lmdb") == content(tmp_path / "whole.lmdb")


def killed(prepare, *words):
    """Runs `restore prepare` in a process in which `prepare` was called first, and which is to kill itself."""

    def work():
        prepare()
        run(*words)

    process = FORK.Process(target=work)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def at_the_third_record():
    put_all = LmdbWriter.put_all

    def put_and_commit(self, records):
        if len(self) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        put_all(self, records)
        self.commit()

    LmdbWriter.put_all = put_and_commit


def in_the_third_picture():
    write_bytes, written = Path.write_bytes, []

    def write(path, data):
        if ".png" in path.name:
            written.append(path)
        write_bytes(path, data if len(written) < 3 else data[: len(data) // 2])
        if len(written) == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    Path.write_bytes = write


def test_killed_parts_and_a_killed_merge_go_on(folder, tmp_path, capsys):
    run("lmdb", folder, tmp_path / "whole.lmdb")
    words = ("lmdb", folder, tmp_path / "x.lmdb")
    for part in ("1/2", "2/2"):
        killed(at_the_third_record, *words, "--shard", part)
        with pytest.raises(UserError, match="no parts of it are there" if part == "1/2" else "not there or not whole"):
            run(*words, "--merge")
        run(*words, "--shard", part)
        assert "goes on behind 2 of 6" in capsys.readouterr().out
    killed(at_the_third_record, *words, "--merge")
    assert not (tmp_path / "x.lmdb").exists()
    run(*words, "--merge")
    assert "goes on behind 2 of 12" in capsys.readouterr().out
    assert content(tmp_path / "x.lmdb") == content(tmp_path / "whole.lmdb")


@pytest.mark.parametrize("verb", [("occlude", "--occlusion", "Strokes"), ("degrade", "--degradation", "bicubic")])
def test_killed_in_the_middle_of_a_picture(faces, tmp_path, verb):
    (faces / "broken.png").unlink()
    words = (verb[0], faces, tmp_path / "set", *verb[1:])
    killed(in_the_third_picture, *words, "--workers", "1", "--shard", "1/2")
    files = [path for path in (tmp_path / "set").rglob("*.png") if not path.name.startswith(".")]
    assert len(files) == 2
    assert all(images.read(path).size for path in files)
    in_parts(2, *words)
    for torn in (tmp_path / "set").rglob(".*.tmp"):
        torn.unlink()
    run(verb[0], faces, tmp_path / "whole", *verb[1:])
    assert content(tmp_path / "set") == content(tmp_path / "whole")


def test_a_merge_reads_what_the_parts_hold_not_the_pictures(folder, tmp_path, monkeypatch):
    for part in ("1/2", "2/2"):
        run("lmdb", folder, tmp_path / "x.lmdb", "--shard", part)
    run("lmdb", folder, tmp_path / "whole.lmdb")
    monkeypatch.setattr(PictureMaker, "records", None)
    run("lmdb", folder, tmp_path / "x.lmdb", "--merge")
    assert content(tmp_path / "x.lmdb") == content(tmp_path / "whole.lmdb")


def test_a_whole_run_takes_the_place_of_parts(faces, tmp_path):
    """Begun in parts, done by one process: no part's manifest is left that another run would be refused by."""
    words = ("occlude", faces, tmp_path / "set", "--occlusion", "LowerFace", "--landmarks", tmp_path / "points.json")
    run(*words, "--shard", "1/2")
    run(*words)
    run("occlude", faces, tmp_path / "whole", *words[3:])
    assert content(tmp_path / "set") == content(tmp_path / "whole")
    run(*words, "--seed", "1", "--overwrite")
