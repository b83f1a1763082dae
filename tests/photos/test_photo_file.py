"""A photo goes through reading and writing and keeps what it carried; read back with Pillow, OpenCV and exiftool."""

import io
import json
import os
import shutil
import signal
import subprocess
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from restore import images
from restore.errors import UserError
from restore.images import UnreadableImage
from restore.photos import Note, Photo, decode_photo, encode_photo, left_out, read_photo, write_photo
from tests.photos.seeds import (
    EXIF,
    GPS,
    ORIENTATION,
    XMP,
    by_opencv,
    exif,
    profile_for,
    saved,
    see_through,
    seeds,
    srgb,
    waves,
)

NOTE = Note("photo_x4", "ab" * 32, "2 faces rebuilt")
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
LOSSLESS = (".png", ".tif", ".webp")
METADATA = (".png", ".jpg", ".webp", ".tif")
AVIF = pytest.param(
    ".avif",
    marks=pytest.mark.skipif("AVIF" not in Image.registered_extensions().values(), reason="no AVIF in this Pillow"),
)


def pillow(data):
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def opencv(data):
    """RGB or RGBA as it lies in the file."""
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return found if found.ndim == 2 else found[:, :, [2, 1, 0, 3][: found.shape[2]]]


def enlarged(photo):
    return photo.with_pixels(np.repeat(np.repeat(photo.pixels, 2, 0), 2, 1))


# Pixels


@pytest.mark.parametrize("name", [name for name in seeds() if "alpha" not in name and name != "palette.png"])
def test_pixels_are_those_of_decode(name):
    data = seeds()[name]
    photo = decode_photo(data, name)
    assert np.array_equal(photo.pixels, images.decode(data, name))
    assert photo.alpha is None


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "tiff", "avif"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_pixels_are_upright(format, turn):
    if format.upper() not in Image.SAVE and format == "avif":
        pytest.skip("no AVIF in this Pillow")
    options = {"tiffinfo": {ORIENTATION: turn}} if format == "tiff" else {"exif": exif(turn), "quality": 100}
    data = saved(waves(3), format, **options)
    expected = np.asarray(ImageOps.exif_transpose(pillow(data)).convert("RGB")).astype(int)
    photo = decode_photo(data, "x")
    assert photo.pixels.shape == expected.shape
    assert np.abs(photo.pixels - expected).max() <= 3
    again = pillow(encode_photo(f"x{photo.suffix}", photo))
    assert again.getexif().get(ORIENTATION, 1) == 1
    assert again.size == expected.shape[1::-1]


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("bits", [8, 16])
def test_alpha_turns_with_the_pixels(turn, bits):
    plain = by_opencv(".png", waves(4, bits))
    chunk = saved(waves(1), "png", exif=exif(turn))
    chunk = chunk[33 : chunk.index(b"IDAT") - 4]
    upright = ImageOps.exif_transpose(pillow(saved(waves(4), "png", exif=exif(turn))))
    photo = decode_photo(plain[:33] + chunk + plain[33:], "x")
    shown = np.dstack([photo.pixels, photo.alpha])
    assert shown.dtype == (np.uint8 if bits == 8 else np.uint16)
    assert np.abs(shown / (1 if bits == 8 else 257) - np.asarray(upright)).max() <= 1


@pytest.mark.parametrize("suffix", LOSSLESS)
@pytest.mark.parametrize("channels", [3, 4])
def test_lossless_8_bits_come_back_bit_for_bit(suffix, channels):
    picture = waves(channels)
    alpha = picture[:, :, 3] if channels == 4 else None
    data = encode_photo(f"x{suffix}", Photo(picture[:, :, :3], alpha))
    assert np.array_equal(np.asarray(pillow(data)), picture)
    if not (suffix == ".tif" and channels == 4):  # OpenCV multiplies a TIFF's colours with its alpha
        assert np.array_equal(opencv(data), picture)
    back = decode_photo(data, "x")
    assert np.array_equal(back.pixels, picture[:, :, :3])
    assert back.alpha is None or np.array_equal(back.alpha, alpha)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_16_bits_come_back_bit_for_bit(suffix, channels):
    picture = waves(channels, 16)
    data = encode_photo(f"x{suffix}", Photo(picture[:, :, :3], picture[:, :, 3] if channels == 4 else None))
    assert np.array_equal(opencv(data), picture)
    assert np.abs(np.asarray(pillow(data)).astype(int) - (picture >> 8)).max() <= 1  # Pillow reads 8 bits of them


@pytest.mark.parametrize("suffix", [".ppm", ".pgm", ".bmp", ".png", ".tif"])
@pytest.mark.parametrize("name", ["grey.jpg", "png16.png", "png8.png"])
def test_what_has_one_channel_is_written_with_one(suffix, name):
    photo = decode_photo(seeds()[name], "x")
    data = encode_photo(f"x{suffix}", photo)
    back = images.decode(data, "x")
    assert np.array_equal(back, images.eight_bits(photo.pixels) if back.dtype == np.uint8 else photo.pixels)
    assert (opencv(data).ndim == 2) == (name == "grey.jpg")


@pytest.mark.parametrize("bits", [8, 16])
def test_tiff_equals_tifffiles(bits):
    tifffile = pytest.importorskip("tifffile")
    imagecodecs_free = waves(4, bits)[:, :7]
    data = encode_photo("x.tif", Photo(imagecodecs_free[:, :, :3], imagecodecs_free[:, :, 3]))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        assert (page.shape, page.bitspersample, int(page.extrasamples[0])) == ((*imagecodecs_free.shape,), bits, 2)


def test_many_strips():
    picture = np.random.default_rng(0).integers(0, 65536, (700, 600, 3), dtype=np.uint16)
    data = encode_photo("x.tif", Photo(picture))
    assert len(pillow(data).tag_v2[273]) > 1
    assert np.array_equal(opencv(data), picture)


def test_already_multiplied_alpha_is_undone():
    tifffile = pytest.importorskip("tifffile")
    straight = waves(4, 16)
    straight[:, :, 3] = np.maximum(straight[:, :, 3], 30000)
    colour = np.rint(straight[:, :, :3] * (straight[:, :, 3:] / 65535))
    file = io.BytesIO()
    associated = np.dstack([colour, straight[:, :, 3]]).astype(np.uint16)
    tifffile.imwrite(file, associated, photometric="rgb", extrasamples=["assocalpha"])
    photo = decode_photo(file.getvalue(), "x")
    assert np.abs(photo.pixels.astype(int) - straight[:, :, :3]).max() <= 2
    assert np.array_equal(photo.alpha, straight[:, :, 3])


@pytest.mark.parametrize(("mode", "kept"), [("LA", False), ("P", False), ("L", True), ("1", True), ("I;16", True)])
def test_grey_and_palette(mode, kept):
    grey = Image.fromarray(waves(1))
    if mode == "LA":
        grey.putalpha(Image.fromarray(waves(1)[::-1].copy()))
        data = saved(grey, "png")
    elif mode == "P":
        data = see_through()
    else:
        data = by_opencv(".png", waves(1, 16)) if mode == "I;16" else saved(grey.convert(mode), "png")
    photo = decode_photo(data, "x")
    again = pillow(encode_photo("x.png", photo))
    assert (len(again.getbands()) == 1) == kept
    if mode in ("LA", "P"):
        expected = np.asarray(pillow(data).convert("RGBA"))
        assert np.array_equal(np.asarray(again), expected)
    tinted = photo.with_pixels(np.where(np.arange(3) == 0, photo.pixels // 2, photo.pixels).astype(photo.pixels.dtype))
    assert len(pillow(encode_photo("x.png", tinted)).getbands()) >= 3


@pytest.mark.parametrize("bits", [8, 16])
def test_alpha_follows_the_size_and_the_depth(bits):
    photo = decode_photo(by_opencv(".png", waves(4, 16)), "x")
    other = enlarged(photo)
    assert other.alpha.shape == other.pixels.shape[:2]
    eight = photo.with_pixels(images.eight_bits(photo.pixels))
    assert eight.alpha.dtype == np.uint8
    assert np.array_equal(eight.alpha, photo.alpha >> 8)
    solid = Photo(waves(3), np.full(waves(1).shape, 255, np.uint8))
    assert enlarged(solid).alpha.min() == 255


# What is carried


@pytest.mark.parametrize("suffix", [*METADATA, AVIF])
def test_exif_is_kept_and_tells_the_truth(suffix):
    photo = enlarged(decode_photo(seeds()["camera.jpg"], "x"))
    data = encode_photo(f"x{suffix}", photo)
    height, width = photo.pixels.shape[:2]
    read = pillow(data).getexif()
    inner = read.get_ifd(EXIF)
    assert read.get(ORIENTATION, 1) == 1
    assert read[0x010F] == "Maker"
    assert (inner[0xA002], inner[0xA003]) == (width, height) == pillow(data).size
    assert inner[0x9286].startswith(b"ASCII\0\0\0hello")
    assert float(inner[0x829A]) == pytest.approx(0.01)
    assert tuple(map(float, read.get_ifd(GPS)[2])) == (52, 31, 12)
    assert not read.get_ifd(1)  # no thumbnail
    assert b"\xff\xd8old" not in data


def test_exif_stays_byte_for_byte_but_for_what_changes():
    before = exif(6).removeprefix(b"Exif\0\0")
    after = decode_photo(encode_photo("x.jpg", decode_photo(saved(waves(3), "jpeg", exif=exif(6)), "x")), "x").exif
    assert len(before) == len(after)
    assert sum(one != other for one, other in zip(before, after, strict=True)) <= 4  # the turn, and two sides


def test_a_makers_own_notes_are_not_moved():
    """They point to each other by their place in the EXIF, which rewriting would break."""
    said = Image.Exif()
    said[EXIF] = {0x927C: b"MAKER" + bytes(range(200))}
    block = said.tobytes()
    again = encode_photo("x.jpg", decode_photo(saved(waves(3), "jpeg", exif=block), "x"))
    assert again.index(b"MAKER") - again.index(b"Exif\0\0") == block.index(b"MAKER") - block.index(b"Exif\0\0")


@pytest.mark.parametrize("suffix", [*METADATA, AVIF])
def test_colour_profile_is_kept(suffix):
    photo = decode_photo(seeds()["camera.jpg"], "x")
    assert pillow(encode_photo(f"x{suffix}", photo)).info["icc_profile"] == srgb()


def test_profiles_of_other_colours_are_left_out():
    cmyk = decode_photo(seeds()["cmyk.jpg"], "x")
    assert cmyk.icc is None
    assert any("CMYK" in note for note in cmyk.notes)
    grey = decode_photo(seeds()["grey.jpg"], "x")
    assert pillow(encode_photo("x.jpg", grey)).info["icc_profile"] == profile_for(b"GRAY")
    tinted = grey.with_pixels(waves(3))
    assert "icc_profile" not in pillow(encode_photo("x.jpg", tinted)).info
    assert left_out("x.jpg", tinted) == ["the colour profile is for another number of channels than the result has"]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
def test_resolution_is_kept(suffix):
    photo = decode_photo(saved(waves(3), "png", dpi=(300, 150)), "x")
    assert tuple(map(float, pillow(encode_photo(f"x{suffix}", photo)).info["dpi"])) == pytest.approx(
        (300, 150), abs=0.02
    )


def test_a_tiff_without_resolution_has_none():
    assert decode_photo(encode_photo("x.tif", Photo(waves(3))), "x").dpi is None


def test_png_keeps_its_text_and_how_its_colours_are_meant():
    from PIL.PngImagePlugin import PngInfo

    said = PngInfo()
    said.add_text("Author", "Ada")
    said.add_itxt("Title", "Ünï", zip=True)
    said.add_text("Raw profile type exif", "of an orientation that is no longer true")
    said.add(b"gAMA", (45455).to_bytes(4, "big"))
    data = encode_photo("x.png", decode_photo(saved(waves(3), "png", pnginfo=said), "x"), NOTE)
    info = pillow(data).info
    assert (info["Author"], info["Title"], info["gamma"]) == ("Ada", "Ünï", 0.45455)
    assert "Raw profile type exif" not in info
    assert info["Comment"].startswith(f"AI-restored with photo_x4 (sha256 {'ab' * 32}): 2 faces rebuilt")


def test_jpeg_keeps_its_comment_and_captions_without_their_thumbnail():
    def resource(number, content):
        return b"8BIM" + number.to_bytes(2, "big") + b"\0\0" + len(content).to_bytes(4, "big") + content

    caption = b"\x1c\x02\x78\x00\x05Hello\x00"[:10]
    block = b"Photoshop 3.0\0" + resource(0x0404, caption) + resource(0x040C, b"old face") + resource(0x0425, bytes(16))
    segment = b"\xff\xed" + (len(block) + 2).to_bytes(2, "big") + block
    photo = decode_photo(saved(waves(3), "jpeg", comment="by hand", extra=segment), "x")
    data = encode_photo("x.jpg", photo)
    assert pillow(data).info["comment"] == b"by hand"
    assert pillow(data).info["photoshop"] == {0x0404: caption, 0x0425: bytes(16)}
    assert b"old face" not in data


# Lossy files


@pytest.mark.parametrize("quality", [30, 75, 92, 97, 100])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_jpeg_is_no_coarser_than_its_source(quality, subsampling):
    data = saved(waves(3), "jpeg", quality=quality, subsampling=subsampling)
    photo = decode_photo(data, "x")
    assert photo.lossy.quality == pytest.approx(quality, abs=1)
    assert photo.lossy.subsampling == subsampling
    again = pillow(encode_photo("x.jpg", photo))
    floor = pillow(saved(waves(3), "jpeg", quality=max(92, quality))).quantization
    for key, table in again.quantization.items():
        assert all(ours <= max(1, theirs) for ours, theirs in zip(table, pillow(data).quantization[key], strict=True))
        assert all(ours <= theirs for ours, theirs in zip(table, floor[key], strict=True))
    assert decode_photo(encode_photo("x.jpg", photo), "x").lossy.subsampling == subsampling


def test_webp_stays_lossless_or_lossy():
    assert decode_photo(seeds()["alpha.webp"], "x").lossy is None
    lossy = decode_photo(seeds()["lossy.webp"], "x")
    assert lossy.lossy is not None
    assert b"VP8L" not in encode_photo("x.webp", lossy)
    assert decode_photo(saved(waves(3), "png"), "x").lossy is None


# The note


@pytest.mark.parametrize("suffix", [*METADATA, AVIF])
@pytest.mark.parametrize("own", [True, False])
def test_note_is_in_the_xmp_beside_what_was_there(suffix, own):
    photo = decode_photo(seeds()["camera.jpg"] if own else saved(waves(3), "jpeg"), "x")
    image = pillow(encode_photo(f"x{suffix}", photo, NOTE))
    said = {}
    for description in ElementTree.fromstring(image.info["xmp"]).iter(f"{RDF}Description"):
        said |= description.attrib | {child.tag: "".join(child.itertext()) for child in description}
    said = {name.partition("}")[2]: value for name, value in said.items()}
    assert said["DigitalSourceType"] == SOURCE_TYPE
    assert said["AISystemUsed"] == "Restore, model photo_x4"
    assert said["AISystemVersionUsed"] == f"sha256:{'ab' * 32}"
    assert said["CreatorTool"] == NOTE.sentence
    if own:
        assert said["Rating"] == "4"
        assert said["creator"] == "Ada & Bo"
        assert not {"Orientation", "ImageWidth", "Version"} & set(said)  # no longer true


def test_no_note_unless_told():
    for suffix in METADATA:
        assert b"AI" not in encode_photo(f"x{suffix}", decode_photo(saved(waves(3) // 9, "jpeg"), "x"))[:200]
        assert "xmp" not in pillow(encode_photo(f"x{suffix}", Photo(waves(3)))).info


@pytest.mark.parametrize(
    "packet",
    [
        b"<a",
        b"\xff\xfe",
        b"<a>" * 50_000,
        b"",
        XMP.replace(b"<x:xmpmeta", b"<!DOCTYPE x [<!ENTITY y 'z'>]><x:xmpmeta", 1),
        bytes(2 << 20),
    ],
)
def test_broken_xmp_is_left_out_and_told(packet):
    photo = decode_photo(saved(waves(3), "webp", xmp=packet or b"<x/>"), "x")
    assert photo.xmp is None
    assert [note.split(":")[0] for note in photo.notes] == ["its XMP is left out"]
    assert SOURCE_TYPE.encode() in encode_photo("x.webp", photo, NOTE)


@pytest.mark.skipif(not shutil.which("exiftool"), reason="no exiftool; apt-get install libimage-exiftool-perl")
@pytest.mark.parametrize("suffix", METADATA)
def test_exiftool_agrees_and_finds_nothing_wrong(suffix, tmp_path):
    write_photo(tmp_path / f"x{suffix}", enlarged(decode_photo(seeds()["camera.jpg"], "x")), NOTE)
    command = ["exiftool", "-j", "-n", "-validate", "-warning", "-error", "-a", "-all", str(tmp_path / f"x{suffix}")]
    said = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)[0]
    assert (said["Make"], said["UserComment"], said["Rating"]) == ("Maker", "hello", 4)
    assert (said["ImageWidth"], said["ImageHeight"]) == (48, 80)
    assert said.get("Orientation", 1) == 1
    assert (said["DigitalSourceType"], said["CreatorTool"]) == (SOURCE_TYPE, NOTE.sentence)
    assert said["GPSLatitude"] == pytest.approx(52.52)
    assert "ThumbnailImage" not in said
    assert "Error" not in said


# Names and places


def test_the_content_says_the_format_and_its_own_suffix_stays(tmp_path):
    for name, format, suffix in [
        ("a.jpeg", "jpeg", ".jpeg"),
        ("b.PNG", "jpeg", ".jpg"),
        ("c.jpg", "png", ".png"),
        ("d", "webp", ".webp"),
    ]:
        (tmp_path / name).write_bytes(saved(waves(3), format))
        assert read_photo(tmp_path / name).suffix == suffix
    assert decode_photo(saved(waves(3), "gif"), "x").suffix == ".png"


def test_what_a_format_cannot_hold_is_told(tmp_path):
    photo = decode_photo(seeds()["alpha16.png"], "x")
    assert left_out("x.png", photo) == []
    assert left_out("x.jpg", photo) == ["JPEG holds no transparency", "JPEG is written in 8 bits"]
    assert left_out("x.webp", photo) == ["WEBP is written in 8 bits"]
    camera = decode_photo(seeds()["camera.jpg"], "x")
    lost = [
        "BMP holds no EXIF",
        "BMP holds no colour profile",
        "BMP holds no XMP",
        "BMP holds no note on how it was made",
    ]
    assert left_out("x.bmp", camera, NOTE) == lost
    for suffix in (".bmp", ".ppm", ".jpg"):
        assert (
            np.abs(np.asarray(pillow(encode_photo(f"x{suffix}", camera, NOTE))).astype(int) - camera.pixels).mean() < 3
        )


def test_more_than_a_jpeg_holds():
    photo = decode_photo(seeds()["png16.png"], "x")
    big = Photo(photo.pixels, exif=exif()[6:] + bytes(70_000), xmp=XMP + b" " * 70_000)
    assert left_out("x.jpg", big)[1:] == ["EXIF larger than JPEG holds"]
    assert SOURCE_TYPE.encode() in encode_photo("x.jpg", big, NOTE)


@pytest.mark.parametrize(
    ("name", "told"), [("x.xyz", "cannot write `.xyz`"), ("x", "cannot write ``"), ("x.gif", "cannot write `.gif`")]
)
def test_unknown_formats(name, told):
    for function in (encode_photo, left_out):
        with pytest.raises(UserError, match=told):
            function(name, Photo(waves(3)))


def test_too_many_pixels_a_side():
    with pytest.raises(UserError, match=r"^x.webp: WEBP holds at most 16383 pixels a side, not 16384 x 1"):
        encode_photo("x.webp", Photo(np.zeros((1, 16384, 3), np.uint8)))


def test_the_old_file_stays_when_writing_fails(tmp_path):
    (tmp_path / "x.png").mkdir()
    with pytest.raises(UserError, match="cannot write"):
        write_photo(tmp_path / "x.png", Photo(waves(3)))
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


# What is no photo


def animation(format):
    frames = [Image.fromarray(waves(3)), Image.fromarray(waves(3)[::-1].copy()), Image.fromarray(waves(3) // 2)]
    return saved(
        frames[0], format, save_all=True, append_images=frames[1:], **({"lossless": True} if format == "webp" else {})
    )


@pytest.mark.parametrize(
    ("format", "what"), [("gif", "frames"), ("png", "frames"), ("webp", "frames"), ("tiff", "pages")]
)
def test_animations_and_pages_are_told(format, what):
    with pytest.raises(UnreadableImage, match=rf"^x: holds 3 {what}.*save one of them alone$"):
        decode_photo(animation(format), "x")


def test_second_pictures_of_a_phone_are_left_behind():
    photo = decode_photo(animation("mpo"), "x")
    assert photo.suffix == ".jpg"
    assert any("gain map" in note for note in photo.notes)
    assert np.abs(photo.pixels.astype(int) - waves(3)).mean() < 3


def test_a_phones_video_behind_its_photo():
    data = seeds()["camera.jpg"] + b"\0\0\0\x18ftypmp42" + bytes(20_000)
    assert np.array_equal(decode_photo(data, "x").pixels, decode_photo(seeds()["camera.jpg"], "x").pixels)


def loop(folder):
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    return folder / "loop.jpg"


def pipe(folder):
    os.mkfifo(folder / "pipe.jpg")
    return folder / "pipe.jpg"


def forbidden(folder):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (folder / "mine.jpg").write_bytes(seeds()["camera.jpg"])
    (folder / "mine.jpg").chmod(0)
    return folder / "mine.jpg"


def sparse(folder):
    with open(folder / "sparse.png", "wb") as file:
        file.truncate(1 << 40)
    return folder / "sparse.png"


def raw(folder):
    (folder / "x.CR2").write_bytes(seeds()["tiff8.tif"])
    return folder / "x.CR2"


def raw_by_content(folder):
    (folder / "x.tif").write_bytes(saved(waves(3), "tiff", tiffinfo={50706: b"\1\4\0\0"}))
    return folder / "x.tif"


def heic(folder):
    (folder / "x.jpg").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    return folder / "x.jpg"


PLACES = {
    "a symlink to itself": (loop, "Too many levels"),
    "a pipe": (pipe, "a device or pipe"),
    "a device": (lambda folder: "/dev/zero", "a device or pipe"),
    "a folder": (lambda folder: folder, "a folder"),
    "no permission": (forbidden, "Permission denied"),
    "nothing": (lambda folder: folder / "gone.png", "No such file"),
    "a null in its name": (lambda folder: f"{folder}/a\0b.png", "null"),
    "a terabyte": (sparse, "at most 2048 MiB"),
    "raw": (raw, "raw file; develop"),
    "raw by content": (raw_by_content, "raw file; develop"),
    "heic": (heic, "a HEIC picture; save it as"),
}


@pytest.mark.parametrize("place", PLACES)
def test_places_that_hold_no_photo(place, tmp_path):
    make, told = PLACES[place]
    signal.alarm(10)  # ends the tests where one of them waits
    path = make(tmp_path)
    with pytest.raises(UnreadableImage, match=told) as caught:
        read_photo(path)
    signal.alarm(0)
    assert str(caught.value).startswith(f"{path}: ")


def test_pages_in_a_circle():
    data = bytearray(saved(waves(3), "tiff"))
    first = int.from_bytes(data[4:8], "little")
    link = first + 2 + 12 * int.from_bytes(data[first : first + 2], "little")
    data[link : link + 4] = data[4:8]
    assert np.array_equal(decode_photo(bytes(data), "x").pixels, waves(3))
