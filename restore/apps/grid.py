"""One picture of what methods made of another: whole, and two enlarged crops from where they differ most."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from restore import images
from restore.degradations.resize import upscale
from restore.engine.validation import Scored
from restore.fitting import GAP, Rgb, celled, fitted, joined, size_within, text_line

CROPS = 2
ZOOM = 128  # pixels a side of an enlarged crop
CELL = CROPS * ZOOM + GAP  # pixels a side of a whole picture
SHARE = 8  # a crop's side is the picture's shorter side divided by this
CAPTION = 44
COLORS = ((230, 60, 40), (40, 90, 230))

Corner = tuple[int, int]


def draw_grid(scored: Scored, scale: int, captions: Mapping[str, str]) -> Rgb:
    """LQ, the methods in their order, and GT as columns: name, whole picture, then its crops side by side.

    Args:
        scored: a picture with its predictions.
        scale: GT size over LQ size.
        captions: a second line below some of the names, such as a score.

    Returns:
        (H, W, 3).
    """
    shown = {"LQ": upscale(images.to_uint8(scored.lq[0]), scale, "nearest")}
    shown |= {name: images.to_uint8(pred[0]) for name, pred in scored.preds.items()}
    if scored.gt is not None:
        shown["GT"] = images.to_uint8(scored.gt[0])
    side = max(1, min(scored.lq.shape[-2:]) * scale // SHARE)
    corners = differing(list(scored.preds.values()), side)
    columns = [_column(name, captions.get(name, ""), picture, corners, side) for name, picture in shown.items()]
    return joined(columns, axis=1)


def differing(preds: list[Tensor], side: int) -> list[Corner]:
    """Where the predictions differ most: the corners (y, x) of up to two squares, their own side apart from each other.

    How much they differ is the standard deviation over the methods, averaged over the square.

    Args:
        preds: (1, 3, H, W) each, of the same size.
        side: of the squares, in pixels.
    """
    spread = torch.cat(preds).clamp(0, 1).std(dim=0, correction=0).mean(dim=0)
    step = max(1, side // 4)
    means = torch.nn.functional.avg_pool2d(spread[None], side, step)[0]
    corners: list[Corner] = []
    while len(corners) < CROPS and not bool(means.isneginf().all()):
        row, column = divmod(int(means.argmax()), means.shape[1])
        corners.append((row * step, column * step))
        reach = -(-2 * side // step) - 1  # squares that begin this near show much the same
        rows = slice(max(0, row - reach), row + reach + 1)
        means[rows, max(0, column - reach) : column + reach + 1] = -torch.inf
    return corners


def _column(name: str, caption: str, picture: Rgb, corners: list[Corner], side: int) -> Rgb:
    crops = [picture[y : y + side, x : x + side] for y, x in corners]
    zoomed = [_framed(fitted(crop, ZOOM, pixels=True), i) for i, crop in enumerate(crops)]
    strip = joined([*zoomed, *[np.full((ZOOM, ZOOM, 3), 255, np.uint8)] * (CROPS - len(crops))], axis=1)
    lines = [text_line(name, CELL, 26, 18), text_line(caption, CELL, CAPTION - 26, 14)]
    return np.vstack([*lines, joined([_whole(picture, corners, side), strip], axis=0)])


def _whole(picture: Rgb, corners: list[Corner], side: int) -> Rgb:
    """The picture fitted into a white cell, with the places of the crops drawn in."""
    from PIL import Image, ImageDraw

    share = CELL / max(picture.shape[:2])
    small = upscale(picture, size_within(picture.shape, CELL), "lanczos")
    top, left = ((CELL - length) // 2 for length in small.shape[:2])
    canvas = Image.fromarray(celled(small, CELL))
    pen = ImageDraw.Draw(canvas)
    for color, (y, x) in zip(COLORS, corners, strict=False):
        box = [left + x * share, top + y * share, left + (x + side) * share - 1, top + (y + side) * share - 1]
        pen.rectangle(box, outline=color, width=2)
    return np.asarray(canvas)


def _framed(crop: Rgb, number: int) -> Rgb:
    framed = crop.copy()
    for edge in (framed[:2], framed[-2:], framed[:, :2], framed[:, -2:]):
        edge[:] = COLORS[number]
    return framed
