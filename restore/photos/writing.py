"""Writes a result that keeps what its photo carried, as far as the format can hold it."""

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from restore import images
from restore.errors import UserError
from restore.photos import exif, jpeg_segments, png_chunks, xmp
from restore.photos.note import Note
from restore.photos.photo import Lossy, Photo
from restore.photos.reading import FORMATS
from restore.photos.tiff_file import encode_tiff

_XMP_IN_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
_BY_SUFFIX = {suffix: name for name, suffixes in FORMATS.items() if name != "GIF" for suffix in suffixes}


@dataclass(frozen=True)
class _Holds:
    """What a format holds, and how many pixels a side."""

    most: int
    alpha: bool = True
    sixteen: bool = False
    metadata: bool = True
    dpi: bool = False


_HOLDS = {
    "PNG": _Holds(2**31 - 1, sixteen=True, dpi=True),
    "JPEG": _Holds(65500, alpha=False, dpi=True),
    "WEBP": _Holds(16383),
    "TIFF": _Holds(2**31 - 1, sixteen=True, dpi=True),
    "BMP": _Holds(2**31 - 1, alpha=False, metadata=False, dpi=True),
    "PPM": _Holds(2**31 - 1, alpha=False, sixteen=True, metadata=False),
    "AVIF": _Holds(65535),
}


def write_photo(path: str | Path, photo: Photo, note: Note | None = None) -> None:
    """Writes `photo` in the format that the suffix of `path` names. A reader sees a whole file or none.

    Raises:
        UserError: the format is unknown or cannot hold so many pixels, or the disk refuses.
    """
    images.write_atomic(Path(path), encode_photo(path, photo, note))


def encode_photo(path: str | Path, photo: Photo, note: Note | None = None) -> bytes:
    """What `write_photo` writes to a file of that name.

    EXIF says that the picture is upright and how large it is, and loses its thumbnail; `note` goes into the XMP packet,
    and in a PNG also into text. What the format cannot hold is left out; `left_out` tells it.

    Raises:
        UserError: see `write_photo`.
    """
    path = Path(path)
    format = _format(path)
    height, width = photo.pixels.shape[:2]
    if max(height, width) > _HOLDS[format].most:
        raise UserError(f"{path}: {format} holds at most {_HOLDS[format].most} pixels a side, not {width} x {height}")
    kept, packet, _ = _fitted(format, photo, note)
    if kept.exif:
        kept = replace(kept, exif=exif.settled(kept.exif, width, height))
    try:
        return _ENCODERS[format](replace(kept, xmp=packet), note)
    except (OSError, ValueError, MemoryError, cv2.error) as error:
        raise UserError(f"{path}: cannot encode {width} x {height} pixels: {error}") from error


def left_out(path: str | Path, photo: Photo, note: Note | None = None) -> list[str]:
    """What a file of that name cannot hold of this photo, in words. Raises `UserError` for an unknown format."""
    return _fitted(_format(Path(path)), photo, note)[2]


def _format(path: Path) -> str:
    format = _BY_SUFFIX.get(path.suffix.lower())
    if format is None:
        raise UserError(f"{path}: cannot write `{path.suffix}` pictures; use one of {', '.join(sorted(_BY_SUFFIX))}")
    return format


def _fitted(format: str, photo: Photo, note: Note | None) -> tuple[Photo, bytes | None, list[str]]:
    """The photo as the format can hold it, its XMP packet, and what is left out in words."""
    holds, told = _HOLDS[format], []
    if photo.alpha is not None and not holds.alpha:
        photo = replace(photo, alpha=None)
        told.append(f"{format} holds no transparency")
    if photo.pixels.dtype == np.uint16 and not holds.sixteen:
        photo = photo.with_pixels(images.eight_bits(photo.pixels))
        told.append(f"{format} is written in 8 bits")
    if photo.dpi and not holds.dpi and not photo.exif:
        told.append(f"{format} holds no resolution in dpi")
    if not holds.metadata:
        carried = [
            word for word, part in (("EXIF", photo.exif), ("colour profile", photo.icc), ("XMP", photo.xmp)) if part
        ]
        told += [f"{format} holds no {word}" for word in [*carried, *(["note on how it was made"] if note else [])]]
        return replace(photo, exif=None, icc=None, xmp=None, extra=b""), None, told
    if photo.icc and (photo.icc[16:20] == b"GRAY") != _is_grey(photo):
        photo = replace(photo, icc=None)
        told.append("the colour profile is for another number of channels than the result has")
    if photo.extra and _BY_SUFFIX[photo.suffix] != format:
        photo = replace(photo, extra=b"")
        told.append(f"text or comment that only {_BY_SUFFIX[photo.suffix]} holds")
    packet = xmp.settled(photo.xmp, note)
    if format == "JPEG":
        if photo.exif and len(photo.exif) + 6 > jpeg_segments.MOST_IN_SEGMENT:
            photo = replace(photo, exif=None)
            told.append("EXIF larger than JPEG holds")
        if packet and len(packet) + len(_XMP_IN_JPEG) > jpeg_segments.MOST_IN_SEGMENT:
            packet = xmp.settled(None, note)
            told.append("XMP larger than JPEG holds")
    return photo, packet, told


def _is_grey(photo: Photo) -> bool:
    """Whether it is written with one channel: a photo that had one, and whose channels are still equal."""
    red, green, blue = np.moveaxis(photo.pixels, -1, 0)
    return photo.grey and photo.alpha is None and np.array_equal(red, green) and np.array_equal(red, blue)


def _samples(photo: Photo) -> NDArray[Any]:
    """(H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA, as they are to be written."""
    if _is_grey(photo):
        return np.ascontiguousarray(photo.pixels[:, :, 0])
    return np.ascontiguousarray(photo.pixels if photo.alpha is None else np.dstack([photo.pixels, photo.alpha]))


def _png(photo: Photo, note: Note | None) -> bytes:
    samples = _samples(photo)
    order = samples if samples.ndim == 2 else samples[:, :, [2, 1, 0, 3][: samples.shape[2]]]
    ok, data = cv2.imencode(".png", order)
    if not ok:
        raise ValueError("OpenCV refuses")
    added = []
    if photo.icc:
        added.append(png_chunks.profile(photo.icc))
    if photo.dpi:
        added.append(png_chunks.resolution(photo.dpi))
    if photo.exif:
        added.append((b"eXIf", photo.exif))
    if photo.xmp:
        added.append(png_chunks.international_text("XML:com.adobe.xmp", photo.xmp))
    if note:
        added.append(png_chunks.international_text("Comment", note.sentence.encode()))
    return png_chunks.with_chunks(data.tobytes(), added, ready=photo.extra)


def _jpeg(photo: Photo, note: Note | None) -> bytes:
    lossy = photo.lossy or Lossy(95)
    packet = jpeg_segments.segment(0xE1, _XMP_IN_JPEG + photo.xmp) if photo.xmp else b""
    options = {"qtables": jpeg_segments.finest_tables(lossy), "subsampling": lossy.subsampling}
    return _by_pillow("JPEG", photo, extra=packet + photo.extra, **_beside(photo), **options)


def _webp(photo: Photo, note: Note | None) -> bytes:
    quality = {"quality": max(jpeg_segments.FINE, photo.lossy.quality)} if photo.lossy else {"lossless": True}
    return _by_pillow("WEBP", photo, xmp=photo.xmp or b"", exact=True, **_beside(photo), **quality)


def _avif(photo: Photo, note: Note | None) -> bytes:
    quality = max(jpeg_segments.FINE, photo.lossy.quality if photo.lossy else 0)
    return _by_pillow("AVIF", photo, xmp=photo.xmp or b"", quality=quality, subsampling="4:4:4", **_beside(photo))


def _tiff(photo: Photo, note: Note | None) -> bytes:
    return encode_tiff(_samples(photo), photo.exif, photo.icc, photo.xmp, photo.dpi)


def _bmp(photo: Photo, note: Note | None) -> bytes:
    return _by_pillow("BMP", photo, **_beside(photo))


def _ppm(photo: Photo, note: Note | None) -> bytes:
    samples = _samples(photo)
    kind, (height, width) = 5 if samples.ndim == 2 else 6, samples.shape[:2]
    header = f"P{kind}\n{width} {height}\n{np.iinfo(samples.dtype).max}\n"
    return header.encode() + samples.astype(samples.dtype.newbyteorder(">")).tobytes()


def _beside(photo: Photo) -> dict[str, Any]:
    """What Pillow writes of it beside the pixels."""
    beside = {"icc_profile": photo.icc, "dpi": photo.dpi, "exif": b"Exif\0\0" + photo.exif if photo.exif else None}
    return {name: value for name, value in beside.items() if value}


def _by_pillow(format: str, photo: Photo, **options: Any) -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(_samples(photo)).save(file, format, **options)
    return file.getvalue()


_ENCODERS: dict[str, Callable[[Photo, Note | None], bytes]] = {
    "PNG": _png, "JPEG": _jpeg, "WEBP": _webp, "TIFF": _tiff, "BMP": _bmp, "PPM": _ppm, "AVIF": _avif,
}  # fmt: skip
