"""Reading and writing pictures, and the only place where their layout changes.

On disk a picture is whatever its file says; in a worker it is RGB `uint8` (or `uint16`) of shape (H, W, 3); everywhere
else it is RGB float in [0, 1] of shape (N, 3, H, W).
"""

import os
import platform
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restore.errors import UserError
from restore.image_header import Header, header, jpeg_segments

Image = NDArray[np.uint8] | NDArray[np.uint16]
Polarity = Literal["white_missing", "black_missing"]

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})

MOST_PIXELS = 1 << 28  # 0.8 GB of 8-bit RGB; more is taken for a bomb, a small file that asks for all memory
_MOST_BYTES = 8 * MOST_PIXELS  # RGBA of 16 bits, not compressed
_MOST_SCANS = 100  # of a JPEG; encoders write about ten

# ANYDEPTH keeps 16 bits; COLOR turns gray, palette and CMYK into three channels, drops alpha and obeys EXIF rotation.
_READ_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH


# Silent: what is wrong with a picture, we say. OpenCV 4 has the one, 5 the other.
(cv2.setLogLevel if hasattr(cv2, "setLogLevel") else cv2.utils.logging.setLogLevel)(0)


class UnreadableImage(UserError):
    """A file or record that is no whole picture. Training sets it aside; a single command reports it."""


def decode(data: bytes | memoryview, where: str) -> Image:
    """The picture in `data`, the bytes of an image file, as RGB `uint8` or `uint16` of shape (H, W, 3).

    Raises:
        UnreadableImage: not a picture, cut short, of floating-point samples, or of more than `MOST_PIXELS`. `where`
            names it in the message.
    """
    if not data:
        raise UnreadableImage(f"{where}: empty file")
    if refuse_bomb(data, where) is None:  # OpenCV knows more formats, whose sizes nobody has checked
        raise UnreadableImage(f"{where}: not a picture that is read here; save it as PNG, JPEG, WebP, TIFF or BMP")
    if _is_cut_short(data):
        raise UnreadableImage(f"{where}: the picture is cut short; copy or download the file again")
    try:
        image: Any = cv2.imdecode(np.frombuffer(data, np.uint8), _READ_FLAGS)
    except cv2.error as error:
        raise UnreadableImage(f"{where}: cannot decode the picture: {error.err}") from error
    if image is None:
        raise UnreadableImage(f"{where}: not a picture that OpenCV can decode")
    if image.dtype not in (np.uint8, np.uint16):
        raise UnreadableImage(f"{where}: samples are {image.dtype}; convert the picture to 8 or 16 bits")
    rgb: Image = image[:, :, ::-1]
    return rgb


def decode_mask(data: bytes | memoryview, where: str, polarity: Polarity = "white_missing") -> NDArray[np.uint8]:
    """The mask in a picture file, as (H, W, 1): 255 where pixels are missing, else 0. Greys go to the nearer one.

    Raises:
        UnreadableImage: see `decode`.
    """
    picture = decode(data, where)
    white = picture.max(axis=2, keepdims=True) > np.iinfo(picture.dtype).max // 2
    return np.where(white == (polarity == "white_missing"), np.uint8(255), np.uint8(0))


def read(path: str | Path) -> Image:
    """The picture in a file; see `decode`.

    Raises:
        UnreadableImage: also when the file cannot be opened.
    """
    return decode(file_bytes(path), str(path))


def file_bytes(path: str | Path) -> bytes:
    """What is in a picture file. Never waits: a pipe or a device is no file.

    Raises:
        UnreadableImage: it cannot be opened, is no regular file, or is larger than any picture that we read.
    """
    try:
        about = os.stat(path)  # asked before opening: opening a pipe waits for its other end, which may never come
        if not stat.S_ISREG(about.st_mode):
            kind = "a folder" if stat.S_ISDIR(about.st_mode) else "a device or pipe"
            raise UnreadableImage(f"{path}: {kind}, not a picture file")
        if about.st_size > _MOST_BYTES:
            raise UnreadableImage(f"{path}: {about.st_size >> 20} MiB; at most {_MOST_BYTES >> 20} MiB are read")
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:  # the latter for a name with a null byte in it
        raise UnreadableImage(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def write(path: str | Path, image: Image) -> None:
    """Writes an RGB picture of shape (H, W, 3); the suffix says the format. A reader sees a whole file or none.

    Raises:
        UserError: the format is unknown or the disk refuses.
    """
    write_atomic(Path(path), encode(Path(path), image))


def encode(path: Path, image: Image) -> bytes:
    """What `write` writes to a file of that name. Raises `UserError` for an unknown format."""
    try:
        ok, data = cv2.imencode(path.suffix, image[:, :, ::-1])
    except cv2.error as error:
        raise UserError(f"{path}: cannot write `{path.suffix}` pictures; use .png or .jpg") from error
    if not ok:
        raise UserError(f"{path}: cannot encode the picture")
    return bytes(data.tobytes())


def write_atomic(path: Path, data: bytes) -> None:
    """Writes `data` beside `path` and renames it there.

    Raises:
        UserError: the disk refuses; the file that stood there before is untouched.
    """
    beside = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.tmp")  # several nodes may write to one disk
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(data)
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot write: {error.strerror}") from error


def find(folder: str | Path) -> Iterator[Path]:
    """The pictures below a folder, at any depth, in the order of their names."""
    root = Path(folder)
    return iter(sorted(p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()))


def eight_bits(image: Image) -> NDArray[np.uint8]:
    """A picture of 8 or 16 bits as one of 8, to look at or to find faces in."""
    return np.asarray(image if image.dtype == np.uint8 else image >> 8, np.uint8)


def to_chw(image: NDArray[Any]) -> Tensor:
    """(H, W, 3) picture to a (3, H, W) tensor: `uint8` stays so, to travel small; `uint16` becomes float in [0, 1]."""
    if image.dtype == np.uint16:
        image = image.astype(np.float32) / np.float32(65535)
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def to_float(batch: Tensor) -> Tensor:
    """`uint8` in [0, 255] to float in [0, 1]; floats pass through."""
    return batch.float().div_(255) if batch.dtype == torch.uint8 else batch


def to_unit(image: Image) -> Tensor:
    """(H, W, 3) picture to a (1, 3, H, W) float tensor in [0, 1]."""
    return to_float(to_chw(image)).unsqueeze(0)


def to_uint8(picture: Tensor) -> NDArray[np.uint8]:
    """(3, H, W) float tensor in [0, 1] to an (H, W, 3) `uint8` picture, rounded half to even as BasicSR does."""
    levels: NDArray[np.uint8] = (
        picture.detach().float().clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).cpu().numpy()
    )
    return np.ascontiguousarray(levels)


def refuse_bomb(data: bytes | memoryview, where: str) -> Header | None:
    """What the header says. Raises `UnreadableImage` for more than `MOST_PIXELS`, or for hours of decoding."""
    known = header(data)
    if known and known.width * known.height > MOST_PIXELS:
        raise UnreadableImage(
            f"{where}: says that it has {known.width} x {known.height} pixels; at most {MOST_PIXELS / 1e6:.0f} "
            "megapixels are read; make it smaller or cut it in parts"
        )
    if known and known.format == "JPEG" and bytes(data).count(b"\xff\xda") > _MOST_SCANS:
        raise UnreadableImage(f"{where}: a JPEG of more than {_MOST_SCANS} scans, which would take hours to decode")
    return known


def _is_cut_short(data: bytes | memoryview) -> bool:
    """Whether the end of a PNG, JPEG or BMP is missing, which OpenCV may fill with gray without a word."""
    head = bytes(data[:8])
    if head == b"\x89PNG\r\n\x1a\n":
        return not _ends(data)
    if head[:3] == b"\xff\xd8\xff":
        return b"\xff\xd9" not in bytes(data[-4096:]) and not _ends_within(data)
    if head[:2] == b"BM":
        return len(data) < int.from_bytes(head[2:6], "little")
    return False


def _ends(png: bytes | memoryview) -> bool:
    """Whether a PNG's chunks lead to its end. A chunk longer than the file costs OpenCV 5 seconds and gigabytes."""
    at, kind = 8, b""
    while kind != b"IEND" and at + 12 <= len(png):
        kind = bytes(png[at + 4 : at + 8])
        at += 12 + int.from_bytes(png[at : at + 4], "big")
    return kind == b"IEND" and at <= len(png)


def _ends_within(jpeg: bytes | memoryview) -> bool:
    """Whether a JPEG's end stands before other things: phones write videos and second pictures behind their photos."""
    scan = max((at for _, at in jpeg_segments(jpeg)), default=0)  # an earlier end is that of a thumbnail
    return b"\xff\xd9" in bytes(jpeg[scan:])
