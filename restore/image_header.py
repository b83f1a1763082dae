"""Which format a picture file is of and how large its picture says it is, from the first bytes, without decoding."""

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

Bytes = bytes | memoryview

_NETPBM = re.compile(rb"P[1-6](?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)")
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})  # JPEG's start-of-frame markers
_BARE = frozenset({0x01, *range(0xD0, 0xDA)})  # those without a length
_SCAN = 0xDA


class Header(NamedTuple):
    """`format` in Pillow's words, `width` and `height` as the file says; 0 where it does not say so in one place."""

    format: str
    width: int
    height: int


def header(data: Bytes) -> Header | None:
    """What `data`, the bytes of an image file, begins with; None for what is no picture that we know."""
    head = bytes(data[:12])
    if head[4:8] == b"ftyp":
        format, size = _BRANDS.get(head[8:12], ("", _parts))
    else:
        format, size = _BEGINNINGS.get(head[:2], ("", _png))
    if not format or not head.startswith(_MAGIC.get(format, b"")):
        return None
    try:
        return Header(format, *size(data))
    except (struct.error, IndexError, ValueError):
        return Header(format, 0, 0)


def jpeg_segments(data: Bytes) -> Iterator[tuple[int, int]]:
    """The marker and the place of each segment of a JPEG, up to where its first scan starts."""
    at, marker = 2, 0
    while at + 4 <= len(data) and data[at] == 0xFF and marker != _SCAN:
        marker = data[at + 1]
        if marker == 0xFF:  # filling
            at += 1
        else:
            yield marker, at
            at += 2 if marker in _BARE else 2 + (data[at + 2] << 8 | data[at + 3])


def _png(data: Bytes) -> tuple[int, int]:
    return struct.unpack_from(">II", data, 16)


def _jpeg(data: Bytes) -> tuple[int, int]:
    for marker, at in jpeg_segments(data):
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
    return 0, 0


def _bmp(data: Bytes) -> tuple[int, int]:
    if struct.unpack_from("<I", data, 14)[0] == 12:
        return struct.unpack_from("<HH", data, 18)
    width, height = struct.unpack_from("<ii", data, 18)
    return abs(width), abs(height)


def _webp(data: Bytes) -> tuple[int, int]:
    kind = bytes(data[12:16])
    if kind == b"VP8X":
        packed = int.from_bytes(data[24:30], "little")
        return (packed & 0xFFFFFF) + 1, (packed >> 24) + 1
    if kind == b"VP8L":
        packed = int.from_bytes(data[21:25], "little")
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _tiff(data: Bytes) -> tuple[int, int]:
    order = "<" if data[0] == 0x49 else ">"
    at = struct.unpack_from(order + "I", data, 4)[0]
    size = {}
    for entry in range(at + 2, at + 2 + 12 * struct.unpack_from(order + "H", data, at)[0], 12):
        tag, kind = struct.unpack_from(order + "HH", data, entry)
        if tag in (256, 257):
            size[tag] = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, entry + 8)[0]
    return size.get(256, 0), size.get(257, 0)


def _gif(data: Bytes) -> tuple[int, int]:
    return struct.unpack_from("<HH", data, 6)


def _netpbm(data: Bytes) -> tuple[int, int]:
    found = _NETPBM.match(bytes(data[:512]))
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _parts(data: Bytes) -> tuple[int, int]:
    """The largest `ispe` property: the picture's own, or that of one part of its grid."""
    head = bytes(data[:16384])
    sizes = [struct.unpack_from(">II", head, found.end() + 4) for found in re.finditer(b"ispe", head)]
    return max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))


_BEGINNINGS = {
    b"\x89P": ("PNG", _png),
    b"\xff\xd8": ("JPEG", _jpeg),
    b"BM": ("BMP", _bmp),
    b"RI": ("WEBP", _webp),
    b"II": ("TIFF", _tiff),
    b"MM": ("TIFF", _tiff),
    b"GI": ("GIF", _gif),
    **{b"P%d" % kind: ("PPM", _netpbm) for kind in range(1, 7)},
}
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), ("AVIF", _parts)),
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"mif1", b"msf1"), ("HEIF", _parts)),
}
_MAGIC = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff", "WEBP": b"RIFF", "GIF": b"GIF8"}
