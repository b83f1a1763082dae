"""How near pictures come to the true one, in figures, with the protocol of each beside it."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch

from restore import images
from restore.errors import RestoreError, UserError
from restore.images import Image
from restore.occlusions.occlusion import Mask
from restore.registry import METRICS, Part

Scores = list[list[str]]  # a row a measure: its name and protocol, then a figure for each picture
GAP = "–"


def scored(pictures: Mapping[str, Image], gt: Image, mask: Mask | None, names: Sequence[str]) -> Scores:
    """A row for each metric. What cannot be measured here is a gap, and its row says why.

    Raises:
        UserError: the true picture is not of the pictures' size.
    """
    (height, width), (h, w) = next(iter(pictures.values())).shape[:2], gt.shape[:2]
    if (h, w) != (height, width):
        raise UserError(
            f"the true picture has {w} x {h} pixels, the result {width} x {height}; only equal sizes can be compared"
        )
    hole = None if mask is None else torch.from_numpy(mask)[None, None].float()
    return [_row(name, pictures, gt, hole) for name in names]


def _row(name: str, pictures: Mapping[str, Image], gt: Image, hole: torch.Tensor | None) -> list[str]:
    try:
        metric = _metric(name)
        true = images.to_unit(gt)
        figures = [float(metric(images.to_unit(picture), true, hole)) for picture in pictures.values()]
    except (RestoreError, ValueError) as error:
        why = "its weights are not on this server" if isinstance(error, RestoreError) else "the pictures are too small"
        return [f"{name} ({why})", *[GAP] * len(pictures)]
    return [f"{name} ({metric.protocol})", *[f"{figure:.4f}".rstrip("0").rstrip(".") for figure in figures]]


@cache
def _metric(name: str) -> Any:
    return METRICS.build(Part(type=name))
