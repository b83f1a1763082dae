"""Methods that nothing was trained for: interpolation for super-resolution, and fills for inpainting."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from restore import images
from restore.degradations.resize import upscale
from restore.engine.validation import Method
from restore.errors import UserError

RADIUS = 3  # pixels that OpenCV's inpainting looks around a missing one

Picture = NDArray[np.uint8]


def baseline(name: str, scale: int) -> Method:
    """The method of that name; those that fill holes need a mask."""
    if name not in _FILLS:
        return lambda lq, mask: images.to_unit(upscale(images.to_uint8(lq[0]), scale, name))  # type: ignore[arg-type]

    def method(lq: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            raise UserError(f"val.baselines: {name} fills what a mask says is missing; this data set has no masks")
        missing = np.ascontiguousarray(mask[0, 0].numpy() > 0)
        return images.to_unit(_FILLS[name](images.to_uint8(lq[0]), missing))

    return method


def _input(picture: Picture, missing: NDArray[np.bool_]) -> Picture:
    """LQ as it is."""
    return picture


def _mean_fill(picture: Picture, missing: NDArray[np.bool_]) -> Picture:
    """The mean colour of what can be seen."""
    filled = picture.copy()
    if not missing.all():
        filled[missing] = np.rint(picture[~missing].mean(axis=0)).astype(np.uint8)
    return filled


def _telea(picture: Picture, missing: NDArray[np.bool_]) -> Picture:
    """Telea, "An image inpainting technique based on the fast marching method" (J. Graphics Tools 2004)."""
    filled: Any = cv2.inpaint(np.ascontiguousarray(picture), missing.astype(np.uint8), RADIUS, cv2.INPAINT_TELEA)
    return np.asarray(filled)


def _navier_stokes(picture: Picture, missing: NDArray[np.bool_]) -> Picture:
    """Bertalmio et al., "Navier-Stokes, fluid dynamics, and image and video inpainting" (CVPR 2001)."""
    filled: Any = cv2.inpaint(np.ascontiguousarray(picture), missing.astype(np.uint8), RADIUS, cv2.INPAINT_NS)
    return np.asarray(filled)


_FILLS = {"input": _input, "mean_fill": _mean_fill, "telea": _telea, "navier_stokes": _navier_stokes}
