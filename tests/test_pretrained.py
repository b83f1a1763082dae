"""Pretrained files: found, fetched from a real server, verified; every way that can go wrong."""

import hashlib
import multiprocessing
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from restore import pretrained
from restore.errors import UserError
from restore.pretrained import FILES, File, find
from tests.oracles import shared

CONTENT = bytes(range(256)) * 12_000  # 3 MB: several pieces


class Server(ThreadingHTTPServer):
    """Serves CONTENT under any path but /404; its fields say how badly."""

    content, ranges, cut_after = CONTENT, True, None

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []  # the Range of each request
        self.gate = threading.Event()
        self.gate.set()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}/thing.pth"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.asked.append(self.headers["Range"])
        if self.path == "/404":
            return self.send_error(404, "Not Found")
        start = int(self.headers["Range"][6:-1]) if server.ranges and self.headers["Range"] else 0
        body = server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        server.gate.wait(10)
        self.wfile.write(body if server.cut_after is None else body[: server.cut_after])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def thing(server, monkeypatch, tmp_path):
    """The registry holds one more file, `thing`, that the server has; the cache is empty."""
    monkeypatch.setenv("RESTORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RESTORE_WEIGHTS", raising=False)
    return register(monkeypatch, server.address)


def register(monkeypatch, address):
    digest = hashlib.sha256(CONTENT).hexdigest()
    file = File("thing", "thing.pth", address, digest, len(CONTENT), "MIT", "tests", ("other.pth",))
    monkeypatch.setitem(FILES, "thing", file)
    return file


def cached(tmp_path):
    """What the cache holds, locks left out."""
    return sorted(path.name for path in (tmp_path / "cache").glob("*") if path.suffix != ".lock")


def told(name="thing"):
    with pytest.raises(UserError) as caught:
        find(name)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_fetched_once_and_then_found(thing, server, tmp_path):
    assert find("thing") == tmp_path / "cache" / "thing.pth"
    assert find("thing").read_bytes() == CONTENT
    assert server.asked == [None]
    assert cached(tmp_path) == ["thing.pth"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_cut_off_transfer_is_never_used_and_gone_on_with(thing, server, tmp_path, ranges):
    """Where the server knows no ranges, it begins anew."""
    server.cut_after, server.ranges = 1_500_000, ranges
    message = told()
    assert "cut off after 1,500,000 of 3,072,000 bytes" in message
    assert cached(tmp_path) == ["thing.pth.part"]
    server.cut_after = None
    assert find("thing").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1500000-"]
    assert cached(tmp_path) == ["thing.pth"]


def test_what_is_whole_but_was_never_renamed_is_not_fetched_again(thing, server, tmp_path):
    part = tmp_path / "cache" / "thing.pth.part"
    part.parent.mkdir()
    part.write_bytes(CONTENT)
    assert find("thing").read_bytes() == CONTENT
    assert server.asked == []


@pytest.mark.parametrize("left", [b"x" * 1000, b"x" * 4_000_000])
def test_what_another_file_left_is_thrown_away(thing, server, tmp_path, left):
    part = tmp_path / "cache" / "thing.pth.part"
    part.parent.mkdir()
    part.write_bytes(left)
    if len(left) < len(CONTENT):
        assert "was thrown away" in told()
    assert find("thing").read_bytes() == CONTENT


def test_wrong_hash_from_the_server_is_thrown_away(thing, server, tmp_path):
    server.content = CONTENT[::-1]
    message = told()
    assert "came with SHA-256" in message
    assert thing.sha256[:16] in message
    assert cached(tmp_path) == []


def test_wrong_hash_on_the_disk_is_told_and_never_used(thing, server, tmp_path, monkeypatch):
    wrong = tmp_path / "mine" / "deep" / "thing.pth"
    wrong.parent.mkdir(parents=True)
    wrong.write_bytes(b"something else")
    monkeypatch.setenv("RESTORE_WEIGHTS", str(tmp_path / "mine"))
    message = told()
    assert message.startswith(f"{wrong}: not the `thing` it should be")
    assert server.asked == []
    (tmp_path / "mine" / "other.pth").write_bytes(CONTENT)  # a right one beside it is taken
    assert find("thing").name == "other.pth"


def test_not_found_on_the_server(thing, server, monkeypatch, tmp_path):
    register(monkeypatch, server.address.replace("/thing.pth", "/404"))
    message = told()
    assert "cannot be fetched (404 Not Found)" in message
    assert cached(tmp_path) == []


def test_offline_says_which_file_goes_where(thing, server, monkeypatch, tmp_path):
    server.server_close()  # nobody listens on that port now
    message = told()
    for part in ("thing.pth", thing.address, "RESTORE_WEIGHTS", str(tmp_path / "cache")):
        assert part in message


def test_a_conversion_without_an_address_says_so(thing, monkeypatch):
    register(monkeypatch, "")
    assert "docs/weights.md says where it comes from" in told()


def test_found_at_any_depth_by_name_before_the_cache(thing, server, tmp_path, monkeypatch):
    find("thing")
    mine = tmp_path / "mine" / "a" / "b" / "thing.pth"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(CONTENT)
    monkeypatch.setenv("RESTORE_WEIGHTS", str(tmp_path / "mine"))
    assert find("thing") == mine
    monkeypatch.setenv("RESTORE_WEIGHTS", str(tmp_path / "nowhere"))
    assert told() == f"RESTORE_WEIGHTS={tmp_path / 'nowhere'}: no such folder"


def test_two_processes_at_once_fetch_once(thing, server, tmp_path):
    server.gate.clear()
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=lambda: sys.exit(find("thing").read_bytes() != CONTENT)) for _ in range(3)]
    for process in processes:
        process.start()
    while not server.asked:
        pass
    server.gate.set()
    for process in processes:
        process.join(20)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert server.asked == [None]
    assert cached(tmp_path) == ["thing.pth"]


def test_unknown_name_names_the_nearest():
    assert told("vgg_19") == "no pretrained file `vgg_19`; did you mean `vgg19`?"


@pytest.mark.parametrize("file", FILES.values(), ids=list(FILES))
def test_every_entry_is_whole(file):
    assert len(file.sha256) == 64
    assert set(file.sha256) <= set("0123456789abcdef")
    assert file.size > 5_000
    assert file.address.startswith("https://") or not file.address
    if "-" in file.file:  # names that end in the first digits of the hash
        assert Path(file.file).stem.split("-")[-1] == file.sha256[:8]
    assert file.licence
    assert file.purpose


def test_real_files_verify(monkeypatch):
    folder = shared("../weights/perceptual")
    monkeypatch.setenv("RESTORE_WEIGHTS", str(folder))
    here = [name for name, file in FILES.items() if (folder / file.file).is_file()]
    assert len(here) >= 6
    for name in here:
        assert find(name).stat().st_size == FILES[name].size


def test_where_the_cache_is(monkeypatch):
    monkeypatch.setenv("RESTORE_CACHE", "~/x")
    assert pretrained.cache() == Path.home() / "x"
    monkeypatch.delenv("RESTORE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/where")
    assert pretrained.cache() == Path("/some/where/restore")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert pretrained.cache() == Path.home() / ".cache" / "restore"


def test_importing_fetches_and_loads_nothing():
    code = (
        "import socket, sys; socket.socket.connect = None\n"
        "import restore.pretrained; assert 'torch' not in sys.modules\n"
        "import restore.losses.perceptual_loss, restore.metrics.lpips_metric, restore.features.inception\n"
        "assert 'torchvision' not in sys.modules and 'scipy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=True)
