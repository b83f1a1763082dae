"""Photos made larger or clearer: the faces by one model, each in its frame, and what is around them by another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor

from restore.errors import UserError
from restore.faces.crop import Crop
from restore.faces.detector import Detector
from restore.faces.face import Face
from restore.images import Image
from restore.inference.model import Model
from restore.inference.paste import Blend, Patch, paste_all
from restore.inference.people import Choice, NoFace, find_people
from restore.inference.tiling import Tile
from restore.occlusions.occlusion import Mask

Interpolation = Literal["bicubic", "lanczos"]

ALL = Choice()
SIZE = 512  # of a face's frame, where neither the model nor the user say
BATCH = 4  # faces that a model gets at once
EXTREMES = 1e-3, 1e3  # pixels of a frame to one of the photo, beyond which it is no face's


@dataclass(frozen=True, eq=False)
class Enhanced:
    """What was made of a photo."""

    picture: Image
    invented: Mask  # the pixels that a model made, of the result's size
    faces: list[Face]  # in the result's pixels
    notes: list[str]  # what the user should know


class Enhancer:
    """Enlarges or cleans photos. Not for several threads at once, because of the detector.

    Args:
        model: of kind `sr`: for the faces, or, where none are looked for, for the whole picture.
        outscale: the result's size over the photo's; None: as the model of the background has it.
        tile: of whole pictures, as in `Model.picture`.
        detector: finds the faces; None: unless faces are named in the call, the model gets the whole picture.
        choice: which of the faces.
        background: what is around the faces: by a model, or enlarged by interpolation, which at `outscale` 1 leaves it
            as it is, byte for byte.
        blend, match: see `paste`.
        size: of a face's frame in the model's results; None: as it was trained.

    Raises:
        UserError: the model is of another kind, or the scale or size is impossible.
    """

    def __init__(
        self,
        model: Model,
        *,
        outscale: float | None = None,
        tile: Tile = "auto",
        detector: Detector | None = None,
        choice: Choice = ALL,
        background: Model | Interpolation = "bicubic",
        blend: Blend = "feather",
        match: bool = True,
        size: int | None = None,
    ) -> None:
        for each in (model, background):
            if isinstance(each, Model) and each.kind != "sr":
                raise UserError(
                    f"{each.name}: rebuilds what a mask hides; photos are enlarged by another kind of model"
                )
        if outscale is not None and not 0 < outscale <= 64:
            raise UserError(f"outscale {outscale:g}: must be above 0 and at most 64")
        self.model, self.background, self.tile = model, background, tile
        self.detector, self.choice, self.blend, self.match = detector, choice, blend, match
        self.outscale = outscale or (background if isinstance(background, Model) else model).scale
        self.own_size = size is None  # nobody asks for larger faces too
        self.frame = (size or model.size or SIZE) // model.scale
        if self.frame < 1:
            raise UserError(f"{model.name}: a frame of {size} px is too small for a model that enlarges {model.scale}x")

    def __call__(self, picture: Image, faces: Sequence[Face] | None = None) -> Enhanced:
        """One photo (H, W, 3) of 8 or 16 bits. `faces` in it, where they are known already; else they are looked for.

        Raises:
            UserError: no such face (with a background by a model, no face at all is only noted); see `Model.picture`.
        """
        picture = np.ascontiguousarray(picture)  # type: ignore[assignment]
        if faces is None and self.detector is None:
            made = self._surroundings(picture, self.model)
            return Enhanced(made, np.ones(made.shape[:2], np.bool_), [], [])
        notes: list[str] = []
        if faces is None:
            faces = self._people(picture, notes)
        result = self._surroundings(picture, self.background)
        height, width = (new / old for new, old in zip(result.shape[:2], picture.shape[:2], strict=True))
        crops = [Crop.of(face, self.frame) for face in faces]
        kept = [number for number, crop in enumerate(crops) if self._usable(crop, picture, number, notes)]
        seen = [crops[number] for number in kept]
        placed = [crop.resized(self.frame * self.model.scale).scaled(width, height) for crop in seen]
        for number, crop, there in zip(kept, seen, placed, strict=True):
            notes += self._told(number, crop, there)
        invented = paste_all(result, self._patches(picture, seen, placed), self.blend, self.match)
        invented |= isinstance(self.background, Model)
        return Enhanced(result, invented, [_enlarged(faces[number], width, height) for number in kept], notes)

    def _people(self, picture: Image, notes: list[str]) -> list[Face]:
        assert self.detector is not None
        try:
            return find_people(picture, self.detector, self.choice)
        except NoFace:
            if not isinstance(self.background, Model):
                raise
            notes.append("no face was found; the whole picture is the background's model's")
            return []

    def _surroundings(self, picture: Image, by: Model | Interpolation) -> Image:
        """The photo in the result's size, as a new array."""
        height, width = (max(1, round(side * self.outscale)) for side in picture.shape[:2])
        if isinstance(by, Model):
            return _resized(by.picture(picture, tile=self.tile), height, width, "bicubic")
        return _resized(picture, height, width, by)

    def _patches(self, picture: Image, crops: Sequence[Crop], placed: Sequence[Crop]) -> list[Patch]:
        """The faces as the model makes them, `placed` in the result."""
        made: list[Patch] = []
        for start in range(0, len(crops), BATCH):
            group = crops[start : start + BATCH]
            faces = self.model.answer(torch.cat([_cut(crop, picture) for crop in group])).clamp(0, 1)
            for crop, there, face in zip(group, placed[start : start + BATCH], torch.split(faces, 1), strict=True):
                seen = None if isinstance(self.background, Model) else _cut(crop.resized(there.size), picture)
                made.append(Patch(there, face, seen))
        return made

    def _usable(self, crop: Crop, picture: Image, number: int, notes: list[str]) -> bool:
        """Whether a crop has something of the picture in it that the model may make better; else that is noted."""
        low, high = EXTREMES
        if not (low < crop.scale < high and crop.holds(crop.reach(*picture.shape[:2])).any()):
            notes.append(f"face {number + 1} was left as it is: it is no face, or lies outside the picture")
            return False
        photo, made = round(crop.size / crop.scale), crop.size * self.model.scale
        if self.own_size and self.model.scale > 1 and photo > made:
            shows = f"its frame has {photo} px in the photo, the model makes {made}"
            notes.append(f"face {number + 1} was left to the background: {shows} and would blur it; `size` forces it")
            return False
        return True

    def _told(self, number: int, seen: Crop, placed: Crop) -> list[str]:
        """What to know of a face that is larger than the model's frame."""
        photo, result = (round(crop.size / crop.scale) for crop in (seen, placed))
        if result > placed.size:
            told = f"is {result} px in the result, the model's frame {placed.size}: what is finer stays the photo's"
        elif photo > seen.size:
            told = f"is {photo} px in the photo, of which the model sees {seen.size}: it makes up what it does not see"
        else:
            return []
        return [f"face {number + 1} {told}"]


def _cut(crop: Crop, picture: Image) -> Tensor:
    return crop.cut(picture, "bicubic").clamp(0, 1)


def _resized(picture: Image, height: int, width: int, method: Interpolation) -> Image:
    """The picture in another size, by Pillow, which averages where it shrinks; a copy where it has that size.

    OpenCV's bicubic (a = -0.75) bends waves of 8 pixels by 6 %; Pillow's is Keys's (a = -0.5), as that of `Crop.cut`.
    """
    if picture.shape[:2] == (height, width):
        return picture.copy()
    how = Pillow.Resampling[method.upper()]
    if picture.dtype == np.uint8:
        return np.array(Pillow.fromarray(picture).resize((width, height), how))
    result = np.empty((height, width, 3), np.uint16)
    for channel in range(3):  # Pillow has no RGB of 16 bits
        levels = np.asarray(Pillow.fromarray(picture[:, :, channel].astype(np.float32)).resize((width, height), how))
        result[:, :, channel] = np.rint(levels.clip(0, 65535))
    return result


def _enlarged(face: Face, x: float, y: float) -> Face:
    """The face in a picture enlarged that many times, across and down."""
    ratio = np.array([x, y], np.float32)
    x0, y0, x1, y1 = ((np.array(face.box, np.float32).reshape(2, 2) + 0.5) * ratio - 0.5).ravel().tolist()
    return Face((x0, y0, x1, y1), ((face.landmarks + 0.5) * ratio - 0.5).astype(np.float32), face.score)
