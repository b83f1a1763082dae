"""Several results of one picture: other in the hole, the same outside, the same again; named, shown and told."""

from itertools import combinations

import numpy as np
import pytest
import torch

from restore import images
from restore.data.drawn import draw_face
from restore.errors import Fault, UserError
from restore.registry import ARCHS, Part
from restore.weights import weights_bytes
from tests.lab import run_infer as run

GANSFORMER = {"type": "GANsformer", "num_feat": 4, "num_level": 2, "num_latent": 3, "latent_dim": 8, "num_mapping": 1}
UNET = {"type": "UNet", "num_feat": 2, "num_level": 1, "norm": "none"}
HOLE = np.s_[24:48, 12:52]


@pytest.fixture
def arguments(tmp_path):
    """Of `restore infer`, but for the folder of the results."""
    images.write(tmp_path / "in" / "a.png", draw_face(0, 1, 64).image)
    mask = np.zeros((64, 64, 3), np.uint8)
    mask[HOLE] = 255
    images.write(tmp_path / "mask.png", mask)
    model = network_file(tmp_path / "model.safetensors", GANSFORMER)
    return (tmp_path / "in", "--model", model, "--mask", tmp_path / "mask.png", "--whole", "--device", "cpu")


def network_file(path, section):
    """Weights of a random network, one that draws noise having it heard."""
    torch.manual_seed(0)
    network = ARCHS.build(Part.model_validate(section))
    for name, parameter in network.named_parameters():
        if name.endswith(".noise"):
            torch.nn.init.constant_(parameter, 0.3)
    path.write_bytes(weights_bytes(network, {"arch": section, "scale": 1}))
    return path


def written(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_candidates_differ_in_the_hole_alone_and_are_the_same_again(tmp_path, arguments, capsys):
    run(*arguments, "-o", tmp_path / "one")
    run(*arguments, "-o", tmp_path / "out", "--candidates", 3)
    assert "a.png: 23.4 % of the picture rebuilt, 3 times" in capsys.readouterr().out
    made = written(tmp_path / "out")
    assert list(made) == ["a.png", "a_c1.png", "a_c2.png", "a_compare.png"]
    assert made["a.png"] == written(tmp_path / "one")["a.png"]
    before = images.read(tmp_path / "in" / "a.png").astype(int)
    after = [images.read(tmp_path / "out" / name).astype(int) for name in made if "compare" not in name]
    for picture in after:
        outside = picture.copy()
        outside[HOLE] = before[HOLE]
        assert np.array_equal(outside, before)
    for one, other in combinations(after, 2):
        assert (one != other)[HOLE].any(axis=2).mean() > 0.5
        assert np.abs(one - other)[HOLE].mean() > 1  # levels
    shown = images.read(tmp_path / "out" / "a_compare.png")
    assert shown.shape == (64, 5 * 64 + 4 * 4, 3)
    for number, picture in enumerate(after, start=2):
        assert np.array_equal(shown[:, 68 * number : 68 * number + 64], picture)
    run(*arguments, "-o", tmp_path / "again", "--candidates", 3)
    assert written(tmp_path / "again") == made


def test_in_frames_too_the_rest_stays(tmp_path, arguments):
    options = ("--detector", "aligned", "--size", "48", "--candidates", 2, "-o", tmp_path / "out")
    run(*(each for each in arguments if each != "--whole"), *options)
    before = images.read(tmp_path / "in" / "a.png")
    first, second = (images.read(tmp_path / "out" / name) for name in ("a.png", "a_c1.png"))
    changed = (first != second).any(axis=2)
    assert changed[HOLE].mean() > 0.5
    changed[HOLE] = False
    assert not changed.any()
    second[HOLE] = before[HOLE]
    assert np.array_equal(second, before)


def test_more_candidates_are_added_to_what_is_there(tmp_path, arguments, capsys):
    run(*arguments, "-o", tmp_path / "out", "--candidates", 2)
    run(*arguments, "-o", tmp_path / "out", "--candidates", 2)
    assert "skipped, since they are there: 1 of 1" in capsys.readouterr().out
    run(*arguments, "-o", tmp_path / "out", "--candidates", 3)
    run(*arguments, "-o", tmp_path / "all", "--candidates", 3)
    assert written(tmp_path / "out") == written(tmp_path / "all")


def test_candidates_of_other_settings_are_not_mixed(tmp_path, arguments, capsys):
    run(*arguments, "-o", tmp_path / "out")
    before = written(tmp_path / "out")
    (tmp_path / "out" / "a.png").write_bytes(b"mine")
    with pytest.raises(Fault):
        run(*arguments, "-o", tmp_path / "out", "--candidates", 2)
    assert "differs from what these settings make; --overwrite" in capsys.readouterr().err
    assert written(tmp_path / "out") == before | {"a.png": b"mine"}
    images.write(tmp_path / "out" / "a.png", images.read(tmp_path / "in" / "a.png"))
    with pytest.raises(Fault):
        run(*arguments, "-o", tmp_path / "out", "--candidates", 2)
    run(*arguments, "-o", tmp_path / "out", "--candidates", 2, "--overwrite")
    assert written(tmp_path / "out")["a.png"] == before["a.png"]


def test_what_cannot_be_done_is_told_before_anything_is_written(tmp_path, arguments):
    unet = network_file(tmp_path / "unet.safetensors", UNET)
    with pytest.raises(UserError, match=r"^UNet makes one result of a picture: ask for 1 candidate, or"):
        run(*arguments, "--model", unet, "-o", tmp_path / "out", "--candidates", 2)
    images.write(tmp_path / "in" / "a_c1.png", draw_face(0, 2, 64).image)
    told = r"a_c1.png: its result would have the name of a candidate of .*a\.png; do one by itself"
    with pytest.raises(UserError, match=told):
        run(*arguments, "-o", tmp_path / "out", "--candidates", 2)
    assert not (tmp_path / "out").exists()
    run(*arguments, "-o", tmp_path / "out", "--candidates", 1)
    assert (tmp_path / "out" / "a_c1.png").is_file()
