"""What a report tells of a result: what was made up, what is the photo's, and whose face it is like."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from restore import images
from restore.data.drawn import draw_face
from restore.errors import UserError
from restore.faces.aligned_detector import aligned
from restore.faces.detector import Detector
from restore.faces.face import Face
from restore.inference.enhance import Enhanced
from restore.inference.likeness import Likeness, ranked
from restore.inference.model import Model
from restore.inference.rebuild import Rebuilt
from restore.inference.report import Reporter, open_references, rest
from restore.inference.report_picture import WIDTH, draw, overlay, shortened
from restore.inference.side_by_side import TINT

SIDE = 96
FACE = Face.aligned(SIDE, SIDE)
HOLE = np.zeros((SIDE, SIDE), np.bool_)
HOLE[55:85, 25:70] = True


@pytest.fixture(scope="module")
def likeness():
    torch.manual_seed(0)
    return Likeness("random")


@pytest.fixture(scope="module")
def model():
    made = Model.of(torch.nn.Identity(), kind="unmask")
    made.name, made.sha256 = "dreamer", "ab" * 32
    return made


def person(number):
    return draw_face(5, number, SIDE).image


def blended(picture, towards, share):
    """The picture, its hole that much nearer to what another shows there."""
    result = picture.copy()
    result[HOLE] = np.rint(picture[HOLE] * (1 - share) + towards[HOLE] * share)
    return result


@pytest.fixture
def photo(tmp_path):
    images.write(tmp_path / "photo.png", person(1))
    return tmp_path / "photo.png"


def files_of(results):
    names = [Path("photo_new.png"), *(Path(f"photo_new_c{n}.png") for n in range(1, len(results)))]
    return {path: images.encode(path, result) for path, result in zip(names, results, strict=True)}


def rebuilt(results, faces=(FACE,), mask=HOLE, notes=()):
    return Rebuilt(person(1), mask, results, list(faces), list(notes))


def told(reporter, photo, done):
    results = done.results if isinstance(done, Rebuilt) else [done.picture]
    return reporter(photo, person(1), done, files_of(results), done.notes)


def test_the_overlay_touches_what_was_made_up_and_nothing_else():
    picture = person(3)
    changed = (overlay(picture, HOLE) != picture).any(axis=2)
    assert np.array_equal(changed, HOLE)
    edge = (overlay(picture, HOLE) == TINT).all(axis=2)
    assert edge[55, 40]
    assert not edge[70, 45]
    assert np.array_equal(overlay(picture.astype(np.uint16) * 257, HOLE), overlay(picture, HOLE))


def test_a_photo_is_like_itself_and_less_like_another(likeness):
    own = likeness(person(1), FACE)
    assert own @ likeness(person(1), FACE) == pytest.approx(1)
    assert own @ likeness(person(2), FACE) < 0.9999


def test_the_same_face_in_another_size_is_looked_at_in_its_place(likeness):
    small = person(1)
    large = cv2.resize(small, (3 * SIDE, 2 * SIDE), interpolation=cv2.INTER_CUBIC)
    stretched = Face(FACE.box, (FACE.landmarks + 0.5) * np.float32([3, 2]) - 0.5)
    moved = Face(FACE.box, stretched.landmarks + np.float32([60, 0]))
    there = likeness(large, stretched)
    assert there @ likeness(small, stretched, size=large.shape[:2]) > 0.995
    assert there @ likeness(small, moved, size=large.shape[:2]) < 0.99


def test_what_is_hidden_does_not_count(likeness):
    other = blended(person(1), 255 - person(1), 1)
    inner = cv2.erode(HOLE.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0  # a pixel of the crop mixes its neighbours
    changed = np.where(inner[:, :, None], other, person(1))
    hidden = [likeness(picture, FACE, HOLE) for picture in (person(1), changed)]
    assert hidden[0] @ hidden[1] == pytest.approx(1)
    assert likeness(person(1), FACE) @ likeness(changed, FACE) < 0.9999


def test_an_unchanged_photo_is_like_itself_in_the_report(model, likeness, photo):
    reporter = Reporter(model, {}, likeness, None)
    report = told(reporter, photo, Enhanced(person(1), np.ones_like(HOLE), [FACE], []))
    assert report.facts["faces"][0]["visible"] == [1.0]
    assert report.facts["invented"]["share"] == 1
    assert report.facts["invented"]["rest"] == "none"
    assert report.told == "likeness to what the photo shows 1.00"


def test_results_are_ranked_by_their_likeness_to_the_person(model, likeness, photo, tmp_path):
    """Candidates are faked: the photo's hole, more and less of it as the reference shows it."""
    images.write(tmp_path / "them" / "a.png", person(2))
    references, _ = open_references([("a.png", tmp_path / "them" / "a.png")], likeness, aligned())
    reporter = Reporter(model, {}, likeness, None, references)
    towards = cv2.GaussianBlur(255 - person(2), (0, 0), 3)
    shares = [0.5, 1.0, 0.0, 0.25]
    results = [blended(person(2), towards, share) for share in shares]
    report = told(reporter, photo, rebuilt(results))
    assert report.order == [2, 3, 0, 1]
    ranking = report.facts["ranking"]
    assert [each["file"] for each in ranking] == [f"photo_new{end}.png" for end in ("_c2", "_c3", "", "_c1")]
    assert ranking[0]["similarity"] == 1.0
    assert report.told.startswith("by likeness to the references: photo_new_c2.png 1.00, photo_new_c3.png 0.")
    assert ranked([0.1, 0.5, 0.5]) == [1, 2, 0]


def test_the_ranking_is_that_of_the_face_which_is_the_person(model, likeness, photo, tmp_path):
    images.write(tmp_path / "a.png", person(2))
    references, _ = open_references([("a.png", tmp_path / "a.png")], likeness, aligned())
    other = Face(FACE.box, FACE.landmarks + np.float32([12, -9]))
    results = [blended(person(2), person(4), share) for share in (1, 0)]
    report = told(Reporter(model, {}, likeness, None, references), photo, rebuilt(results, faces=[other, FACE]))
    assert report.order == [1, 0]
    assert report.facts["ranking_face"] == 2
    assert report.facts["ranking"][0]["similarity"] == 1.0


def test_a_face_of_which_nothing_was_made_up_is_not_measured(model, likeness, photo):
    mask = np.zeros_like(HOLE)
    mask[:3, :3] = True
    report = told(Reporter(model, {}, likeness, None), photo, rebuilt([person(1)], mask=mask))
    assert report.facts["faces"][0] == {
        "box": [round(value, 1) for value in FACE.box],
        "invented": 0.0,
        "number": 1,
        "references": [],
        "visible": [],
    }
    assert report.told == "no face in what was made up"


def test_the_file_says_the_same_in_every_run_and_names_no_folder(model, likeness, photo):
    make = Reporter(model, {"seed": 3, "size": None}, likeness, None)
    done = rebuilt([blended(person(1), person(2), 1)], notes=["all went well"])
    data = told(make, photo, done).json()
    assert data == told(make, photo, done).json()
    facts = json.loads(data)
    assert list(facts) == sorted(facts)
    assert str(photo.parent) not in data.decode()
    assert facts["input"]["file"] == "photo.png"
    assert facts["model"] == {"arch": "Identity", "name": "dreamer", "scale": 1, "sha256": "ab" * 32}
    assert facts["invented"]["sentence"] == "What is tinted was made up by dreamer; it is not what was there."
    assert facts["invented"]["pixels"] == HOLE.sum()
    assert facts["invented"]["share"] == pytest.approx(HOLE.mean(), abs=1e-6)
    assert facts["invented"]["rest"] == "identical"
    assert facts["options"] == {"seed": 3, "size": None}
    assert facts["notes"] == ["all went well"]
    assert "no proof of likeness" in facts["identity"]["caveat"]
    assert "for research" in facts["identity"]["licence"]


def test_what_is_left_of_the_photo_is_looked_at(model):
    before = person(1)
    assert rest(before, blended(before, person(2), 1), HOLE) == "identical"
    one_off = before.copy()
    one_off[0, 0, 0] ^= 1
    assert rest(before, one_off, HOLE) == "changed"
    assert rest(before, before.astype(np.uint16) * 257, HOLE) == "changed"
    assert rest(before, cv2.resize(before, None, fx=2, fy=2), np.zeros((2 * SIDE, 2 * SIDE), np.bool_)) == "resized"
    assert rest(before, person(2), np.ones_like(HOLE)) == "none"


def test_without_weights_there_is_a_gap(model, photo):
    report = told(Reporter(model, {}, None, None, gap="not measured: no weights"), photo, rebuilt([person(1)]))
    assert report.facts["identity"] == {"gap": "not measured: no weights"}
    assert report.facts["faces"][0]["visible"] == []
    assert report.facts["faces"][0]["invented"] > 0.2
    assert report.told == "identity: not measured: no weights"
    assert draw(report).shape[1] == WIDTH


def test_faces_are_looked_for_where_the_restoring_did_not(model, likeness, photo):
    done = rebuilt([person(1)], faces=())
    found = told(Reporter(model, {}, likeness, aligned()), photo, done)
    assert len(found.people) == 1

    class Blind(Detector):
        def find(self, picture):
            return []

    none = told(Reporter(model, {}, likeness, Blind()), photo, done)
    assert none.facts["identity"] == {"gap": "not measured: no face was found"}


def test_references_that_show_nobody_are_told(likeness, tmp_path):
    class Picky(Detector):
        def find(self, picture):
            return [FACE] if picture.std() > 1 else []

    images.write(tmp_path / "a.png", person(1))
    images.write(tmp_path / "wall.png", np.full((40, 40, 3), 90, np.uint8))
    (tmp_path / "b.png").write_bytes(b"no picture")
    named = [(path.name, path) for path in sorted(tmp_path.iterdir())]
    found, notes = open_references(named, likeness, Picky())
    assert [each.file.file for each in found] == ["a.png"]
    assert notes[0].startswith("reference b.png: left out: ")
    assert str(tmp_path) not in notes[0]
    assert notes[1] == "reference wall.png: left out: no face was found"
    with pytest.raises(UserError, match=r"--reference: reference wall.png: left out: no face"):
        open_references(named[2:], likeness, Picky())


@pytest.mark.parametrize(("count", "faces"), [(1, ()), (2, (FACE,)), (5, (FACE,) * 9)])
def test_the_picture_holds_any_number_of_results_and_faces(model, photo, count, faces):
    done = rebuilt([person(number) for number in range(count)], faces, notes=["ein langes Wort " + "x" * 300] * 2)
    picture = draw(told(Reporter(model, {"mask": "m" * 400}, None, None, gap="none"), photo, done))
    assert picture.shape[1] == WIDTH
    assert picture.dtype == np.uint8
    assert (picture == TINT).all(axis=2).sum() > 500  # the edge, drawn as large as the cell
    assert (picture[:, :30] == 255).all()  # nothing runs out of it
    assert (picture[:, -30:] == 255).all()


def test_pictures_of_any_shape_and_names_of_any_length(model, photo):
    for height, width in ((8, 900), (900, 8), (1, 1)):
        picture = np.full((height, width, 3), 90, np.uint8)
        mask = np.ones((height, width), np.bool_)
        done = Enhanced(picture, mask, [], [])
        name = Path("Ünïcode-Привет-" + "long" * 60 + ".png")
        report = Reporter(model, {}, None, None, gap="none")(
            photo, picture, done, {name: images.encode(Path("a.png"), picture)}
        )
        assert draw(report).shape[1] == WIDTH
    assert shortened("a" * 30 + "b" * 30, 21) == "a" * 9 + "..." + "b" * 9
    assert shortened("short.png", 21) == "short.png"
