"""Parts joined to a film, without encoding anything again: new pictures, and all that the old film had beside them."""

import heapq
import os
import platform
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from restore.errors import UserError
from restore.films.codec import CONTAINERS
from restore.films.parts import Parts
from restore.films.source import Film, import_av

# What muxers write themselves, and what is no longer true.
_OWN = frozenset(
    ("encoder", "major_brand", "minor_version", "compatible_brands", "duration", "rotate", "bps", "number_of_frames")
    + ("number_of_bytes", "vendor_id", "_statistics_writing_app", "_statistics_tags", "_statistics_writing_date_utc")
)
# What an .mp4 or .mov has a place for; others need FFmpeg's way of writing any.
_ITUNES = frozenset(
    ("title", "artist", "album_artist", "album", "date", "comment", "genre", "copyright", "description")
)


def join(film: Film, parts: Parts, target: Path, remark: str | None) -> list[str]:
    """Writes the film: a reader sees a whole one or none. Returns what could not be taken along.

    Times and durations of the pictures are the source's; packets of other streams go over as they are.

    Args:
        remark: is put behind the film's comment.

    Raises:
        UserError: the disk refuses, or the container does not take the pictures.
    """
    av = import_av()
    beside = target.with_name(f".{target.name}.{platform.node()}.{os.getpid()}.tmp")
    tags = _tags(film.container.metadata)
    if remark:
        key = next((key for key in tags if key.lower() == "comment"), "comment")
        tags[key] = "; ".join(filter(None, (tags.get(key), remark)))
    try:
        name = CONTAINERS[target.suffix.lower()]
        with av.open(str(beside), "w", format=name, options=_options(name, film, tags)) as out:
            notes = _fill(out, film, parts, tags)
        with beside.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(beside, target)
    except (OSError, av.error.FFmpegError) as error:
        raise UserError(f"{target}: cannot write: {error.strerror or error}; the parts are kept") from error
    finally:
        beside.unlink(missing_ok=True)
    with av.open(str(target)) as written:
        if (written.streams.video[0].sample_aspect_ratio or 1) != film.aspect:  # PyAV sets it in the codec alone
            notes.append(f"its pixels are {film.aspect} as wide as high, which this kind of file does not get to say")
    return notes


def _fill(out: Any, film: Film, parts: Parts, tags: Mapping[str, str]) -> list[str]:
    notes: list[str] = []
    copies: dict[int, Any] = {}
    video = None
    out.metadata.update(tags)
    out.set_chapters(film.container.chapters())
    with import_av().open(str(next(iter(parts)).path)) as first:
        for stream in film.container.streams:
            if stream.index == film.stream.index:
                video = _like(out, first.streams.video[0], stream)
                video.time_base = film.time_base
            elif (copy := _copied(out, stream, notes)) is not None:
                copies[stream.index] = copy
        both = (_pictures(parts, film.time_base, video), _others(film.path, copies))
        for _, packet in heapq.merge(*both, key=lambda each: each[0]):
            out.mux_one(packet)
    return notes


def _copied(out: Any, stream: Any, notes: list[str]) -> Any:
    """A stream for the packets of another; None where the container does not take it."""
    if stream.type == "data" and stream.container.chapters() and "mp4" in stream.container.format.name:
        return None  # the chapters themselves, which the muxer writes anew
    try:
        if stream.type == "attachment":
            out.add_attachment(stream.name or stream.metadata.get("filename", "file"), stream.mimetype, stream.data)
            return None
        return _like(out, stream, stream)
    except (ValueError, AttributeError, TypeError, import_av().error.FFmpegError):
        name = getattr(stream.codec_context, "name", None) or "unknown"
        notes.append(f"stream {stream.index} ({stream.type}, {name}) cannot be taken along in this kind of file")
        return None


def _like(out: Any, template: Any, described: Any) -> Any:
    stream = out.add_stream_from_template(template, opaque=True)  # as it is: needs no encoder
    stream.metadata.update(_tags(described.metadata))
    stream.disposition = described.disposition
    return stream


def _pictures(parts: Parts, time_base: Fraction, stream: Any) -> Iterator[tuple[float, Any]]:
    """The packets of all parts, with the source's times: one a frame, in the order in which they are shown."""
    for part in parts:
        with import_av().open(str(part.path)) as container:
            packets = (packet for packet in container.demux(video=0) if packet.size)
            for packet, (pts, length) in zip(packets, part.times, strict=True):
                packet.time_base, packet.pts, packet.dts, packet.duration = time_base, pts, pts, length
                packet.stream = stream
                yield float(pts * time_base), packet


def _others(path: Path, copies: Mapping[int, Any]) -> Iterator[tuple[float, Any]]:
    """The packets of the film's other streams as they are."""
    if not copies:
        return
    av = import_av()
    with av.open(str(path), metadata_errors="replace") as container:
        packets = container.demux([container.streams[index] for index in copies])
        at = float("-inf")
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError:  # cut short: told with the pictures
                return
            if packet is None:
                return
            if packet.dts is None and packet.pts is None:
                continue
            time = packet.dts if packet.dts is not None else packet.pts
            at = max(at, float(time * packet.time_base))
            packet.stream = copies[packet.stream_index]
            yield at, packet


def _tags(metadata: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if key.lower().split("-")[0] not in _OWN}


def _options(name: str, film: Film, tags: Mapping[str, str]) -> dict[str, str]:
    if name not in ("mp4", "mov"):
        return {}
    own = {"video_track_timescale": str(film.time_base.denominator)}
    if any(key.lower() not in _ITUNES for key in tags):
        own["movflags"] = "+use_metadata_tags"
    return own
