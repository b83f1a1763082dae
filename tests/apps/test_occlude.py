"""`restore prepare occlude` and `masks`: the set that `restore test` would draw, whole, and told what it is."""

import hashlib
import json
import re

import cv2
import numpy as np
import pytest

from restore import images
from restore.apps.occlude_faces import squared
from restore.apps.pair_masks import mask_between
from restore.data.drawn import draw_face
from restore.data.landmarks import write_landmarks
from restore.data.occluded_dataset import OccludedImageDataset
from restore.data.records import open_records
from restore.engine.validation import Table, score
from restore.errors import UserError
from restore.faces.aligned_detector import aligned
from restore.faces.face import Face
from restore.keyed import draws
from restore.registry import DETECTORS, OCCLUSIONS, Entry, Part
from tests.apps.test_prepare import run
from tests.oracles import shared

NAMES = ("a", "sub/b", "c.d")
OCCLUSION = "[{type: FaceMask}, {type: Strokes}, {type: Eyes, fill: random}]"
PARTS = [Part(type="FaceMask"), Part(type="Strokes"), Part(type="Eyes", fill="random")]
KINDS = ("without_mask", "with_mask", "masks")


@pytest.fixture
def source(tmp_path):
    """Three faces, one of them of 16 bits, and their landmarks."""
    points = {}
    for number, name in enumerate(NAMES):
        face = draw_face(0, number, 72)
        picture = face.image if number else face.image.astype(np.uint16) * 257
        images.write(tmp_path / "gt" / f"{name}.png", picture)
        points[name] = face.landmarks - np.float32(0.5)
    write_landmarks(tmp_path / "points.json", points)
    return tmp_path / "gt"


def pictures(where):
    records = open_records(str(where))
    return {key: images.decode(records.get(key), key) for key in records.keys}


def manifest(where):
    return json.loads((where / "manifest.json").read_text())


def as_drawn(dataset, seed):
    """What the evaluator gets of a data set: by key, without, with, and the mask."""
    samples = {key: dataset.load(index, draws(seed, "evaluate", key)) for index, key in enumerate(dataset.keys)}
    return {key: (s["gt"], s["lq"], s["mask"].repeat(3, axis=2)) for key, s in samples.items()}


def assert_same(written, drawn, suffix=""):
    sets = [pictures(written / f"{kind}{suffix}") for kind in KINDS]
    assert all(sorted(each) == sorted(drawn) for each in sets)
    for key, wanted in drawn.items():
        for each, picture in zip(sets, wanted, strict=True):
            assert each[key].dtype == picture.dtype
            assert np.array_equal(each[key], picture)


@pytest.mark.parametrize("landmarks", [False, True])
def test_equals_what_restore_test_draws(source, tmp_path, landmarks, capsys):
    where = ("--landmarks", tmp_path / "points.json") if landmarks else ()
    options = ("--occlusion", OCCLUSION, "--seed", "3", *where)
    run("occlude", source, tmp_path / "files", *options, "--workers", "3")
    run("occlude", source, tmp_path / "lmdbs", *options, "--lmdb", "--workers", "1")
    dataset = OccludedImageDataset(str(source), PARTS, str(tmp_path / "points.json") if landmarks else None)
    drawn = as_drawn(dataset, 3)
    assert len(drawn) == 3
    assert_same(tmp_path / "files", drawn)
    assert_same(tmp_path / "lmdbs", drawn, ".lmdb")
    assert re.search(r"manifest.json: 3 pictures, \d+\.\d % hidden on average", capsys.readouterr().out)
    for scored in score(dataset, {}, {}, 3, Table()):  # the evaluator's own loop
        mask = images.to_unit(images.read(tmp_path / "files" / "masks" / f"{scored.key}.png"))
        assert np.array_equal(scored.mask[0, 0].numpy(), mask[0, 0].numpy())


def test_another_seed_makes_another_set(source, tmp_path):
    for seed in (0, 1):
        run("occlude", source, tmp_path / str(seed), "--occlusion", "Strokes", "--seed", seed)
    first, second = (pictures(tmp_path / str(seed) / "masks") for seed in (0, 1))
    assert all(not np.array_equal(first[key], second[key]) for key in NAMES)


@pytest.mark.parametrize("where", [("--landmarks", "points.json"), ("--detector", "aligned")])
def test_smaller_pictures_with_their_landmarks_make_the_same_again(source, tmp_path, where, monkeypatch):
    """What was written as `without_mask`, with the landmarks beside it, is a data set that draws the same."""
    monkeypatch.chdir(tmp_path)
    run("occlude", source, tmp_path / "set", "--occlusion", OCCLUSION, "--size", "48", *where)
    dataset = OccludedImageDataset(str(tmp_path / "set/without_mask"), PARTS, str(tmp_path / "set/landmarks.json"))
    assert_same(tmp_path / "set", as_drawn(dataset, 0))


def test_landmarks_move_with_the_picture():
    """A white disk of 9 px, in pictures of several shapes: its centre is where its point comes to."""
    from restore.data.encode import square

    for height, width, size in ((90, 90, 45), (120, 90, 40), (91, 140, 50), (64, 64, 64)):
        picture = np.zeros((height, width, 3), np.uint8)
        point = np.array([[width / 2 + 7, height / 2 - 9]], np.float32).round()
        cv2.circle(picture, (int(point[0, 0]), int(point[0, 1])), 9, (255, 255, 255), -1)
        small = square(picture, size, "")[:, :, 0].astype(float)
        y, x = np.mgrid[:size, :size]
        centre = np.array([(small * x).sum(), (small * y).sum()]) / small.sum()
        assert np.abs(squared(point, height, width, size)[0] - centre).max() < 0.1


def test_the_manifest_says_how_and_what(source, tmp_path):
    run("occlude", source, tmp_path / "set", "--occlusion", "[{type: LowerFace, top: 0.6}]", "--seed", "7")
    told = manifest(tmp_path / "set")
    assert told["source"] == "gt"  # where it lay is nobody's business
    assert told["seed"] == 7
    assert told["occlusion"] == [{"type": "LowerFace", "top": 0.6}]
    assert told["faces"] == {"detector": {"type": "aligned"}}
    assert told["draws"] == 'draws(seed, "evaluate", key)'
    assert told["mask_polarity"] == "white_missing"
    assert told["versions"].keys() == {"restore", "numpy", "cv2", "torch"}
    assert sorted(told["pictures"]) == sorted(NAMES)
    for kind in KINDS:
        for key, picture in pictures(tmp_path / "set" / kind).items():
            assert told["pictures"][key][kind] == hashlib.sha256(picture.tobytes()).hexdigest()
    masks = pictures(tmp_path / "set" / "masks")
    assert told["pictures"]["a"]["hole"] == pytest.approx((masks["a"] == 255).mean(), abs=1e-6)
    assert set(np.unique(masks["a"])) == {0, 255}


def test_goes_on_replaces_and_refuses(source, tmp_path, capsys):
    out = tmp_path / "set"
    arguments = ("occlude", source, out, "--occlusion", "[{type: FaceMask}]", "--landmarks", tmp_path / "points.json")
    run(*arguments)
    whole, before = manifest(out), pictures(out / "with_mask")
    capsys.readouterr()
    run(*arguments)
    assert "already there, 3 pictures made with the same" in capsys.readouterr().out
    (out / "manifest.json").write_text(json.dumps({k: v for k, v in whole.items() if k != "pictures"}))
    (out / "masks" / "a.png").unlink()  # killed half-way
    (out / "with_mask" / "a.png").write_bytes(b"half")
    kept = (out / "with_mask" / "sub" / "b.png").stat().st_mtime_ns
    run(*arguments)
    assert "goes on behind 2 of 3" in capsys.readouterr().out
    assert (out / "with_mask" / "sub" / "b.png").stat().st_mtime_ns == kept
    assert manifest(out) == whole
    assert all(np.array_equal(picture, before[key]) for key, picture in pictures(out / "with_mask").items())
    with pytest.raises(
        UserError, match=r"^[^\n]*set: exists, made with other parameters or versions; [^\n]*--overwrite"
    ):
        run(*arguments, "--seed", "1")
    (source / "a.png").unlink()
    run(*arguments, "--seed", "1", "--overwrite")
    assert manifest(out)["seed"] == 1
    assert sorted(pictures(out / "masks")) == sorted(NAMES[1:])  # nothing is left of the set before
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="other: exists, not made by this command"):
        run("occlude", source, tmp_path / "other", "--occlusion", "FaceMask")


class reluctant(aligned):
    """Finds no face in a picture whose first pixel is white."""

    def find(self, picture):
        return [] if picture[0, 0].min() == 255 else super().find(picture)


@pytest.mark.parametrize("kind", ["png", "lmdb"])
def test_pictures_without_a_face_are_set_aside(source, tmp_path, monkeypatch, capsys, kind):
    DETECTORS.discover()
    monkeypatch.setitem(DETECTORS._entries, "reluctant", Entry("reluctant", reluctant))
    blank = images.read(source / "a.png").copy()
    blank[0, 0] = 65535
    images.write(source / "faceless.png", blank)
    (source / "broken.png").write_bytes(b"no picture")
    more = ("--lmdb",) if kind == "lmdb" else ()
    run("occlude", source, tmp_path / "set", "--occlusion", "LowerFace", "--detector", "reluctant", *more)
    told = manifest(tmp_path / "set")
    assert sorted(told["set_aside"]) == ["broken", "faceless"]
    assert "no face was found" in told["set_aside"]["faceless"]
    assert "not a picture" in told["set_aside"]["broken"]
    suffix = ".lmdb" if kind == "lmdb" else ""
    for each in KINDS:
        assert sorted(pictures(tmp_path / "set" / f"{each}{suffix}")) == sorted(NAMES) == sorted(told["pictures"])
    assert "set aside, see the manifest: 2 pictures: broken, faceless" in capsys.readouterr().out
    for key in NAMES:
        (source / f"{key}.png").unlink()
    with pytest.raises(UserError, match="no face in any of the 2 pictures"):
        run("occlude", source, tmp_path / "none", "--occlusion", "LowerFace", "--detector", "reluctant")


def test_landmarks_of_null_are_set_aside(source, tmp_path):
    known = json.loads((tmp_path / "points.json").read_text()) | {"a": None}
    (tmp_path / "some.json").write_text(json.dumps(known))
    run("occlude", source, tmp_path / "set", "--occlusion", "Nose", "--landmarks", tmp_path / "some.json")
    assert list(manifest(tmp_path / "set")["set_aside"]) == ["a"]
    assert sorted(pictures(tmp_path / "set" / "masks")) == sorted(NAMES[1:])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--occlusion", "LowrFace"), "no `LowrFace` among the occlusions; did you mean `LowerFace`"),
        (("--occlusion", "[{type: LowerFace, top: 2}]"), r"--occlusion: LowerFace\.top: .*less than or equal to 1"),
        (("--occlusion", "[]"), "should be a list such as"),
        ((), "--occlusion says what hides the faces"),
        (("--occlusion", "Nose", "--detector", "yunett"), "no `yunett` among the detectors; did you mean `yunet`"),
        (("--occlusion", "Nose", "--landmarks", "none.json"), "none.json: no such file of landmarks"),
    ],
)
def test_mistakes_are_told_in_one_line(source, tmp_path, arguments, told):
    with pytest.raises(UserError, match=told) as error:
        run("occlude", source, tmp_path / "x", *arguments)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "x").exists()


def test_the_catalogue(source, tmp_path, capsys):
    run("occlude", "--preview", tmp_path / "all.png", "-n", "1", "--size", "64")
    told = capsys.readouterr().out
    left_out = told.split("need arguments: ")[1].strip().split(", ")
    names = {entry.name for entry in OCCLUSIONS}
    assert "OneOf" in left_out
    assert set(left_out) < names
    assert f"{len(names) - len(left_out)} occlusions, 1 draws of each" in told
    run(
        "occlude",
        source,
        "--occlusion",
        "[{type: Eyes}]",
        "--preview",
        tmp_path / "eyes.png",
        "-n",
        "3",
        "--no_outline",
    )
    sheet = images.read(tmp_path / "eyes.png")
    assert sheet.shape == (2 * 276 + 4, 2 * 256 + 4, 3)
    eyes = Face.aligned(256, 256).landmarks[:2].mean(0).round().astype(int)
    assert (sheet[eyes[1] - 5 : eyes[1] + 5, eyes[0] - 30 : eyes[0] + 30] < 8).all()
    with pytest.raises(UserError, match="give SRC and DST, or --preview"):
        run("occlude", "--occlusion", "Eyes")


# ----------------------------------------------------------------------------------------------- masks out of pairs


def jpeg(picture, quality):
    return cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def test_masks_out_of_pairs_with_jpeg_noise():
    """What was pasted on is found, whatever its colour, within a few pixels; noise of JPEG is not."""
    part = OCCLUSIONS.build(Part(type="FaceMask", straps=False, shadow=False))
    for number in range(6):
        face = draw_face(2, number, 192)
        pasted, mask = part(face.image, Face.of_landmarks(face.landmarks - np.float32(0.5)), draws("pair", number))
        found = mask_between(jpeg(pasted, 85), jpeg(face.image, 70), 20)
        assert (found & mask).sum() / mask.sum() > 0.97
        near = cv2.dilate(mask.astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
        assert not (found & ~near).any()


def test_prepare_masks(tmp_path, capsys):
    for name in ("a", "b", "same", "other"):
        clean = draw_face(0, 3, 96).image
        pasted = clean.copy()
        if name != "same":
            pasted[40:70, 30:64] = 255 - pasted[40:70, 30:64] // 2
        images.write(tmp_path / "with" / f"{name}.png", pasted)
        if name != "other":
            images.write(tmp_path / "without" / f"{name}.png", clean[:90] if name == "b" else clean)
    arguments = ("masks", tmp_path / "with", tmp_path / "without", tmp_path / "out")
    run(*arguments, "--preview", tmp_path / "sheet.png")
    told = capsys.readouterr().out
    assert "1 masks; 3 pictures set aside" in told
    assert "differs nowhere by --threshold 20" in told
    assert "has 96x96 pixels, without it 96x90" in told
    mask = images.read(tmp_path / "out" / "a.png")[:, :, 0] > 0
    assert mask[42:68, 32:62].all()
    mask[34:76, 24:70] = False
    assert not mask.any()
    assert (tmp_path / "sheet.png").is_file()
    run(*arguments)
    assert "already there, 1 masks" in capsys.readouterr().out
    with pytest.raises(UserError, match="made with other parameters"):
        run(*arguments, "--threshold", "30")


def test_masks_of_real_pairs(tmp_path, capsys):
    """Software pasted these masks on: outside what is found only JPEG noise is left (SOURCES.md: about 2.5 of 255)."""
    folder = shared("masked_pairs")
    run("masks", folder / "masked", folder / "clean", tmp_path / "out")
    assert "45 masks; 0 pictures set aside" in capsys.readouterr().out
    masked, clean = pictures(folder / "masked"), pictures(folder / "clean")
    for key, mask in pictures(tmp_path / "out").items():
        hole = mask[:, :, 0] > 0
        assert 0.01 < hole.mean() < 0.4
        outside = np.abs(masked[key].astype(int) - clean[key]).max(axis=2)[~hole]
        assert outside.mean() < 10
        assert (outside > 60).mean() < 1e-4
