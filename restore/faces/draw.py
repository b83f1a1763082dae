"""Pictures with the faces that were found in them drawn in."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from restore.faces.face import Face
from restore.images import Image, eight_bits

BOX = (60, 220, 80)
# Left eye, right eye, nose, left and right corner of the mouth.
POINTS = ((255, 60, 60), (60, 140, 255), (255, 220, 0), (255, 60, 220), (0, 230, 230))


def draw_faces(picture: Image, faces: Iterable[Face], labels: Sequence[str] | None = None) -> NDArray[np.uint8]:
    """A copy of an RGB picture (H, W, 3) as 8 bits, with box and landmarks of each face, left eyes red.

    Beside each is its label, by default its score.
    """
    import cv2

    drawn = np.ascontiguousarray(eight_bits(picture)).copy()
    line = max(1, round(min(picture.shape[:2]) / 160))
    for number, face in enumerate(faces):
        label = labels[number] if labels else f"{face.score:.2f}"
        x0, y0, x1, y1 = (round(value) for value in face.box)
        cv2.rectangle(drawn, (x0, y0), (x1, y1), BOX, line)
        place, size = (max(x0, 0) + 2 * line, max(y0, 0) - 2 * line), 0.3 * line + 0.1
        inside = (place[0], place[1] if place[1] > 12 * line else max(y0, 0) + 12 * line)
        cv2.putText(drawn, label, inside, cv2.FONT_HERSHEY_SIMPLEX, size, BOX, line, cv2.LINE_AA)
        for (x, y), color in zip(face.landmarks.tolist(), POINTS, strict=True):
            cv2.circle(drawn, (round(x), round(y)), 2 * line, color, -1)
    return drawn
