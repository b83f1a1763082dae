"""One picture of results side by side: LQ, what each method made of it, and GT."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore import images
from restore.degradations.resize import Interpolation, upscale
from restore.engine.validation import Scored

ROWS_PER_SET = 3
CELL = 256  # pixels a side
HEADER = 28
CAPTION = 22
GAP = 4


class Report:
    """Collects pictures and draws them as rows with a title over each column, and some with a caption.

    Args:
        scale: GT size over LQ size.
        methods: the columns between LQ and GT.
    """

    def __init__(self, scale: int, methods: Sequence[str]) -> None:
        self.scale, self.methods = scale, methods
        self.titles: list[str] = []
        self.rows: list[list[NDArray[np.uint8]]] = []
        self.captions: list[str] = []

    def add(self, scored: Scored, caption: str = "") -> None:
        """Adds a picture as the next row. With a mask it is shown whole, since what is missing may be anywhere."""
        lq = images.to_uint8(scored.lq[0])
        shown = {"LQ" if scored.mask is None else "masked": upscale(lq, self.scale, "nearest")}
        shown |= {name: images.to_uint8(scored.preds[name][0]) for name in self.methods}
        if scored.gt is not None:
            shown["GT"] = images.to_uint8(scored.gt[0])
        self.titles = list(shown)
        self.rows.append([(_fit if scored.mask is None else _whole)(picture) for picture in shown.values()])
        self.captions.append(caption)

    def write(self, path: Path) -> None:
        """Draws the rows into one picture file."""
        gap = np.full((CELL, GAP, 3), 255, np.uint8)
        strips = [np.hstack([part for cell in row for part in (cell, gap)][:-1]) for row in self.rows]
        width = strips[0].shape[1]
        above = [_captioned(caption, width) for caption in self.captions]
        body = np.vstack([part for pair in zip(above, strips, strict=True) for part in pair])
        images.write(path, np.vstack([_header(self.titles, width), body]))


def _fit(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle square of a picture in a cell: cut when larger, so that pixels stay pixels; enlarged when smaller."""
    side = min(picture.shape[:2])
    size = min(side, CELL)
    y, x = (picture.shape[0] - size) // 2, (picture.shape[1] - size) // 2
    middle = picture[y : y + size, x : x + size]
    return middle if size == CELL else upscale(np.ascontiguousarray(middle), (CELL, CELL), "nearest")


def _whole(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture in a white cell, enlarged with its pixels to be seen, or made smaller."""
    height, width = (max(1, round(side * CELL / max(picture.shape[:2]))) for side in picture.shape[:2])
    cell = np.full((CELL, CELL, 3), 255, np.uint8)
    y, x = (CELL - height) // 2, (CELL - width) // 2
    how: Interpolation = "nearest" if max(picture.shape[:2]) < CELL else "bicubic"
    cell[y : y + height, x : x + width] = upscale(picture, (height, width), how)
    return cell


def _captioned(text: str, width: int) -> NDArray[Any]:
    """What stands above a row: a gap, or its caption."""
    from PIL import Image, ImageDraw, ImageFont

    if not text:
        return np.full((GAP, width, 3), 255, np.uint8)
    canvas = Image.new("RGB", (width, CAPTION), "white")
    ImageDraw.Draw(canvas).text((GAP, CAPTION // 2), text, fill="black", font=ImageFont.load_default(14), anchor="lm")
    return np.asarray(canvas)


def _header(titles: list[str], width: int) -> NDArray[Any]:
    from PIL import Image, ImageDraw, ImageFont

    canvas = Image.new("RGB", (width, HEADER), "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=18)
    for column, title in enumerate(titles):
        pen.text((column * (CELL + GAP) + CELL // 2, HEADER // 2), title, fill="black", font=font, anchor="mm")
    return np.asarray(canvas)
