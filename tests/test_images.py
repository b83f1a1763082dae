"""Pictures of every kind: converted as Pillow does, or told by name."""

import io
import os
import signal
import time
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, features

from restore import images
from restore.errors import UserError
from restore.image_header import header

RNG = np.random.default_rng(0)


def smooth(channels, size=(24, 33), top=255):
    y, x = np.mgrid[0 : size[0], 0 : size[1]] / 40
    planes = [(0.5 + 0.5 * np.sin(y * (k + 1) + x * (3 - k) + k)) * top for k in range(channels)]
    return np.stack(planes, -1).squeeze().astype(np.uint8)


def saved(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def pictures():
    rgb = Image.fromarray(smooth(3))
    rgba = rgb.copy()
    rgba.putalpha(Image.fromarray(smooth(1)))
    gray = Image.fromarray(smooth(1))
    la = gray.copy()
    la.putalpha(Image.fromarray(smooth(1)[::-1].copy()))
    palette = rgb.quantize(17)
    see_through = rgb.quantize(17)
    return {
        "rgb png": (saved(rgb, "png"), rgb), "gray png": (saved(gray, "png"), gray),
        "rgba png": (saved(rgba, "png"), rgba), "gray and alpha png": (saved(la, "png"), la),
        "palette png": (saved(palette, "png"), palette),
        "palette with transparency": (saved(see_through, "png", transparency=3), see_through),
        "1 bit png": (saved(gray.convert("1"), "png"), gray.convert("1")), "bmp": (saved(rgb, "bmp"), rgb),
        "gray bmp": (saved(gray, "bmp"), gray), "palette bmp": (saved(palette, "bmp"), palette),
        "tiff": (saved(rgb, "tiff"), rgb), "webp": (saved(rgb, "webp", lossless=True), rgb),
        "ppm": (saved(rgb, "ppm"), rgb), "pgm": (saved(gray, "ppm"), gray),
    }  # fmt: skip


@pytest.mark.parametrize("name", pictures())
def test_lossless_kinds_equal_pillows_rgb(name):
    data, image = pictures()[name]
    assert np.array_equal(images.decode(data, name), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_equals_pillows(mode, progressive):
    data = saved(Image.fromarray(smooth(3)).convert(mode), "jpeg", quality=95, progressive=progressive)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert np.abs(images.decode(data, "x") - expected).max() <= 3


def test_cmyk_jpeg_shows_its_colours():
    rgb = Image.fromarray(smooth(3))
    data = saved(rgb.convert("CMYK"), "jpeg", quality=98)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert np.abs(images.decode(data, "x") - expected).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_obeyed(orientation):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(Image.fromarray(smooth(3)), "jpeg", quality=95, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data)))).astype(int)
    decoded = images.decode(data, "x")
    assert decoded.shape == expected.shape
    assert np.abs(decoded - expected).max() <= 3


def png16(array):
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}.get(array.shape[-1] if array.ndim == 3 else 0)
    return cv2.imencode(".png", array[..., order] if order else array)[1].tobytes()


@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 3), (9, 7, 4)])
def test_16_bits_stay_16(shape):
    array = RNG.integers(0, 65536, shape, dtype=np.uint16)
    decoded = images.decode(png16(array), "x")
    expected = np.stack([array] * 3, -1) if array.ndim == 2 else array[..., :3]
    assert decoded.dtype == np.uint16
    assert np.array_equal(decoded, expected)
    assert images.to_unit(decoded).max() <= 1
    assert np.allclose(images.to_unit(decoded)[0].permute(1, 2, 0).numpy() * 65535, expected, atol=0.01)


def whole(format):
    return saved(Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)), format)


@pytest.mark.parametrize("format", ["png", "jpeg", "bmp", "webp", "tiff", "ppm"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9, 0.99])
def test_cut_short_is_told(format, share):
    data = whole(format)
    with pytest.raises(images.UnreadableImage, match=r"^the name: "):
        images.decode(data[: int(len(data) * share)], "the name")


@pytest.mark.parametrize(
    "data", [b"", b"text, not a picture", bytes(1000), b"\x89PNG\r\n\x1a\n", b"BM", b"\xff\xd8\xff"]
)
def test_no_picture_is_told(data):
    with pytest.raises(images.UnreadableImage, match=r"^the name: "):
        images.decode(data, "the name")


def test_damage_inside_a_png_is_told():
    data = bytearray(whole("png"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(images.UnreadableImage, match=r"^the name: "):
        images.decode(bytes(data), "the name")


@pytest.mark.parametrize("length", [b"\xff\xff\x00\x00", b"\x7f\xff\xff\xff", b"\x00\x10\x00\x00"])
@pytest.mark.parametrize("name", [b"PLTE", b"IDAT"])
def test_a_chunk_longer_than_its_png_takes_no_time(length, name):
    """OpenCV 5 took up to 48 s for it."""
    data = bytearray(saved(Image.fromarray(smooth(3)).quantize(17), "png"))
    at = data.index(name)
    data[at - 4 : at] = length
    began = time.monotonic()
    with pytest.raises(images.UnreadableImage, match="^x: the picture is cut short"):
        images.decode(bytes(data), "x")
    assert time.monotonic() - began < 1


def test_a_png_may_end_before_its_file_does():
    data = whole("png")
    assert np.array_equal(images.decode(data + bytes(1000), "x"), images.decode(data, "x"))


def test_floating_point_samples_are_told():
    data = cv2.imencode(".tiff", np.ones((4, 4, 3), np.float32))[1].tobytes()
    with pytest.raises(images.UnreadableImage, match="float32; convert"):
        images.decode(data, "x")


@pytest.mark.parametrize("kind", ["gone", "folder", "pipe", "device", "too large"])
def test_what_is_no_file_is_told_and_not_waited_for(kind, tmp_path):
    path = tmp_path / "x.png"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = "/dev/zero"
    elif kind == "too large":
        with path.open("wb") as file:
            file.truncate(1 << 40)
    signal.alarm(10)  # ends the tests where one of them waits
    with pytest.raises(images.UnreadableImage, match=f"^{path}: "):
        images.read(path)
    signal.alarm(0)


def bomb(format, side):
    """A small file whose header asks for side x side pixels."""
    data = bytearray(whole(format))
    if format == "png":
        data[16:24] = side.to_bytes(4, "big") * 2
        data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    elif format == "bmp":
        data[18:26] = side.to_bytes(4, "little") * 2
    elif format == "tiff":
        first = int.from_bytes(data[4:8], "little")
        for entry in range(first + 2, first + 2 + 12 * data[first], 12):
            if data[entry : entry + 2] in (b"\0\1", b"\1\1"):
                data[entry + 2 : entry + 12] = b"\4\0\1\0\0\0" + side.to_bytes(4, "little")
    elif format == "ppm":
        return b"P6\n# a comment\n%d %d\n255\n" % (side, side) + bytes(data[20:])
    elif format == "jpeg":
        frame = data.index(b"\xff\xc0")
        data[frame + 5 : frame + 9] = side.to_bytes(2, "big") * 2
    return bytes(data)


@pytest.mark.parametrize(
    ("format", "side"), [("png", 100_000), ("bmp", 100_000), ("tiff", 100_000), ("ppm", 100_000), ("jpeg", 60_000)]
)
def test_a_header_that_asks_for_all_memory_is_refused(format, side):
    with pytest.raises(images.UnreadableImage, match=f"^x: says that it has {side} x {side} pixels; at most 268 mega"):
        images.decode(bomb(format, side), "x")


@pytest.mark.parametrize("format", ["png", "jpeg", "bmp", "webp", "tiff", "ppm", "gif", "avif"])
@pytest.mark.parametrize("lossless", [False, True])
def test_header_tells_format_and_size(format, lossless):
    if format == "avif" and not features.check("avif"):
        pytest.skip("no AVIF in this Pillow")
    options = {"lossless": lossless, "exif": Image.Exif() if lossless else b""} if format == "webp" else {}
    data = saved(Image.fromarray(smooth(3)), format, **options)
    assert header(data) == (format.upper(), 33, 24)
    assert header(memoryview(data)) == (format.upper(), 33, 24)
    for end in range(0, min(len(data), 64)):
        assert header(data[:end]) is None or header(data[:end]).format == format.upper()


def test_a_jpeg_may_end_before_its_file_does():
    data = saved(Image.fromarray(smooth(3)), "jpeg", exif=b"Exif\0\0" + b"\xff\xd8thumbnail\xff\xd9")
    assert np.array_equal(images.decode(data + bytes(10_000), "x"), images.decode(data, "x"))
    with pytest.raises(images.UnreadableImage, match="cut short"):
        images.decode(data[:-30] + bytes(10_000), "x")


def test_written_is_read_back(tmp_path):
    picture = smooth(3)
    images.write(tmp_path / "a" / "b.png", picture)
    assert np.array_equal(images.read(tmp_path / "a" / "b.png"), picture)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.png"]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("before", [b"what stood there", None])
def test_a_write_that_is_killed_half_way_leaves_what_stood_there(tmp_path, monkeypatch, before):
    target = tmp_path / "a.png"
    if before is not None:
        target.write_bytes(before)
    write_bytes = type(target).write_bytes

    def dying(path, data):
        write_bytes(path, data[: len(data) // 2])
        raise Killed

    monkeypatch.setattr(type(target), "write_bytes", dying)
    with pytest.raises(Killed):
        images.write(target, np.zeros((8, 8, 3), np.uint8))
    assert (target.read_bytes() if target.exists() else None) == before


def test_a_disk_that_refuses_leaves_what_stood_there_and_nothing_beside(tmp_path, monkeypatch):
    target = tmp_path / "a.png"
    target.write_bytes(b"what stood there")

    def refusing(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refusing)
    with pytest.raises(UserError, match=r"a\.png: cannot write: No space left on device$"):
        images.write(target, np.zeros((8, 8, 3), np.uint8))
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.png", b"what stood there")]
