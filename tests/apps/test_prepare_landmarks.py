"""`restore prepare landmarks`: what is written, what is told, and that a training takes it."""

import json
import shutil

import numpy as np
import pytest

from restore import images, keyed
from restore.data.drawn import draw_face
from restore.data.image_dataset import GTImageDataset
from restore.errors import UserError
from restore.faces.face import Face
from tests.apps.test_prepare import run
from tests.oracles import shared


@pytest.fixture(autouse=True)
def weights(monkeypatch):
    monkeypatch.setenv("RESTORE_WEIGHTS", str(shared("../weights")))


@pytest.fixture
def folder(faces, tmp_path):
    """Drawn faces in a folder and below it, and a picture and a file without a face."""
    shutil.copytree(faces, tmp_path / "gt" / "deep")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    images.write(tmp_path / "gt" / "noise.png", noise)
    (tmp_path / "gt" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return tmp_path / "gt"


def test_folder_and_lmdb(folder, tmp_path, capsys):
    run("landmarks", folder)
    told = capsys.readouterr().out
    assert "gt_landmarks.json: 12 faces\n" in told
    assert "2 pictures without a face: noise, torn\n" in told
    found = json.loads((tmp_path / "gt_landmarks.json").read_text())
    assert len(found) == 14
    for number in range(12):
        truth = draw_face(0, number, 64).landmarks - 0.5
        points = np.array(found[f"deep/{number:03d}"])
        assert np.abs(points - truth).max() < 0.25 * np.linalg.norm(truth[1] - truth[0])
    (folder / "torn.png").unlink()
    run("lmdb", folder, tmp_path / "x.lmdb")
    run("landmarks", tmp_path / "x.lmdb", "-o", tmp_path / "own.json", "--workers", 2)
    assert json.loads((tmp_path / "own.json").read_text()) == {k: v for k, v in found.items() if k != "torn"}
    source = GTImageDataset(str(tmp_path / "x.lmdb"), landmarks=str(tmp_path / "own.json"))
    assert len(source) == 12
    assert source.load(0, keyed.draws(0))["landmarks"].shape == (5, 2)


def test_no_face_at_all(tmp_path):
    images.write(tmp_path / "gt" / "x.png", np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(UserError, match="no face in any of the 1 pictures"):
        run("landmarks", tmp_path / "gt")
    assert not (tmp_path / "gt_landmarks.json").exists()


def test_a_detector_by_name(tmp_path, faces):
    """`aligned` needs no weights: the same landmarks for all; a name that is none is told before a picture is read."""
    shutil.copytree(faces, tmp_path / "gt")
    run("landmarks", tmp_path / "gt", "--detector", "aligned")
    found = json.loads((tmp_path / "gt_landmarks.json").read_text())
    assert len(found) == 12
    assert np.allclose(list(found.values()), Face.aligned(64, 64).landmarks, atol=0.01)
    with pytest.raises(UserError, match="no `retina` among the detectors"):
        run("landmarks", tmp_path / "gt", "--detector", "retina")
