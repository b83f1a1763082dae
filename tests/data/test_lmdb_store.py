"""LMDBs: written and read back, by BasicSR too; damage told; workers forked and spawned."""

import multiprocessing
import os
import pickle
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import lmdb
import numpy as np
import pytest

from restore import images
from restore.data.lmdb_store import LmdbReader, LmdbWriter, Record
from restore.errors import Fault, UserError
from tests.oracles import basicsr

KEYS = ["plain", "a.b.c", "folder/sub.x/picture 1", "Zürich/面 (1)", "~"]


def picture(seed, height=24, width=31):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def bmp(image):
    return cv2.imencode(".bmp", image[:, :, ::-1])[1].tobytes()


def make(path, keys=KEYS, **options):
    with LmdbWriter(path, **options) as writer:
        for seed, key in enumerate(keys):
            writer.put(key, bmp(picture(seed)), (24, 31, 3), 0, "bmp")
    return path


@pytest.fixture
def faces(tmp_path):
    return make(tmp_path / "faces.lmdb")


def test_round_trip(faces):
    reader = LmdbReader(faces)
    assert list(reader.keys) == KEYS
    assert len(reader) == len(KEYS)
    assert reader.keys[-1] == "~"
    assert reader.keys[1:3] == KEYS[1:3]
    assert "a.b.c" in reader.keys
    for seed, key in enumerate(KEYS):
        assert np.array_equal(images.decode(reader.get(key), key), picture(seed))
        assert reader.meta_info.shape(seed) == (24, 31, 3)
    assert sorted(file.name for file in faces.iterdir()) == ["data.mdb", "meta_info.txt"]
    assert (faces / "meta_info.txt").read_text(encoding="utf-8").splitlines()[1] == "a.b.c.bmp (24,31,3) 0"
    with pytest.raises(IndexError):
        reader.keys[len(KEYS)]


def test_two_readers_of_one_file_and_a_replaced_one(faces):
    first, second = LmdbReader(faces), LmdbReader(faces)
    assert first.get("plain") == second.get("plain") == bmp(picture(0))
    make(faces, ["other"])  # rebuilt in its place while the old one is open
    assert LmdbReader(faces).get("other") == bmp(picture(0))
    assert first.get("~") == bmp(picture(4))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_what_the_parent_has_open(faces, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    reader, other = LmdbReader(faces), LmdbReader(faces)
    reader.get("plain"), other.get("plain")
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.map(reader.get, KEYS[:2]) == [bmp(picture(0)), bmp(picture(1))]
        assert pool.apply(other.get, ["~"]) == bmp(picture(4))
    assert reader.get("~") == bmp(picture(4))


def test_pickled_reader_carries_no_environment(faces):
    reader = LmdbReader(faces)
    reader.get("plain")
    assert pickle.loads(pickle.dumps(reader)).get("~") == reader.get("~")


def test_threads_that_read_first_at_the_same_moment_share_one_environment(faces, monkeypatch):
    opened, really_open = [], lmdb.open

    def slow_open(*args, **options):
        time.sleep(0.02)  # so that every thread is at the same place before the first has opened
        opened.append(really_open(*args, **options))
        return opened[-1]

    monkeypatch.setattr(lmdb, "open", slow_open)
    reader = LmdbReader(faces)
    del opened[:]
    with ThreadPoolExecutor(8) as pool:
        records = list(pool.map(reader.get, KEYS * 4))
    assert len(opened) == 1
    assert records == [bmp(picture(seed)) for seed in range(len(KEYS))] * 4


def test_a_child_forked_with_an_open_environment_reads_through_another_reader(faces):
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    first, second = LmdbReader(faces), LmdbReader(faces)
    first.get("plain"), second.get("plain")
    child = os.fork()
    if child == 0:
        good = second.get("~") == bmp(picture(4)) and first.get("~") == bmp(picture(4))
        os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert first.get("plain") == bmp(picture(0))


def test_map_grows_and_batches_are_joined(tmp_path):
    keys = [f"{n:04d}" for n in range(400)]  # 0.9 MB into a map of 64 kB
    reader = LmdbReader(make(tmp_path / "x.lmdb", keys, map_size=1 << 16, batch_size=40_000))
    assert list(reader.keys) == keys
    assert all(reader.get(key) == bmp(picture(seed)) for seed, key in enumerate(keys))


def test_records_put_together_are_committed_together(tmp_path):
    with LmdbWriter(tmp_path / "x.lmdb", batch_size=1) as writer:
        writer.put_all(Record(f"a_s{n:03d}", b"x" * 5000, (1, 1, 3), 0, "bmp") for n in range(9))
        assert len(writer) == 9
        assert "a_s008" in writer
        assert "b" not in writer


class TestHalfBuilt:
    def broken_off(self, path):
        writer = LmdbWriter(path, batch_size=1).__enter__()
        for seed, key in enumerate(KEYS[:3]):
            writer.put(key, bmp(picture(seed)), (24, 31, 3), 0, "bmp")
        error = KeyboardInterrupt()
        writer.__exit__(type(error), error, None)

    def test_is_told_from_a_whole_one(self, tmp_path):
        self.broken_off(tmp_path / "x.lmdb")
        assert not (tmp_path / "x.lmdb").exists()
        with pytest.raises(UserError, match=r"x\.lmdb: only half built; run"):
            LmdbReader(tmp_path / "x.lmdb")

    def test_goes_on(self, tmp_path, faces):
        self.broken_off(tmp_path / "x.lmdb")
        with LmdbWriter(tmp_path / "x.lmdb") as writer:
            assert len(writer) == 3
            for seed, key in enumerate(KEYS):
                if key not in writer:
                    writer.put(key, bmp(picture(seed)), (24, 31, 3), 0, "bmp")
        reader, whole = LmdbReader(tmp_path / "x.lmdb"), LmdbReader(faces)
        assert (reader.path / "meta_info.txt").read_bytes() == (faces / "meta_info.txt").read_bytes()
        assert all(reader.get(key) == whole.get(key) for key in KEYS)

    def test_empty_leaves_nothing(self, tmp_path):
        with pytest.raises(UserError, match="no record was put into it"), LmdbWriter(tmp_path / "x.lmdb"):
            pass
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("x" * 512, "has 512 bytes, LMDB takes 511"),
        ("面" * 171, "has 513 bytes"),
        ("a\nb", "line break"),
        ("", "empty"),
        ("a\udcff", "not UTF-8"),
    ],
)
def test_keys_that_cannot_be(tmp_path, key, words):
    with pytest.raises(UserError, match=words) as told, LmdbWriter(tmp_path / "x.lmdb") as writer:
        writer.put(key, b"x", (1, 1, 3), 0, "bmp")
    assert "\n" not in str(told.value)


def test_longest_key(tmp_path):
    key = "x" * 511
    assert LmdbReader(make(tmp_path / "x.lmdb", [key])).get(key) == bmp(picture(0))


def test_a_key_twice(tmp_path):
    with pytest.raises(UserError, match="two records are called `a`"):
        make(tmp_path / "x.lmdb", ["a", "b", "a"])


def test_name_without_lmdb(tmp_path):
    with pytest.raises(UserError, match=r"call it .*faces\.lmdb"):
        LmdbWriter(tmp_path / "faces")


class TestDamage:
    def told(self, path):
        with pytest.raises(UserError) as told:
            LmdbReader(path)
        assert "\n" not in str(told.value)
        return str(told.value)

    def test_missing_folder(self, tmp_path):
        assert "no such LMDB folder; `restore prepare lmdb" in self.told(tmp_path / "x.lmdb")

    @pytest.mark.parametrize("name", ["data.mdb", "meta_info.txt"])
    def test_missing_file(self, faces, name):
        (faces / name).unlink()
        assert f"no {name} in it" in self.told(faces)

    @pytest.mark.parametrize("size", [0, 100, 4096, 5000, 8192, 12288])
    def test_cut_short(self, faces, size):
        os.truncate(faces / "data.mdb", size)
        assert "cut short" in self.told(faces)

    @pytest.mark.parametrize("size", [0, 8192])
    def test_cut_short_while_in_use(self, faces, size):
        """Reading on would end the process with SIGBUS."""
        reader = LmdbReader(faces)
        reader.get("plain")
        whole = (faces / "data.mdb").read_bytes()
        os.truncate(faces / "data.mdb", size)
        with pytest.raises(Fault, match=r"data\.mdb: cut short while in use, .*; copy or build it again"):
            reader.get("plain")
        (faces / "data.mdb").write_bytes(whole)
        assert reader.get("plain") == bmp(picture(0))

    def test_renamed_or_replaced_while_in_use(self, faces, tmp_path):
        reader = LmdbReader(faces)
        reader.get("plain")
        faces.rename(tmp_path / "away")
        assert reader.get("a.b.c") == bmp(picture(1))
        make(faces, KEYS[:1])
        assert reader.get("a.b.c") == bmp(picture(1))

    def test_no_lmdb(self, faces):
        (faces / "data.mdb").write_bytes(b"something else " * 5000)
        assert "not an LMDB file" in self.told(faces)

    @pytest.mark.skipif(int(lmdb.__version__.split(".")[0]) < 3, reason="older LMDBs crash on damaged pages")
    def test_noise_inside_is_no_crash(self, faces):
        """Pages overwritten behind the two that head the file: each record is right, or unreadable by name."""
        data = bytearray((faces / "data.mdb").read_bytes())
        root = 4096 * 2
        data[root:] = np.random.default_rng(0).bytes(len(data) - root)
        (faces / "data.mdb").write_bytes(data)
        reader = LmdbReader(faces)
        for key in KEYS:
            with pytest.raises(images.UnreadableImage, match=r"faces\.lmdb: record `"):
                images.decode(reader.get(key), reader.where(key))

    def test_missing_record(self, faces):
        env = lmdb.open(str(faces))
        with env.begin(write=True) as transaction:
            transaction.delete(b"a.b.c")
        env.close()
        with pytest.raises(images.UnreadableImage, match=r"faces\.lmdb: record `a\.b\.c`: not in data\.mdb"):
            LmdbReader(faces).get("a.b.c")

    @pytest.mark.parametrize(
        ("lines", "words"),
        [
            ("", "names no record"),
            ("\n\n", "names no record"),
            ("a.png (1,2,3) 1\n\nb.png (1,2,3) 1\n", ":2: `` is not"),
            ("a.png (1,2,3) 1\nb.png 1\n", ":2: `b.png 1` is not `key.ext (height,width,channels) level`"),
            ("a (1,2,3) 1\n", ":1: `a (1,2,3) 1` is not"),
            ("a.png (1,2) 1\n", ":1:"),
            ("a.png (1,2,3)\n", ":1:"),
        ],
    )
    def test_meta_info(self, faces, lines, words):
        (faces / "meta_info.txt").write_text(lines)
        assert words in self.told(faces)

    def test_meta_info_not_utf8(self, faces):
        (faces / "meta_info.txt").write_bytes(b"a.png (1,2,3) 1\n\xff.png (1,2,3) 1\n")
        assert "meta_info.txt:2: not UTF-8" in self.told(faces)

    def test_meta_info_from_windows_without_last_line_break(self, faces):
        (faces / "meta_info.txt").write_bytes(b"plain.bmp (24,31,3) 0\r\na.b.c.bmp (24,31,3) 0")
        assert list(LmdbReader(faces).keys) == ["plain", "a.b.c"]


class TestBasicSR:
    def test_reads_ours(self, tmp_path):
        file_client, img_util = basicsr("utils.file_client"), basicsr("utils.img_util")
        keys = ["plain", "a.b.c", "folder/sub.x/1"]  # its client reads ASCII keys only
        make(tmp_path / "x.lmdb", keys)
        client = file_client.FileClient("lmdb", db_paths=str(tmp_path / "x.lmdb"), client_keys="gt")
        for seed, key in enumerate(keys):
            read = img_util.imfrombytes(client.get(key, "gt"), float32=False)
            assert np.array_equal(read[:, :, ::-1], picture(seed))

    def test_is_read_by_us(self, tmp_path):
        lmdb_util = basicsr("utils.lmdb_util")
        names = ["one.png", "deep/two.png"]
        for seed, name in enumerate(names):
            images.write(tmp_path / "png" / name, picture(seed))
        keys = [name.removesuffix(".png") for name in names]
        lmdb_util.make_lmdb_from_imgs(str(tmp_path / "png"), str(tmp_path / "x.lmdb"), names, keys, map_size=1 << 24)
        reader = LmdbReader(tmp_path / "x.lmdb")
        assert list(reader.keys) == keys
        for seed, key in enumerate(keys):
            assert np.array_equal(images.decode(reader.get(key), key), picture(seed))


def test_a_copy_reads_the_same(faces, tmp_path):
    shutil.copytree(faces, tmp_path / "copy.lmdb")
    assert LmdbReader(tmp_path / "copy.lmdb").get("plain") == LmdbReader(faces).get("plain")
