"""A film as it is read: upright RGB frames one by one, with their times, and its other streams."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from restore.errors import UserError
from restore.films.colour import HDR, Colours
from restore.images import Image
from restore.progress import duration

BROKEN = "not a film that FFmpeg can read, or its beginning or end is missing; copy or download the file again"
CUT_SHORT = 1.0  # seconds that a film may end before its header says


@dataclass(frozen=True, eq=False)
class Still:
    """A frame: its number, time and duration in the film's time base, and the upright picture, unless skipped.

    `raw` is the frame as it was decoded, where it stood upright already.
    """

    index: int
    pts: int
    duration: int
    picture: Image | None
    raw: Any = None


class Film:
    """A film that is open for reading. `notes` fills with what is to be told about it.

    Raises:
        UserError: one line: no such file, no film, no picture in it, or PyAV is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.notes = path, list[str]()
        av = import_av()
        _refuse_no_file(path)
        try:
            self.container = av.open(str(path), metadata_errors="replace")
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise UserError(f"{path}: {_why(error)}") from error
        try:
            self._look()
        except BaseException:
            self.container.close()
            raise

    def _look(self) -> None:
        """Decodes the first frame, for what headers do not say."""
        streams = [s for s in self.container.streams.video if not is_cover(s)]
        if not streams:
            heard = any(stream.type == "audio" for stream in self.container.streams)
            raise UserError(f"{self.path}: {'there are no moving pictures in it, only sound' if heard else BROKEN}")
        self.stream = streams[0]
        if self.stream.codec_context is None:
            raise UserError(f"{self.path}: this build of FFmpeg has no decoder for its pictures; convert it to H.264")
        self.time_base: Fraction = self.stream.time_base
        first = next(self._decoded(self.container), None)
        if first is None:
            raise UserError(f"{self.path}: not one frame of it can be decoded; copy or download the file again")
        self.notes.clear()  # the same will be found again
        self.colours, self.codec = Colours.of(first), self.stream.codec_context.codec.canonical_name
        self.format, self.size = first.format, (first.width, first.height)
        self.turn = _Turn.of(first)
        aspect = self.stream.sample_aspect_ratio or Fraction(1)
        self.aspect = 1 / aspect if self.turn.transpose and aspect else aspect
        self._tell(first)

    def _tell(self, first: Any) -> None:
        if self.colours.guessed:
            self.notes.append(f"the file names no colour matrix; taken as {self.colours}, and the result says so")
        if self.colours.transfer in HDR:
            self.notes.append(f"HDR ({HDR[self.colours.transfer]}): the model gets its values as they are")
        if first.interlaced_frame:
            self.notes.append("interlaced: both fields of a frame are treated as one picture; deinterlace it first")
        if any(component.is_alpha for component in first.format.components):
            self.notes.append("its transparency is dropped")

    def __enter__(self) -> "Film":
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()

    @property
    def rate(self) -> Fraction:
        """Frames a second, roughly where they vary."""
        return self.stream.average_rate or self.stream.guessed_rate or Fraction(25)

    @property
    def seconds(self) -> float:
        """As the header says; 0 where it does not."""
        if self.stream.duration:
            return float(self.stream.duration * self.time_base)
        return (self.container.duration or 0) / 1e6

    @property
    def count(self) -> int:
        """About how many frames there are."""
        return int(self.stream.frames) or max(round(self.seconds * self.rate), 1)

    def stills(self, skip: int = 0) -> Iterator[Still]:
        """The frames in the order in which they are shown; of the first `skip` only the times.

        What cannot be decoded is left out, and told with its time.
        """
        step = max(round(1 / (self.rate * self.time_base)), 1)
        before: int | None = None
        end = 0.0
        with import_av().open(str(self.path), metadata_errors="replace") as container:
            for index, frame in enumerate(self._decoded(container)):
                self._same_size(frame)
                pts = self._time(frame.pts, before, step)
                before, end = pts, float((pts + (frame.duration or step)) * self.time_base)
                picture = self.turn(self.colours.rgb(frame)) if index >= skip else None
                raw = frame if index >= skip and self.turn == _Turn() else None
                yield Still(index, pts, frame.duration or 0, picture, raw)
        start = float((self.stream.start_time or 0) * self.time_base)
        if self.seconds > end - start + CUT_SHORT:
            self._told(f"ends after {duration(end - start)} of {duration(self.seconds)}: the file is cut short")

    def _time(self, pts: int | None, before: int | None, step: int) -> int:
        """A frame's time, later than that of the one before."""
        if before is None:
            return pts or 0
        if pts is None or pts <= before:
            if pts is not None:
                self._told(f"{duration(float(before * self.time_base))}: times go back; frames moved behind each other")
            return before + (step if pts is None else 1)
        return pts

    def _same_size(self, frame: Any) -> None:
        if (frame.width, frame.height) != self.size:
            (width, height), at = self.size, duration(frame.time or 0)
            raise UserError(
                f"{self.path}: frames change from {width}x{height} to {frame.width}x{frame.height} at {at}; "
                "cut the film there and give the pieces one by one"
            )

    def _decoded(self, container: Any) -> Iterator[Any]:
        av = import_av()
        stream = container.streams[self.stream.index]
        stream.thread_type = "AUTO"
        packets = container.demux(stream)
        at = 0.0
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError as error:
                self._told(f"{duration(at)}: cannot be read on: {error.strerror}; what is before is kept")
                return
            if packet is None:
                return
            try:
                frames = packet.decode()
            except av.error.FFmpegError as error:
                at = float(packet.pts * packet.time_base) if packet.pts is not None else at
                self._told(f"{duration(at)}: cannot be decoded ({error.strerror}); goes on behind it")
                continue
            for frame in frames:
                at = frame.time or at
                if frame.is_corrupt:
                    self._told(f"{duration(at)}: damaged, the decoder filled it in")
                yield frame

    def _told(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


@dataclass(frozen=True)
class _Turn:
    """What brings a frame upright: rows for columns, then mirrored down and across."""

    transpose: bool = False
    down: bool = False
    across: bool = False

    @classmethod
    def of(cls, frame: Any) -> "_Turn":
        """As the display matrix says: a point (x, y) goes to (a x + c y, b x + d y). Slanting ones are not obeyed."""
        data = frame.side_data.get("DISPLAYMATRIX")
        if data is None:
            return cls()
        a, b, _, c, d, *_ = np.frombuffer(bytes(data), np.int32).tolist()
        if not a and not d:
            return cls(True, b < 0, c < 0)
        return cls(False, d < 0, a < 0)

    def __call__(self, picture: Image) -> Image:
        upright = picture.transpose(1, 0, 2) if self.transpose else picture
        turned: Any = upright[:: -1 if self.down else 1, :: -1 if self.across else 1]
        return np.ascontiguousarray(turned)


def is_cover(stream: Any) -> bool:
    """Whether a video stream is a still picture that came along."""
    return bool(stream.disposition & 0x400)  # attached_pic


def import_av() -> Any:
    """PyAV, imported when there is a film."""
    try:
        import av
    except ImportError as error:
        raise UserError("films need PyAV; pip install 'restore-faces[video]'") from error
    return av


def _refuse_no_file(path: Path) -> None:
    """Before FFmpeg, which would wait at a pipe for ever."""
    if not path.exists():
        raise UserError(f"{path}: no such file")
    if not path.is_file():
        raise UserError(f"{path}: not a plain file; save the film to one first")
    if not path.stat().st_size:
        raise UserError(f"{path}: empty file")


def _why(error: Exception) -> str:
    told = getattr(error, "strerror", None)
    if told in (None, "Invalid data found when processing input", "End of file"):
        return BROKEN
    return f"cannot be opened: {told}"
