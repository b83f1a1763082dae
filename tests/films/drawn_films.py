"""Small films for tests, made with PyAV, and what can be read from one."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

av = pytest.importorskip("av", reason="needs PyAV (extra `video`)")

BASE = Fraction(1, 12800)
RATE = 48000
CHAPTERS = [
    {"id": 1, "start": 0, "end": 500, "time_base": Fraction(1, 1000), "metadata": {"title": "One"}},
    {"id": 2, "start": 500, "end": 1000, "time_base": Fraction(1, 1000), "metadata": {"title": "Two"}},
]


class Frame(NamedTuple):
    """One frame as it was read."""

    pts: int
    rgb: np.ndarray
    raw: object


def uneven(count: int) -> list[int]:
    """Times of frames of a film whose rate varies, in `BASE`."""
    return np.cumsum([0] + [512 + 100 * (i % 3) for i in range(count - 1)]).tolist()


def even(count: int, step: int = 512) -> list[int]:
    """Times of a film of 25 frames a second."""
    return [step * i for i in range(count)]


def write_film(
    path: Path,
    pictures: Iterable[np.ndarray],
    times: Sequence[int],
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    matrix: int = 1,
    full: bool = False,
    sound: str | None = None,
    subtitle: str | None = None,
    degrees: int = 0,
    aspect: Fraction | None = None,
    options: dict | None = None,
    chapters: bool = False,
    tags: dict | None = None,
    format: str | None = None,
) -> Path:
    """Writes a film. `matrix` 0: the file names none. Conversion is by the ITU's formula, not by FFmpeg."""
    muxing = {"video_track_timescale": "12800"} if path.suffix in (".mp4", ".mov") else {}
    with av.open(str(path), "w", options=muxing, format=format) as out:
        stream = out.add_stream(codec, rate=25, options=options or {})
        stream.pix_fmt, context = pixel_format, stream.codec_context
        context.time_base = BASE if codec not in ("gif", "mpeg2video", "mpeg4", "mjpeg") else Fraction(1, 25)
        if matrix:
            context.colorspace = context.color_primaries = context.color_trc = matrix
            context.color_range = 2 if full else 1
        if aspect:
            context.sample_aspect_ratio = aspect
        if degrees:
            stream.set_display_rotation(degrees)
        heard = out.add_stream(sound, rate=RATE) if sound else None
        if heard:
            heard.layout = "mono"
        read = out.add_mux_stream(subtitle) if subtitle else None
        out.metadata.update(tags or {})
        if chapters:
            out.set_chapters(CHAPTERS)
        for picture, pts in zip(pictures, times, strict=True):
            if not stream.codec_context.is_open:
                stream.height, stream.width = picture.shape[:2]
            frame = _frame(picture, pixel_format, matrix or 6, full)
            frame.pts, frame.time_base = pts, BASE
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if heard:
            _write_sine(out, heard, seconds=float(times[-1] * BASE))
        if read:
            _write_words(out, read)
    return path


def read_film(path: Path) -> list[Frame]:
    """The frames of a film, in FFmpeg's own RGB."""
    with av.open(str(path)) as container:
        return [Frame(f.pts, f.to_ndarray(format="rgb24"), f) for f in container.decode(video=0)]


def packets(path: Path, kind: str) -> list[tuple]:
    """Bytes, times, duration of the packets of the first stream of a kind."""
    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        return [(bytes(p), p.pts, p.dts, p.duration, p.time_base) for p in container.demux(stream) if p.size]


def to_yuv(picture: np.ndarray, matrix: int, full: bool) -> np.ndarray:
    """RGB of 8 bits to (H, W, 3) Y, Cb, Cr, unrounded: Rec. ITU-R BT.601-7 and BT.709-6, BT.2020-2 (section 3)."""
    red, blue = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 5: (0.299, 0.114), 9: (0.2627, 0.0593)}[matrix]
    r, g, b = np.moveaxis(picture.astype(np.float64) / 255, -1, 0)
    y = red * r + (1 - red - blue) * g + blue * b
    cb, cr = (b - y) / (2 - 2 * blue), (r - y) / (2 - 2 * red)
    if full:
        return np.stack([255 * y, 255 * cb + 128, 255 * cr + 128], -1)
    return np.stack([219 * y + 16, 224 * cb + 128, 224 * cr + 128], -1)


def planes(frame: object) -> list[np.ndarray]:
    """The planes of a decoded frame of 8 bits."""
    return [np.frombuffer(p, np.uint8).reshape(p.height, p.line_size)[:, : p.width] for p in frame.planes]


def _frame(picture, pixel_format, matrix, full):
    if not pixel_format.startswith("yuv") or "10" in pixel_format:
        kind = "rgb24" if picture.dtype == np.uint8 else "rgb48le"
        return av.VideoFrame.from_ndarray(picture, format=kind).reformat(
            format=pixel_format, dst_colorspace=matrix, dst_color_range=2 if full else 1
        )
    frame = av.VideoFrame(picture.shape[1], picture.shape[0], pixel_format)
    values = to_yuv(picture, matrix, full)
    for channel, plane in enumerate(frame.planes):
        whole = values[..., channel]
        down, across = -(-whole.shape[0] // plane.height), -(-whole.shape[1] // plane.width)
        padded = np.pad(whole, ((0, -whole.shape[0] % down), (0, -whole.shape[1] % across)), mode="edge")
        small = padded.reshape(plane.height, down, plane.width, across).mean((1, 3))
        full_line = np.zeros((plane.height, plane.line_size), np.uint8)
        full_line[:, : plane.width] = np.clip(np.rint(small), 0, 255)
        plane.update(full_line.tobytes())
    return frame


def _write_sine(out, stream, seconds: float) -> None:
    wave = (0.3 * np.sin(np.arange(int(RATE * max(seconds, 0.2))) * 0.06)).astype(np.float32)[None]
    step, name = 960, stream.codec_context.format.name
    for start in range(0, wave.shape[1] - step, step):
        piece = wave[:, start : start + step]
        made = (piece * 32767).astype(np.int16) if name.startswith("s16") else piece
        frame = av.AudioFrame.from_ndarray(made, format=name, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def _write_words(out, stream) -> None:
    for start, text in ((100, b"Hello"), (600, b"Goodbye")):
        packet = av.Packet(text)
        packet.pts = packet.dts = start
        packet.duration, packet.time_base, packet.stream = 300, Fraction(1, 1000), stream
        out.mux_one(packet)
