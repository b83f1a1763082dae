"""From the colours of a film's frames to RGB and back, by the matrix and range that the film names.

Most tools that send a film through RGB lose this: they read every film as BT.601, or write what players then take for
BT.709, and skin turns orange or green. A film that names no matrix is read as players do, by its size, and the result
says what was taken, since its own size may be another.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from restore.images import Image

if TYPE_CHECKING:
    from av import VideoFrame

LIMITED, FULL = 1, 2  # FFmpeg's numbers (libavutil/pixfmt.h), as are those below
BT709, BT601 = 1, 6
MATRICES = {1: "BT.709", 4: "FCC", 5: "BT.601", 6: "BT.601", 7: "SMPTE 240M", 9: "BT.2020", 10: "BT.2020"}
HDR = {16: "PQ", 18: "HLG"}  # transfers
_OF_SWSCALE = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}  # its numbers for the matrices
# Bicubic chroma at full resolution, exact rounding, the same on every machine.
_HOW = 0x4 | 0x2000 | 0x4000 | 0x40000 | 0x80000


@dataclass(frozen=True)
class Colours:
    """What the numbers in a film's frames mean, as FFmpeg counts them."""

    matrix: int
    range: int
    primaries: int
    transfer: int
    guessed: bool  # the matrix, by the size

    @classmethod
    def of(cls, frame: "VideoFrame") -> "Colours":
        """Those of a frame. RGB has no matrix: it gets the one for its size, for a result that needs one."""
        full = is_rgb(frame.format) or frame.format.name.startswith("yuvj") or frame.color_range == FULL
        guessed = frame.colorspace not in MATRICES
        matrix = by_size(frame.width, frame.height) if guessed else int(frame.colorspace)
        to_limited = is_rgb(frame.format)  # what players expect of YUV
        kept = FULL if full and not to_limited else LIMITED
        return cls(matrix, kept, int(frame.color_primaries), int(frame.color_trc), guessed and not to_limited)

    def __str__(self) -> str:
        return f"{MATRICES[self.matrix]}, {'full' if self.range == FULL else 'limited'} range"

    def rgb(self, frame: "VideoFrame") -> Image:
        """A frame as RGB, 8 bits, or 16 where it has more than 8."""
        name = "rgb48le" if depth(frame.format) > 8 else "rgb24"
        own = (
            {} if is_rgb(frame.format) else {"src_colorspace": _OF_SWSCALE[self.matrix], "src_color_range": self.range}
        )
        pixels: Any = frame.reformat(format=name, dst_color_range=FULL, interpolation=_HOW, **own).to_ndarray()
        image: Image = pixels
        return image

    def frame(self, picture: Image, pixel_format: str) -> "VideoFrame":
        """An RGB picture as a frame of that format."""
        import av

        name = "rgb48le" if picture.dtype == np.uint16 else "rgb24"
        pixels: Any = np.ascontiguousarray(picture)
        own: Any = av.VideoFrame.from_ndarray(pixels, format=name)
        if av.VideoFormat(pixel_format).is_rgb:
            return own.reformat(format=pixel_format, interpolation=_HOW)  # type: ignore[no-any-return]
        made: VideoFrame = own.reformat(
            format=pixel_format,
            dst_colorspace=_OF_SWSCALE[self.matrix],
            src_color_range=FULL,
            dst_color_range=self.range,
            interpolation=_HOW,
        )
        return made

    def changed(self, raw: "VideoFrame", before: Image, after: Image, pixel_format: str) -> "VideoFrame":
        """The frame `raw`, which was seen as `before`, with what `after` has changed.

        Where nothing was, the very numbers stay: chroma that several pixels share does not survive the way to RGB and
        back where colours meet.
        """
        made = self.frame(after, pixel_format)
        if not _is_like(raw, made):
            return made
        was = self.frame(before, pixel_format)
        bits = depth(made.format)
        kind = np.uint16 if bits > 8 else np.uint8
        for new, old, source in zip(made.planes, was.planes, raw.planes, strict=True):
            values = _rows(source, kind) + _rows(new, kind) - _rows(old, kind)
            whole = np.zeros((new.height, new.line_size), np.uint8).view(kind)
            whole[:, : new.width] = values.clip(0, 2**bits - 1)
            new.update(whole.tobytes())
        return made


def _is_like(one: Any, other: Any) -> bool:
    """Whether two frames have the same planes, one a component."""
    names = {frame.format.name.replace("yuvj", "yuv") for frame in (one, other)}
    sizes = {(frame.width, frame.height, len(frame.planes)) for frame in (one, other)}
    return len(names) == len(sizes) == 1 and len(one.planes) == len(one.format.components) and not is_rgb(one.format)


def _rows(plane: Any, kind: Any) -> Any:
    """(height, width): the values of a plane."""
    return np.frombuffer(plane, kind).reshape(plane.height, -1)[:, : plane.width].astype(np.int32)


def by_size(width: int, height: int) -> int:
    """The matrix that players take for a film that names none: BT.709 beyond standard definition, else BT.601."""
    return BT709 if width >= 1280 or height > 576 else BT601


def is_rgb(pixel_format: Any) -> bool:
    """Whether PyAV's `VideoFormat` holds RGB, as values or in a palette."""
    return bool(pixel_format.is_rgb or pixel_format.has_palette)


def depth(pixel_format: Any) -> int:
    """The most bits of a component of PyAV's `VideoFormat`."""
    return max(int(component.bits) for component in pixel_format.components)
