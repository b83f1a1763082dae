"""Fixtures that several tests share: drawn faces on the disk, and a laboratory of tiny experiments on them."""

from pathlib import Path

import cv2
import pytest
import torch

from restore import images
from restore.data.drawn import draw_face
from tests.lab import HOLE_FILLER, Lab, lower_half, network_file, tiny_options


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Sums in one order, and a suite that does not fight over the cores."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


@pytest.fixture(scope="session")
def faces(tmp_path_factory) -> Path:
    """A folder of twelve drawn faces of 64 px."""
    return _draw(tmp_path_factory.mktemp("faces"), range(12))


@pytest.fixture(scope="session")
def val_faces(tmp_path_factory) -> Path:
    """A folder of three others."""
    return _draw(tmp_path_factory.mktemp("val_faces"), range(100, 103))


def _draw(folder: Path, indices: range) -> Path:
    for index in indices:
        images.write(folder / f"{index:03d}.png", draw_face(0, index, 64).image)
    return folder


@pytest.fixture
def lab(tmp_path, faces, val_faces) -> Lab:
    """An experiment with everything that keeps state: scheduler, warm-up, EMA, clipping, validation."""
    (tmp_path / "lab").mkdir()
    return Lab(tmp_path / "lab", tiny_options(faces, val_faces))


@pytest.fixture
def model(tmp_path) -> Path:
    """A weights file of a tiny network that fills holes."""
    network_file(tmp_path / "model.safetensors", HOLE_FILLER)
    return tmp_path / "model.safetensors"


@pytest.fixture
def face(tmp_path) -> Path:
    """A drawn face of 64 px, and a mask of its lower half."""
    images.write(tmp_path / "in" / "a.png", draw_face(0, 1, 64).image)
    images.write(tmp_path / "masks" / "a.png", lower_half(64, 64))
    return tmp_path / "in" / "a.png"
