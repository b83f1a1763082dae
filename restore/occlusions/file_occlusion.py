"""Masks from files, as irregular-mask data sets come."""

import cv2

from restore import images
from restore.errors import UserError
from restore.faces.face import Face
from restore.images import Polarity
from restore.keyed import Draws
from restore.occlusions.occlusion import Mask
from restore.occlusions.region import Fill, RegionOcclusion
from restore.options.paths import DataPath, resolve
from restore.registry import OCCLUSIONS


@OCCLUSIONS.register
class MaskFile(RegionOcclusion):
    """One of the masks in a folder, stretched to the picture's size without any grey between.

    Args:
        dataroot: folder of masks, at any depth; the draws choose by position in the order of their names.
        polarity: which colour says that pixels are missing; greys go to the nearer colour.
        fill: see `RegionOcclusion`.

    Raises:
        UserError: the folder holds no picture.
    """

    def __init__(self, dataroot: DataPath, polarity: Polarity = "white_missing", fill: Fill = "black") -> None:
        super().__init__(fill)
        self.paths = list(images.find(resolve(dataroot)))
        self.polarity: Polarity = polarity
        if not self.paths:
            raise UserError(f"{dataroot}: no mask in this folder; MaskFile wants pictures in black and white")

    def region(self, height: int, width: int, face: Face, draws: Draws) -> Mask:
        path = self.paths[draws.integers(len(self.paths))]
        mask = images.decode_mask(images.file_bytes(path), str(path), self.polarity)
        stretched: Mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT) > 0
        return stretched
