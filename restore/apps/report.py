"""One picture of results side by side: LQ, what each method made of it, and GT."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from restore import images
from restore.degradations.resize import upscale
from restore.engine.validation import Scored
from restore.fitting import GAP, celled, fitted, joined, text_line

ROWS_PER_SET = 3
CELL = 256  # pixels a side
HEADER = 28
CAPTION = 22


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
        pieces = [joined([text_line(title, CELL, HEADER, 18) for title in self.titles], axis=1)]
        for caption, row in zip(self.captions, self.rows, strict=True):
            pieces.append(text_line(caption, pieces[0].shape[1], CAPTION if caption else GAP, 14))
            pieces.append(joined(row, axis=1))
        images.write(path, np.vstack(pieces))


def _fit(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle square of a picture in a cell: cut when larger, so that pixels stay pixels; enlarged when smaller."""
    side = min(picture.shape[:2])
    size = min(side, CELL)
    y, x = (picture.shape[0] - size) // 2, (picture.shape[1] - size) // 2
    middle = picture[y : y + size, x : x + size]
    return fitted(middle, CELL, pixels=True)


def _whole(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture in a white cell, enlarged with its pixels to be seen, or made smaller."""
    return celled(fitted(picture, CELL, pixels=True), CELL)
