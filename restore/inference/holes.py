"""What is to be rebuilt in a photo: masks from files, from what is known of faces, or of what is laid over them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from restore import images
from restore.data.records import open_records
from restore.errors import UserError
from restore.faces.face import Face
from restore.images import Image, Polarity
from restore.keyed import draws
from restore.occlusions.compose_occlusion import Chain
from restore.occlusions.occlusion import Mask, Occluded
from restore.occlusions.region import filled
from restore.registry import Part

Fill = Literal["keep", "black", "white", "grey", "mean"]

# Where faces are covered, by their landmarks alone. What a mask covers differs between kinds and wearers: all of them,
# and a rim.
_KINDS = ("surgical", "cloth", "n95")
_WORN = [{"type": "FaceMask", "kind": kind, "straps": False, "shadow": False} for kind in _KINDS]
GEOMETRY: dict[str, list[dict[str, Any]]] = {"lower": [{"type": "LowerFace"}], "face_mask": _WORN}
RIM = {"lower": 0.0, "face_mask": 0.11}  # of the width of the face's box


class NothingHidden(UserError):
    """There is nothing to rebuild in a picture: of a film, that frame stays as it is."""


class Hole(Protocol):
    """Says what a network is shown of a picture, and which pixels it is to rebuild."""

    @property
    def needs_faces(self) -> bool: ...

    def __call__(self, key: str, picture: Image, faces: Sequence[Face]) -> Occluded:
        """Raises `NothingHidden` where there is none, `UserError` where a mask is missing or unfit."""


class FileHole:
    """Masks from files: one for all pictures, or a folder's or LMDB's of the pictures' names.

    Args:
        path: the file or the folder.
        polarity: which colour says that pixels are missing.
        fill: what the network is shown there.
    """

    needs_faces = False

    def __init__(self, path: Path, polarity: Polarity, fill: Fill) -> None:
        self.path, self.polarity, self.fill = path, polarity, fill
        several = path.is_dir() or path.suffix == ".lmdb"
        self.records = open_records(str(path)) if several else None
        self.known = set(self.records.keys) if self.records else set()
        if not several and not path.is_file():
            raise UserError(f"--mask {path}: no such file or folder, and none of auto, {', '.join(GEOMETRY)}")

    def __call__(self, key: str, picture: Image, faces: Sequence[Face]) -> Occluded:
        where, data = self._read(key)
        mask = images.decode_mask(data, where, self.polarity)[:, :, 0] > 0
        if mask.shape != picture.shape[:2]:
            (h, w), (height, width) = mask.shape, picture.shape[:2]
            raise UserError(f"{where}: this mask has {w}x{h} pixels, its picture {width}x{height}")
        if not mask.any():
            raise NothingHidden(f"{where}: this mask marks nothing; --mask_polarity says which colour is missing")
        return Occluded(shown_as(picture, mask, self.fill), mask)

    def _read(self, key: str) -> tuple[str, bytes]:
        if self.records is None:
            return str(self.path), self._bytes()
        if key not in self.known:
            raise UserError(f"{self.path}: holds no mask called `{key}`")
        return self.records.where(key), self.records.get(key)

    def _bytes(self) -> bytes:
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise UserError(f"--mask {self.path}: {error.strerror}") from error


class GeometricHole:
    """Where a face is covered, as its landmarks tell: nothing is looked at to find what covers it."""

    needs_faces = True

    def __init__(self, name: str, fill: Fill) -> None:
        self.rim, self.fill = RIM[name], fill
        self.occlusion = Chain([Part.model_validate(section) for section in GEOMETRY[name]])

    def __call__(self, key: str, picture: Image, faces: Sequence[Face]) -> Occluded:
        mask = np.zeros(picture.shape[:2], np.bool_)
        for face in faces:
            own = self.occlusion(picture, face, draws("geometry")).mask
            mask |= widened(own, round(self.rim * (face.box[2] - face.box[0])))
        if not mask.any():
            raise NothingHidden("what the mask would cover lies outside the picture")
        return Occluded(shown_as(picture, mask, self.fill), mask)


class DrawnHole:
    """What occlusions lay over each face, to be taken away again: a model tried on a picture whose truth is known.

    Args:
        parts: the occlusions, in their order.
        seed: with the picture's key what draws come from, as in `restore test`.
    """

    needs_faces = True

    def __init__(self, parts: list[Part], seed: int) -> None:
        self.occlusion, self.seed = Chain(parts), seed

    def __call__(self, key: str, picture: Image, faces: Sequence[Face]) -> Occluded:
        own, hidden = draws(self.seed, "evaluate", key), np.zeros(picture.shape[:2], np.bool_)
        for face in faces:
            picture, mask = self.occlusion(picture, face, own)
            hidden |= mask
        if not hidden.any():
            raise NothingHidden("--occlude hides nothing of this picture")
        return Occluded(picture, hidden)


def shown_as(picture: Image, mask: Mask, fill: Fill) -> Image:
    """The picture with the hole filled."""
    return picture if fill == "keep" else filled(picture, mask, fill, draws("fill"))


def disk(radius: int) -> NDArray[np.uint8]:
    """The disk of that radius in pixels, for OpenCV to widen or close masks with."""
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), np.uint8)


def widened(mask: Mask, radius: int) -> Mask:
    """The mask and what is within `radius` pixels of it."""
    wider: Mask = cv2.dilate(mask.astype(np.uint8), disk(radius)) > 0
    return wider
