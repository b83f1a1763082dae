"""Properties of the doors that bad input comes through, over hundreds of examples, the same in every run."""

# ruff: noqa: PT017  (to be told is one of the two good ends)

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from restore import facts, images
from restore.data.lmdb_store import MetaInfo, Record, check_key
from restore.errors import UserError
from restore.image_header import Header, header, jpeg_segments
from restore.options import document
from restore.options.load import apply_override
from restore.photos import exif, png_chunks

many = settings(
    max_examples=300,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
words = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)
finite = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.integers(-(10**18), 10**18) | finite | words
plain = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4), max_leaves=12
)
mappings = st.dictionaries(words, plain, min_size=1, max_size=5)


@many
@given(mappings)
def test_json_is_read_as_it_is(data):
    """JSON is YAML: what an independent writer writes, comes back; but not its pairs of halves of a character."""
    assert document.parse(json.dumps(data), "x.yml").data == data


@many
@given(mappings)
def test_yaml_is_read_as_pyyaml_writes_it(data):
    text = yaml.safe_dump(data, allow_unicode=True)
    assert document.parse(text, "x.yml").data == data


@many
@given(st.text(max_size=60) | st.text("[]{}&*!<>:-,'\"#|%@? \n\ta0\\", max_size=60))
def test_any_text_is_read_or_told_with_its_line(text):
    try:
        read = document.parse(text, "x.yml")
    except UserError as error:
        assert str(error).startswith("x.yml:")
        assert "\n" not in str(error)
        return
    assert set(read.marks) >= {(key,) for key in read.data}


@many
@given(st.text(max_size=40) | st.text(".:=[]{}01ab-", max_size=40))
def test_any_override_is_taken_or_told(text):
    read = document.parse("a: {b: [1, 2]}\nc: 1", "x.yml")
    try:
        apply_override(read, text)
    except UserError as error:
        assert str(error).startswith(f"--set {text}: ")


keys = st.text(st.characters(exclude_categories=("Cs",)), max_size=20) | st.text("./a\\\0\n", max_size=12)


@many
@given(keys)
def test_a_key_that_is_taken_stays_in_its_folder_and_comes_back(tmp_path, key):
    try:
        check_key(key, "x")
    except UserError:
        return
    path = (tmp_path / f"{key}.png").resolve()
    assert path.is_relative_to(tmp_path.resolve())
    (tmp_path / "meta_info.txt").write_text(Record(key, b"", (4, 5, 3), 1, "png").line, newline="", encoding="utf-8")
    assert list(MetaInfo(tmp_path / "meta_info.txt")) == [key]


@many
@given(st.lists(st.tuples(keys, st.integers(0, 10**6)), min_size=1, max_size=4))
def test_a_list_of_records_is_read_whole_or_told(tmp_path, lines):
    text = "".join(f"{key}.png ({size},4,3) 1\n" for key, size in lines)
    (tmp_path / "meta_info.txt").write_text(text, newline="", encoding="utf-8")
    try:
        read = MetaInfo(tmp_path / "meta_info.txt")
    except UserError as error:
        assert "\n" not in str(error)
        return
    assert list(read) == [read[number] for number in range(len(read))]
    assert all((tmp_path / key).resolve().is_relative_to(tmp_path.resolve()) for key in read if not key.endswith(".."))


sides = st.integers(1, 2**31 - 1)


@many
@given(sides, sides)
def test_headers_of_any_size_are_read_as_written(width, height):
    assert header(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height)) == Header("PNG", width, height)
    assert header(b"BM" + bytes(12) + struct.pack("<Iii", 40, width, -height)) == Header("BMP", width, height)
    assert header(b"P6 #x\n%d\n%d 255\n" % (width, height)) == Header("PPM", width, height)
    entries = struct.pack("<HHHII", 2, 257, 4, 1, height) + struct.pack("<HHII", 256, 4, 1, width)
    assert header(b"II*\0\x08\0\0\0" + entries) == Header("TIFF", width, height)


@many
@given(sides, sides, st.sampled_from(["PNG", "BMP", "PPM"]))
def test_what_says_that_it_is_too_large_is_not_decoded(width, height, kind):
    data = {
        "PNG": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height),
        "BMP": b"BM" + bytes(12) + struct.pack("<Iii", 40, width, height),
        "PPM": b"P6 %d %d 255\n" % (width, height),
    }[kind]
    expected = "megapixels" if width * height > images.MOST_PIXELS else "x: "
    with pytest.raises(images.UnreadableImage, match=expected):
        images.decode(data, "x") if expected == "megapixels" else images.decode(data[:8], "x")


magics = st.sampled_from(
    [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*", b"RIFF", b"GIF8", b"P6", b""]
)


@many
@given(magics, st.binary(max_size=200))
def test_any_bytes_are_told_in_one_line(magic, data):
    header(magic + data)
    assert all(0 <= at < len(magic + data) for _, at in jpeg_segments(magic + data))
    with pytest.raises(images.UnreadableImage) as caught:
        images.decode((magic + data)[:60], "x")
    assert "\n" not in str(caught.value)


@many
@given(st.integers(1, 12), st.integers(1, 12), st.binary(min_size=1, max_size=8), st.sampled_from([".png", ".bmp"]))
def test_pictures_come_back(height, width, seed, suffix):
    picture = np.frombuffer((seed * 500)[: height * width * 3], np.uint8).reshape(height, width, 3)
    assert np.array_equal(images.decode(images.encode(Path(f"x{suffix}"), picture), "x"), picture)


@many
@given(st.sampled_from([b"II*\0", b"MM\0*"]), st.binary(max_size=120), sides, sides)
def test_exif_is_settled_or_refused(magic, data, width, height):
    assert exif.orientation(magic + data) in range(1, 9)
    try:
        settled = exif.settled(magic + data, width, height)
    except ValueError:
        return
    assert len(settled) <= len(magic + data)
    assert exif.orientation(settled) == 1


@many
@given(
    st.lists(st.tuples(st.binary(min_size=4, max_size=4), st.binary(max_size=40)), max_size=5), st.binary(max_size=8)
)
def test_chunks_come_back(parts, more):
    png = png_chunks.MAGIC + b"".join(png_chunks.chunk(*each) for each in parts)
    assert list(png_chunks.chunks(png)) == parts
    assert list(png_chunks.chunks(png + more[:3])) == parts


@many
@given(st.dictionaries(st.sampled_from(["arch", "task", "scale", "size", "faces", "x"]), plain))
def test_facts_are_meant_or_told(data):
    try:
        known = facts.checked(data, Path("x"))
    except UserError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 500
        return
    assert known.get("scale") is None or 1 <= known["scale"] <= 64
    assert known.get("size") is None or 1 <= known["size"] <= 8192
