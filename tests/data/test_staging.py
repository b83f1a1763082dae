"""Copies on the node's disk: made once, checked, found again; told when they cannot be; nothing half there."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from restore import images
from restore.data import staging
from restore.data.lmdb_store import LmdbReader, LmdbWriter
from restore.data.records import open_records
from restore.data.staging import LOCK, STAMP, build_dataset, stage, staged
from restore.errors import Fault, UserError, run_main
from restore.options.load import load
from restore.options.schema import EvalData, TrainData
from restore.registry import DATASETS, Part

KEYS = [f"{number:02d}" for number in range(12)]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="staging needs a system with file locks")


def write(path, keys=KEYS, size=3000):
    with LmdbWriter(path) as writer:
        for key in keys:
            image = np.random.default_rng(int(key)).integers(0, 256, (20, size // 60, 3), np.uint8)
            data = images.cv2.imencode(".bmp", image)[1].tobytes()
            writer.put(key, data, image.shape, 0, "bmp")
    return path


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "net" / "train.lmdb")


@pytest.fixture
def disk(tmp_path, monkeypatch):
    monkeypatch.setenv("NODE_DISK", str(tmp_path / "disk"))
    return tmp_path / "disk"


@pytest.fixture
def told():
    return []


def section(root, **own):
    return TrainData.model_validate(
        {"type": "GTImageDataset", "dataroot_gt": root, "stage_to": "$NODE_DISK/sets", **own}
    )


def same(copy, source):
    assert list(LmdbReader(copy).keys) == list(LmdbReader(source).keys)
    for name in ("data.mdb", "meta_info.txt"):
        assert (copy / name).read_bytes() == (source / name).read_bytes()


def only(folder):
    """The one copy in a folder, in which nothing else lies but the lock."""
    (copy,) = (path for path in folder.iterdir() if path.name != LOCK)
    return copy


class TestCopies:
    def test_a_set_reads_its_copy(self, source, disk, told):
        dataset = build_dataset(section(str(source)), told.append)
        copy = only(disk / "sets")
        same(copy, source)
        assert dataset.gt.path == copy
        assert len(dataset) == len(KEYS)
        assert told == [f"staging: 1 LMDB in {disk / 'sets'}, 1 copied just now"]

    def test_without_stage_to_nothing_changes(self, source, disk):
        plain = section(str(source), stage_to=None)
        assert staged(plain) is plain
        assert staged(Part(type="GTImageDataset", dataroot_gt=str(source))).args == {"dataroot_gt": str(source)}
        assert not disk.exists()

    def test_shards_globs_and_sets_within_a_set(self, source, disk, tmp_path):
        write(tmp_path / "s_1-of-2.lmdb", KEYS[:5]), write(tmp_path / "s_2-of-2.lmdb", KEYS[5:])
        images.write(tmp_path / "folder" / "99.png", np.zeros((20, 20, 3), np.uint8))
        inner = [
            {"type": "GTImageDataset", "dataroot_gt": [str(tmp_path / "s_*.lmdb"), str(tmp_path / "folder")]},
            {"type": "PairedImageDataset", "dataroot_gt": str(source), "dataroot_lq": str(source)},
        ]
        mixed = EvalData.model_validate({"type": "MixedDataset", "datasets": inner, "stage_to": str(disk)})
        first, second = (part["dataroot_gt"] for part in staged(mixed).args["datasets"])
        assert [Path(path).name.split("-")[0] for path in first] == ["s_1", "s_2", "folder"]
        assert [Path(path).parent == disk for path in first + second] == [True, True, False, True]
        assert list(open_records(first).keys) == [*KEYS, "99"]
        assert mixed.args["datasets"] == inner
        whole, copied = (
            DATASETS.build(Part.model_validate({"type": "MixedDataset", "datasets": inner})),
            build_dataset(mixed),
        )
        assert list(copied.keys) == list(whole.keys)

    def test_a_folder_of_pictures_is_told_to_stay(self, disk, tmp_path, told):
        images.write(tmp_path / "folder" / "99.png", np.zeros((20, 20, 3), np.uint8))
        assert staged(section(str(tmp_path / "folder")), told.append).args["dataroot_gt"] == [str(tmp_path / "folder")]
        assert told == [
            f"staging: {tmp_path / 'folder'} is a folder of pictures and read where it is; an LMDB would be copied"
        ]

    def test_two_sources_of_one_name(self, source, disk, tmp_path):
        other = write(tmp_path / "other" / "train.lmdb", KEYS[:3])
        copies = stage([source, other], disk, print)
        assert len(set(copies.values())) == 2
        for original, copy in copies.items():
            same(copy, original)

    def test_a_copy_below_a_folder_called_datasets(self, source, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("RESTORE_DATA", str(tmp_path / "elsewhere"))
        assert len(build_dataset(section(str(source), stage_to="datasets/staged"))) == len(KEYS)
        same(only(tmp_path / "datasets" / "staged"), source)


class TestUsedAgain:
    @pytest.fixture
    def copy(self, source, disk):
        return stage([source], disk, print)[source]

    def again(self, source, disk):
        """Stages once more, and says whether a copy was made."""
        told = []
        copy = stage([source], disk, told.append)[source]
        same(copy, source)
        assert only(disk) == copy
        return told[-1].endswith(" 1 copied just now")

    def test_as_it_is(self, source, disk, copy):
        file = (copy / "data.mdb").stat().st_ino
        assert not self.again(source, disk)
        assert (copy / "data.mdb").stat().st_ino == file

    def test_not_when_the_source_was_built_anew(self, source, disk, copy):
        write(source, KEYS[::-1])
        assert self.again(source, disk)

    def test_not_when_only_the_time_of_the_source_is_another(self, source, disk, copy):
        os.utime(source / "data.mdb")
        assert self.again(source, disk)

    @pytest.mark.parametrize("name", ["data.mdb", "meta_info.txt", STAMP])
    def test_not_when_the_copy_was_damaged(self, source, disk, copy, name):
        data = bytearray((copy / name).read_bytes())
        data[len(data) // 2] ^= 1
        (copy / name).write_bytes(data)
        assert self.again(source, disk)

    @pytest.mark.parametrize("name", ["data.mdb", "meta_info.txt", STAMP])
    def test_not_when_a_file_of_the_copy_is_gone_or_cut(self, source, disk, copy, name):
        os.truncate(copy / name, 10)
        assert self.again(source, disk)
        (copy / name).unlink()
        assert self.again(source, disk)


class TestRefused:
    def told(self, kind, call):
        with pytest.raises(kind) as told:
            call()
        assert "\n" not in str(told.value)
        return str(told.value)

    @pytest.mark.parametrize("stage_to", ["$NO_DISK/sets", "/tmp/${NO_DISK}"])
    def test_a_variable_that_is_not_set(self, source, monkeypatch, stage_to):
        for prepare in (
            lambda: monkeypatch.delenv("NO_DISK", raising=False),
            lambda: monkeypatch.setenv("NO_DISK", ""),
        ):
            prepare()
            line = self.told(UserError, lambda: staged(section(str(source), stage_to=stage_to)))
            assert line == f"stage_to: {stage_to}: NO_DISK is not set on this machine; set it, or name a folder"

    def test_no_such_lmdb(self, disk, tmp_path):
        line = self.told(UserError, lambda: staged(section(str(tmp_path / "x.lmdb"))))
        assert "x.lmdb: no such LMDB folder" in line

    def test_a_place_that_is_no_folder(self, source, tmp_path):
        (tmp_path / "file").touch()
        line = self.told(UserError, lambda: stage([source], tmp_path / "file" / "sets", print))
        assert "sets: cannot write there: Not a directory; name another folder" in line

    def test_a_disk_that_gives_back_something_else(self, source, disk, monkeypatch):
        monkeypatch.setattr(staging, "_read_back", lambda path: b"")
        assert "is not what was written, so the disk fails" in self.told(Fault, lambda: stage([source], disk, print))
        assert [path.name for path in disk.iterdir()] == [LOCK]

    def test_a_source_that_changes_meanwhile(self, source, disk, monkeypatch):
        copy_file = staging._copy_file
        monkeypatch.setattr(staging, "_copy_file", lambda a, b: (os.utime(a), copy_file(a, b))[1])
        assert "changed while it was copied" in self.told(Fault, lambda: stage([source], disk, print))
        assert [path.name for path in disk.iterdir()] == [LOCK]


class Child:
    """A process that stages the sources and writes what it says into a file; `first` runs in it before."""

    def __init__(self, log, sources, folder, first=lambda: None):
        self.log = log
        log.touch()
        self.pid = os.fork()
        if self.pid == 0:
            self._be(lambda: (first(), stage(sources, folder, partial(print, flush=True))))

    def _be(self, work):
        code = 70
        try:
            sys.stdout = sys.stderr = open(self.log, "w")  # noqa: SIM115
            run_main(work)
            code = 0
        except SystemExit as ended:
            code = ended.code
        finally:
            sys.stdout.flush()
            os._exit(code)

    def wait_until_it_says(self, words):
        for _ in range(600):
            if words in self.log.read_text():
                return
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def end(self):
        """Its exit code, or less the number of the signal that killed it, and what it said."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return code, self.log.read_text()


def begin_slowly(seconds):
    """Lets this process begin to write each file, say so, and wait."""
    copy_file = staging._copy_file

    def slow(source, target):
        target.write_bytes(b"begun")
        print("begun", flush=True)
        time.sleep(seconds)
        return copy_file(source, target)

    staging._copy_file = slow


def test_of_four_processes_at_once_one_copies(source, disk, tmp_path):
    children = [Child(tmp_path / f"{n}.log", [source], disk, lambda: begin_slowly(0.5)) for n in range(4)]
    ended = [child.end() for child in children]
    assert [code for code, _ in ended] == [0] * 4
    assert sum(said.count("staging: copied") for _, said in ended) == 1
    assert sum(" 1 copied just now" in said for _, said in ended) == 1
    assert sum(" 0 copied just now" in said for _, said in ended) == 3
    same(only(disk), source)


def test_killed_in_the_middle_and_started_again(source, disk, tmp_path):
    copying = Child(tmp_path / "copying.log", [source], disk, lambda: begin_slowly(60))
    copying.wait_until_it_says("begun")
    waiting = Child(tmp_path / "waiting.log", [source], disk)
    waiting.wait_until_it_says("staging: waiting for another process that copies")
    assert only(disk).name.endswith(".lmdb.partial")
    os.kill(copying.pid, signal.SIGKILL)
    assert copying.end()[0] == -signal.SIGKILL
    code, said = waiting.end()
    assert code == 0
    assert " 1 copied just now" in said
    same(only(disk), source)


def mount_small(folder):
    """Mounts a disk of 1 MB that only this process sees; says whether it could."""
    folder.mkdir()
    new_namespace = 0x20000
    if not hasattr(os, "getuid") or os.getuid() or ctypes.CDLL(None).unshare(new_namespace):
        return False
    private = subprocess.run(["mount", "--make-rprivate", "/"], capture_output=True)
    small = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], capture_output=True)
    return private.returncode == small.returncode == 0


class TestFullDisk:
    @pytest.fixture
    def ended(self, tmp_path):
        def ended(source, first=lambda: None):
            def prepare():
                if not mount_small(tmp_path / "small"):
                    os._exit(71)
                first()

            code, said = Child(tmp_path / "small.log", [source], tmp_path / "small", prepare).end()
            if code == 71:
                pytest.skip("only root can mount a small disk")
            return code, said

        return ended

    def test_is_told_before_anything_is_copied(self, tmp_path, ended):
        big = write(tmp_path / "big.lmdb", KEYS, 120_000)
        size = sum(file.stat().st_size for file in big.iterdir()) / 1e9
        told = (
            f"1 LMDB of {size:.3f} GB to copy, 0.001 GB are free; free some, name another disk, or leave stage_to out"
        )
        assert ended(big) == (2, f"error: stage_to: {tmp_path / 'small'}: {told}\n")

    def test_that_fills_meanwhile_is_told_and_leaves_nothing(self, source, tmp_path, ended):
        small, copy = tmp_path / "small", staging._copy

        def fill_first(source, target):
            with pytest.raises(OSError, match="No space left"):
                (small / "other").write_bytes(bytes(1 << 21))
            try:
                copy(source, target)
            finally:
                print(sorted(path.name for path in small.iterdir()))

        code, said = ended(source, lambda: setattr(staging, "_copy", fill_first))
        left, error = said.splitlines()
        assert left == "['.restore_staging.lock', 'other']"
        assert error.startswith(f"error: stage_to: {small}: cannot copy: No space left on device")
        assert code == 1


def test_the_key_stands_in_training_and_evaluation_sets(source, tmp_path):
    part = f"type: GTImageDataset, dataroot_gt: {source}, stage_to: $TMPDIR"
    text = f"name: a\nnetwork_g: {{type: MSRResNet}}\ndatasets:\n  train: {{{part}, gt_size: 8}}\n  val: {{{part}}}\n"
    (tmp_path / "x.yml").write_text(text)
    options = load(tmp_path / "x.yml")
    assert options.datasets.train.stage_to == options.datasets.evaluation("val")["val"].stage_to == "$TMPDIR"
    (tmp_path / "x.yml").write_text(text.replace("stage_to", "stage_too"))
    with pytest.raises(UserError, match=r"x\.yml:4: datasets\.train\.stage_too: .*did you mean `stage_to`\?"):
        load(tmp_path / "x.yml")


def test_the_stamp_says_what_it_is_a_copy_of(source, disk):
    stamp = json.loads((stage([source], disk, print)[source] / STAMP).read_text())
    assert stamp["source"] == str(source)
    assert stamp["files"]["data.mdb"][0] == (source / "data.mdb").stat().st_size
    assert time.time() - stamp["copies"]["data.mdb"][1] / 1e9 < 60
