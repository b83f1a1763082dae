"""The demo without a browser: limits, answers, files of visits, and what of the server can be reached."""

import asyncio
import contextlib
import io
import json
import os
import socket
import stat
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from torch import nn

from restore import cli, images
from restore.data.drawn import draw_face
from restore.demo import occluding
from restore.demo.answers import Answers
from restore.demo.gate import Gate
from restore.demo.uploads import Limits, open_mask, open_photo, painted_mask, plain
from restore.demo.visits import LIFETIME, UNCLAIMED, Visits, opened
from restore.errors import UserError
from restore.inference.model import Model

LIMITS = Limits(mb=1, pixels=200_000)


class Twice(nn.Module):
    """Each pixel four times, and lighter."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (nn.functional.interpolate(x, scale_factor=2) + 0.1).clamp(0, 1)


class Green(nn.Module):
    """Fills any hole with green, and gets the rest wrong too."""

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1, 1).expand_as(x)


@pytest.fixture
def visits(tmp_path) -> Visits:
    (tmp_path / "server").mkdir()
    return Visits((tmp_path / "server").resolve())


@pytest.fixture
def answers() -> Answers:
    models = {
        "twice": Model.of(Twice(), kind="sr", scale=2),
        "green": Model.of(Green(), kind="unmask", size=64, faces=True),
    }
    return Answers(models, LIMITS, detector="aligned")


@pytest.fixture
def photo(tmp_path) -> Path:
    path = tmp_path / "aunt.png"
    images.write(path, draw_face(0, 1, 96).image)
    return path


# ---------------------------------------------------------------------------------------------------- uploads


def test_a_photo_is_measured_before_it_is_decoded(tmp_path, monkeypatch):
    path = tmp_path / "wide.png"
    images.write(path, np.zeros((500, 500, 3), np.uint8))
    monkeypatch.setattr("restore.demo.uploads.decode_photo", lambda *_: pytest.fail("decoded"))
    with pytest.raises(UserError, match=r"wide.png has 500 x 500 pixels; this page takes 0.2 million"):
        open_photo(path, LIMITS)
    path.write_bytes(bytes(1_000_001))
    with pytest.raises(UserError, match=r"wide.png has 1.0 MB; this page takes 1 MB"):
        open_photo(path, LIMITS)


def test_what_is_no_photo_is_told_in_one_line_without_the_servers_folders(tmp_path):
    for name, data in (("text.png", b"hello\n" * 20), ("cut.jpg", b"\xff\xd8\xff\xe0" + bytes(40)), ("empty.png", b"")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError) as told:
            open_photo(tmp_path / name, LIMITS)
        message = plain(told.value)
        assert name in message
        assert "\n" not in message
        assert str(tmp_path) not in message
        assert "/" not in message
    with pytest.raises(UserError, match="choose a photo first"):
        open_photo(None, LIMITS)
    with pytest.raises(UserError, match="no longer here"):
        open_photo(tmp_path / "gone.png", LIMITS)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("/tmp/x/c.png: too dark; use --tile 64", "c.png: too dark"),
        ("no face was found; a box (`box:1,2,3,4`) may do", "no face was found; a box (`box:1,2,3,4`) may do"),
        ("--mask /srv/m.png: broken", "this cannot be done"),
        ("get it from https://host/a/b.onnx", "get it from https://host/a/b.onnx"),
    ],
)
def test_messages_for_visitors_name_no_folder_and_no_option(error, told):
    assert plain(UserError(error)) == told


def test_masks_come_from_white_pixels_or_from_painted_ones(tmp_path):
    mask = np.zeros((40, 60, 3), np.uint8)
    mask[10:20, 30:50] = 255
    images.write(tmp_path / "mask.png", mask)
    assert np.array_equal(open_mask(tmp_path / "mask.png", LIMITS, (40, 60)), mask[:, :, 0] > 0)
    with pytest.raises(UserError, match=r"the mask has 60 x 40 pixels, the photo 61 x 40"):
        open_mask(tmp_path / "mask.png", LIMITS, (40, 61))
    layer = np.zeros((20, 30, 4), np.uint8)  # painted on a preview of half the size
    layer[5:10, 15:25] = 255, 0, 160, 255
    Pillow.fromarray(layer).save(tmp_path / "layer.png")
    painted = painted_mask([tmp_path / "layer.png"], LIMITS, (40, 60))
    assert painted[11:19, 31:49].all()
    assert not painted[:9].any()
    for layers in ([], [tmp_path / "blank.png"]):
        Pillow.fromarray(np.zeros_like(layer)).save(tmp_path / "blank.png")
        with pytest.raises(UserError, match="nothing is marked"):
            painted_mask(layers, LIMITS, (40, 60))


# ---------------------------------------------------------------------------------------------------- answers


def test_an_enlarged_photo_is_the_models_answer_and_two_interpolations_of_its_size(answers, visits, photo):
    made = answers.sharpen(visits.of("a"), photo, "twice", 2, False, None)
    source = images.read(photo)
    wanted = np.clip(np.rint(np.kron(source, np.ones((2, 2, 1))) + 25.5 - 1e-6), 0, 255)
    assert np.abs(images.read(made.result).astype(int) - wanted).max() <= 1
    for path, how in ((made.bicubic, Pillow.Resampling.BICUBIC), (made.lanczos, Pillow.Resampling.LANCZOS)):
        assert np.array_equal(images.read(path), np.asarray(Pillow.fromarray(source).resize((192, 192), how)))
    assert made.result.name == "aunt_restored.png"
    assert made.scores == []


def test_figures_are_those_of_the_metrics_and_carry_their_protocol(answers, visits, photo, tmp_path, monkeypatch):
    monkeypatch.setenv("RESTORE_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("RESTORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("restore.pretrained.fetch", lambda file: (_ for _ in ()).throw(UserError("offline")))
    truth = draw_face(0, 1, 192).image
    images.write(tmp_path / "truth.png", truth)
    made = answers.sharpen(visits.of("a"), photo, "twice", 2, False, tmp_path / "truth.png")
    rows = {row[0].split(" ")[0]: row for row in made.scores}
    assert rows["psnr"][0] == "psnr (RGB, 8 bits, border 0)"
    for column, path in enumerate((made.bicubic, made.lanczos, made.result), 1):
        error = np.square(images.read(path).astype(float) - truth).mean()
        assert float(rows["psnr"][column]) == pytest.approx(10 * np.log10(255**2 / error), abs=1e-4)
    assert rows["lpips_alex"] == ["lpips_alex (its weights are not on this server)", "–", "–", "–"]
    with pytest.raises(UserError, match=r"the true picture has 96 x 96 pixels, the result 192 x 192"):
        answers.sharpen(visits.of("a"), photo, "twice", 2, False, photo)


def test_what_a_mask_leaves_stays_byte_for_byte(answers, visits, photo):
    mask = np.zeros((96, 96), np.bool_)
    mask[40:60, 40:60] = True
    made = answers.unmask(visits.of("a"), photo, "green", lambda shape: mask, False, photo)
    before, after = images.read(photo), images.read(made.result)
    assert np.array_equal(after[~mask], before[~mask])
    assert (after[mask] != before[mask]).any(1).mean() > 0.9  # in the tones around it, as `restore infer` has it
    assert "4.3 % of the picture is invented" in made.notes
    assert made.scores[-1][0].startswith("psnr_hole")
    assert np.array_equal(images.read(made.before), before)


def test_a_photo_without_a_face_is_rebuilt_as_a_whole_and_says_so(answers, visits, photo, monkeypatch):
    monkeypatch.setattr("restore.demo.answers.Answers._detector", lambda self, needed: lambda picture: [])
    mask = np.zeros((96, 96), np.bool_)
    mask[:8, :8] = True
    made = answers.unmask(visits.of("a"), photo, "green", lambda shape: mask, False, None)
    assert (images.read(made.result)[mask] == (0, 255, 0)).all()
    assert any("No face was found" in note for note in made.notes)


def test_a_server_that_cannot_find_faces_still_rebuilds_what_is_marked(answers, visits, photo, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "restore.demo.answers.DETECTORS.build", lambda part: (_ for _ in ()).throw(UserError("/x/y: no"))
    )
    mask = np.zeros((96, 96), np.bool_)
    mask[:8, :8] = True
    made = answers.unmask(visits.of("a"), photo, "green", lambda shape: mask, False, None)
    assert (images.read(made.result)[mask] == (0, 255, 0)).all()
    with pytest.raises(UserError, match="this server has nothing to find faces with"):
        answers.occlude(visits.of("a"), photo, True, "LowerFace", 0)


def test_what_the_camera_wrote_is_dropped_unless_it_is_asked_for(answers, visits, tmp_path):
    exif = Pillow.Exif()
    exif[0x010F] = "Camera of Mine"
    Pillow.fromarray(draw_face(0, 1, 64).image).save(tmp_path / "aunt.jpg", exif=exif, comment=b"at home", quality=95)
    for keep in (False, True):
        made = answers.sharpen(visits.of("a"), tmp_path / "aunt.jpg", "twice", 2, keep, None)
        assert made.result.suffix == ".png"
        assert (b"Camera of Mine" in made.result.read_bytes()) == keep
        assert b"Camera of Mine" not in made.bicubic.read_bytes()


def test_a_mark_is_written_only_where_the_server_is_told_to(answers, visits, photo):
    for mark in (False, True):
        marked = Answers(answers.models, LIMITS, mark, detector="aligned")
        made = marked.sharpen(visits.of("a"), photo, "twice", 2, False, None)
        assert (b"AI-restored" in made.result.read_bytes()) == mark


def test_choices_that_the_page_does_not_offer_are_refused(answers, visits, photo):
    visit = visits.of("a")
    with pytest.raises(UserError, match="choose a model"):
        answers.sharpen(visit, photo, "/etc/passwd", 2, False, None)
    with pytest.raises(UserError, match="choose a model"):
        answers.sharpen(visit, photo, "green", 2, False, None)
    with pytest.raises(UserError, match="choose how much"):
        answers.sharpen(visit, photo, "twice", 64, False, None)
    with pytest.raises(UserError, match="enlarged 4 times has"):
        Answers(answers.models, Limits(1, 100_000)).sharpen(visit, photo, "twice", 4, False, None)
    with pytest.raises(UserError, match="choose an occlusion"):
        answers.occlude(visit, None, False, "../x", 0)
    with pytest.raises(UserError, match="cannot find what covers"):
        answers.unmask(visit, photo, "green", None, False, None)


def test_every_occlusion_that_is_offered_can_be_drawn(answers, visits):
    names = list(occluding.choices())
    assert {"FaceMask", "LowerFace"} <= set(names)
    for name in names[:: len(names) // 3]:
        made = answers.occlude(visits.of("a"), None, False, name, 1)
        picture, mask = images.read(made.picture), images.read(made.mask)[:, :, 0] > 0
        drawn = draw_face(0, 1, occluding.SIZE).image
        assert np.array_equal(picture[~mask], drawn[~mask])


# ---------------------------------------------------------------------------------------------- files of visits


def test_files_go_with_their_visit_and_no_other_does(visits):
    one, other = visits.of("one"), visits.of("other")
    assert stat.S_IMODE(one.folder.stat().st_mode) == 0o700
    mine = one.new("a.png")
    theirs = other.new("a.png")
    shared = visits.files / "hash" / "photo.png"
    shared.parent.mkdir()
    for path in (mine, theirs, shared):
        path.write_bytes(b"x")
    question = {"data": [{"path": str(shared)}, {"path": "/etc/passwd"}, {"path": 3}], "session_hash": "one"}
    visits.claim(json.dumps(question).encode())
    visits.claim(json.dumps(question | {"session_hash": "other"}).encode())
    assert one.uploads == {shared}
    visits.end("one")
    assert not one.folder.exists()
    assert theirs.exists()
    assert shared.exists()  # the other made the same upload
    visits.end("other")
    assert list(visits.files.iterdir()) == []
    with pytest.raises(FileNotFoundError):  # an answer that comes too late leaves nothing
        one.new("late.png")
    for junk in (b"", b"[]", b"{}", b'{"data": 1}', b"[" * 100_000):
        visits.claim(junk)


def test_nothing_grows_old(visits):
    visit = visits.of("a")
    result, claimed, left = visit.new("a.png"), visits.files / "h1" / "b.png", visits.files / "h2" / "c.png"
    for path in (result, claimed, left):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    os.utime(result, (0, 2**33))  # a date of modification changes nothing
    visits.claim(json.dumps({"data": [{"path": str(claimed)}], "session_hash": "a"}).encode())
    now = time.time()
    visits.sweep(now + UNCLAIMED + 5)
    assert (result.exists(), claimed.exists(), left.exists()) == (True, True, False)
    visits.sweep(now + LIFETIME + 5)
    assert list(visits.files.iterdir()) == []
    assert visits.of("a").new("b.png").parent.is_dir()  # the page is open still


def test_a_server_leaves_nothing():
    with opened() as visits:
        assert stat.S_IMODE(visits.root.stat().st_mode) == 0o700
        visits.of("a").new("a.png").write_bytes(b"x")
    assert not visits.root.exists()


# ----------------------------------------------------------------------------------------------------- the server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The page, served by this process: its address and its visits."""
    pytest.importorskip("gradio", reason="no gradio; pip install 'restore-faces[demo]'")
    import uvicorn

    from restore.demo.server import Place, application, listening

    models = {"twice": Model.of(Twice(), kind="sr", scale=2), "green": Model.of(Green(), kind="unmask", size=64)}
    environment, temporary = dict(os.environ), tempfile.tempdir
    with opened() as visits, listening(Place(port=0)) as heard:
        app = application(Answers(models, LIMITS, detector="aligned"), visits, Place())
        running = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [heard]})
        thread.start()
        while not running.started:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{heard.getsockname()[1]}", visits
        running.should_exit = True
        thread.join()
    tempfile.tempdir = temporary
    os.environ.clear()
    os.environ.update(environment)


def fetch(url: str, data: bytes | None = None, kind: str = "application/json") -> tuple[int, bytes]:
    request = urllib.request.Request(url, data, {"Content-Type": kind} if data is not None else {})
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with contextlib.suppress(ConnectionError):  # one who refuses need not take what was sent, and may hang up on it
            return error.code, error.read()
        return error.code, b""


def upload(address: str, name: str, data: bytes) -> tuple[int, bytes]:
    edge = uuid.uuid4().hex
    head = f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    body = head.encode() + data + f"\r\n--{edge}--\r\n".encode()
    return fetch(f"{address}/gradio_api/upload", body, f"multipart/form-data; boundary={edge}")


def ask(address: str, target: str, data: list, session: str) -> tuple[bool, str]:
    """Presses a button, found by the name of its function's first output: whether it went well, and the answer."""
    config = json.loads(fetch(f"{address}/config")[1])
    named = {part["id"]: part["props"].get("elem_id") for part in config["components"]}
    (number,) = [d["id"] for d in config["dependencies"] if any(named.get(t[0]) == target for t in d["targets"])]
    question = {"data": data, "fn_index": number, "session_hash": session, "event_data": None, "trigger_id": None}
    status, told = fetch(f"{address}/gradio_api/queue/join", json.dumps(question).encode())
    assert status == 200, told
    for line in fetch(f"{address}/gradio_api/queue/data?session_hash={session}")[1].decode().splitlines():
        message = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
        if message.get("msg") == "process_completed":
            return message["success"], json.dumps(message["output"])
    pytest.fail("no answer")


def file_data(path: object) -> dict:
    return {"path": str(path), "orig_name": "x.png", "meta": {"_type": "gradio.FileData"}}


def png(size: int = 32) -> bytes:
    stream = io.BytesIO()
    Pillow.fromarray(draw_face(0, 2, size).image).save(stream, "png")
    return stream.getvalue()


def test_an_upload_is_restored_and_can_be_fetched(server):
    address, visits = server
    status, told = upload(address, "aunt.png", png())
    assert status == 200
    well, answer = ask(address, "sharpen", [file_data(json.loads(told)[0]), "twice", 2, False, None], "good")
    assert well, answer
    files = sorted({word for word in answer.split('"') if word.startswith(str(visits.files))})
    result = next(name for name in files if name.endswith("aunt_restored.png"))
    status, data = fetch(f"{address}/gradio_api/file={result}")
    assert status == 200
    assert cv2.imdecode(np.frombuffer(data, np.uint8), 1).shape == (64, 64, 3)
    assert all(name.startswith(str(visits.files)) for name in files)  # Gradio made no copies elsewhere
    visits.end("good")
    assert not any(Path(name).exists() for name in files)


def test_no_path_of_the_server_can_be_fetched(server, tmp_path):
    address, visits = server
    (tmp_path / "secret.png").write_bytes(png())
    visit = visits.of("link")
    link = visit.folder / "link.png"
    link.symlink_to(tmp_path / "secret.png")
    (visit.folder / "folder").symlink_to(tmp_path)
    inside = visit.new("mine.png")
    inside.write_bytes(png())
    assert fetch(f"{address}/gradio_api/file={inside}")[0] == 200
    refused = [
        "file=/etc/passwd",
        f"file={visits.files}/../../../../../etc/passwd",
        f"file={visits.files}/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        f"file={link}",
        f"file={visit.folder}/folder/secret.png",
        f"file={tmp_path}/secret.png",
        f"file={Path(__file__)}",
        f"file={inside}%00.png",
        f"file={visit.folder}",
        "file=setup.py",
        "file=http://127.0.0.1:1/",
        "proxy=http://127.0.0.1:1/",
        "file/etc/passwd",
        "stream/a/b/1/playlist-file",
        "monitoring",
        "openapi.json",
    ]
    for name in refused:
        status, body = fetch(f"{address}/gradio_api/{name}")
        assert status in (403, 404), name
        assert b"root:" not in body
    for page in (
        "monitoring/summary",
        "docs",
        "openapi.json",
        "pwa_icon",
        "assets/../../__init__.py",
        "static/..%2f..%2fsetup.py",
    ):
        assert fetch(f"{address}/{page}")[0] in (403, 404), page
    for name in ("component_server", "run/predict", "call/x", "process_recording", "vibe-edit", "stream/x"):
        assert fetch(f"{address}/gradio_api/{name}", b"{}")[0] == 404, name


@pytest.mark.parametrize("meta", [True, False])
@pytest.mark.parametrize("name", ["/etc/hostname", "http://127.0.0.1:1/x.png", "SECRET", "DOTS"])
def test_no_path_of_the_server_is_taken_as_an_upload(server, tmp_path, name, meta):
    address, visits = server
    (tmp_path / "secret.png").write_bytes(png())
    path = {"SECRET": f"{tmp_path}/secret.png", "DOTS": f"{visits.files}/../../..{tmp_path}/secret.png"}.get(name, name)
    data = file_data(path) if meta else {"path": path, "url": path, "orig_name": "x.png"}
    before = set(visits.files.rglob("*"))
    well, answer = ask(address, "sharpen", [data, "twice", 2, False, None], f"bad{uuid.uuid4().hex}")
    assert not well
    assert "Traceback" not in answer
    assert "not uploaded here" in answer or "null" in answer  # ours, or Gradio's own, which says nothing
    assert not [path for path in set(visits.files.rglob("*")) - before if path.is_file()]  # no copy was made


def test_bad_uploads_are_told_without_a_folder_of_the_server(server):
    address, visits = server
    path = json.loads(upload(address, "text.png", b"hello\n" * 20)[1])[0]
    well, answer = ask(address, "sharpen", [file_data(path), "twice", 2, False, None], "text")
    assert not well
    assert "text.png: no picture" in answer
    assert str(visits.root) not in answer
    assert "Traceback" not in answer


def test_too_much_is_refused_before_it_is_kept(server):
    address, visits = server
    before = set(visits.root.rglob("*"))
    assert upload(address, "large.png", bytes(LIMITS.bytes + 1))[0] == 413
    with contextlib.suppress(ConnectionError, urllib.error.URLError):  # the server may hang up while we are talking
        assert upload(address, "larger.png", bytes(3 * LIMITS.bytes))[0] == 413
    assert not [path for path in set(visits.root.rglob("*")) - before if path.is_file()]


def test_the_page_asks_other_hosts_for_nothing(server):
    page = fetch(server[0])[1].decode()
    for line in page.splitlines():
        loads = "src=" in line or "<link" in line or "@import" in line or "url(" in line
        assert not (loads and "http" in line), line
    assert 'analytics_enabled": true' not in page
    assert "https://" not in fetch(f"{server[0]}/theme.css")[1].decode()


def test_the_gate_lets_only_plain_files_of_visits_pass(visits, tmp_path):
    inside, link, elsewhere = visits.files / "a.png", visits.files / "link.png", tmp_path / "secret.png"
    for path in (inside, elsewhere):
        path.write_bytes(b"x")
    link.symlink_to(elsewhere)
    gate = Gate(None, visits.files, 1)
    passes = {
        path: gate._may_pass("GET", f"/gradio_api/file={path}") for path in (inside, link, elsewhere, visits.files)
    }
    assert passes == {inside: True, link: False, elsewhere: False, visits.files: False}
    assert not gate._may_pass("GET", f"/gradio_api/file={visits.files}/../files/a.png")
    assert not gate._may_pass("DELETE", "/")


@pytest.mark.parametrize("path", ["/gradio_api/upload", "/gradio_api/queue/join"])
def test_a_body_that_does_not_say_its_length_is_counted(path):
    came, said = [], []

    async def app(scope, receive, send):
        while (await receive()).get("more_body"):
            pass

    async def receive():
        came.append(100_000)
        return {"type": "http.request", "body": bytes(came[-1]), "more_body": True}

    async def send(message):
        said.append(message.get("status"))

    scope = {"type": "http", "method": "POST", "path": path, "headers": []}
    asyncio.run(Gate(app, Path("/"), 500_000)(scope, receive, send))
    assert sum(came) in (600_000, 1_100_000)
    assert path.endswith("upload") or said[0] == 413


# ---------------------------------------------------------------------------------------------------- the command


def test_the_command_tells_what_is_wrong_with_its_options(tmp_path, capsys):
    parser = cli.build_parser()
    for bad in (["--port", "70000"], ["--max_mb", "0"], ["--max_pixels", "0"], ["--jobs", "0"], ["--share"]):
        with pytest.raises(SystemExit):
            parser.parse_args(["demo", *bad])
    pytest.importorskip("gradio", reason="no gradio; pip install 'restore-faces[demo]'")
    args = parser.parse_args(["demo", "--model", str(tmp_path / "none.safetensors")])
    with pytest.raises(UserError, match="none.safetensors"):
        args.run(args)


def test_a_port_that_is_taken_is_told():
    from restore.demo.server import Place, listening

    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=rf"--port {port}: cannot listen there: .*in use"):
            listening(Place(port=port))


def test_other_hosts_come_with_a_warning(capsys):
    from restore.demo.server import Place, _say

    _say(Place(), 7860)
    assert capsys.readouterr() == ("the page is at http://127.0.0.1:7860  (Ctrl-C ends it)\n", "")
    _say(Place(host="0.0.0.0"), 7860)
    assert "warning: --host 0.0.0.0" in capsys.readouterr().err
