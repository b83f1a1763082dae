"""Previews of the occlusions that option files can name: what each lays over a face, and the mask that goes with it."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from restore.data.drawn import draw_face
from restore.errors import UserError
from restore.faces.detector import Detector
from restore.faces.face import Face
from restore.images import Image
from restore.keyed import draws
from restore.occlusions.occlusion import Occlusion, as_picture
from restore.registry import OCCLUSIONS, Part

SIZE = 512  # pixels a side of the drawn face


@dataclass(frozen=True)
class Preview:
    """A face with something before it, and the mask as a picture, white where the face is hidden."""

    picture: Image
    mask: Image
    hidden: float  # which share of the picture


@cache
def choices() -> dict[str, str]:
    """The occlusions that need no arguments, by name, each with its one line."""
    return {entry.name: entry.summary for entry in OCCLUSIONS.without_arguments()}


def occluded(name: str | None, number: int, picture: Image | None, detector: Detector | None) -> Preview:
    """Draw `number` of an occlusion.

    Args:
        name: of the occlusion.
        number: another one, another draw.
        picture: (H, W, 3) with a face that the detector finds; None: a drawn face, another for each number.

    Raises:
        UserError: no such occlusion, or no face.
    """
    if name not in choices():
        raise UserError("choose an occlusion first")
    if picture is None or detector is None:
        drawn = draw_face(0, number, SIZE)
        picture, face = drawn.image, Face.of_landmarks(drawn.landmarks - np.float32(0.5))
    elif found := detector(picture):
        face = Face.of_landmarks(found[0].landmarks)
    else:
        raise UserError("no face was found in the photo; take it away to see a drawn face")
    occlusion: Occlusion = OCCLUSIONS.build(Part(type=name))
    shown, mask = occlusion(picture, face, draws(0, "preview", name, number))
    return Preview(shown, as_picture(mask), float(mask.mean()))
