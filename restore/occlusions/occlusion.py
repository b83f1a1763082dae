"""What every occlusion is."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from restore.faces.face import Face
from restore.images import Image
from restore.keyed import Draws

Mask = NDArray[np.bool_]  # (H, W), true where the picture no longer shows what was there


def as_picture(mask: Mask) -> NDArray[np.uint8]:
    """A mask (H, W) as a picture (H, W, 3), white where it is set."""
    return np.repeat(np.where(mask, np.uint8(255), np.uint8(0))[:, :, None], 3, axis=2)


class Occluded(NamedTuple):
    """A picture with something before it, and where. Outside the mask it is byte for byte as before."""

    picture: Image
    mask: Mask


class Occlusion:
    """Base of the occlusions: hides a part of one picture, as `draws` says."""

    def __call__(self, picture: Image, face: Face, draws: Draws) -> Occluded:
        """The occluded picture as a new array, and its mask.

        Args:
            picture: (H, W, 3) RGB of 8 or 16 bits, not to be written to.
            face: where the face is.
            draws: all randomness comes from here: equal draws, equal result.
        """
        raise NotImplementedError
