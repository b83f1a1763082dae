"""`restore unmask`: one command, the result beside the photo, every pixel outside the hole as it was."""

import cv2
import numpy as np
import pytest
import torch

from restore import cli, images
from restore.data.drawn import draw_face
from restore.errors import Fault, UserError
from restore.faces.face import Face
from restore.inference.model import shipped
from restore.keyed import draws
from restore.occlusions.face_mask_occlusion import FaceMask
from restore.registry import ARCHS, Part
from restore.weights import weights_bytes

NETWORK = {"type": "UNet", "num_feat": 4, "num_level": 2, "norm": "none"}


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    network = ARCHS.build(Part.model_validate(NETWORK))
    file = tmp_path / "models" / "tiny.safetensors"
    file.parent.mkdir()
    facts = {"arch": NETWORK, "scale": 1, "size": 64, "task": {"type": "Inpainting", "show_hole": False}}
    file.write_bytes(weights_bytes(network, facts))
    return file


@pytest.fixture
def photo(tmp_path):
    """A drawn face with a mask on, as a JPEG, and where the mask is."""
    worn = FaceMask(kind="surgical", colors=[[120, 190, 225]], straps=False)
    picture, mask = worn(draw_face(99, 2, 192).image, Face.aligned(192, 192), draws("unmask"))
    file = tmp_path / "album" / "photo.jpg"
    file.parent.mkdir()
    cv2.imwrite(str(file), picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    return file, mask


def unmask(*arguments):
    args = cli.build_parser().parse_args(["unmask", *map(str, arguments)])
    args.run(args)


def needs_occluder():
    if "occluder" not in shipped():
        pytest.skip("restore/models/occluder.safetensors is not there")


def mask_file(path, mask):
    images.write(path, np.repeat(mask[:, :, None].astype(np.uint8) * 255, 3, axis=2))
    return path


def test_what_covers_the_face_is_found_and_the_rest_stays(model, photo, capsys):
    needs_occluder()
    file, true = photo
    unmask(file, "--model", model, "--detector", "aligned")
    result = file.with_name("photo_unmasked.png")
    before, after = images.read(file), images.read(result)
    changed = (before != after).any(axis=2)
    assert (changed & true).sum() > 0.9 * true.sum()
    assert (changed & ~true).sum() < 0.35 * true.sum()  # a rim, and what the network took for the mask
    assert sorted(path.name for path in file.parent.iterdir()) == [
        "photo.jpg",
        "photo_unmasked.png",
        "photo_unmasked_compare.png",
    ]
    assert "photo_unmasked.png: " in capsys.readouterr().out


def test_a_users_mask_takes_its_place_to_the_pixel(model, photo, tmp_path):
    file, _ = photo
    mask = np.zeros((192, 192), bool)
    mask[100:160, 60:140] = True
    own = mask_file(tmp_path / "mask.png", mask)
    unmask(file, "--model", model, "--detector", "aligned", "--mask", own, "--no_compare")
    before, after = images.read(file), images.read(file.with_name("photo_unmasked.png"))
    assert (before[~mask] == after[~mask]).all()
    assert (before[mask] != after[mask]).any(axis=1).mean() > 0.9


def test_a_folder_is_done_once_and_its_results_are_no_photos(model, photo, tmp_path, capsys):
    file, true = photo
    options = ("--model", model, "--detector", "aligned", "--mask", mask_file(tmp_path / "mask.png", true))
    unmask(file.parent, *options)
    there = {path: path.stat().st_mtime_ns for path in file.parent.iterdir()}
    assert len(there) == 3
    unmask(file.parent, *options)
    assert {path: path.stat().st_mtime_ns for path in file.parent.iterdir()} == there
    assert "skipped" in capsys.readouterr().out


def test_a_folder_for_results_and_the_kept_format(model, photo, tmp_path, capsys):
    file, true = photo
    options = ("--model", model, "--detector", "aligned", "--mask", mask_file(tmp_path / "mask.png", true))
    unmask(file, *options, "-o", tmp_path / "out", "--no_compare")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["photo.png"]
    unmask(file, *options, "--format", "keep", "--no_compare")
    assert file.with_name("photo_unmasked.jpg").is_file()
    assert "NOT byte for byte" in capsys.readouterr().out


def test_a_bare_face_is_told_and_nothing_written(model, tmp_path, capsys):
    needs_occluder()
    images.write(tmp_path / "bare.png", np.full((128, 128, 3), 128, np.uint8))
    with pytest.raises(Fault):
        unmask(tmp_path / "bare.png", "--model", model, "--detector", "aligned")
    assert "nothing that covers a face was found; --mask FILE names it" in capsys.readouterr().err
    assert not (tmp_path / "bare_unmasked.png").exists()


def test_a_model_of_another_kind_is_told(photo, tmp_path):
    section = {"type": "EDSR", "num_feat": 4, "num_block": 1, "upscale": 2}
    network = ARCHS.build(Part.model_validate(section))
    (tmp_path / "sr.safetensors").write_bytes(weights_bytes(network, {"arch": section, "scale": 2}))
    with pytest.raises(UserError, match="unmask"):
        unmask(photo[0], "--model", tmp_path / "sr.safetensors")


def test_the_help_says_where_results_go(capsys):
    with pytest.raises(SystemExit):
        cli.build_parser().parse_args(["unmask", "--help"])
    assert "NAME_unmasked" in " ".join(capsys.readouterr().out.split())
