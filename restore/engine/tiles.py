"""Applying a network to a picture in overlapping tiles, blended so that no seam shows."""

from collections.abc import Callable

import torch
from torch import Tensor

from restore.errors import UserError


def predict_tiled(predict: Callable[[Tensor], Tensor], lq: Tensor, scale: int, tile: int, overlap: int) -> Tensor:
    """What `predict` makes of `lq`, tile by tile.

    Neighbouring tiles share `overlap` pixels. The outer quarter of that, where a network misses the picture around the
    tile, is thrown away; over the inner half one tile fades into the next.

    Args:
        predict: maps (N, C, h, w) to (N, C', h * scale, w * scale).
        lq: (N, C, H, W).
        tile: side of a tile in LQ pixels; larger pictures are cut, smaller ones are not.
        overlap: in LQ pixels, less than `tile`.

    Raises:
        UserError: it is not less.
    """
    height, width = lq.shape[-2:]
    if max(height, width) <= tile:
        return predict(lq)
    if overlap >= tile:
        raise UserError(f"val.tile_overlap: {overlap} must be less than val.tile, {tile}")
    total: Tensor | None = None
    weight = lq.new_zeros(height * scale, width * scale)
    for y in _starts(height, tile, overlap):
        for x in _starts(width, tile, overlap):
            part = predict(lq[..., y : y + tile, x : x + tile])
            if total is None:
                total = part.new_zeros(*part.shape[:2], height * scale, width * scale)
            rows = _fade(y, min(tile, height), height, overlap, scale).to(part)
            columns = _fade(x, min(tile, width), width, overlap, scale).to(part)
            window = rows[:, None] * columns[None, :]
            place = (..., slice(y * scale, y * scale + len(rows)), slice(x * scale, x * scale + len(columns)))
            total[place] += part * window
            weight[place] += window
    assert total is not None
    return total / weight


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin along one axis; the last one ends with the picture."""
    last = max(0, length - tile)
    return [*range(0, last, tile - overlap), last]


def _fade(start: int, size: int, length: int, overlap: int, scale: int) -> Tensor:
    """A tile's weight along one axis: 0 over the margin, a ramp, 1 inside; no fade at the picture's own border."""
    margin = overlap // 4 * scale
    ramp = max(1, overlap * scale - 2 * margin)
    position = torch.arange(size * scale, dtype=torch.float64)
    from_start = ((position - margin + 0.5) / ramp).clamp(0, 1) if start > 0 else torch.ones_like(position)
    from_end = ((size * scale - 1 - position - margin + 0.5) / ramp).clamp(0, 1)
    return torch.minimum(from_start, from_end if start + size < length else torch.ones_like(position)).float()
