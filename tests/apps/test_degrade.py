"""`restore prepare degrade`: the same set again, from files or LMDB, with any number of workers."""

import hashlib
import json

import cv2
import numpy as np
import pytest

from restore import images
from restore.apps.degrade import contact_sheet, sections_of
from restore.data.drawn import draw_face
from restore.data.records import open_records
from restore.degradations.pipeline import Pipeline
from restore.degradations.resize import shrink
from restore.errors import UserError
from restore.keyed import draws
from restore.registry import Part
from tests.apps.test_prepare import run

NAMES = ("a", "sub/b", "c.d")
PIPELINE = "[{type: Blur}, {type: GaussianNoise}, {type: ResizeToTarget}, {type: Jpeg}]"


@pytest.fixture
def faces(tmp_path):
    """Three faces, one of a size that is no multiple of 4."""
    for number, name in enumerate(NAMES):
        face = draw_face(0, number, 66 if number == 1 else 64).image
        images.write(tmp_path / "gt" / f"{name}.png", face)
    return tmp_path / "gt"


def pictures(where):
    records = open_records(str(where))
    return {key: images.decode(records.get(key), key) for key in records.keys}


def manifest(where):
    return json.loads((where / "manifest.json").read_text())


def test_files_and_lmdb_and_workers_make_the_same(faces, tmp_path, capsys):
    run("degrade", faces, tmp_path / "lq", "--degradation", PIPELINE, "--workers", "3")
    run(
        "degrade", faces, tmp_path / "lq.lmdb", "--degradation", PIPELINE, "--workers", "1", "--gt", tmp_path / "g.lmdb"
    )
    run("lmdb", faces, tmp_path / "gt.lmdb")
    run("degrade", tmp_path / "gt.lmdb", tmp_path / "again", "--degradation", PIPELINE)
    sets = [pictures(tmp_path / name) for name in ("lq", "lq.lmdb", "again")]
    assert sorted(sets[0]) == sorted(NAMES)
    for key in NAMES:
        assert all(np.array_equal(sets[0][key], other[key]) for other in sets[1:])
        gt = pictures(tmp_path / "g.lmdb")[key]
        assert gt.shape == (64, 64, 3)
        assert np.array_equal(gt, images.read(faces / f"{key}.png")[:64, :64])
        own = [draws(0, "degrade", key)]
        pipeline = Pipeline([Part(**section) for section in sections_of(PIPELINE)], 4)
        assert np.array_equal(sets[0][key], images.to_uint8(pipeline(images.to_unit(gt), own)["lq"][0]))
    assert "manifest.json: 3 pictures" in capsys.readouterr().out


def test_the_manifest_says_how_and_what(faces, tmp_path):
    run("degrade", faces, tmp_path / "lq", "--degradation", "[{type: realesrgan, jpeg_range: [50, 60]}]", "--seed", "7")
    told = manifest(tmp_path / "lq")
    assert told["seed"] == 7
    assert told["scale"] == 4
    assert told["source"] == "gt"  # where it lay is nobody's business
    assert told["degradation"] == [{"type": "realesrgan", "jpeg_range": [50, 60]}]
    assert [section["type"] for section in told["pipeline"]][:4] == ["Blur", "Resize", "OneOf", "Jpeg"]
    assert told["pipeline"][3]["quality"] == [50, 60]
    assert told["versions"].keys() == {"restore", "numpy", "cv2", "torch"}
    for key, picture in pictures(tmp_path / "lq").items():
        assert told["pictures"][key] == hashlib.sha256(picture.tobytes()).hexdigest()
    run("degrade", faces, tmp_path / "lq8", "--degradation", "realesrgan", "--seed", "8")
    assert not set(told["pictures"].values()) & set(manifest(tmp_path / "lq8")["pictures"].values())


def test_size_and_bicubic_are_what_training_sees(faces, tmp_path):
    run("degrade", faces, tmp_path / "lq", "--degradation", "bicubic", "--size", "32", "--gt", tmp_path / "small")
    small = pictures(tmp_path / "small")
    for key, lq in pictures(tmp_path / "lq").items():
        gt = images.read(faces / f"{key}.png")
        assert np.array_equal(small[key], cv2.resize(gt, (32, 32), interpolation=cv2.INTER_AREA))
        assert np.array_equal(lq, shrink(small[key], 4))


def test_goes_on_replaces_and_refuses(faces, tmp_path, capsys):
    out = tmp_path / "lq"
    arguments = ("degrade", faces, out, "--degradation", "bicubic")
    run(*arguments)
    whole = manifest(out)
    capsys.readouterr()
    run(*arguments)
    assert "already there, 3 pictures" in capsys.readouterr().out
    (out / "manifest.json").write_text(json.dumps({k: v for k, v in whole.items() if k != "pictures"}))
    (out / "a.png").unlink()
    run(*arguments)  # killed half-way
    assert manifest(out) == whole
    with pytest.raises(
        UserError, match=r"^[^\n]*lq: exists, made with other parameters or versions; [^\n]*--overwrite"
    ):
        run(*arguments, "--seed", "1")
    run(*arguments, "--seed", "1", "--overwrite")
    assert manifest(out)["seed"] == 1
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="other: exists, not made by this command"):
        run("degrade", faces, tmp_path / "other", "--degradation", "bicubic")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--degradation", "realesrgna"), "no `realesrgna` among the degradations; did you mean `realesrgan`"),
        (("--degradation", "[{type: Jpeg, quality: [0, 300]}]"), r"Jpeg\.quality\.0: .*greater than or equal to 1"),
        (("--degradation", "[{type: Jpeg, qualty: [3, 30]}]"), r"Jpeg\.qualty: Extra inputs"),
        (("--degradation", "[]"), "should be a list such as"),
        (("--degradation", "[{a: 1}]"), "should be a list such as"),
        (("--degradation", "bicubic", "--size", "30"), "30: is no multiple of --scale 4"),
        (("--degradation", "[{type: Jpeg}]"), r"the LQ has 16x16; end it with `type: ResizeToTarget`"),
    ],
)
def test_mistakes_are_told_in_one_line(faces, tmp_path, arguments, told):
    with pytest.raises(UserError, match=told) as error:
        run("degrade", faces, tmp_path / "x", *arguments)
    assert "\n" not in str(error.value)


def test_a_broken_picture_is_told(faces, tmp_path):
    (faces / "broken.png").write_bytes(b"no picture")
    for out in ("lq", "lq.lmdb"):
        with pytest.raises(UserError, match=r"broken|1 of 4 pictures"):
            run("degrade", faces, tmp_path / out, "--degradation", "bicubic")


def test_preview(faces, tmp_path, capsys):
    run("degrade", faces, "--degradation", "gfpgan", "--scale", "1", "--preview", tmp_path / "sheet.png", "-n", "3")
    run("degrade", "--degradation", "old_photo", "--scale", "2", "--preview", tmp_path / "drawn.png", "-n", "5")
    assert images.read(tmp_path / "sheet.png").shape == (516, 516, 3)
    assert images.read(tmp_path / "drawn.png").shape == (516, 776, 3)
    told = capsys.readouterr().out
    assert "the GT `a` and 3 draws of its LQ" in told
    sheet = images.read(tmp_path / "drawn.png")
    assert np.array_equal(sheet[:256, :256], draw_face(0, 0, 256).image)
    assert not np.array_equal(sheet[:256, 260:516], sheet[:256, 520:])
    with pytest.raises(UserError, match="give SRC and DST, or --preview"):
        run("degrade", "--degradation", "gfpgan")


def test_contact_sheet_keeps_pixels():
    small = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    sheet = contact_sheet([small, small, small])
    assert sheet.shape == (516, 516, 3)
    assert np.array_equal(sheet[:256:128, :256:128], small)
    assert (sheet[260:, 260:] == 255).all()
