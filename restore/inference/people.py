"""Which of the people in a picture are meant."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from restore.errors import UserError
from restore.faces.detector import Detector, overlaps
from restore.faces.draw import draw_faces
from restore.faces.face import Box, Face
from restore.images import Image

FORMS = "`all`, `largest`, numbers as `1,3`, or boxes as `box:x0,y0,x1,y1;x0,y0,x1,y1`"
TOUCHES = 0.1  # intersection over union from which on a box means the face that was found there


class NoFace(UserError):
    """No face was found in a picture, all of it."""


@dataclass(frozen=True)
class Choice:
    """Some of the faces in a picture: all, those of some numbers, or those at some boxes.

    Faces count from 1, the largest first, as detectors return them. A box is in pixels; where no face is found at one,
    somebody says that there is a face.
    """

    numbers: tuple[int, ...] = ()
    boxes: tuple[Box, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Choice":
        """What a user wrote. Raises `UserError`."""
        text = text.strip()
        if text == "all":
            return cls()
        if text == "largest":
            return cls(numbers=(1,))
        if text.startswith("box:"):
            return cls(boxes=tuple(_box(part) for part in text.removeprefix("box:").split(";")))
        try:
            numbers = tuple(dict.fromkeys(int(part) for part in text.split(",")))
        except ValueError:
            raise UserError(f"faces: `{text}` is none of {FORMS}") from None
        if min(numbers) < 1:
            raise UserError(f"faces: `{text}`: faces count from 1, the largest first")
        return cls(numbers)


def find_people(picture: Image, detector: Detector, choice: Choice) -> list[Face]:
    """The faces in a picture that are meant. Errors are those of `chosen`."""
    return chosen(detector(picture), choice)


def chosen(found: list[Face], choice: Choice) -> list[Face]:
    """Those of the faces found that are meant, in the order in which they were named.

    Raises:
        NoFace: none was found.
        UserError: not as many were found as a number says.
    """
    if choice.boxes:
        return [_at(box, found) for box in choice.boxes]
    if not found:
        raise NoFace("no face was found; another detector, or a box around the face (`box:x0,y0,x1,y1`), may do")
    if choice.numbers and max(choice.numbers) > len(found):
        number = max(choice.numbers)
        raise UserError(f"there is no face {number}: {len(found)} found, counted from 1, the largest first")
    return [found[number - 1] for number in choice.numbers] or found


def numbered(picture: Image, faces: Sequence[Face]) -> NDArray[np.uint8]:
    """A copy of a picture as 8 bits, with the faces and their numbers drawn in."""
    return draw_faces(picture, faces, [str(number) for number in range(1, len(faces) + 1)])


def _at(box: Box, found: Sequence[Face]) -> Face:
    """The face nearest to a box, or one made of it. It then has a score of 0."""
    shares = overlaps(np.array(box, np.float32), np.array([face.box for face in found], np.float32).reshape(-1, 4))
    return found[int(shares.argmax())] if shares.max(initial=0) > TOUCHES else Face.of_box(box, score=0.0)


def _box(text: str) -> Box:
    try:
        x0, y0, x1, y1 = (float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"faces: `{text.strip()}` is no box; write x0,y0,x1,y1") from None
    if not (np.isfinite([x0, y0, x1, y1]).all() and x1 - x0 >= 1 and y1 - y0 >= 1):
        raise UserError(f"faces: the box `{text.strip()}` is empty; write x0,y0,x1,y1, left, top, right, bottom")
    return x0, y0, x1, y1
