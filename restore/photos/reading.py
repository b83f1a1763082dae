"""Reads a photo with everything that its file carries. Whatever the file is, it is read or told in one line."""

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps
from PIL.JpegImagePlugin import JpegImageFile

from restore import images
from restore.image_header import header
from restore.images import Image, UnreadableImage
from restore.photos import exif, jpeg_segments, png_chunks, tiff_file, xmp
from restore.photos.photo import Lossy, Photo, Plane

# By Pillow's name of the content; the first suffix is given to a file that was called something else.
FORMATS = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "PPM": (".ppm", ".pgm"),
    "AVIF": (".avif",),
    "GIF": (".png",),  # its 256 colours would not do for a result
}
_RAW = frozenset(
    {
        *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".kdc", ".mrw", ".nef", ".nrw", ".orf"),
        *(".pef", ".raf", ".raw", ".rw2", ".sr2", ".srf", ".srw", ".x3f"),
    }
)
_RAW_TAG = 50706  # DNGVersion

# OpenCV turns some AVIF twice and gives no 8 bits of a 10-bit one; 4.10 reads no GIF and turns no WebP.
_BY_PILLOW = frozenset({"AVIF", "GIF", "WEBP"})
_GREY = frozenset({"1", "L", "LA", "I", "I;16", "I;16B"})
_PNG_COLOURS = frozenset({b"sRGB", b"gAMA", b"cHRM", b"cICP"})
_PNG_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_XMP_KEY, _STALE_KEY = b"XML:com.adobe.xmp", b"Raw profile type "  # the latter is ImageMagick's copy of EXIF and ICC
_TURNS: dict[int, Callable[[Any], Any]] = {
    2: np.fliplr,
    3: lambda shown: np.rot90(shown, 2),
    4: np.flipud,
    5: lambda shown: shown.swapaxes(0, 1),
    6: lambda shown: np.rot90(shown, -1),
    7: lambda shown: np.rot90(shown, 2).swapaxes(0, 1),
    8: np.rot90,
}


def read_photo(path: str | Path) -> Photo:
    """The photo in a file.

    Raises:
        UnreadableImage: it is no whole picture, an animation, a camera's raw file, larger than `images.MOST_PIXELS`, no
            regular file, or cannot be opened. One line, which names the file.
    """
    path = Path(path)
    if path.suffix.lower() in _RAW:
        raise _raw(path)
    return decode_photo(images.file_bytes(path), str(path), path.suffix.lower())


def decode_photo(data: bytes, where: str, suffix: str = "") -> Photo:
    """The photo in `data`, the bytes of an image file. `suffix` is kept where it is one of the content's format.

    Raises:
        UnreadableImage: see `read_photo`.
    """
    if not data:
        raise UnreadableImage(f"{where}: empty file")
    known = header(data)
    if known is None or known.format not in FORMATS:
        what = "a HEIC picture" if known else "no picture that is read here"
        raise UnreadableImage(f"{where}: {what}; save it as one of PNG, JPEG, WebP, TIFF, BMP, AVIF")
    images.refuse_bomb(data, where)
    try:
        with warnings.catch_warnings(action="ignore"):  # what is wrong with a picture, we say
            return _Reader(data, where, known.format).photo(suffix)
    except UnreadableImage:
        raise
    except MemoryError as error:
        raise UnreadableImage(f"{where}: not enough memory for {known.width} x {known.height} pixels") from error
    except Exception as error:  # Pillow's and OpenCV's readers raise anything on a damaged file
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
        raise UnreadableImage(f"{where}: a damaged {known.format} file ({why})") from error


@dataclass
class _Reader:
    """One file on its way to a `Photo`."""

    data: bytes
    where: str
    format: str
    notes: list[str] = field(default_factory=list)

    def photo(self, suffix: str) -> Photo:
        Pillow.init()
        if self.format not in Pillow.OPEN:
            raise UnreadableImage(f"{self.where}: this Pillow reads no {self.format}; pip install --upgrade Pillow")
        # Not Image.open: it has a limit of its own, lower than ours, and warns where we say nothing.
        opener: Any = Pillow.OPEN[self.format][0]
        with opener(io.BytesIO(self.data), "") as image:
            self._refuse_more_than_a_photo(image)
            pixels, alpha = self._pixels(image)
            suffixes = FORMATS[self.format]
            return Photo(
                pixels=pixels,
                alpha=alpha,
                exif=self._exif(image, pixels),
                icc=self._icc(image),
                xmp=self._xmp(image),
                dpi=_dpi(image),
                suffix=suffix if suffix in suffixes else suffixes[0],
                lossy=self._lossy(image),
                grey=image.mode in _GREY,
                extra=self._extra(image),
                notes=tuple(self.notes),
            )

    def _refuse_more_than_a_photo(self, image: Any) -> None:
        if self.format == "TIFF" and _RAW_TAG in image.tag_v2:
            raise _raw(self.where)
        if self.format == "JPEG":
            if getattr(image, "n_frames", 1) > 1:
                self.notes.append("what stands behind the picture (a gain map, a depth map, a second view) is left out")
        elif getattr(image, "is_animated", False):
            what = "pages" if self.format == "TIFF" else "frames of an animation"
            raise UnreadableImage(f"{self.where}: holds {image.n_frames} {what}, not one photo; save one of them alone")

    def _pixels(self, image: Any) -> tuple[Image, Plane | None]:
        transparent = "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info
        if self.format in _BY_PILLOW:
            return self._by_pillow(image, transparent)
        pixels = images.decode(self.data, self.where)
        if not transparent:
            return pixels, None
        if pixels.dtype == np.uint16:
            return self._of_16_bits(image)
        return self._by_pillow(image, transparent)  # OpenCV darkens a TIFF's colours where they are transparent

    def _by_pillow(self, image: Any, transparent: bool) -> tuple[Image, Plane | None]:
        upright = ImageOps.exif_transpose(image)
        if not transparent:
            return np.asarray(upright.convert("RGB")), None
        rgba = np.asarray(upright.convert("RGBA"))
        return np.ascontiguousarray(rgba[:, :, :3]), np.ascontiguousarray(rgba[:, :, 3])

    def _of_16_bits(self, image: Any) -> tuple[Image, Plane | None]:
        rgba: Any = cv2.imdecode(np.frombuffer(self.data, np.uint8), cv2.IMREAD_UNCHANGED)
        if rgba is None or rgba.ndim != 3 or rgba.shape[2] != 4:
            raise UnreadableImage(f"{self.where}: its transparency cannot be read")
        if self.format != "TIFF":  # those OpenCV turns in any case
            rgba = _TURNS.get(exif.orientation(self._raw_exif(image)), lambda x: x)(rgba)
        colour, alpha = rgba[:, :, 2::-1], rgba[:, :, 3]
        if self.format == "TIFF" and 1 in np.atleast_1d(image.tag_v2.get(338, 0)):  # already multiplied by alpha
            opaque = np.maximum(alpha, 1)[:, :, None].astype(np.float64)
            colour = np.minimum(np.rint(colour * (65535 / opaque)), 65535).astype(np.uint16)
        return np.ascontiguousarray(colour), np.ascontiguousarray(alpha)

    def _raw_exif(self, image: Any) -> bytes | None:
        if self.format == "PNG":  # Pillow has not yet seen one that stands behind the pixels
            return next((content for name, content in png_chunks.chunks(self.data) if name == b"eXIf"), None)
        found = image.info.get("exif")
        return found.removeprefix(b"Exif\0\0") if found else None

    def _exif(self, image: Any, pixels: Image) -> bytes | None:
        try:
            found = tiff_file.exif_of(image) if self.format == "TIFF" else self._raw_exif(image)
            if found:
                exif.settled(found, pixels.shape[1], pixels.shape[0])
            return found
        except Exception as error:  # as Pillow's readers do
            self._left_behind("its EXIF", error)
            return None

    def _icc(self, image: Any) -> bytes | None:
        icc = image.info.get("icc_profile")
        if not icc:
            return None
        if not isinstance(icc, bytes) or len(icc) < 132 or icc[36:40] != b"acsp":
            self._left_behind("its colour profile", "is broken")
            return None
        if icc[16:20] not in (b"RGB ", b"GRAY"):
            space = icc[16:20].decode("latin-1").strip()
            self._left_behind("its colour profile", f"is for {space}, and the result is RGB")
            return None
        return icc

    def _xmp(self, image: Any) -> bytes | None:
        found = image.info.get("xmp")
        if self.format == "PNG":
            texts = [content for name, content in png_chunks.chunks(self.data) if name == b"iTXt"]
            found = next((png_chunks.text_of(each) for each in texts if png_chunks.key_of(each) == _XMP_KEY), None)
        elif self.format == "TIFF":
            found = image.tag_v2.get(700)
        if not found:
            return None
        try:
            packet = found if isinstance(found, bytes) else bytes(found)
            xmp.settled(packet)
            return packet
        except (ValueError, TypeError) as error:
            self._left_behind("its XMP", error)
            return None

    def _lossy(self, image: Any) -> Lossy | None:
        if self.format == "JPEG":
            return jpeg_segments.lossy_of(image)
        if self.format == "AVIF" or (self.format == "WEBP" and b"VP8L" not in self.data[:4096]):
            return Lossy(jpeg_segments.FINE)
        return None

    def _extra(self, image: Any) -> bytes:
        if self.format == "JPEG" and isinstance(image, JpegImageFile):
            return jpeg_segments.extra_of(image)
        if self.format == "PNG":
            return b"".join(png_chunks.chunk(*each) for each in png_chunks.chunks(self.data) if _is_kept(*each))
        return b""

    def _left_behind(self, what: str, why: object) -> None:
        self.notes.append(f"{what} is left out: {why}")


def _is_kept(name: bytes, content: bytes) -> bool:
    """Whether a PNG's chunk says something that stays true of other pixels, and that no field of `Photo` has."""
    key = png_chunks.key_of(content)
    return name in _PNG_COLOURS or (name in _PNG_TEXTS and key != _XMP_KEY and not key.startswith(_STALE_KEY))


def _dpi(image: Any) -> tuple[float, float] | None:
    try:
        x, y = (float(each) for each in image.info.get("dpi", ()))
    except (ValueError, TypeError, ZeroDivisionError, OverflowError):
        return None
    return (x, y) if 1 < x <= 1e5 and 1 < y <= 1e5 else None  # Pillow says 1 of a TIFF that says nothing


def _raw(where: object) -> UnreadableImage:
    return UnreadableImage(f"{where}: a camera's raw file; develop it to TIFF, PNG or JPEG first")
