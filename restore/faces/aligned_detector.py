"""Where the face is in a picture that was cut to the frame of FFHQ and CelebA-HQ: always in the same place."""

import numpy as np
from numpy.typing import NDArray

from restore.faces.detector import Detector
from restore.faces.face import Face
from restore.registry import DETECTORS


@DETECTORS.register
class aligned(Detector):
    """One face, where FFHQ, CelebA-HQ and drawn faces have it; nothing is looked at, and no weights are needed."""

    def find(self, picture: NDArray[np.uint8]) -> list[Face]:
        """The average face of aligned pictures: `Face.aligned`."""
        height, width = picture.shape[:2]
        return [Face.aligned(height, width)]
