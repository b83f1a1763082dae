"""Films: what is kept of them, work that was killed, memory, and files that are none."""

import json
import os
import shutil
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from restore.errors import Preempted, UserError
from restore.faces.detector import Detector
from restore.faces.face import Face
from restore.films import video
from restore.films.video import clear_leftovers, is_video, restore_video, suffix_for
from tests.films.drawn_films import (
    CHAPTERS,
    av,
    even,
    packets,
    planes,
    read_film,
    to_yuv,
    uneven,
    write_film,
)

REPOSITORY = Path(__file__).parents[2]


def chart(seed: int = 0, size: int = 64, patch: int = 16) -> np.ndarray:
    """Patches of random colours."""
    patches = np.random.default_rng(seed).integers(0, 256, (size // patch, size // patch, 3))
    return np.kron(patches, np.ones((patch, patch, 1))).astype(np.uint8)


def inner(picture: np.ndarray, patch: int = 16) -> np.ndarray:
    """The middle of each patch, where shared chroma is its own."""
    keep = np.abs(np.arange(picture.shape[0]) % patch - patch / 2 + 0.5) < patch / 4
    return picture[keep][:, keep]


def same(picture, faces):
    """What changes nothing."""
    assert faces is None
    return picture


def moving(count: int, size: int = 64) -> list[np.ndarray]:
    """A chart that moves, and says in its corner how far it is."""
    pictures = []
    for index in range(count):
        picture = np.roll(chart(index // 40, size), 2 * index, axis=1)
        picture[:16, :16] = (index * 37) % 256
        pictures.append(picture)
    return pictures


TAGS = {"title": "Ein Film", "comment": "seen"}


@pytest.mark.parametrize(
    ("suffix", "how"),
    [
        (".mp4", {"sound": "aac", "subtitle": "mov_text"}),
        (".mov", {"sound": "aac"}),
        (".mkv", {"sound": "aac", "subtitle": "subrip"}),
        (".webm", {"sound": "libopus", "codec": "libvpx-vp9"}),
    ],
)
def test_times_sound_subtitles_chapters_tags_and_aspect_are_kept(tmp_path, suffix, how):
    how = {"chapters": True, "tags": TAGS, "aspect": Fraction(4, 3), **how}
    source = write_film(tmp_path / f"in{suffix}", moving(30), uneven(30), **how)
    done = restore_video(source, tmp_path / f"out{suffix}", same, remark="AI-restored")
    before, after = read_film(source), read_film(done.path)
    assert done.frames == 30
    assert [f.pts for f in after] == [f.pts for f in before]
    assert len(set(np.diff([frame.pts for frame in after]))) > 2  # of uneven rate indeed
    for kind in ("audio", "subtitle") if "subtitle" in how else ("audio",):
        assert packets(source, kind) == packets(done.path, kind) != []
    with av.open(str(source)) as old, av.open(str(done.path)) as new:
        assert [s.type for s in new.streams] == [s.type for s in old.streams]
        one, other = old.streams.video[0], new.streams.video[0]
        assert other.codec_context.name == one.codec_context.name
        assert other.time_base == one.time_base
        assert other.sample_aspect_ratio == one.sample_aspect_ratio == (1 if suffix == ".webm" else Fraction(4, 3))
        assert new.metadata["title"] == TAGS["title"]
        assert {k.lower(): v for k, v in new.metadata.items()}["comment"] == "seen; AI-restored"
        assert abs(new.duration - old.duration) <= 1000  # microseconds
        titles = [(c["metadata"]["title"], c["start"] * c["time_base"]) for c in new.chapters()]
        assert titles == [(c["metadata"]["title"], c["start"] * c["time_base"]) for c in CHAPTERS]
    assert not (tmp_path / f"out{suffix}.parts").exists()
    assert all(np.abs(a.rgb.astype(int) - b.rgb).mean() < 1 for a, b in zip(after, before, strict=True))


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 6, 9])
@pytest.mark.parametrize("pixels", ["yuv420p", "yuv444p"])
def test_colours_come_back_and_the_model_sees_the_right_ones(tmp_path, pixels, matrix, full):
    """Against the ITU's formula: what the model sees within 3 of 255 (8-bit YUV alone costs 2), the result within 2."""
    source = write_film(
        tmp_path / "in.mp4", [chart()] * 4, even(4), "libx264", pixels, matrix, full, options={"crf": "1"}
    )
    seen = []
    done = restore_video(source, tmp_path / "out.mp4", lambda picture, _: seen.append(picture) or picture)
    assert np.abs(inner(seen[0]).astype(int) - inner(chart())).max() <= 3
    frame = read_film(done.path)[0].raw
    assert (frame.colorspace, frame.color_range) == (matrix, 2 if full else 1)
    assert frame.color_primaries == frame.color_trc == matrix
    assert frame.format.name.replace("yuvj", "yuv") == pixels
    wanted = to_yuv(chart(), matrix, full)
    for channel, plane in enumerate(planes(frame)):
        side = 64 // plane.shape[0]
        small = wanted[..., channel].reshape(plane.shape[0], side, plane.shape[1], side).mean((1, 3))
        patch = 16 // side
        assert np.abs(inner(plane, patch) - inner(small, patch)).max() <= 2.5  # 2, and half for what rounding cost


def test_a_matrix_that_is_not_named_is_told_and_written(tmp_path):
    source = write_film(tmp_path / "in.mp4", [chart()] * 3, even(3), matrix=0)
    done = restore_video(source, tmp_path / "out.mp4", lambda p, _: p.repeat(20, 0).repeat(20, 1))  # 1280 px: else 709
    assert any("names no colour matrix; taken as BT.601" in note for note in done.notes)
    frame = read_film(done.path)[0]
    assert frame.raw.colorspace == 6
    assert np.abs(frame.rgb[160::320, 160::320].astype(int) - chart()[8::16, 8::16]).max() <= 4


@pytest.mark.parametrize(("degrees", "turns"), [(90, 1), (180, 2), (270, 3)])
def test_a_turned_film_is_seen_upright_and_written_so(tmp_path, degrees, turns):
    picture = chart()[:32]
    source = write_film(tmp_path / "in.mp4", [picture] * 3, even(3), degrees=degrees, aspect=Fraction(4, 3))
    seen = []
    done = restore_video(source, tmp_path / "out.mp4", lambda p, _: seen.append(p) or p)
    upright = np.rot90(picture, turns)
    assert seen[0].shape == upright.shape
    assert np.abs(seen[0].astype(int) - upright).mean() < 12  # its neighbours turned another way are at 80
    frame = read_film(done.path)[0].raw
    assert frame.rotation == 0
    with av.open(str(done.path)) as container:
        wanted = Fraction(3, 4) if turns % 2 else Fraction(4, 3)
        assert container.streams.video[0].sample_aspect_ratio == wanted


def test_ten_bits_stay_ten(tmp_path):
    ramp = np.broadcast_to(np.linspace(20000, 24000, 64, dtype=np.uint16)[None, :, None], (64, 64, 3))
    source = write_film(
        tmp_path / "in.mkv", [ramp.copy()] * 3, even(3), pixel_format="yuv420p10le", options={"crf": "1"}
    )
    seen = []
    done = restore_video(source, tmp_path / "out.mkv", lambda p, _: seen.append(p) or p)
    assert seen[0].dtype == np.uint16
    frame = read_film(done.path)[0].raw
    assert frame.format.name == "yuv420p10le"
    back = frame.to_ndarray(format="rgb48le", channel_last=False)
    assert np.abs(back.astype(int) - ramp).max() < 300  # one level of 8 bits is 257


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "wanted", "size"),
    [
        ("in.webm", "libvpx-vp9", "yuv420p", "vp9", (63, 45)),  # takes odd sides
        ("in.avi", "mpeg4", "yuv420p", "mpeg4", (63, 45)),
        ("in.avi", "mjpeg", "yuvj420p", "mjpeg", (63, 45)),
        ("in.gif", "gif", "rgb8", "h264", (64, 46)),
        ("in.mkv", "libx264", "yuv444p", "h264", (63, 45)),
        ("in.mkv", "ffv1", "bgr0", "ffv1", (63, 45)),
        ("in.mkv", "libx265", "yuv420p", "hevc", (64, 46)),
        ("in.mkv", "libsvtav1", "yuv420p", "av1", (64, 46)),
    ],
)
def test_codecs_odd_sides_and_containers_that_we_do_not_write(tmp_path, name, codec, pixels, wanted, size):
    odd = codec not in ("libx265", "libsvtav1")
    pictures = [p[:45, :63] if odd else p[:46] for p in moving(6)]
    options = {"x265-params": "log-level=error"} if codec == "libx265" else {}
    try:
        source = write_film(
            tmp_path / name, pictures, even(6), codec, pixels, full=pixels.startswith("yuvj"), options=options
        )
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"this build of FFmpeg has no {codec}")
    done = restore_video(source, tmp_path / f"out{suffix_for(source)}", same)
    before, after = read_film(source), read_film(done.path)
    with av.open(str(done.path)) as container:
        assert container.streams.video[0].codec_context.codec.canonical_name == wanted
    assert (after[0].raw.width, after[0].raw.height) == size
    assert len(after) == len(before) == 6
    times = [[f.raw.time - frames[0].raw.time for f in frames] for frames in (before, after)]
    assert np.allclose(*times, atol=0.001)
    height, width = before[0].rgb.shape[:2]
    assert np.abs(after[3].rgb[:height, :width].astype(int) - before[3].rgb).mean() < (20 if codec == "gif" else 4)
    assert any("doubled" in note for note in done.notes) == (size == (64, 46) and odd)
    assert any("in its place" in note for note in done.notes) == (codec == "gif")


class Jittery(Detector):
    """Faces that tremble, by the picture's own brightness."""

    def find(self, picture):
        shift = float(picture[:16, :16].mean()) % 7
        return [Face.of_box((10 + shift, 10, 40 + shift, 45)), Face.of_box((42, 12 + shift, 60, 30 + shift))]


def painted(picture, faces):
    """A result that shows each face's place to a tenth of a pixel."""
    result = picture.copy()
    for row, face in enumerate(faces):
        result[48 + 4 * row : 52 + 4 * row] = np.uint8(round(10 * float(face.landmarks.sum())) % 256)
    return result


SCRIPT = """
import os, sys, signal
from pathlib import Path
from restore.films.video import restore_video
from tests.films.test_video import Jittery, painted
calls = 0
def each(picture, faces):
    global calls
    calls += 1
    if calls == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return painted(picture, faces)
done = restore_video(Path(sys.argv[1]), Path(sys.argv[2]), each, detector=Jittery())
print(calls, done.frames)
"""


def in_a_process(*arguments: object) -> subprocess.CompletedProcess:
    """Restores a film elsewhere, and kills it at a call."""
    command = [sys.executable, "-c", SCRIPT, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_killed_and_taken_up_again_it_is_the_same_film(tmp_path):
    source = write_film(tmp_path / "in.mp4", moving(170), uneven(170), sound="aac")
    whole = restore_video(source, tmp_path / "whole.mp4", painted, detector=Jittery())
    target = tmp_path / "out.mp4"
    assert in_a_process(source, target, 60).returncode == -signal.SIGKILL  # in the second part
    assert sorted(p.name for p in (tmp_path / "out.mp4.parts").glob("0*")) == ["000000.mkv"]
    assert in_a_process(source, target, 70).returncode == -signal.SIGKILL  # in the third
    assert not target.exists()
    last = in_a_process(source, target, 0)
    assert last.stdout.split() == [str(170 - 96), "170"], last.stderr
    one, other = read_film(whole.path), read_film(target)
    assert [f.pts for f in one] == [f.pts for f in other]
    assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(one, other, strict=True))
    assert target.read_bytes() == whole.path.read_bytes()
    assert not (tmp_path / "out.mp4.parts").exists()


def interrupted_at(number: int):
    """An `each` that Ctrl-C meets at that call, and the list of its calls."""
    calls = []

    def each(picture, faces):
        calls.append(len(calls))
        if len(calls) == number:
            raise KeyboardInterrupt
        return picture

    return each, calls


@pytest.fixture
def film(tmp_path) -> Path:
    """Of 100 frames: two parts and a bit."""
    return write_film(tmp_path / "in.mkv", moving(100), even(100))


def test_ctrl_c_says_how_to_go_on_and_parts_of_other_settings_are_not_used(tmp_path, film):
    target, (each, _) = tmp_path / "out.mkv", interrupted_at(99)
    with pytest.raises(Preempted, match=r"96 of about 100 frames are in .*out.mkv.parts; the same command goes on"):
        restore_video(film, target, each, settings={"model": "one"})
    again, calls = interrupted_at(0)
    (tmp_path / "out.mkv.parts" / ".frame_00000098.png.here.1.tmp").write_bytes(b"half")  # a kill left it
    done = restore_video(film, target, again, settings={"model": "two"})
    assert not (tmp_path / "out.mkv.parts").exists()
    assert len(calls) == 100
    assert any("made with another settings; not used" in note for note in done.notes)


def test_what_a_kill_after_joining_leaves_is_cleared_but_not_newer_parts(tmp_path, film, monkeypatch):
    target, parts = tmp_path / "out.mkv", tmp_path / "out.mkv.parts"
    with monkeypatch.context() as killed:
        killed.setattr("restore.films.parts.Parts.remove", lambda parts: parts.stream.close())
        restore_video(film, target, same)
    assert (parts / "journal").exists()
    with pytest.raises(Preempted):  # one that is to replace it
        restore_video(film, target, interrupted_at(99)[0], settings={"model": "two"}, overwrite=True)
    clear_leftovers(target)
    assert len(list(parts.glob("*.mkv"))) == 2
    os.utime(target)  # as if that had been joined
    clear_leftovers(target)
    assert not parts.exists()
    clear_leftovers(target)  # none there


def test_a_damaged_part_is_made_again(tmp_path, film):
    target, (each, _) = tmp_path / "out.mkv", interrupted_at(99)
    with pytest.raises(Preempted):
        restore_video(film, target, each)
    part = tmp_path / "out.mkv.parts" / "000001.mkv"
    part.write_bytes(part.read_bytes()[:-10])
    with (part.parent / "journal").open("ab") as stream:
        stream.write(json.dumps({"part": 2})[:-4].encode())  # cut off by a kill
    again, calls = interrupted_at(0)
    done = restore_video(film, target, again)
    assert len(calls) == 52
    assert any("000001.mkv: damaged" in note for note in done.notes)
    assert len(read_film(done.path)) == 100


def test_frames_that_took_long_are_not_made_twice(tmp_path, film, monkeypatch):
    monkeypatch.setattr(video, "SLOW", -1.0)
    target, (each, _) = tmp_path / "out.mkv", interrupted_at(70)
    with pytest.raises(Preempted):
        restore_video(film, target, each)
    again, calls = interrupted_at(0)
    done = restore_video(film, target, again)
    assert len(calls) == 100 - 69
    assert len(read_film(done.path)) == 100


def test_a_folder_of_someone_elses_is_not_touched(tmp_path, film):
    (tmp_path / "out.mkv.parts").mkdir()
    (tmp_path / "out.mkv.parts" / "letter.txt").write_text("mine")
    with pytest.raises(UserError, match="in the way"):
        restore_video(film, tmp_path / "out.mkv", same)
    assert (tmp_path / "out.mkv.parts" / "letter.txt").read_text() == "mine"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
def test_memory_does_not_grow_with_the_film(tmp_path):
    """Peak of 20 s and of 200 s, 64 px, 10 frames a second, within 10 %; beyond the imports alone, within half."""
    script = "def status(key): return int(open('/proc/self/status').read().split(key + ':')[1].split()[0])\n"
    script += SCRIPT.replace("calls = 0", "calls, before = 0, status('VmRSS')")
    script = script.replace("print(calls, done.frames)", "print(before, status('VmHWM'))")
    peaks = []
    for seconds in (20, 200):
        count = seconds * 10
        picture = chart()
        source = write_film(
            tmp_path / f"{seconds}.mp4",
            (np.roll(picture, i, 1) for i in range(count)),
            even(count, 1280),
            sound="aac",
            options={"preset": "ultrafast"},
        )
        command = [sys.executable, "-c", script, str(source), str(tmp_path / f"out{seconds}.mp4"), "0"]
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        read = subprocess.run(command, env=environment, capture_output=True, check=True).stdout.split()
        peaks.append([int(value) / 1024 for value in read])
    print(f"MiB before, and at most: {peaks}")
    (start, short), (_, long) = peaks
    assert long < 1.1 * short
    assert long - start < 1.5 * (short - start)


def _sound_alone(path: Path) -> None:
    with av.open(str(path), "w") as out:
        from tests.films.drawn_films import _write_sine

        stream = out.add_stream("aac", rate=48000)
        stream.layout = "mono"
        _write_sine(out, stream, 0.5)


def _cut_in_half(path: Path) -> None:
    write_film(path, moving(10), even(10))
    path.write_bytes(path.read_bytes()[:1500])


def _no_frame(path: Path) -> None:
    write_film(path, moving(2), even(2))
    with av.open(str(path)) as old, av.open(str(path.with_suffix(".mkv")), "w") as new:
        new.add_stream_from_template(old.streams.video[0])
        new.start_encoding()
    shutil.move(path.with_suffix(".mkv"), path)


def _of_two_sizes(path: Path) -> None:
    pieces = []
    for side in (64, 96):
        write_film(path, [chart(size=side, patch=16)] * 5, even(5), format="h264")
        pieces.append(path.read_bytes())
    path.write_bytes(b"".join(pieces))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.touch(), "empty file"),
        (lambda path: path.mkdir(), "not a plain file"),
        (os.mkfifo, "not a plain file"),
        (lambda path: path.write_text("once upon a time\n" * 99), "not a film"),
        (lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)), "not a film"),
        (_cut_in_half, "its beginning or end is missing"),
        (_sound_alone, "no moving pictures"),
        (_no_frame, "not a film"),
        (_of_two_sizes, "frames change from 64x64 to 96x96 at .*; cut the film there"),
    ],
)
def test_what_is_no_film_is_told_in_one_line(tmp_path, make, told):
    path = tmp_path / "in.mp4"
    make(path)
    with pytest.raises(UserError, match=told) as caught:
        restore_video(path, tmp_path / "out.mp4", same)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.mp4").exists()


def test_a_film_that_is_cut_short_is_done_as_far_as_it_goes(tmp_path):
    source = write_film(tmp_path / "in.mkv", moving(150), even(150), options={"g": "10"})
    whole = read_film(source)
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    done = restore_video(source, tmp_path / "out.mkv", same)
    after = read_film(done.path)
    assert 40 < done.frames == len(after) < 110
    assert [f.pts for f in after] == [f.pts for f in whole[: len(after)]]
    assert any("cut short" in note for note in done.notes)


def test_damage_in_the_middle_is_told_with_its_time_and_the_rest_goes_on(tmp_path):
    source = write_film(tmp_path / "in.mkv", moving(100), even(100), "mjpeg", "yuvj420p", full=True)
    data, found = bytearray(source.read_bytes()), packets(source, "video")
    place = data.index(found[50][0])
    data[place : place + len(found[50][0])] = bytes(len(found[50][0]))  # the picture of 2 s
    source.write_bytes(bytes(data))
    done = restore_video(source, tmp_path / "out.mkv", same)
    assert done.frames == 99
    assert any(note.startswith("0:00:02: cannot be decoded") for note in done.notes)
    assert read_film(done.path)[-1].pts == found[-1][1]


def test_targets_that_are_refused(tmp_path, film):
    (tmp_path / "there.mkv").write_text("mine")
    for target, told in (("there.mkv", "is there"), ("in.mkv", "is the film itself"), ("out.avi", "we write .mp4")):
        with pytest.raises(UserError, match=told):
            restore_video(film, tmp_path / target, same)
    assert (tmp_path / "there.mkv").read_text() == "mine"
    assert restore_video(film, tmp_path / "there.mkv", same, overwrite=True).frames == 100


def test_what_is_a_film():
    assert is_video(Path("a/B.MP4"))
    assert not is_video(Path("a.png"))
    assert [suffix_for(Path(name)) for name in ("a.MOV", "a.avi", "a.gif")] == [".mov", ".mkv", ".mp4"]


def test_ffprobe_reads_the_same(tmp_path):
    """FFmpeg's own reader, another build than PyAV's: times, colours, chapters, and no error in any frame."""
    if not shutil.which("ffprobe"):
        pytest.skip("no ffprobe")
    source = write_film(tmp_path / "in.mp4", moving(100), uneven(100), sound="aac", chapters=True, matrix=1)
    done = restore_video(source, tmp_path / "out.mp4", same)
    command = ["ffprobe", "-v", "error", "-print_format", "json", "-show_streams", "-show_chapters", "-show_frames"]
    read = [subprocess.run([*command, str(p)], capture_output=True, check=True) for p in (source, done.path)]
    assert not read[1].stderr
    one, other = (json.loads(each.stdout) for each in read)
    for kind in ("video", "audio"):
        times = [[f["pts"] for f in each["frames"] if f["media_type"] == kind] for each in (one, other)]
        assert times[0] == times[1]
    assert other["chapters"] == one["chapters"]
    for key in (
        "codec_name",
        "pix_fmt",
        "color_space",
        "color_range",
        "color_primaries",
        "color_transfer",
        "time_base",
    ):
        assert other["streams"][0].get(key) == one["streams"][0].get(key), key
