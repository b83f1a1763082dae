"""Rebuilds what is hidden in photos, and leaves every other pixel as it was."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import Tensor

from restore.faces.crop import Crop
from restore.faces.detector import Detector
from restore.faces.face import Face
from restore.images import Image
from restore.inference.holes import Hole, NothingHidden
from restore.inference.model import Model
from restore.inference.paste import Blend, paste
from restore.inference.people import Choice, find_people
from restore.inference.tiling import Tile
from restore.occlusions.occlusion import Mask
from restore.tasks.candidates import require_latents
from restore.tasks.networks import takes_time

Answer = Callable[[Tensor, Tensor], Tensor]  # LQ (1, 3, h, w) and mask (1, 1, h, w) to the network's own answer


@dataclass(frozen=True)
class Rebuilt:
    """What was made of a picture."""

    shown: Image  # what the network was shown
    mask: Mask  # the pixels that it rebuilt
    results: list[Image]  # the pictures with them, one a candidate
    faces: list[Face]
    notes: list[str]  # what the user should know


class Rebuilder:
    """Finds faces, decides what is hidden, and has a network rebuild it.

    Args:
        model: of kind `unmask`.
        hole: what is to be rebuilt.
        detector: finds the faces; None where none are needed.
        choice: which of them.
        size: of the aligned frames that the network sees; None: it sees the whole picture.
        candidates: results of each picture.
        tile: of whole pictures, as in `Model.picture`.
        blend: how a rebuilt face meets what is around the hole, as in `paste`: "feather" writes it as it is.
        match: whether its colours are brought to those around the hole; else their tone may change at its edge.

    Raises:
        UserError: several candidates are asked for, of a network that makes one result of a picture.
    """

    def __init__(
        self,
        model: Model,
        hole: Hole,
        detector: Detector | None,
        choice: Choice,
        size: int | None,
        candidates: int = 1,
        tile: Tile = "auto",
        blend: Blend = "poisson",
        match: bool = True,
    ) -> None:
        if candidates > 1 and not takes_time(type(model.network)):
            require_latents(model.network)
        self.model, self.hole, self.detector, self.choice, self.size = model, hole, detector, choice, size
        self.candidates, self.tile, self.blend, self.match = candidates, tile, blend, match

    def __call__(self, key: str, picture: Image, faces: Sequence[Face] | None = None) -> Rebuilt:
        """Rebuilds one picture.

        Args:
            key: the picture's name, by which masks and draws are found.
            picture: (H, W, 3) of 8 or 16 bits.
            faces: in it, where that is known already; else they are looked for.

        Raises:
            NothingHidden: no hole, or none of it in a face's frame.
            UserError: no face, or a mask that is missing or unfit; see `Model.answer`.
        """
        if faces is None:
            faces = find_people(picture, self.detector, self.choice) if self.detector else []
        picture = np.ascontiguousarray(picture)  # type: ignore[assignment]
        shown, mask = self.hole(key, picture, faces)
        numbers = range(self.candidates)
        if self.size is None:
            whole = [self.model.picture(shown, mask, number, self.tile) for number in numbers]
            return Rebuilt(shown, mask, list(whole), list(faces), [])
        made = [self._in_frames(shown, mask, faces, self.size, number) for number in numbers]
        rebuilt = made[0][1]
        if not rebuilt.any():
            raise NothingHidden("nothing of the mask lies in a face's frame; --whole may do")
        left = int((mask & ~rebuilt).sum())
        outside = f"{left:,} pixels of the mask lie outside the frames of the faces, and were left"
        notes = [f"{outside}; --whole rebuilds all of it"] if left else []
        return Rebuilt(shown, rebuilt, [result for result, _ in made], list(faces), notes)

    def _in_frames(self, shown: Image, mask: Mask, faces: Sequence[Face], size: int, number: int) -> tuple[Image, Mask]:
        answer = partial(self.model.answer, candidate=number)
        return in_frames(shown, mask, faces, size, answer, self.blend, self.match)


def in_frames(
    shown: Image,
    mask: Mask,
    faces: Sequence[Face],
    size: int,
    answer: Answer,
    blend: Blend = "poisson",
    match: bool = True,
) -> tuple[Image, Mask]:
    """Rebuilds face by face in aligned frames of `size` pixels: the picture, and what of the mask was rebuilt.

    A pixel in the frames of two faces is rebuilt with the first of them, and known to the second.
    """
    result, left = shown.copy(), mask.copy()
    for face in faces:
        crop = Crop.of(face, size)
        window = crop.reach(*mask.shape)
        if (left[window] & crop.holds(window)).any():
            pred = answer(crop.cut(result), crop.cut_mask(left))
            left &= ~paste(result, crop, pred, blend, match, left)
    return result, mask & ~left
