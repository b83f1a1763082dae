"""Shards: several LMDBs and folders read as one set; the same samples, told when one is missing or a key is twice."""

import multiprocessing
import os
import pickle
import shutil
import stat
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from restore import images, keyed
from restore.data import key_index
from restore.data.key_index import JoinedKeys, KeyIndex
from restore.data.lmdb_store import LmdbReader, LmdbWriter
from restore.data.records import ShardedRecords, open_records
from restore.errors import UserError
from restore.options.paths import resolve_all
from restore.registry import DATASETS, Part

KEYS = [f"{number:03d}/Zürich {number}.x" for number in range(30)]
NOBODY = 65534


def bmp(key):
    return cv2.imencode(".bmp", np.random.default_rng(list(key.encode())).integers(0, 256, (20, 22, 3), np.uint8))[1]


def write(path, keys):
    with LmdbWriter(path) as writer:
        for key in keys:
            writer.put(key, bmp(key).tobytes(), (20, 22, 3), 0, "bmp")
    return path


@pytest.fixture
def whole(tmp_path):
    return write(tmp_path / "whole.lmdb", KEYS)


@pytest.fixture
def shards(tmp_path):
    """Eleven LMDBs; the keys of one follow those of another, in natural order."""
    parts = np.array_split(KEYS, 11)
    return [write(tmp_path / f"x_{n}-of-11.lmdb", map(str, part)) for n, part in enumerate(parts, 1)]


@pytest.fixture
def mixed(tmp_path, shards):
    """Shards, the fifth of which is a folder."""
    folder = tmp_path / "folder"
    for key in LmdbReader(shards[4]).keys:
        (folder / key).parent.mkdir(parents=True)
        (folder / f"{key}.bmp").write_bytes(bmp(key).tobytes())
    return [*shards[:4], folder, *shards[5:]]


def strings(paths):
    return [str(path) for path in paths]


def same(records, expected):
    assert list(records.keys) == list(expected.keys)
    assert all(records.get(key) == expected.get(key) for key in expected.keys)


class TestOneSet:
    def test_a_list_equals_one_lmdb(self, whole, shards):
        records = open_records(strings(shards))
        same(records, open_records(str(whole)))
        assert len(records.keys) == len(KEYS)
        assert [records.keys[i] for i in (-30, 0, 7, -1)] == [KEYS[i] for i in (-30, 0, 7, -1)]
        assert records.keys[3:20:4] == KEYS[3:20:4]
        assert KEYS[13] in records.keys
        with pytest.raises(IndexError):
            records.keys[30]
        assert records.where(KEYS[-1]) == LmdbReader(shards[-1]).where(KEYS[-1])

    def test_a_glob_is_in_natural_order(self, whole, shards, tmp_path):
        same(open_records(str(tmp_path / "x_*-of-11.lmdb")), open_records(str(whole)))

    def test_a_glob_of_any_depth(self, whole, shards, tmp_path):
        for number, shard in enumerate(shards):
            (tmp_path / "deep" / f"{number}").mkdir(parents=True)
            shard.rename(tmp_path / "deep" / f"{number}" / "train.lmdb")
        same(open_records(str(tmp_path / "deep" / "**" / "*.lmdb")), open_records(str(whole)))

    def test_lmdbs_and_a_folder(self, whole, mixed):
        same(open_records(strings(mixed)), open_records(str(whole)))

    def test_the_same_samples_for_the_same_draws(self, whole, mixed):
        def dataset(root, lq):
            sizes = {"scale": 2, "gt_size": 16, "transforms": [{"type": "RandomFlip"}]}
            roots = {"dataroot_gt": root, "dataroot_lq": lq, "dataroot_mask": root}
            return DATASETS.build(Part.model_validate({"type": "PairedImageDataset", **roots, **sizes}))

        small = whole.with_name("small.lmdb")
        with LmdbWriter(small) as writer:
            for key in KEYS:
                half = cv2.resize(cv2.imdecode(bmp(key), 1), (11, 10))
                writer.put(key, cv2.imencode(".bmp", half)[1].tobytes(), (10, 11, 3), 0, "bmp")
        one, many = dataset(str(whole), str(small)), dataset(strings(mixed), [str(small)])
        assert len(one) == len(many) == len(KEYS)
        for index in range(len(one)):
            a, b = (each.load(index, keyed.draws(1, index)) for each in (one, many))
            assert a["key"] == b["key"]
            assert all(np.array_equal(a[name], b[name]) for name in ("lq", "gt", "mask"))

    def test_one_path_one_match_and_a_list_of_one_give_plain_records(self, whole):
        for name in (str(whole), [str(whole)], str(whole.with_name("who*.lmdb"))):
            assert isinstance(open_records(name), LmdbReader)

    def test_a_folder_whose_name_looks_like_a_glob(self, tmp_path):
        images.write(tmp_path / "faces[1]" / "a.png", np.zeros((4, 4, 3), np.uint8))
        assert list(open_records(str(tmp_path / "faces[1]")).keys) == ["a"]

    def test_a_glob_below_restore_data(self, whole, shards, tmp_path, monkeypatch):
        monkeypatch.setenv("RESTORE_DATA", str(tmp_path))
        same(open_records("datasets/x_*.lmdb"), open_records("datasets/whole.lmdb"))

    def test_listed_pictures_of_any_shard(self, shards, tmp_path):
        listed = [KEYS[29], KEYS[3], KEYS[11]]
        (tmp_path / "list.txt").write_text("".join(f"{key}.bmp\n" for key in listed))
        records = open_records(strings(shards), str(tmp_path / "list.txt"))
        assert list(records.keys) == listed
        assert records.get(KEYS[29]) == bmp(KEYS[29]).tobytes()

    def test_landmarks_of_all_shards(self, shards, tmp_path):
        lines = [f'"{key}": {[[2.5, 3]] * 5 if n % 2 else "null"}' for n, key in enumerate(KEYS)]
        (tmp_path / "marks.json").write_text("{" + ",".join(lines) + "}", encoding="utf-8")
        roots = {"dataroot_gt": strings(shards), "landmarks": str(tmp_path / "marks.json")}
        dataset = DATASETS.build(Part.model_validate({"type": "GTImageDataset", **roots}))
        assert list(dataset.keys) == KEYS[1::2]
        assert np.array_equal(dataset.load(0, keyed.draws(0))["landmarks"], [[2.5, 3]] * 5)


class TestRefused:
    def told(self, name):
        with pytest.raises(UserError) as told:
            open_records(name)
        assert "\n" not in str(told.value)
        return str(told.value)

    def test_a_key_in_two_shards(self, shards, tmp_path):
        again = write(tmp_path / "again.lmdb", ["new", KEYS[4], KEYS[12]])
        line = self.told([*strings(shards), str(again)])
        assert line.startswith(f"{again}: `{KEYS[4]}` is in {shards[1]} too, and so are 1 others; leave one out")

    def test_a_shard_of_the_set_is_missing(self, shards, tmp_path):
        shards[9].rename(tmp_path / "elsewhere")
        line = self.told(str(tmp_path / "x_*.lmdb"))
        assert line.endswith("x_*.lmdb` matches parts of a set, but no x_10-of-11.lmdb; make it, or list what is meant")
        assert len(open_records(strings(shards[:3])).keys) == 9

    def test_a_shard_of_the_list_is_missing(self, shards, tmp_path):
        assert "x_12.lmdb: no such LMDB folder" in self.told([*strings(shards), str(tmp_path / "x_12.lmdb")])

    def test_nothing_matches(self, shards, tmp_path):
        assert "did you mean `x_" in self.told(str(tmp_path / "y_?-of-11.lmdb"))

    def test_only_files_match(self, tmp_path):
        (tmp_path / "a.png").touch()
        assert "; name the folder that holds these files" in self.told(str(tmp_path / "*.png"))

    def test_a_folder_twice_or_within_another(self, tmp_path):
        (tmp_path / "a" / "b").mkdir(parents=True)
        for names in ([tmp_path / "a", tmp_path / "a"], [tmp_path / "a" / "b", tmp_path / "a"]):
            assert "would be there twice" in self.told(strings(names))
        x = tmp_path / "a" / "b" / "x.lmdb"
        x.mkdir()
        assert "would be there twice" in self.told(strings([x, x]))
        assert resolve_all(strings([tmp_path / "a", x]))

    def test_a_key_that_none_holds_is_unreadable(self, shards):
        records = open_records(strings(shards))
        with pytest.raises(images.UnreadableImage, match=r"no picture `none` in any of .*x_1-of-11.*x_11-of-11"):
            records.get("none")


class TestIndex:
    def test_equal_hashes_of_different_keys_are_hashed_anew(self, monkeypatch):
        good = key_index._hash
        monkeypatch.setattr(key_index, "_hash", lambda key, salt: good(key, salt) if salt == 2 else len(key))
        parts = [["a", "bb", "c"], [], ["dd", "e"]]
        index = KeyIndex(JoinedKeys(parts))
        assert index.salt == 2
        assert [index.part_of(key) for key in ("a", "bb", "c", "dd", "e", "f")] == [0, 0, 0, 2, 2, None]

    def test_every_key_is_found_in_its_part(self):
        parts = [[f"{part}/{n}" for n in range(part * 37)] for part in range(30)] + [["\udcff"]]
        index = KeyIndex(JoinedKeys(parts))
        assert all(index.part_of(key) == number for number, part in enumerate(parts) for key in part)
        assert index.hashes.nbytes + index.parts.nbytes == 12 * sum(map(len, parts))


class TestProcesses:
    @pytest.mark.parametrize("method", ["fork", "spawn"])
    def test_workers_read_what_the_parent_has_open(self, mixed, method):
        records = open_records(strings(mixed))
        records.get(KEYS[0])
        with multiprocessing.get_context(method).Pool(1) as pool:
            assert pool.map(records.get, KEYS) == [bmp(key).tobytes() for key in KEYS]

    def test_a_pickle_is_small_and_reads(self, shards):
        records = open_records(strings(shards))
        records.get(KEYS[0])
        packed = pickle.dumps(records)
        assert isinstance(pickle.loads(packed), ShardedRecords)
        assert pickle.loads(packed).get(KEYS[29]) == bmp(KEYS[29]).tobytes()


@pytest.fixture
def read_only():
    """A folder that everyone may read and nobody may write, as a network disk shared by a group; not below /root."""
    folder = Path(tempfile.mkdtemp())
    write(folder / "x.lmdb", KEYS)
    for path in (folder, *folder.rglob("*")):
        path.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH | (0o111 if path.is_dir() else 0))
    yield folder
    folder.chmod(0o755), (folder / "x.lmdb").chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_reading_needs_no_right_to_write_and_leaves_no_lock(read_only):
    children = []
    for _ in range(8):
        children.append(os.fork())
        if children[-1] == 0:
            os._exit(_read_as_nobody(read_only))
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 8
    assert sorted(os.listdir(read_only / "x.lmdb")) == ["data.mdb", "meta_info.txt"]


def _read_as_nobody(folder):
    try:
        if os.getuid() == 0:
            os.setgroups([]), os.setgid(NOBODY), os.setuid(NOBODY)
        assert not os.access(folder / "x.lmdb", os.W_OK)
        records = open_records(str(folder / "x.lmdb"))
        return 0 if all(records.get(key) == bmp(key).tobytes() for key in KEYS * 20) else 2
    except BaseException:
        return 1
