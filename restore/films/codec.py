"""How a film's frames are encoded again: by its own codec where there is an encoder, and near to lossless.

No encoder gets B-frames and every one a fixed number of threads: frames then leave it in the order in which they went
in, with the same bytes on every run, so that parts made at different times join exactly, whatever the frames' times.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from restore.errors import UserError
from restore.films.colour import Colours, depth
from restore.films.source import Film, Still, import_av
from restore.images import Image

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}  # that we write
_QSCALE = {"flags": "+qscale", "global_quality": str(2 * 118), "threads": "4"}  # FFmpeg's 2: near to lossless

# Codec as FFmpeg names it -> encoder, options. Measured: docs/video.md.
_ENCODERS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "h264": ("libx264", {"crf": "17", "preset": "medium", "bf": "0", "threads": "4"}),
    "hevc": ("libx265", {"crf": "17", "preset": "fast", "x265-params": "bframes=0:frame-threads=1:log-level=error"}),
    "vp8": ("libvpx", {"crf": "6", "b": "40M", "qmax": "24", "cpu-used": "3", "threads": "4"}),
    "vp9": ("libvpx-vp9", {"crf": "16", "b": "0", "cpu-used": "3", "row-mt": "1", "threads": "4"}),
    "av1": ("libsvtav1", {"crf": "18", "preset": "8", "svtav1-params": "pred-struct=1"}),
    "mpeg4": ("mpeg4", _QSCALE),
    "mjpeg": ("mjpeg", _QSCALE),
    "prores": ("prores_ks", {"threads": "4"}),
    "ffv1": ("ffv1", {"level": "3", "threads": "4"}),
    "png": ("png", {"threads": "4"}),
}
_IN_WEBM = ("vp8", "vp9", "av1")
_NOT_IN_MP4 = ("ffv1", "vp8")
_INSTEAD = ("h264", "mpeg4", "ffv1")  # where the film's own codec has no encoder, or none in this build of FFmpeg
_PLAIN = {"nv12": "yuv420p", "nv16": "yuv422p", "p010le": "yuv420p10le", "bgra": "rgb24", "pal8": "rgb24"}


@dataclass(frozen=True)
class Encoding:
    """An encoder, its options, and the format of its pixels."""

    codec: str
    encoder: str
    options: Mapping[str, str]
    pixel_format: str

    @classmethod
    def of(cls, film: Film, suffix: str) -> "Encoding":
        """The one for a film whose result goes to a file of that suffix.

        Raises:
            UserError: we do not write such files, or this build of FFmpeg has no encoder at all.
        """
        for codec in (film.codec, *(("vp9",) if suffix == ".webm" else _INSTEAD)):
            if _carries(suffix, codec) and (formats := _formats(codec)):
                encoder, options = _ENCODERS[codec]
                return cls(codec, encoder, options, _pixel_format(film.format, formats))
        raise UserError(f"{film.path}: this build of FFmpeg has no encoder for {suffix} films; write .mkv")

    def plain(self) -> dict[str, Any]:
        """What has to be the same for parts to fit together."""
        return {"encoder": self.encoder, "options": dict(self.options), "pixel_format": self.pixel_format}

    def described(self, film: Film) -> str:
        """How the pictures are written, in words."""
        quality = f" crf {self.options['crf']}" if "crf" in self.options else ""
        return f"{self.encoder}{quality}, {self.pixel_format}, {film.colours}"

    def notes(self, film: Film) -> list[str]:
        """What the result does not share with the source."""
        told = []
        if self.codec != film.codec:
            told.append(f"{film.codec} is not written: {self.codec} in its place")
        av = import_av()
        if depth(av.VideoFormat(self.pixel_format)) < depth(film.format):
            told.append(f"{film.format.name} becomes {self.pixel_format}: {self.encoder} has no more bits")
        return told

    def open(self, container: Any, film: Film, size: tuple[int, int]) -> Any:
        """A stream of the container that encodes frames of (width, height)."""
        os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 talks to stderr otherwise
        stream = container.add_stream(self.encoder, rate=film.rate, options=dict(self.options))
        context = stream.codec_context
        stream.width, stream.height = self.padded(size)
        stream.pix_fmt = self.pixel_format
        context.time_base = film.time_base
        context.sample_aspect_ratio = film.aspect
        colours = film.colours
        context.color_primaries, context.color_trc = colours.primaries, colours.transfer
        if not import_av().VideoFormat(self.pixel_format).is_rgb:
            context.colorspace, context.color_range = colours.matrix, colours.range
        return stream

    def padded(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size that the pixel format allows: shared chroma takes whole pairs of pixels, except in VP9 and AV1."""
        if self.codec in ("vp8", "vp9", "ffv1", "mjpeg", "mpeg4", "png"):
            return size
        chroma = import_av().VideoFormat(self.pixel_format)
        across, down = 2 // chroma.chroma_width(2), 2 // chroma.chroma_height(2)
        return size[0] + -size[0] % across, size[1] + -size[1] % down

    def frame(self, picture: Image, colours: Colours, still: Still, time_base: Fraction) -> Any:
        """The result of a frame as the stream takes it; the last row and column go on where it has to be even."""
        height, width = picture.shape[:2]
        right, below = self.padded((width, height))
        if (right, below) != (width, height):
            whole: Any = np.pad(picture, ((0, below - height), (0, right - width), (0, 0)), mode="edge")
            picture = whole
        if still.raw is not None and still.picture is not None and still.picture.shape == picture.shape:
            frame = colours.changed(still.raw, still.picture, picture, self.pixel_format)
        else:
            frame = colours.frame(picture, self.pixel_format)
        frame.pts, frame.time_base = still.pts, time_base
        return frame


def suffix_for(source: Path) -> str:
    """The suffix of a film's result: its own, .mp4 for a .gif, and .mkv for what we read and do not write."""
    own = source.suffix.lower()
    return own if own in CONTAINERS else ".mp4" if own == ".gif" else ".mkv"


def _carries(suffix: str, codec: str) -> bool:
    if codec not in _ENCODERS:
        return False
    if suffix == ".webm":
        return codec in _IN_WEBM
    return suffix == ".mkv" or codec not in _NOT_IN_MP4


def _formats(codec: str) -> list[str]:
    """The pixel formats of its encoder; none where this build of FFmpeg lacks it."""
    av = import_av()
    try:
        return [each.name for each in av.Codec(_ENCODERS[codec][0], "w").video_formats or ()]
    except av.codec.codec.UnknownCodecError:
        return []


def _pixel_format(source: Any, formats: list[str]) -> str:
    """The source's own, else the usual one of its depth, else the encoder's first."""
    name = source.name.replace("yuvj", "yuv").replace("yuva", "yuv").replace("be", "le")
    wanted = [_PLAIN.get(name, name), "bgr0"] if source.is_rgb or source.has_palette else [_PLAIN.get(name, name)]
    wanted += ["yuv420p10le", "yuv422p10le", "yuv420p"] if depth(source) > 8 else ["yuv420p"]
    return next((each for each in wanted if each in formats), formats[0])
