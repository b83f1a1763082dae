"""What a data set yields."""

from typing import Any, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8] | NDArray[np.uint16]


class Sample(TypedDict):
    """One sample on the CPU: RGB pictures of shape (H, W, 3), a mask of shape (H, W, 1), 1 where pixels miss.

    `real` is the GT as it was, where `gt` was sharpened. `key` names the sample within its data set, `path` says where
    it came from. `seed` is that of a degradation which is left to the device.

    `landmarks` (5, 2) are x and y in pixels of the GT, centres at whole numbers: left eye, right eye, nose tip, left
    and right mouth corner, as they stand in a picture of an upright face. Mirroring makes a left eye a right one, so
    that they are always those of a face, however turned, never of its mirror image.
    """

    lq: NotRequired[Picture]
    gt: NotRequired[Picture]
    real: NotRequired[Picture]
    mask: NotRequired[NDArray[Any]]
    landmarks: NotRequired[NDArray[np.float32]]
    key: str
    path: str
    seed: NotRequired[int]


PICTURES = ("lq", "gt", "real", "mask")
