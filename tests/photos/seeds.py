"""Photo files of every kind, made by Pillow, tifffile's layout by hand, and OpenCV: none of our own writers."""

import functools
import io

import cv2
import numpy as np
from PIL import Image, ImageCms

ORIENTATION, EXIF, GPS = 0x0112, 0x8769, 0x8825
SIZE = (24, 40)  # height, width

XMP = (
    b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    b'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" '
    b'xmp:Rating="4" xmp:CreatorTool="Camera 1.0" tiff:Orientation="6" hdrgm:Version="1.0">'
    b"<tiff:ImageWidth>40</tiff:ImageWidth><dc:creator><rdf:Seq><rdf:li>Ada &amp; Bo</rdf:li></rdf:Seq></dc:creator>"
    b'</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)


def waves(channels: int, bits: int = 8) -> np.ndarray:
    """(H, W, channels) smooth levels, a different pattern in each channel; (H, W) for one channel."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] / 20
    planes = [0.5 + 0.5 * np.sin(y * (k + 1) + x * (3 - k) + k) for k in range(channels)]
    levels = np.rint(np.stack(planes, -1).squeeze() * (2**bits - 1))
    return levels.astype(np.uint8 if bits == 8 else np.uint16)


@functools.cache  # it has its hour of birth in it
def srgb() -> bytes:
    """A colour profile for RGB."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def profile_for(space: bytes) -> bytes:
    """One that says that it is for another space, such as b"CMYK" or b"GRAY"."""
    made = bytearray(srgb())
    made[16:20] = space
    return bytes(made)


def exif(orientation: int = 1, thumbnail: bytes = b"") -> bytes:
    """EXIF with a maker, a comment, a place, the pixels' numbers, and if given a thumbnail, in JPEG's wrapping."""
    said = Image.Exif()
    said[ORIENTATION], said[0x010F] = orientation, "Maker"
    said[EXIF] = {0x9286: b"ASCII\0\0\0hello", 0x829A: 0.01, 0xA002: SIZE[1], 0xA003: SIZE[0]}
    said[GPS] = {1: "N", 2: (52.0, 31.0, 12.0)}
    block = said.tobytes()
    return with_thumbnail(block, thumbnail) if thumbnail else block


def with_thumbnail(block: bytes, jpeg: bytes) -> bytes:
    """EXIF with a second directory that shows `jpeg`."""
    head, body = block[:6], bytearray(block[6:])
    order = "little" if body[:2] == b"II" else "big"
    first = int.from_bytes(body[4:8], order)
    link = first + 2 + 12 * int.from_bytes(body[first : first + 2], order)
    second = len(body)
    body[link : link + 4] = second.to_bytes(4, order)
    body += (2).to_bytes(2, order)
    for tag, value in ((0x0201, second + 2 + 24 + 4), (0x0202, len(jpeg))):
        body += tag.to_bytes(2, order) + (4).to_bytes(2, order) + (1).to_bytes(4, order) + value.to_bytes(4, order)
    return head + bytes(body) + bytes(4) + jpeg


def saved(picture: np.ndarray | Image.Image, format: str, **options: object) -> bytes:
    """What Pillow writes."""
    file = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(file, format, **options)
    return file.getvalue()


def by_opencv(suffix: str, picture: np.ndarray) -> bytes:
    """What OpenCV writes of RGB, RGBA or grey."""
    order = picture if picture.ndim == 2 else picture[..., [2, 1, 0, 3][: picture.shape[2]]]
    return cv2.imencode(suffix, order)[1].tobytes()


def see_through() -> bytes:
    """A palette PNG with one colour transparent."""
    return saved(Image.fromarray(waves(3)).quantize(17), "png", transparency=3)


@functools.cache
def seeds() -> dict[str, bytes]:
    """Photo files of every kind that we read, by name."""
    rgb, rgba, grey = waves(3), waves(4), waves(1)
    everything = {"exif": exif(6), "icc_profile": srgb(), "dpi": (300, 300)}
    cmyk = Image.fromarray(rgb).convert("CMYK")
    return {
        "png8.png": saved(rgb, "png", **everything),
        "png16.png": by_opencv(".png", waves(3, 16)),
        "alpha.png": saved(rgba, "png", **everything),
        "alpha16.png": by_opencv(".png", waves(4, 16)),
        "palette.png": see_through(),
        "camera.jpg": saved(
            rgb, "jpeg", comment="by hand", xmp=XMP, **(everything | {"exif": exif(6, b"\xff\xd8old")})
        ),
        "progressive.jpg": saved(rgb, "jpeg", progressive=True, quality=95),
        "cmyk.jpg": saved(cmyk, "jpeg", icc_profile=profile_for(b"CMYK")),
        "grey.jpg": saved(grey, "jpeg", icc_profile=profile_for(b"GRAY")),
        "lossy.webp": saved(rgb, "webp", exif=exif(3)),
        "alpha.webp": saved(rgba, "webp", lossless=True, exact=True, icc_profile=srgb()),
        "tiff8.tif": saved(rgb, "tiff", dpi=(300, 300), icc_profile=srgb(), compression="tiff_lzw"),
        "alpha.tif": saved(rgba, "tiff"),
        "tiff16.tif": by_opencv(".tif", waves(3, 16)),
        "plain.bmp": saved(rgb, "bmp"),
        "plain.ppm": saved(rgb, "ppm"),
    }
