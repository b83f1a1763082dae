"""Films: every frame restored in constant memory, times and sound kept, work that was killed taken up again."""

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from restore.errors import Preempted, UserError
from restore.faces.detector import Detector
from restore.faces.face import Face
from restore.films.codec import CONTAINERS, Encoding, suffix_for
from restore.films.join import join
from restore.films.parts import LENGTH, Parts
from restore.films.source import Film, Still
from restore.films.tracks import Seen, is_cut, smoothed, thumbnail
from restore.images import Image
from restore.progress import watched

__all__ = ["SUFFIXES", "VideoDone", "clear_leftovers", "is_video", "restore_video", "suffix_for"]

SUFFIXES = frozenset(CONTAINERS) | frozenset(
    (".avi", ".gif", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".wmv", ".flv", ".ogv", ".3gp")
)
SLOW = 0.5  # seconds: a frame that took longer is kept until its part is done
_SAMPLE = 1 << 20  # bytes at a film's beginning and end that tell it from another of its size

Each = Callable[[Image, Sequence[Face] | None], Image]


@dataclass(frozen=True)
class VideoDone:
    """What was written: frames, the film's seconds, how they are encoded, and what is to be warned of."""

    path: Path
    frames: int
    seconds: float
    encoding: str
    notes: tuple[str, ...]


def is_video(path: Path) -> bool:
    """Whether a file is a film, by its suffix."""
    return path.suffix.lower() in SUFFIXES


def restore_video(
    source: Path,
    target: Path,
    each: Each,
    *,
    detector: Detector | None = None,
    remark: str | None = None,
    settings: Mapping[str, object] | None = None,
    overwrite: bool = False,
) -> VideoDone:
    """Restores a film frame by frame. Killed at any instant, the same call goes on where it was.

    What is done lies in `TARGET.parts` until the film is whole. Pictures are encoded by the film's own codec where
    there is an encoder; their times, colours, aspect, and the film's sound, subtitles, chapters and tags are kept.

    Args:
        target: its suffix says the container: `suffix_for(source)`.
        each: makes the result of an upright RGB picture, of the depth of the film; all results have one size. It gets
            the faces, smoothed in time, in the order in which they appeared in the film; None without a detector.
        detector: finds the faces of each frame.
        remark: is added to the film's comment, as "AI-restored with ...".
        settings: what the results depend on (model, its hash, options), as JSON can hold it. Parts that were made with
            others are not used.
        overwrite: whether a target that is there may be replaced, once the film is whole.

    Raises:
        UserError: one line: no film, a damaged one of which nothing can be read, a target that is there or cannot be
            written.
        Preempted: stopped by Ctrl-C; says how to go on.
    """
    _check(source, target, overwrite)
    with Film(source) as film:
        encoding = Encoding.of(film, target.suffix.lower())
        folder = _parts_folder(target)
        parts = Parts(folder, _identity(film, encoding, detector, settings))
        try:
            _restore(film, parts, encoding, each, detector)
        except KeyboardInterrupt:
            raise Preempted(
                f"{source}: {parts.frames} of about {film.count} frames are in {folder}; the same command goes on there"
            ) from None
        notes = [*parts.notes, *film.notes, *encoding.notes(film)]
        if parts.size is not None and (padded := encoding.padded(parts.size)) != parts.size:
            size = "x".join(map(str, padded))
            notes.append(f"{encoding.pixel_format} takes even sides: the last row or column is doubled, {size}")
        notes += join(film, parts, target, remark)
        last = deque(parts, maxlen=1)[0].times[-1]
        parts.remove()
        seconds = float((sum(last) - (film.stream.start_time or 0)) * film.time_base)
        return VideoDone(target, parts.frames, seconds, encoding.described(film), tuple(notes))


def clear_leftovers(target: Path) -> None:
    """Deletes the parts of a film that is whole, where a kill came before that was done.

    Newer parts stay: they are of a film that is to replace this one.
    """
    folder = _parts_folder(target)
    with suppress(OSError, UserError):  # there is none as a rule, or another process is at work there
        if (folder / "journal").stat().st_mtime_ns <= target.stat().st_mtime_ns:
            Parts(folder, {}).remove()


def _parts_folder(target: Path) -> Path:
    return target.with_name(target.name + ".parts")


def _restore(film: Film, parts: Parts, encoding: Encoding, each: Each, detector: Detector | None) -> None:
    """Makes the parts that are missing."""
    frames = _watched_frames(film, parts, detector)

    def results() -> Iterator[tuple[Still, Seen, Image]]:
        for still, seen, faces in frames:
            picture = parts.kept(still.index)
            if picture is None:
                assert still.picture is not None
                started = time.monotonic()
                picture = each(still.picture, faces)
                if time.monotonic() - started > SLOW:
                    parts.keep(still.index, picture)
            yield still, seen, picture

    made = results()
    while parts.write(film, encoding, islice(made, LENGTH)):
        pass


def _watched_frames(
    film: Film, parts: Parts, detector: Detector | None
) -> Iterator[tuple[Still, Seen, list[Face] | None]]:
    """The frames that are not done, each with its faces. Faces of those that are done come out of the journal."""
    done = parts.frames
    known = chain.from_iterable(part.seen for part in parts) if done else iter(())
    pairs = _seen(film, film.stills(skip=max(done - 1, 0)), islice(known, done), detector)
    if detector is None:
        found: Iterator[tuple[Still, Seen, list[Face] | None]] = ((*pair, None) for pair in pairs)
    else:
        found = ((*pair, faces) for pair, faces in smoothed((pair, pair[1]) for pair in pairs))
    missing = (each for each in found if each[0].index >= done)
    return watched(missing, max(film.count, done), film.path.name, done)


def _seen(
    film: Film, stills: Iterator[Still], known: Iterator[Seen], detector: Detector | None
) -> Iterator[tuple[Still, Seen]]:
    before = None
    for still in stills:
        seconds = float(still.pts * film.time_base)
        now = thumbnail(still.picture) if detector and still.picture is not None else None
        seen = next(known, None)
        if seen is None and detector and still.picture is not None and now is not None:
            seen = Seen(seconds, is_cut(before, now), detector(still.picture))
        before = now
        yield still, seen or Seen(seconds, False, ())


def _identity(
    film: Film, encoding: Encoding, detector: Detector | None, settings: Mapping[str, object] | None
) -> dict[str, object]:
    """What parts must have in common to become one film."""
    return {
        "source": _print(film.path),
        "settings": dict(settings or {}),
        "encoding": encoding.plain(),
        "detector": type(detector).__name__ if detector else None,
        "frames of a part": LENGTH,
    }


def _print(path: Path) -> list[object]:
    """Tells a film from others in no time: its size, and the hash of its beginning and end."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        digest = hashlib.sha256(stream.read(_SAMPLE))
        stream.seek(max(size - _SAMPLE, 0))
        digest.update(stream.read())
    return [size, digest.hexdigest()]


def _check(source: Path, target: Path, overwrite: bool) -> None:
    if target.suffix.lower() not in CONTAINERS:
        raise UserError(f"{target}: we write {', '.join(CONTAINERS)}; this film becomes {suffix_for(source)}")
    if target.exists() and source.exists() and target.samefile(source):
        raise UserError(f"{target}: is the film itself; give another place to write to")
    if target.exists() and not overwrite:
        raise UserError(f"{target}: is there; give another place, or say that it may be overwritten")
