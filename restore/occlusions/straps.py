"""What holds a mask: loops around the ears, or bands around the head."""

from collections.abc import Iterator

import numpy as np

from restore.faces.face import Floats
from restore.occlusions.pose import Pose
from restore.occlusions.sheet import Sheet

# On the right: the rows of the mask's side edge that they start from, and where they run to, on the average head.
_LOOPS = ((1, [(1.08, 0.36, -0.75), (1.10, 0.14, -0.92)]), (-2, [(0.98, 1.20, -0.75), (1.08, 0.88, -0.95)]))
_BANDS = ((3, [(0.98, 0.58, -0.70), (1.10, 0.28, -0.98)]), (-5, [(0.95, 1.24, -0.70), (1.02, 1.16, -1.00)]))
WIDTHS = {"surgical": 0.035, "cloth": 0.045, "n95": 0.06}  # in eye distances


def straps_of(kind: str, sheet: Sheet, pose: Pose) -> list[Floats]:
    """The lines (n, 2), in pixels, of the straps in sight."""
    return list(_in_sight(_BANDS if kind == "n95" else _LOOPS, sheet, pose))


def _in_sight(
    straps: tuple[tuple[int, list[tuple[float, float, float]]], ...], sheet: Sheet, pose: Pose
) -> Iterator[Floats]:
    middle = sheet.places[:, sheet.places.shape[1] // 2]
    for side, column in ((-1, 0), (1, -1)):
        for row, points in straps:
            start = sheet.places[row, column]
            line = np.concatenate(
                [start[None], pose.pixels(np.array(points, np.float32) * np.array([side, 1, 1], np.float32))]
            )
            outwards = start - middle[row]
            if (line[-1] - start) @ outwards > 0:  # else the ear is behind the face
                yield _curved(line)


def _curved(line: Floats) -> Floats:
    """(9, 2): the parabola that starts and ends as three points do and is drawn to the middle one (Bézier's)."""
    t = np.linspace(0, 1, 9, dtype=np.float32)[:, None]
    curve: Floats = (1 - t) ** 2 * line[0] + 2 * t * (1 - t) * line[1] + t**2 * line[2]
    return curve
