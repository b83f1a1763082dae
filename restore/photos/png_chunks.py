"""The chunks of a PNG (W3C PNG, third edition): read, and put in."""

import zlib
from collections.abc import Iterable, Iterator

MAGIC = b"\x89PNG\r\n\x1a\n"
_AFTER_HEADER = len(MAGIC) + 25
_MOST_TEXT = 1 << 20


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The name and content of each chunk that is whole."""
    at = len(MAGIC)
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + length > len(data):
            return
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length


def with_chunks(png: bytes, added: Iterable[tuple[bytes, bytes]], ready: bytes = b"") -> bytes:
    """A PNG with further chunks, and `ready` ones, right behind its header, where every kind that we add may stand."""
    return b"".join([png[:_AFTER_HEADER], ready, *(chunk(*each) for each in added), png[_AFTER_HEADER:]])


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk as it stands in the file."""
    check = zlib.crc32(name + content).to_bytes(4, "big")
    return len(content).to_bytes(4, "big") + name + content + check


def international_text(key: str, text: bytes) -> tuple[bytes, bytes]:
    """An iTXt chunk, not compressed. `text` is UTF-8."""
    return b"iTXt", key.encode("latin-1") + b"\0\0\0\0\0" + text


def profile(icc: bytes) -> tuple[bytes, bytes]:
    """An iCCP chunk."""
    return b"iCCP", b"ICC profile\0\0" + zlib.compress(icc)


def resolution(dpi: tuple[float, float]) -> tuple[bytes, bytes]:
    """A pHYs chunk: dots per metre."""
    return b"pHYs", b"".join(round(each / 0.0254).to_bytes(4, "big") for each in dpi) + b"\1"


def key_of(content: bytes) -> bytes:
    """The keyword of a text chunk."""
    return content.split(b"\0", 1)[0]


def text_of(content: bytes) -> bytes | None:
    """The UTF-8 of an iTXt chunk; None where it is broken or longer than any packet that a photo has."""
    _, _, rest = content.partition(b"\0")
    parts = rest[2:].split(b"\0", 2)
    if len(parts) != 3 or len(parts[2]) > _MOST_TEXT:
        return None
    if rest[:1] == b"\0":
        return parts[2]
    try:
        opened = zlib.decompressobj()
        text = opened.decompress(parts[2], _MOST_TEXT)
        return None if opened.unconsumed_tail else text
    except zlib.error:
        return None
