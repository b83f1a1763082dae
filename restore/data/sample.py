"""What a data set yields."""

from typing import Any, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8] | NDArray[np.uint16]


class Sample(TypedDict):
    """One sample on the CPU: RGB pictures of shape (H, W, 3), a mask of shape (H, W, 1), 1 where pixels miss.

    `key` names the sample within its data set, `path` says where it came from.
    """

    lq: NotRequired[Picture]
    gt: NotRequired[Picture]
    mask: NotRequired[NDArray[Any]]
    key: str
    path: str


PICTURES = ("lq", "gt", "mask")
