"""What only a JPEG carries: its quantisation tables, its comment, and the captions that press agencies write."""

import functools
import io
from collections.abc import Iterator

from PIL import Image, JpegImagePlugin

from restore.photos.photo import Lossy

FINE = 92  # the quality below which no result is written, however coarse its source
MOST_IN_SEGMENT = 65533

Table = tuple[int, ...]

_IRB, _THUMBNAILS = b"Photoshop 3.0\0", (0x0409, 0x040C)  # Photoshop's image resources; IPTC's captions are one


@functools.cache
def standard_tables(quality: int) -> tuple[Table, ...]:
    """The tables of the Independent JPEG Group for a quality, luma's and chroma's."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", quality=quality)
    return _tables(JpegImagePlugin.JpegImageFile(io.BytesIO(file.getvalue())))


def lossy_of(image: JpegImagePlugin.JpegImageFile) -> Lossy:
    """How finely a JPEG was compressed."""
    tables = _tables(image)
    return Lossy(_quality(tables[0]) if tables else FINE, max(JpegImagePlugin.get_sampling(image), 0), tables)


def finest_tables(lossy: Lossy) -> list[list[int]]:
    """Luma's and chroma's tables, no step coarser than the source's, nor than those of quality `FINE`."""
    floor = standard_tables(max(FINE, lossy.quality if not lossy.tables else 0))
    own = (lossy.tables[0], lossy.tables[min(1, len(lossy.tables) - 1)]) if lossy.tables else floor
    return [[max(1, min(pair)) for pair in zip(*each, strict=True)] for each in zip(floor, own, strict=True)]


def extra_of(image: JpegImagePlugin.JpegImageFile) -> bytes:
    """The comment and Photoshop's resources, as segments to be put into another JPEG; without old thumbnails."""
    kept = []
    for name, content in image.applist:
        if name == "COM":
            kept.append(segment(0xFE, content))
        elif name == "APP13" and content.startswith(_IRB):
            kept.append(segment(0xED, _IRB + b"".join(_resources(content[len(_IRB) :]))))
    return b"".join(kept)


def segment(marker: int, content: bytes) -> bytes:
    """A segment as it stands in the file."""
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


def _resources(block: bytes) -> Iterator[bytes]:
    """The image resources that are whole and no thumbnails, as they stand."""
    at = 0
    while block[at : at + 4] == b"8BIM" and at + 7 <= len(block):
        number = int.from_bytes(block[at + 4 : at + 6], "big")
        size_at = at + 6 + (block[at + 6] + 2) // 2 * 2  # a name with its length before it, padded to be even
        size = int.from_bytes(block[size_at : size_at + 4], "big")
        end = size_at + 4 + (size + 1) // 2 * 2
        if end > len(block) + 1:
            return
        if number not in _THUMBNAILS:
            yield block[at:end].ljust(end - at, b"\0")
        at = end


def _tables(image: JpegImagePlugin.JpegImageFile) -> tuple[Table, ...]:
    return tuple(tuple(image.quantization[key]) for key in sorted(image.quantization))


def _quality(luma: Table) -> int:
    """The quality whose standard table is as coarse; the Independent JPEG Group's formula, turned round."""
    percent = 100 * sum(luma) / sum(standard_tables(50)[0])
    return max(1, min(100, round((200 - percent) / 2 if percent <= 100 else 5000 / percent)))
