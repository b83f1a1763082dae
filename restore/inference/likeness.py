"""How much the faces in pictures look like one another to a face-recognition network."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from restore.faces.crop import Crop
from restore.faces.face import Face
from restore.faces.identity import Identity
from restore.images import Image
from restore.occlusions.occlusion import Mask
from restore.pretrained import describe

SIZE = 256  # pixels a side of the crop that the network's own is taken out of
GREY = 0.5  # what stands in place of hidden pixels: zero to networks that see [-1, 1]
NETWORK = "mobilefacenet"

Vector = NDArray[np.float64]


class Likeness:
    """Vectors of faces, whose products are cosines: near 1 for one person, near 0 for two.

    Args:
        weights: of the network, in the place of the registered file; `random` for tests.

    Raises:
        UserError: the network's weights cannot be had.
    """

    def __init__(self, weights: str | None = None) -> None:
        file = describe(NETWORK)
        self.network, self.licence = NETWORK, file.licence
        self.sha256 = file.sha256 if weights is None else weights
        self.identity = Identity(NETWORK, weights)

    @torch.inference_mode()
    def __call__(
        self, picture: Image, face: Face, hidden: Mask | None = None, size: tuple[int, int] | None = None
    ) -> Vector:
        """(D,) of a face in a picture (H, W, 3).

        Args:
            hidden: pixels (H, W) that are grey to the network.
            size: height and width of the picture that `face` was found in, where this one shows it in another size.
        """
        crop = Crop.of(face, SIZE)
        landmarks = face.landmarks @ crop.matrix[:, :2].T + crop.matrix[:, 2]
        if size is not None:
            crop = crop.scaled(picture.shape[1] / size[1], picture.shape[0] / size[0])
        pixels = crop.cut(picture)
        if hidden is not None:
            pixels = torch.where(crop.cut_mask(hidden) > 0, GREY, pixels)
        vector = self.identity(pixels, torch.from_numpy(landmarks).float()[None])[0].double()
        unit: Vector = torch.nn.functional.normalize(vector, dim=0).numpy()
        return unit


def cosine(one: Vector, other: Vector) -> float:
    """Of unit vectors, to three decimals: further ones differ between machines."""
    return round(float(one @ other), 3)


def ranked(similarities: Sequence[float]) -> list[int]:
    """The places of the values, the largest first; equal ones stay in their order."""
    return sorted(range(len(similarities)), key=lambda place: -similarities[place])
