"""EXIF edited in place, so that every byte that is not wrong stays, makers' own notes with offsets included.

CIPA DC-008 (Exif 2.32): a TIFF structure; directory 0 tells about the photo and points to further ones, directory 1 is
the thumbnail.
"""

import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

_WIDTH, _HEIGHT, _ORIENTATION, _EXIF = 0x0100, 0x0101, 0x0112, 0x8769
_PIXEL_X, _PIXEL_Y = 0xA002, 0xA003
_THUMBNAILS = ((0x0201, 0x0202), (0x0111, 0x0117))  # where, how long: as a JPEG, as a strip
_SHORT, _LONG = 3, 4


class _Entry(NamedTuple):
    tag: int
    kind: int
    many: int
    at: int  # where its value stands


def orientation(exif: bytes | None) -> int:
    """1 to 8; 1 also where the EXIF does not say, or is broken."""
    try:
        found = _Block(exif or b"").entries().get(_ORIENTATION)
        value = _Block(exif or b"").value(found) if found else 1
    except ValueError:
        return 1
    return value if value in range(1, 9) else 1


def settled(exif: bytes, width: int, height: int) -> bytes:
    """The EXIF of an upright picture of that size: orientation 1, its dimensions, and no thumbnail of the old one.

    Raises:
        ValueError: the EXIF is broken.
    """
    block = _Block(exif)
    main = block.entries()
    inner = block.entries(block.value(main[_EXIF])) if _EXIF in main else {}
    news = {_ORIENTATION: 1, _WIDTH: width, _HEIGHT: height, _PIXEL_X: width, _PIXEL_Y: height}
    for tag, entry in (main | inner).items():
        if tag in news:
            block.put(entry, news[tag])
    block.drop_thumbnail()
    return bytes(block.data)


class _Block:
    """A TIFF structure; every look at it is checked against its end."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        if data[:4] not in (b"II*\0", b"MM\0*"):
            raise ValueError("no TIFF header")
        self.order = "<" if data[:1] == b"I" else ">"
        self.first = self._number("I", 4)

    def entries(self, at: int | None = None) -> dict[int, _Entry]:
        """The entries of the directory at that place, by their tags."""
        return {entry.tag: entry for entry in self._walk(self.first if at is None else at)}

    def _walk(self, at: int) -> Iterator[_Entry]:
        for place in range(at + 2, at + 2 + 12 * self._number("H", at), 12):
            tag, kind, many = self._number("H", place), self._number("H", place + 2), self._number("I", place + 4)
            self._number("I", place + 8)
            yield _Entry(tag, kind, many, place + 8)

    def value(self, entry: _Entry) -> int:
        """The number that an entry holds."""
        if entry.kind not in (_SHORT, _LONG) or entry.many != 1:
            raise ValueError(f"tag {entry.tag:#06x} is no single number")
        return self._number("H" if entry.kind == _SHORT else "I", entry.at)

    def put(self, entry: _Entry, number: int) -> None:
        """Writes a number over an entry's."""
        self.value(entry)
        kind = _SHORT if number < 1 << 16 else _LONG
        packed = struct.pack(self.order + "HI", kind, 1)
        value = struct.pack(self.order + ("H" if kind == _SHORT else "I"), number).ljust(4, b"\0")
        self.data[entry.at - 6 : entry.at + 4] = packed + value

    def drop_thumbnail(self) -> None:
        """Ends the chain at directory 0, and wipes what directory 1 showed."""
        link = self.first + 2 + 12 * self._number("H", self.first)
        following = self._number("I", link)
        self.data[link : link + 4] = bytes(4)
        with suppress(ValueError):  # a broken thumbnail: nothing leads to it any more
            thumbnail = self.entries(following) if following else {}
            for where, length in _THUMBNAILS:
                if where in thumbnail and length in thumbnail:
                    self._wipe(self.value(thumbnail[where]), self.value(thumbnail[length]), link + 4)

    def _wipe(self, at: int, length: int, after: int) -> None:
        if at < after:
            raise ValueError("the thumbnail lies in directory 0")
        if at + length >= len(self.data):
            del self.data[at:]
        else:
            self.data[at : at + length] = bytes(length)

    def _number(self, form: str, at: int) -> int:
        try:
            return int(struct.unpack_from(self.order + form, self.data, at)[0])
        except struct.error as error:
            raise ValueError(f"ends before {at}") from error
