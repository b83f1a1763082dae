"""Inputs that fuzzing found, and each class of attack by hand: all are read or told, and none does anything else.

A folder of `corpus/` is called as its target; `benchmarks/fuzz.py` adds to them.
"""

import hashlib
import io
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.fuzz_targets import TARGETS, prepare
from restore import images, pretrained
from restore.engine.checkpoint import Checkpoints, open_checkpoint, state_bytes
from restore.errors import RestoreError, UserError
from restore.weights import read_weights
from tests.lab import REPOSITORY

CORPUS = Path(__file__).parent / "corpus"
FOUND = sorted(path for path in CORPUS.glob("*/*") if path.is_file())

# All of the corpus in one process, whose audit hook cannot be taken out again.
JUDGE = """
import sys
from pathlib import Path
from benchmarks import fuzz_guard
from benchmarks.fuzz_targets import TARGETS, prepare
prepare(Path(sys.argv[1]))
fuzz_guard.install()
for path in map(Path, sys.argv[2:]):
    run, data = TARGETS[path.parent.name].run, path.read_bytes()
    try:
        run(data)  # what it imports it imports now
    except Exception:
        pass
    try:
        fuzz_guard.judge(run, data, Path(sys.argv[1]))
    except Exception as error:
        print(f"{path.parent.name}/{path.name}: {type(error).__name__}: {error}")
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The folder that targets work in, and the process as it was afterwards."""
    from restore.options import check

    for owner, name in ((images, "MOST_PIXELS"), (check, "import_part_module")):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    monkeypatch.setenv(pretrained.FOLDER, "weights")
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path)
    return tmp_path


def told(target, data):
    """What is said of an input; None where it is accepted."""
    try:
        TARGETS[target].run(data)
    except RestoreError as error:
        return str(error)
    return None


def test_everything_found_before_is_read_or_told(tmp_path):
    assert FOUND
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", JUDGE, str(tmp_path), *map(str, FOUND)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr[-2000:]


def test_the_guard_sees_what_no_input_may_do(tmp_path):
    code = """
import os, socket, subprocess, sys, time
from pathlib import Path
from benchmarks import fuzz_guard
fuzz_guard.install()
def busy():
    until = time.process_time() + 1.2
    while time.process_time() < until:
        pass
deeds = {
    "system": lambda: os.system("true"),
    "process": lambda: subprocess.run(["true"]),
    "file": lambda: open("/tmp/restore_elsewhere", "w").close(),
    "connection": lambda: socket.socket().connect_ex(("127.0.0.1", 9)),
    "code": lambda: exec("1 + 1"),
    "own file": lambda: Path(sys.argv[1], "x").write_text("x"),
    "long": busy,
    "memory": lambda: bytearray(b"x") * (600 << 20),
}
for name, deed in deeds.items():
    try:
        fuzz_guard.judge(lambda data: deed(), b"", Path(sys.argv[1]))
    except fuzz_guard.Finding:
        print(name)
"""
    command = [sys.executable, "-c", code, str(tmp_path.resolve())]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    Path("/tmp/restore_elsewhere").unlink(missing_ok=True)
    assert done.stdout.split("\n")[:-1] == ["system", "process", "file", "connection", "code", "long", "memory"], (
        done.stderr
    )


# ----------------------------------------------------------------------------------------------------- option files


OPTION_FILES = {
    "python tag": ("name: !!python/object/apply:os.system [touch executed]\n", "is not allowed"),
    "python name": ("a: !!python/name:os.system\n", "is not allowed"),
    "laughs": ("a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefghi", "bcdefghij", strict=True)
    ), "unfolds into too much"),
    "recursive": ("a: &a [*a]\n", "unfolds into too much"),
    "merged into itself": ("a: &a {<<: *a}\n", "unfolds into too much"),
    "brackets": ("a: " + "[" * 2000, "nested more than"),
    "braces": ("{a: " * 1000, "nested more than"),
    "dashes": ("- " * 2000, "nested more than"),
    "no character": ('name: "\\UFFFFFFFF"\n', "names a character that there is not"),
    "past Unicode": ('name: "\\U00110000"\n', "names a character that there is not"),
    "half a character": ('name: "\\ud800"\n', "mistakes"),
    "base with NUL": ('extends: "a\\0b"\n', "extends: cannot look for it"),
    "half a character as base": ('extends: "\\ud800"\n', "extends: cannot look for it"),
    "endless base": (f"extends: {'a' * 3000}\n", "extends: cannot look for it"),
    "itself as base": ("extends: input.yml\n", "goes in a circle"),
    "a device as base": ("extends: /dev/zero\n", "no file"),
    "twice": ("name: a\nname: b\n", "written twice"),
    "huge number": (f"scale: {'9' * 5000}\n", "is no int"),
    "lists as names of stages": ("name: x\nstages: [{name: [1]}, {name: {a: 1}}]\n", "stages.0.name"),
    "NUL in a path": ('name: x\npath: {pretrain_network_g: "a\\0b"}\n', "path.pretrain_network_g: "),
}  # fmt: skip


@pytest.mark.parametrize("name", OPTION_FILES)
def test_option_files(place, name):
    text, expected = OPTION_FILES[name]
    began = time.process_time()
    assert expected in (told("options", text.encode()) or "accepted")
    assert time.process_time() - began < 5
    assert not Path("executed").exists()


@pytest.mark.parametrize("text", ["model_type: [1]\n", "model_type: SRModel\nval: {metrics: {a: {type: [1]}}}\n"])
def test_option_files_of_basicsr(place, text):
    assert "found" in told("basicsr", text.encode())


@pytest.mark.parametrize("name", [b"a" * 500, b"a\0b", b"\xff", b"/dev/null", b"/dev/zero", b"", b"."])
def test_names_of_option_files(place, name):
    if name == b"/dev/zero":
        pytest.skip("is read without end, as every command reads it that is told to")
    assert told("option_path", name)


# ---------------------------------------------------------------------------------------------------------- records


@pytest.mark.parametrize(
    "line",
    ["../x.png (1,1,3) 1", "/etc/x.png (1,1,3) 1", "a/../../x.png (1,1,3) 1", "a\0b.png (1,1,3) 1"],
)
def test_keys_of_an_lmdb_that_lead_elsewhere(place, line):
    message = told("meta_info", f"good.png (1,1,3) 1\n{line}\n".encode())
    assert "meta_info.txt:2: " in message
    assert "leads out of its folder" in message


def test_keys_with_dots_that_stay(place):
    assert told("meta_info", b"a../b.png (1,1,3) 1\n..a/...png (1,1,3) 1\n.hidden/x..y.png (1,1,3) 1\n") is None


def test_sizes_without_end(place):
    assert "mend the line" in told("meta_info", b"a.png (" + b"9" * 5000 + b",1,3) 1\n")


# ---------------------------------------------------------------------------------------------------------- pictures


def png(width, height, *more):
    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunk(*each) for each in more) + chunk(b"IEND", b"")


PICTURES = {
    "huge PNG": png(2**31 - 1, 2**31 - 1, (b"IDAT", zlib.compress(bytes(1 << 20)))),
    "huge BMP": b"BM" + struct.pack("<IIIIiiHHII", 54, 0, 54, 40, 2**30, 2**30, 1, 24, 0, 0).ljust(64, b"\0"),
    "huge TIFF": b"II*\0\x08\0\0\0\2\0" + b"".join(struct.pack("<HHII", tag, 4, 1, 10**6) for tag in (256, 257)),
    "huge WebP": b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff" * 6,
    "huge GIF": b"GIF89a\xff\xff\xff\xff\0\0\0",
    "huge PPM": b"P6\n99999 99999\n255\n",
    "huge Radiance": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 30000 +X 30000\n" + bytes(100),
    "huge PAM": b"P7\nWIDTH 30000\nHEIGHT 30000\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n" + bytes(100),
    "huge Sun raster": b"\x59\xa6\x6a\x95" + struct.pack(">7I", 30000, 30000, 24, 0, 1, 0, 0) + bytes(100),
    "bomb of text in a PNG": png(8, 8, (b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 26)))),
    "bomb of a profile in a PNG": png(8, 8, (b"iCCP", b"a\0\0" + zlib.compress(bytes(1 << 26)))),
    "SVG that names a file": b'<?xml version="1.0"?><svg><image href="file:///etc/passwd"/></svg>',
}  # fmt: skip


@pytest.mark.parametrize("target", ["image", "mask", "photo", "upload"])
@pytest.mark.parametrize("name", PICTURES)
def test_pictures(place, name, target):
    assert told(target, (b"\0" if target == "upload" else b"") + PICTURES[name])


def test_a_jpeg_of_endless_scans(place):
    good = images.encode(Path("x.jpg"), np.zeros((16, 16, 3), np.uint8))
    scan = good[good.index(b"\xff\xda") : -2]
    for target in ("image", "mask", "photo"):
        assert "would take hours" in told(target, good[:-2] + scan * 200 + b"\xff\xd9")


# ----------------------------------------------------------------------------------------------------------- weights


class Evil:
    """Unpickled, it makes a folder."""

    def __reduce__(self):
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrap", [lambda evil: evil, lambda evil: {"params": {"a": evil}}, lambda evil: [evil]])
def test_pickles_that_run_code(place, zipped, wrap):
    file = io.BytesIO()
    torch.save(wrap(Evil()), file, _use_new_zipfile_serialization=zipped)
    assert "cannot be read safely" in told("pickled", file.getvalue()) or "read safely" in told(
        "pickled", file.getvalue()
    )
    assert told("checkpoint", b"\2" + file.getvalue())
    assert told("pickled", pickle.dumps(wrap(Evil())))
    assert not Path("executed").exists()


@pytest.mark.parametrize("target", ["pickled", "checkpoint"])
def test_archives_that_unpack_to_much(place, target):
    good = zipfile.ZipFile(io.BytesIO(state_bytes({"weight": torch.zeros(3)})))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bad:
        for entry in good.namelist():
            bad.writestr(entry, bytes(1 << 24) if entry.endswith("/data/0") else good.read(entry))
    message = told(target, (b"\2" if target == "checkpoint" else b"") + file.getvalue())
    assert "would unpack to more than" in message


def test_archives_whose_entries_lead_elsewhere(place):
    good = zipfile.ZipFile(io.BytesIO(state_bytes({"a": torch.zeros(3)})))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as bad:
        for entry in good.namelist():
            bad.writestr(entry, good.read(entry))
        bad.writestr("../../escaped", b"x")
        bad.writestr("/etc/escaped", b"x")
    Path("a/b").mkdir(parents=True)
    os.chdir("a/b")  # so that the way up stays in this test's own folder
    before = set(place.rglob("*"))
    told("pickled", file.getvalue())
    assert set(place.rglob("*")) - before == {place / "a" / "b" / "input.pth"}
    assert not Path("/etc/escaped").exists()


# -------------------------------------------------------------------------------------------------------- checkpoints


MANIFESTS = {
    "deep": "[" * 100_000,
    "traversal": '{"iter": 7, "files": {"state.pt": "", "../../x": ""}}',
    "absolute": '{"iter": 7, "files": {"state.pt": "", "/etc/passwd": ""}}',
    "NUL": '{"iter": 7, "files": {"a\\u0000b": "", "state.pt": ""}}',
    "half a character": '{"iter": 7, "files": {"a\\ud800b": "", "state.pt": ""}}',
    "two lines": '{"iter": 7, "files": {"a\\nb": "", "state.pt": ""}}',
    "endless name": json.dumps({"iter": 7, "files": {"a" * 300: "", "state.pt": ""}}),
    "no number": '{"iter": NaN, "files": {"state.pt": ""}}',
    "endless number": '{"iter": ' + "9" * 5000 + ', "files": {"state.pt": ""}}',
    "list": "[]",
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests(place, name):
    message = told("checkpoint", b"\0" + MANIFESTS[name].encode())
    assert message
    assert "\n" not in message


@pytest.mark.parametrize(
    "text", [b"a: [", b"[" * 3000, b"\xff\xfe\xff", b"!!python/object/apply:os.system [touch executed]", b"a: &a [*a]"]
)
def test_options_of_a_checkpoint(place, text):
    assert "options.yml:1: " in told("checkpoint", b"\1" + text)
    assert not Path("executed").exists()


def test_folders_beside_checkpoints_that_are_called_like_numbers(place):
    for name in ("\u00b2", ".replaced-x", ".replaced-\u00b2"):
        (place / "written" / name).mkdir()
    newest, _ = Checkpoints(place / "written", 0).newest()
    assert newest.iteration == 7


def test_a_pointer_leads_to_no_other_folder(place):
    shutil.copytree("written/7", "elsewhere")
    for text in ("../elsewhere", "/etc", "7/../../elsewhere", "\u0667"):
        Path("written/latest").write_text(text)
        with pytest.raises(UserError):
            open_checkpoint(Path("written/latest"))


# ------------------------------------------------------------------------------------------------------------- links


def test_links_out_of_a_folder(tmp_path):
    """A link to a picture is that picture, as data sets have them; one to a folder is not followed, nor round."""
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    images.write(outside / "secret.png", np.zeros((4, 4, 3), np.uint8))
    inside.mkdir()
    (inside / "folder").symlink_to(outside)
    (inside / "round").symlink_to(inside)
    (inside / "itself.png").symlink_to(inside / "itself.png")
    (inside / "nothing.png").symlink_to(tmp_path / "nothing")
    assert list(images.find(inside)) == []
    (inside / "a.png").symlink_to(outside / "secret.png")
    assert list(images.find(inside)) == [inside / "a.png"]


def test_results_are_not_written_through_links(tmp_path):
    victim, output = tmp_path / "victim.png", tmp_path / "out"
    victim.write_bytes(b"precious")
    output.mkdir()
    (output / "a.png").symlink_to(victim)
    images.write(output / "a.png", np.zeros((4, 4, 3), np.uint8))
    assert victim.read_bytes() == b"precious"
    assert not (output / "a.png").is_symlink()


def test_folders_of_weights_that_lead_round_in_circles(tmp_path, monkeypatch):
    """Two links to the folder that they lie in are 2^40 ways through it."""
    file = pretrained.describe("niqe")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / file.file).write_bytes(b"wrong")
    for name in ("one", "two", "below/three"):
        (tmp_path / name).symlink_to(tmp_path)
    os.mkfifo(tmp_path / file.file)
    monkeypatch.setenv(pretrained.FOLDER, str(tmp_path))
    monkeypatch.setenv(pretrained.CACHE, str(tmp_path / "cache"))
    began = time.process_time()
    assert pretrained.candidates(file) == [tmp_path / "below" / file.file]
    with pytest.raises(UserError, match="not the `niqe` it should be"):
        pretrained.find("niqe")
    assert time.process_time() - began < 5


def test_a_weights_file_of_another_name_is_read_as_what_it_is(tmp_path):
    """A pickle that is called safetensors is no safetensors file."""
    (tmp_path / "a.safetensors").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(UserError, match="broken safetensors file"):
        read_weights(tmp_path / "a.safetensors")


def test_a_corpus_of_few_bytes():
    assert sum(path.stat().st_size for path in FOUND) < 1 << 20
    assert {path.parent.name for path in FOUND} <= set(TARGETS)
    assert all(path.name == hashlib.sha256(path.read_bytes()).hexdigest()[:12] for path in FOUND)
