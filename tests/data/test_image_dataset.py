"""Data sets of pictures: what is read, cropped, made on the fly, and told."""

import shutil

import cv2
import numpy as np
import pytest

from restore import images, keyed
from restore.data.image_dataset import GTImageDataset, PairedImageDataset, SingleImageDataset
from restore.data.lmdb_store import LmdbWriter
from restore.degradations.resize import shrink
from restore.errors import UserError
from restore.registry import Part


def draws(number=0):
    return keyed.draws("test", number)


@pytest.fixture(scope="module")
def pairs(faces, tmp_path_factory):
    """GT and LQ folders, the LQ made by shrinking."""
    folder = tmp_path_factory.mktemp("pairs")
    for path in images.find(faces):
        images.write(folder / "lq" / f"{path.stem}x4.png", shrink(images.read(path), 4, "bicubic"))
    shutil.copytree(faces, folder / "gt")
    return folder


def lmdb(path, folder):
    with LmdbWriter(path) as writer:
        for file in images.find(folder):
            image = images.read(file)
            data = cv2.imencode(".bmp", image[:, :, ::-1])[1].tobytes()
            writer.put(file.relative_to(folder).with_suffix("").as_posix(), data, image.shape, 0, "bmp")
    return path


def paired(folder, **options):
    return PairedImageDataset(str(folder / "gt"), str(folder / "lq"), scale=4, filename_tmpl="{}x4", **options)


def test_paired_whole_pictures(pairs):
    sample = paired(pairs).load(0, draws())
    assert np.array_equal(sample["gt"], images.read(pairs / "gt" / "000.png"))
    assert np.array_equal(sample["lq"], images.read(pairs / "lq" / "000x4.png"))
    assert sample["key"] == "000"


def test_partners_may_come_in_any_order_and_with_others(faces, tmp_path):
    gt, lq = lmdb(tmp_path / "gt.lmdb", faces), tmp_path / "lq.lmdb"
    keys = GTImageDataset(str(gt)).keys
    with LmdbWriter(lq) as writer:
        for key in [*reversed(keys), "another"]:
            writer.put(key, images.file_bytes(faces / "000.png"), (64, 64, 3), 3, "png")
    assert PairedImageDataset(str(gt), str(lq)).load(1, draws())["key"] == keys[1]
    for missing in (keys[0], keys[-1]):
        with LmdbWriter(lq) as writer:
            for key in [*(set(keys) - {missing}), "another"]:  # as many as there should be
                writer.put(key, b"", (64, 64, 3), 3, "png")
        with pytest.raises(UserError, match=f"no LQ picture `{missing}` for GT `{missing}`"):
            PairedImageDataset(str(gt), str(lq))


def test_paired_crops_show_the_same_place(pairs):
    dataset = paired(pairs, gt_size=32)
    seen = set()
    for number in range(20):
        sample = dataset.load(3, draws(number))
        gt, lq = images.read(pairs / "gt" / "003.png"), images.read(pairs / "lq" / "003x4.png")
        places = [
            (y, x)
            for y in range(9)
            for x in range(9)
            if np.array_equal(lq[y : y + 8, x : x + 8], sample["lq"])
            and np.array_equal(gt[4 * y : 4 * y + 32, 4 * x : 4 * x + 32], sample["gt"])
        ]
        assert places
        seen.add(places[0])
    assert len(seen) > 10


def test_every_window_is_drawn(faces):
    dataset = GTImageDataset(str(faces), scale=4, gt_size=56)
    windows = [dataset.window(16, 16, "", draws(number))[:2] for number in range(400)]
    assert set(windows) == {(y, x) for y in range(3) for x in range(3)}


@pytest.mark.parametrize("downsample", ["bicubic", "bicubic_pil", "aliased_cv2"])
def test_lq_of_a_crop_is_the_crop_of_the_lq(faces, downsample):
    whole = GTImageDataset(str(faces), scale=4, downsample=downsample)
    cropped = GTImageDataset(str(faces), scale=4, gt_size=32, downsample=downsample)
    for number in range(12):
        full, part = whole.load(number, draws()), cropped.load(number, draws(number))
        y, x, _, _ = cropped.window(16, 16, "", draws(number))
        assert np.array_equal(full["gt"][4 * y : 4 * y + 32, 4 * x : 4 * x + 32], part["gt"])
        assert np.abs(full["lq"][y : y + 8, x : x + 8].astype(int) - part["lq"]).max() <= 1


def test_on_the_fly_equals_pairs(pairs):
    made = GTImageDataset(str(pairs / "gt"), scale=4).load(2, draws())
    read = paired(pairs).load(2, draws())
    assert np.array_equal(made["lq"], read["lq"])


def test_folder_equals_lmdb(pairs, tmp_path):
    gt, lq = lmdb(tmp_path / "gt.lmdb", pairs / "gt"), lmdb(tmp_path / "lq.lmdb", pairs / "lq")
    from_lmdb = PairedImageDataset(str(gt), str(lq), scale=4, filename_tmpl="{}x4", gt_size=32)
    from_folder = paired(pairs, gt_size=32)
    assert list(from_lmdb.keys) == list(from_folder.keys)
    for index in range(12):
        one, other = from_lmdb.load(index, draws(index)), from_folder.load(index, draws(index))
        assert np.array_equal(one["lq"], other["lq"])
        assert np.array_equal(one["gt"], other["gt"])


def test_subfolders_and_dots_in_names(faces, tmp_path):
    names = ["a.b.c.png", "sub/x (1).png", "sub.dir/Zürich.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(faces / "000.png", tmp_path / name)
    assert set(SingleImageDataset(str(tmp_path)).keys) == {"a.b.c", "sub/x (1)", "sub.dir/Zürich"}


@pytest.mark.parametrize("line", ["{}.png (64,64,3)", "{}.png (64,64,3) 1", "{}.png", "{}"])
def test_meta_info_lists_what_to_use(pairs, tmp_path, line):
    (tmp_path / "list.txt").write_text("".join(line.format(name) + "\n" for name in ("007", "002")) + "\n")
    dataset = paired(pairs, meta_info=str(tmp_path / "list.txt"))
    assert list(dataset.keys) == ["007", "002"]
    assert np.array_equal(dataset.load(0, draws())["gt"], images.read(pairs / "gt" / "007.png"))


def test_meta_info_with_a_bracket_in_a_name(faces, tmp_path):
    shutil.copy(faces / "000.png", tmp_path / "x (1).png")
    (tmp_path / "list.txt").write_text("x (1).png (64,64,3) 1\n")
    assert list(GTImageDataset(str(tmp_path), meta_info=str(tmp_path / "list.txt")).keys) == ["x (1)"]


def test_meta_info_of_an_lmdb(faces, tmp_path):
    path = lmdb(tmp_path / "gt.lmdb", faces)
    (tmp_path / "list.txt").write_text("007.png (64,64,3) 1\n")
    assert list(GTImageDataset(str(path), meta_info=str(tmp_path / "list.txt")).keys) == ["007"]


@pytest.mark.parametrize(("text", "told"), [("gone.png (1,1,3)\n", r"list\.txt:1: `gone\.png`"), ("\n", "no pictures")])
def test_meta_info_that_does_not_fit(faces, tmp_path, text, told):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(UserError, match=told):
        GTImageDataset(str(faces), meta_info=str(tmp_path / "list.txt"))


def test_meta_info_that_is_a_folder(faces, tmp_path):
    with pytest.raises(UserError, match=str(tmp_path)):
        GTImageDataset(str(faces), meta_info=str(tmp_path))


def test_mistakes_of_the_user(faces, pairs, tmp_path):
    (tmp_path / "empty").mkdir()
    for told, make in [
        ("empty: no pictures", lambda: GTImageDataset(str(tmp_path / "empty"))),
        ("gone: no such folder", lambda: GTImageDataset(str(tmp_path / "gone"))),
        ("gt_size 30 is no multiple of the scale 4", lambda: GTImageDataset(str(faces), scale=4, gt_size=30)),
        ("no LQ picture `000` for GT `000`", lambda: PairedImageDataset(str(faces), str(pairs / "lq"), scale=4)),
    ]:
        with pytest.raises(UserError, match=told):
            make()


def test_two_files_of_one_name_are_told(faces, tmp_path):
    shutil.copy(faces / "000.png", tmp_path / "a.png")
    shutil.copy(faces / "001.png", tmp_path / "a.jpg")
    with pytest.raises(UserError, match=r"a\.jpg.*a\.png|a\.png.*a\.jpg"):
        GTImageDataset(str(tmp_path))


@pytest.mark.parametrize("size", [(31, 40), (40, 31), (3, 3)])
def test_too_small_for_the_crop_is_told(tmp_path, size):
    images.write(tmp_path / "small.png", np.zeros((*size, 3), np.uint8))
    with pytest.raises(images.UnreadableImage, match=r"small\.png: smaller than"):
        GTImageDataset(str(tmp_path), scale=4, gt_size=32).load(0, draws())


def test_pair_that_does_not_fit_is_told(pairs, tmp_path):
    shutil.copytree(pairs, tmp_path / "p")
    images.write(tmp_path / "p" / "lq" / "000x4.png", np.zeros((15, 16, 3), np.uint8))
    with pytest.raises(images.UnreadableImage, match=r"000\.png: GT \(64, 64\) is not 4 times LQ \(15, 16\)"):
        paired(tmp_path / "p").load(0, draws())


def test_gt_that_is_no_multiple_of_the_scale(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (67, 65, 3), dtype=np.uint8)
    images.write(tmp_path / "gt" / "a.png", picture)
    images.write(tmp_path / "lq" / "a.png", shrink(picture[:64, :64], 4, "bicubic"))
    for dataset in (
        GTImageDataset(str(tmp_path / "gt"), scale=4),
        PairedImageDataset(str(tmp_path / "gt"), str(tmp_path / "lq"), scale=4),
    ):
        sample = dataset.load(0, draws())
        assert sample["gt"].shape == (64, 64, 3)
        assert sample["lq"].shape == (16, 16, 3)


def test_flips_and_rotations_are_the_same_for_both(faces):
    parts = [Part(type="RandomFlip", horizontal=1.0, vertical=1.0), Part(type="RandomRotate90", probability=1.0)]
    changed = GTImageDataset(str(faces), scale=1, gt_size=32, transforms=parts)
    for number in range(8):
        sample = changed.load(number, draws(number))
        assert np.array_equal(sample["lq"], sample["gt"])


def test_all_eight_orientations_come(faces):
    parts = [Part(type="RandomFlip"), Part(type="RandomRotate90")]
    dataset = GTImageDataset(str(faces), transforms=parts)
    plain = images.read(faces / "000.png")
    eight = {np.rot90(p, turn).tobytes() for p in (plain, plain[:, ::-1]) for turn in range(4)}
    assert {dataset.load(0, draws(number))["gt"].tobytes() for number in range(80)} == eight
