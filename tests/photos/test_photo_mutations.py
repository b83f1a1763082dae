"""Hundreds of damaged photos and masks: each is read, or told in one line that names the file; none takes long."""

import os
import resource
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest

from restore import images
from restore.images import UnreadableImage
from restore.keyed import draws
from restore.photos import encode_photo, read_photo
from restore.photos.png_chunks import MAGIC, chunk
from tests.lab import REPOSITORY
from tests.photos.seeds import seeds

MUTATIONS = 320
SECONDS = 5


def cut(data, rng):
    return data[: rng.integers(len(data))]


def flipped(data, rng):
    data = bytearray(data)
    for at in rng.integers(len(data), size=rng.integers(1, 9)):
        data[at] ^= 1 << int(rng.integers(8))
    return bytes(data)


def bad_header(data, rng):
    data = bytearray(data)
    for at in rng.integers(min(len(data), 96), size=rng.integers(1, 5)):
        data[at] = rng.integers(256)
    return bytes(data)


def bad_number(data, rng):
    """A length, an offset or a size becomes huge, zero or negative."""
    data = bytearray(data)
    wide = int(rng.choice([2, 4]))
    at = int(rng.integers(min(len(data) - 4, 700)))
    data[at : at + wide] = rng.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\1\0\0"])[:wide]
    return bytes(data)


def appended(data, rng):
    return data + rng.bytes(int(rng.integers(1, 5000)))


def spliced(data, rng):
    """A part is gone, or stands there twice."""
    first, second = sorted(int(at) for at in rng.integers(len(data), size=2))
    return data[:second] + data[first:] if rng.integers(2) else data[:first] + data[second:]


KINDS = (cut, flipped, bad_header, bad_number, appended, spliced)


def mutated(number):
    """Name and bytes of the damaged file of that number; some go by the name of another format."""
    rng = draws(7, "mutated photos", number)
    known = seeds()
    name = sorted(known)[number % len(known)]
    data = KINDS[number // len(known) % len(KINDS)](known[name], rng)
    suffix = rng.choice([".png", ".jpg", ".tif", ".webp"]) if rng.integers(4) == 0 else Path(name).suffix
    return f"{number:03d}_{Path(name).stem}{suffix}", data


def told(reader, path):
    """What `reader` makes of a file: an answer, or None when it says in one line, naming the file, what is wrong."""
    began = time.monotonic()
    try:
        return reader(path)
    except UnreadableImage as error:
        line = str(error)
    finally:
        assert time.monotonic() - began < SECONDS
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    assert len(line) < len(str(path)) + 300
    return None


def read_all(folder, numbers):
    """Writes and reads mutations. Returns how many were read."""
    read = 0
    for number in numbers:
        name, data = mutated(number)
        path = folder / name
        path.write_bytes(data)
        photo = told(read_photo, path)
        if photo is not None:
            read += 1
            assert photo.pixels.ndim == 3
            assert photo.alpha is None or photo.alpha.shape == photo.pixels.shape[:2]
            for suffix in {photo.suffix, ".tif"}:
                assert encode_photo(f"{number}{suffix}", photo)
        mask = told(lambda path: images.decode_mask(images.file_bytes(path), str(path)), path)
        assert mask is None or mask.shape[2] == 1
    return read


def test_every_mutation_is_read_or_told(tmp_path, recwarn):
    read = read_all(tmp_path, range(MUTATIONS))
    assert MUTATIONS * 0.1 < read < MUTATIONS * 0.7  # neither all refused nor all harmless
    assert [str(each.message) for each in recwarn] == []  # Pillow's own words are not shown


LIMITED = """
import resource, sys
from pathlib import Path
from tests.photos.test_photo_mutations import limited, read_all, bombs, told, read_photo
limited()
folder = Path(sys.argv[1])
for name, data in bombs().items():
    (folder / name).write_bytes(data)
    assert told(read_photo, folder / name) is None, name
print("read", read_all(folder, range(100)))
"""


def limited(more=600 << 20):
    """From here on this process gets no more than that much memory beyond what it has."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + more, now + more))


def bombs():
    """Small files that ask for much: 100,000 x 100,000 pixels, and as many as are just allowed."""
    made = {}
    for side in (100_000, 16_384):
        size = side.to_bytes(4, "big")
        pixels = chunk(b"IDAT", zlib.compress(bytes(1 << 20)))
        made[f"{side}.png"] = MAGIC + chunk(b"IHDR", size * 2 + b"\x08\x02\0\0\0") + pixels + chunk(b"IEND", b"")
        made[f"{side}.ppm"] = b"P6\n%d %d\n255\n" % (side, side) + bytes(100)
        bmp = bytearray(seeds()["plain.bmp"])
        bmp[18:26] = side.to_bytes(4, "little") * 2
        made[f"{side}.bmp"] = bytes(bmp)
    jpeg = bytearray(seeds()["progressive.jpg"])
    frame = jpeg.index(b"\xff\xc2")
    jpeg[frame + 5 : frame + 9] = (16_384).to_bytes(2, "big") * 2
    scan = bytes(jpeg[jpeg.index(b"\xff\xda") : -2])
    return made | {"scans.jpg": bytes(jpeg[:-2]) + scan * 200 + b"\xff\xd9"}


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc here to measure memory with")
def test_within_600_mb(tmp_path):
    command = [sys.executable, "-c", LIMITED, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 10
