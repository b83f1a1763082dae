"""The three pictures of a face that `restore prepare occlude` writes: as it was, occluded, and the mask."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from restore import images
from restore.apps.fixed_set import parts_of
from restore.apps.makers import Item, RecordMaker
from restore.data.encode import encode, square
from restore.data.landmarks import Landmarks, read_landmarks
from restore.data.lmdb_store import Record
from restore.faces.face import Face
from restore.keyed import draws
from restore.occlusions.compose_occlusion import Chain
from restore.occlusions.occlusion import Occlusion, as_picture
from restore.registry import OCCLUSIONS

OPTION = OCCLUSIONS, "--occlusion"
STREAM = "evaluate"  # a picture's draws are `keyed.draws(seed, STREAM, key)`, which `restore test` takes too

Kind = Literal["without_mask", "with_mask", "masks"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class OccludedMaker(RecordMaker):
    """Makes one of the three pictures of each face: as it was, with something before it, or where that is.

    Args:
        source: the folder or LMDB.
        kind: which of the three. A mask is white where the face is hidden.
        occlusion: what hides it, as JSON.
        landmarks: a file of landmarks in these pictures; None: they are cut to FFHQ's frame.
        seed: with a picture's key, what its draws come from.
        size: brings pictures to a square of that side first.
        compact: PNG records.
    """

    kind: Kind
    occlusion: str
    landmarks: str | None
    seed: int
    size: int | None
    compact: bool = True

    @cached_property
    def hide(self) -> Occlusion:
        return Chain(parts_of(json.loads(self.occlusion), *OPTION))

    @cached_property
    def points(self) -> Mapping[str, Landmarks]:
        if not self.landmarks:
            return {}
        path = Path(self.landmarks)
        return read_landmarks(path, list(json.loads(path.read_bytes())))  # a part's file knows that part's pictures

    def records(self, item: Item) -> list[Record]:
        return [encode(item.key, self.made(item.key)[self.kind], self.compact)]

    def gt(self, key: str) -> images.Image:
        picture = self.decoded(key)
        return np.ascontiguousarray(square(picture, self.size, self.pictures.where(key)) if self.size else picture)  # type: ignore[return-value]

    def made(self, key: str) -> dict[Kind, images.Image]:
        """All three. Equal to what `OccludedImageDataset` yields for the same picture, landmarks and seed.

        Raises:
            UnreadableImage: the picture cannot be used, or shows no face.
        """
        gt = self.gt(key)
        if self.landmarks and key not in self.points:
            raise images.UnreadableImage(f"{self.pictures.where(key)}: no face was found")
        face = Face.of_landmarks(self.points[key]) if self.landmarks else Face.aligned(*gt.shape[:2])
        occluded, mask = self.hide(gt, face, draws(self.seed, STREAM, key))
        return {"without_mask": gt, "with_mask": occluded, "masks": as_picture(mask)}
