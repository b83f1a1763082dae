"""Pictures in overlapping tiles, blended so that no seam shows: where tiles lie, and a network applied to tensors."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restore.errors import UserError

Floats = NDArray[np.float32]

MULTIPLE = 8  # sides of tiles are multiples of it, which kernels like


class Span(NamedTuple):
    """One tile's place along one axis, in LQ pixels, and its weights there, a figure for each pixel of the result."""

    start: int
    stop: int
    weight: Floats  # 0 at the tile's edge, where the network missed what lies beyond, 1 inside
    before: Floats  # the sum of the weights of the tiles before it
    total: Floats  # that of all tiles


def predict_tiled(predict: Callable[[Tensor], Tensor], lq: Tensor, scale: int, tile: int, overlap: int) -> Tensor:
    """What `predict` makes of `lq`, tile by tile.

    Args:
        predict: maps (N, C, h, w) to (N, C', h * scale, w * scale).
        lq: (N, C, H, W).
        tile: side of a tile in LQ pixels; larger pictures are cut, smaller ones are not.
        overlap: in LQ pixels, less than `tile`; half a tile at most is shared.

    Raises:
        UserError: it is not less.
    """
    height, width = lq.shape[-2:]
    if max(height, width) <= tile:
        return predict(lq)
    if overlap >= tile:
        raise UserError(f"val.tile_overlap: {overlap} must be less than val.tile, {tile}")
    whole: Tensor | None = None
    for row in spans(height, tile, overlap, scale):
        for column in spans(width, tile, overlap, scale):
            part = predict(lq[..., row.start : row.stop, column.start : column.stop])
            if whole is None:
                whole = part.new_zeros(*part.shape[:2], height * scale, width * scale)
            down, across = (torch.from_numpy(span.weight / span.total).to(part) for span in (row, column))
            place = whole[..., row.start * scale : row.stop * scale, column.start * scale : column.stop * scale]
            place += part * (down[:, None] * across)
    assert whole is not None
    return whole


def spans(length: int, side: int | None, overlap: int, scale: int) -> list[Span]:
    """Tiles of one size along an axis, `side` at most, that overlap by `overlap` at least and are as few as can be."""
    size, starts = length, [0]
    if side is not None and length > side:
        shared = min(overlap, side // 2)
        number = math.ceil((length - shared) / (side - shared))
        size = min(side, _up(math.ceil((length + (number - 1) * shared) / number), MULTIPLE))
        starts = [round(index * (length - size) / (number - 1)) for index in range(number)]
    found: list[Span] = []
    total = np.zeros(length * scale, np.float32)
    for start, *beside in zip(starts, [None, *starts[:-1]], [*starts[1:], None], strict=True):
        shares = (scale * (size - abs(start - other)) if other is not None else 0 for other in beside)
        weight, place = _fade(size * scale, *shares), total[start * scale : (start + size) * scale]
        found.append(Span(start, start + size, weight, place.copy(), place))  # `place` is a view: the total, in the end
        place += weight
    return found


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _fade(size: int, before: int, after: int) -> Floats:
    """Weights over a tile that shares `before` and `after` pixels with its neighbours.

    The outer quarter, where the network missed what lies beyond the tile, counts nothing; over the half inside it the
    weight rises.
    """
    weight = np.ones(size, np.float32)
    for shared, side in ((before, weight), (after, weight[::-1])):
        if shared:
            margin = shared // 4
            ramp = (np.arange(shared, dtype=np.float32) - margin + 0.5) / max(1, shared - 2 * margin)
            side[:shared] = np.minimum(side[:shared], ramp.clip(0, 1))
    return weight
