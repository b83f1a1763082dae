"""A network applied to a picture of any size in memory that does not grow with it: tiles in, blended tiles out."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from restore.engine.device import is_out_of_memory
from restore.engine.tiles import Floats, Span, spans
from restore.errors import Fault
from restore.images import Image, to_unit

Apply = Callable[[Tensor], Tensor]  # (N, 3, h, w) in [0, 1] to (N, 3, h * scale, w * scale), on a CPU
Tile = int | Literal["auto"] | None

SIDE = {"cpu": 384, "cuda": 512, "mps": 384}  # LQ pixels of a tile, where nobody says: larger ones are hardly faster
BATCH = {"cuda": 4}  # tiles at a time; a CPU is as fast with one
SMALLEST = 64  # LQ pixels: a tile is not halved further
OVERLAP = 32  # LQ pixels that neighbouring tiles share


def restore_picture(
    apply: Apply, picture: Image, scale: int, tile: Tile = "auto", device: str = "cpu", overlap: int = OVERLAP
) -> Image:
    """What a network makes of a whole picture (H, W, 3): (H * scale, W * scale, 3) of the same depth.

    Neighbouring tiles overlap; each fades into the next, by a running mean in the result itself, so that beside picture
    and result there is one batch of tiles in memory, whatever the picture's size.

    Args:
        apply: the network.
        tile: longest side of a tile in LQ pixels; None: the picture in one piece. `auto` begins with one that suits the
            device and halves it each time that memory runs out.
        device: the kind that `apply` computes on.
        overlap: in LQ pixels.

    Raises:
        Fault: memory runs out, with `auto` even at the smallest tile.
    """
    side = SIDE.get(device, SIDE["cpu"]) if tile == "auto" else tile
    while True:
        try:
            return _in_tiles(apply, picture, scale, side, BATCH.get(device, 1), overlap)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            side = _next_smaller(side, tile, picture.shape)
        _free(device)


def _next_smaller(side: int | None, tile: Tile, shape: Sequence[int]) -> int:
    height, width = shape[:2]
    used = min(side or max(height, width), max(height, width))
    if tile != "auto" or used // 2 < SMALLEST:
        what = f"with tiles of {side} px" if side else "for the picture in one piece"
        remedy = "a smaller `tile`, or `auto`, needs less" if tile != "auto" else "close other programs"
        raise Fault(f"out of memory {what} ({width}x{height}); {remedy}") from None
    return used // 2


def _free(device: str) -> None:
    if device == "cuda":
        torch.cuda.empty_cache()


def _in_tiles(apply: Apply, picture: Image, scale: int, side: int | None, batch: int, overlap: int) -> Image:
    height, width = picture.shape[:2]
    rows, columns = (spans(length, side, overlap, scale) for length in (height, width))
    result: Image = np.empty((height * scale, width * scale, 3), picture.dtype)
    grid = [(row, column) for row in rows for column in columns]
    for first in range(0, len(grid), batch):
        places = grid[first : first + batch]
        tiles = [to_unit(picture[row.start : row.stop, column.start : column.stop]) for row, column in places]
        for (row, column), answer in zip(places, apply(torch.cat(tiles)), strict=True):
            if answer.shape[-2:] != ((row.stop - row.start) * scale, (column.stop - column.start) * scale):
                raise ValueError(f"made {tuple(answer.shape)} of {row.stop - row.start}x{column.stop - column.start}")
            _blend(result, answer, row, column, scale)
    return result


def _blend(result: Image, answer: Tensor, row: Span, column: Span, scale: int) -> None:
    """Lays a tile's answer (3, h, w) into the result: where tiles before it have been, as a running weighted mean."""
    place = result[row.start * scale : row.stop * scale, column.start * scale : column.stop * scale]
    full = float(np.iinfo(result.dtype).max)
    levels = answer.float().permute(1, 2, 0).clamp(0, 1).mul(full).numpy()
    top, left = (_first_alone(span) for span in (row, column))
    _mix(place[:top], levels[:top], _shares(row, column, slice(0, top), slice(None)))
    _mix(place[top:, :left], levels[top:, :left], _shares(row, column, slice(top, None), slice(0, left)))
    place[top:, left:] = np.rint(levels[top:, left:])


def _mix(place: Image, levels: Floats, share: Floats) -> None:
    """Moves a part of the result towards new levels; where nothing was before, the share is 1."""
    place[:] = np.rint(np.where(share == 1, levels, place + (levels - place) * share))


def _first_alone(span: Span) -> int:
    """The first pixel of a tile from which on no tile before it has any weight."""
    weighted = np.flatnonzero(span.before)
    return int(weighted[-1]) + 1 if len(weighted) else 0


def _shares(row: Span, column: Span, rows: slice, columns: slice) -> Floats:
    """(h, w, 1): the share of a new tile in the mean of all so far, from weights that are products of an axis' each."""
    own = row.weight[rows, None] * column.weight[None, columns]
    above = row.before[rows, None] * column.total[None, columns]
    so_far = above + row.weight[rows, None] * column.before[None, columns]
    share: Floats = (own / np.maximum(own + so_far, 1e-12))[:, :, None]
    return share
