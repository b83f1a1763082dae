"""Which faces are meant: what users write, numbers by size, boxes with and without a face in them."""

import numpy as np
import pytest

from restore.errors import UserError
from restore.faces.detector import Detector
from restore.faces.face import Face
from restore.inference.people import Choice, NoFace, find_people, numbered

PHOTO = np.full((100, 160, 3), 90, np.uint8)
SMALL, LARGE, MIDDLE = (10.0, 10.0, 30.0, 35.0), (60.0, 20.0, 120.0, 95.0), (125.0, 5.0, 155.0, 45.0)


class finds(Detector):
    """What it was told."""

    def __init__(self, *boxes):
        super().__init__()
        self.boxes = boxes

    def find(self, picture):
        return [Face.of_box(box) for box in self.boxes]


def boxes_of(choice, *found):
    return [face.box for face in find_people(PHOTO, finds(*found), Choice.parse(choice))]


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        ("all", [LARGE, MIDDLE, SMALL]),
        ("largest", [LARGE]),
        ("1", [LARGE]),
        ("3, 1", [SMALL, LARGE]),
        ("2,2", [MIDDLE]),
        ("box:8,12,33,30", [SMALL]),
        ("box:130,10,150,50; 61,20,119,90", [MIDDLE, LARGE]),
    ],
)
def test_who_is_meant(choice, wanted):
    """Largest first, in whatever order the detector finds them."""
    assert boxes_of(choice, SMALL, LARGE, MIDDLE) == wanted
    assert boxes_of(choice, MIDDLE, SMALL, LARGE) == wanted


@pytest.mark.parametrize("found", [(), (LARGE,)])
def test_a_box_where_no_face_was_found_is_one(found):
    (face,) = find_people(PHOTO, finds(*found), Choice.parse("box:5,50,45,90"))
    assert face.box == (5, 50, 45, 90)
    assert face.score == 0
    assert (face.landmarks > [5, 50]).all()
    assert (face.landmarks < [45, 90]).all()


def test_of_two_faces_in_a_box_the_nearest():
    beside = (58.0, 20.0, 90.0, 60.0)
    assert boxes_of("box:58,22,91,60", LARGE, beside) == [beside]


def test_nobody_there():
    for choice in ("all", "largest", "2"):
        with pytest.raises(NoFace, match=r"no face was found; .* box"):
            boxes_of(choice)


def test_a_number_too_many_says_how_many_there_are():
    with pytest.raises(UserError, match="no face 4: 2 found, counted from 1"):
        boxes_of("1,4", SMALL, LARGE)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "none of `all`"),
        ("everyone", "none of `all`"),
        ("1,,2", "none of `all`"),
        ("1.5", "none of `all`"),
        ("0", "count from 1"),
        ("-1,2", "count from 1"),
        ("box:", "no box"),
        ("box:1,2,3", "no box"),
        ("box:1,2,3,4,5", "no box"),
        ("box:a,2,3,4", "no box"),
        ("box:1,2,30,40;", "no box"),
        ("box:30,2,1,40", "empty"),
        ("box:1,2,1,40", "empty"),
        ("box:1,2,nan,40", "empty"),
        ("box:1,2,inf,40", "empty"),
    ],
)
def test_what_is_no_choice_is_told(text, told):
    with pytest.raises(UserError, match=told) as error:
        Choice.parse(text)
    assert "\n" not in str(error.value)


def test_the_numbers_are_drawn():
    """Each face's number stands at its box: drawn in another order the pictures differ there."""
    faces = [Face.of_box(box) for box in (LARGE, MIDDLE)]
    one, two = numbered(PHOTO, faces), numbered(PHOTO, faces[::-1])
    assert one.shape == PHOTO.shape
    assert (one != PHOTO).any()
    assert (one != two).any()
