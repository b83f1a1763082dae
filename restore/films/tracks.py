"""Faces followed from frame to frame of a film, and their landmarks smoothed in time, so that results do not tremble.

A detector looks at every frame alone: its landmarks jump by a pixel or so, the crop with them, and what a network
makes of the crop flickers. Here faces become tracks (greedy matching to where each track is heading), and landmarks
and box of a track are fitted by local quadratic regression around each frame: Savitzky and Golay (Analytical Chemistry
1964) with Gaussian weights, as Cleveland (JASA 1979), which copes with frames at uneven times and with a track's ends.
The window looks as far ahead as back, so there is no lag; a causal filter such as the one-euro filter must trade the
one for the other, and a film need not.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from restore.faces.face import Face
from restore.images import Image, eight_bits

T = TypeVar("T")
Vector = NDArray[np.float64]

REACH = 8  # frames that the fit looks back and ahead: also how far results trail behind what is read
SIGMA = 3.0  # frames: of the Gaussian weights; white jitter shrinks by 2.3, a nod of one second by 3 % (at 25 frames/s)
GAP = 6  # frames that a face may be missing and is still taken for the same; never more than REACH
NEAR = 0.5  # sides of the face: farther from where it was heading, a face is another
HEADING = 6  # the last sightings that say where a track is heading
CUT = 0.1  # mean change of a thumbnail, of its range, from one frame to the next: another scene
THUMBNAIL = 16  # its side in pixels


@dataclass(frozen=True, eq=False)
class Seen:
    """What was found in a frame: its time in seconds, whether a scene begins with it, its faces."""

    time: float
    cut: bool
    faces: Sequence[Face]

    def plain(self) -> list[Any]:
        """As JSON can hold it; `of` reads it back, equal to the last bit."""
        return [self.time, self.cut, [[*face.box, *face.landmarks.ravel().tolist(), face.score] for face in self.faces]]

    @classmethod
    def of(cls, plain: Sequence[Any]) -> "Seen":
        """What `plain` was made of."""
        time, cut, rows = plain
        return cls(time, cut, [_face(np.array(row[:-1]), row[-1]) for row in rows])


def thumbnail(picture: Image) -> NDArray[np.float32]:
    """A picture as a small grey one in [0, 1], for `is_cut`."""
    import cv2

    small = cv2.resize(eight_bits(picture), (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    return np.asarray(small.mean(axis=2) / 255, np.float32)


def is_cut(before: NDArray[np.float32] | None, now: NDArray[np.float32]) -> bool:
    """Whether a scene begins between two thumbnails."""
    return before is not None and float(np.abs(now - before).mean()) > CUT


def smoothed(frames: Iterable[tuple[T, Seen]]) -> Iterator[tuple[T, list[Face]]]:
    """Passes frames on, `REACH` later, each with its faces, smoothed, in the order in which their tracks began.

    A face that is missing for up to `GAP` frames, and then found again, is filled in. No fit reaches across a cut.
    """
    follower = _Follower()
    waiting: deque[tuple[int, T, float]] = deque()
    for index, (frame, seen) in enumerate(frames):
        follower.see(index, seen)
        waiting.append((index, frame, seen.time))
        if len(waiting) > REACH:
            at, first, time = waiting.popleft()
            yield first, follower.faces(at, time)
    for at, frame, time in waiting:
        yield frame, follower.faces(at, time)


@dataclass(eq=False)
class _Track:
    """Sightings of one face: frame, time, box and landmarks (14,), score."""

    open: bool = True
    sightings: deque[tuple[int, float, Vector, float]] = field(default_factory=deque)

    def heading(self, time: float) -> Vector:
        """Where the face should be by then, if it goes on as it last went."""
        last = list(self.sightings)[-HEADING:]
        return _fit([t for _, t, _, _ in last], [v for _, _, v, _ in last], np.ones(len(last)), time, order=1)

    def at(self, frame: int, time: float) -> Face | None:
        """The smoothed face in a frame in which it was seen, or which lies between two in which it was."""
        near = [sighting for sighting in self.sightings if abs(sighting[0] - frame) <= REACH]
        if not near or not near[0][0] <= frame <= near[-1][0]:
            return None
        weights = np.exp(-0.5 * ((np.array([s[0] for s in near]) - frame) / SIGMA) ** 2)
        vector = _fit([s[1] for s in near], [s[2] for s in near], weights, time, order=2)
        return _face(vector, min(near, key=lambda s: abs(s[0] - frame))[3])


class _Follower:
    """Tracks, in the order in which they began."""

    def __init__(self) -> None:
        self.tracks: list[_Track] = []

    def see(self, frame: int, seen: Seen) -> None:
        """Gives the faces of the next frame to the tracks that they go on with, or to new ones."""
        for track in self.tracks:
            track.open &= not seen.cut and frame - track.sightings[-1][0] <= GAP + 1
        live = [track for track in self.tracks if track.open]
        vectors = [np.array([*face.box, *face.landmarks.ravel()], np.float64) for face in seen.faces]
        pairs = _pairs([track.heading(seen.time) for track in live], vectors)
        for number, (vector, face) in enumerate(zip(vectors, seen.faces, strict=True)):
            track = live[pairs[number]] if number in pairs else _Track()
            if number not in pairs:
                self.tracks.append(track)
            track.sightings.append((frame, seen.time, vector, face.score))

    def faces(self, frame: int, time: float) -> list[Face]:
        """The faces of a frame, all of whose neighbours were seen; forgets what no later frame needs."""
        found = [face for track in self.tracks if (face := track.at(frame, time)) is not None]
        for track in self.tracks:
            while len(track.sightings) > 1 and track.sightings[0][0] < frame - REACH - HEADING:
                track.sightings.popleft()
        self.tracks = [track for track in self.tracks if track.open or track.sightings[-1][0] > frame]
        return found


def _pairs(expected: Sequence[Vector], found: Sequence[Vector]) -> dict[int, int]:
    """The track of each face that has one: the nearest pair first, then the nearest of the rest, ..."""
    gaps = sorted((_gap(a, b), n, k) for k, a in enumerate(expected) for n, b in enumerate(found))
    pairs: dict[int, int] = {}
    for gap, number, track in gaps:
        if gap <= NEAR and number not in pairs and track not in pairs.values():
            pairs[number] = track
    return pairs


def _gap(expected: Vector, found: Vector) -> float:
    """The mean distance of landmarks, in sides of the face."""
    side = np.sqrt(max((found[2] - found[0]) * (found[3] - found[1]), 1.0))
    return float(np.hypot(*(expected - found)[4:].reshape(5, 2).T).mean() / side)


def _fit(times: Sequence[float], vectors: Sequence[Vector], weights: Vector, time: float, order: int) -> Vector:
    """The value at `time` of the polynomial in time that comes nearest to the vectors, in weighted least squares."""
    shifted = np.array(times) - time
    shifted /= max(np.abs(shifted).max(), 1e-9)
    order = min(order, len(vectors) - 1) if len(vectors) < 5 else order
    roots = np.sqrt(weights)[:, None]
    powers = shifted[:, None] ** np.arange(order + 1)
    solution = np.linalg.lstsq(powers * roots, np.stack(vectors) * roots, rcond=None)[0]
    return np.asarray(solution[0], np.float64)


def _face(vector: Vector, score: float) -> Face:
    x0, y0, x1, y1 = vector[:4].tolist()
    return Face((x0, y0, x1, y1), vector[4:].reshape(5, 2).astype(np.float32), score)
