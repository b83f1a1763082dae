"""Lays what somebody wears over a face, with its shadow."""

import numpy as np

from restore.faces.face import Floats
from restore.occlusions.canvas import Canvas, blurred, lowered


def contact_shadow(canvas: Canvas, cover: Floats, unit: float, strength: float = 0.34) -> None:
    """Darkens what is just around and below something that covers (h, w) of the window."""
    soft = lowered(blurred(cover, 0.045 * unit), round(0.02 * unit))
    canvas.darken(np.where(soft < 0.12, np.float32(0), soft) * np.float32(strength))
