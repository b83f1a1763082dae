"""`restore infer --report`: what lies beside the results, and what is told when it cannot be made."""

import hashlib
import json

import numpy as np
import pytest
import torch

from restore import __version__, images, pretrained
from restore.apps import reporting
from restore.data.drawn import draw_face
from restore.errors import UserError
from restore.inference.likeness import Likeness
from restore.inference.report_picture import WIDTH
from tests.lab import lower_half, network_file
from tests.lab import run_infer as run

UNET = {"type": "UNet", "num_feat": 4, "num_level": 2, "norm": "none"}
GANSFORMER = {"type": "GANsformer", "num_feat": 4, "num_level": 2, "num_latent": 3, "latent_dim": 8, "num_mapping": 1}
EDSR = {"type": "EDSR", "num_feat": 4, "num_block": 1, "upscale": 2}


@pytest.fixture(autouse=True)
def seen_by_chance(monkeypatch):
    """A network of chance values compares faces: its weights are not everywhere."""

    def likeness():
        torch.manual_seed(0)
        return Likeness("random")

    monkeypatch.setattr(reporting, "Likeness", likeness)


@pytest.fixture
def unmask(tmp_path):
    """Rebuilds the lower half of a drawn face of 64 px, into `out`; further options are those of the call."""
    network_file(tmp_path / "tiny.safetensors", UNET, size=64)
    images.write(tmp_path / "a.png", draw_face(0, 1, 64).image)
    images.write(tmp_path / "hole.png", lower_half(64, 64))
    fixed = ["--model", tmp_path / "tiny.safetensors", "--mask", tmp_path / "hole.png", "--detector", "aligned"]
    fixed += ["-o", tmp_path / "out", "--device", "cpu"]

    def unmask(*options, also=()):
        run(tmp_path / "a.png", *also, *fixed, *options)

    return unmask


def facts(tmp_path, name="a"):
    return json.loads((tmp_path / "out" / f"{name}_report.json").read_text("utf-8"))


def test_the_report_is_that_of_the_files(tmp_path, unmask, capsys):
    unmask("--report", "--seed", 7, "--no_compare")
    told = facts(tmp_path)
    before, after = images.read(tmp_path / "a.png"), images.read(tmp_path / "out" / "a.png")
    changed = (before != after).any(axis=2)
    mask = lower_half(64, 64)[:, :, 0] > 0
    assert told["invented"]["pixels"] == mask.sum()
    assert not changed[~mask].any()
    assert told["invented"]["rest"] == "identical"
    data = (tmp_path / "out" / "a.png").read_bytes()
    assert told["results"] == [{"file": "a.png", "sha256": hashlib.sha256(data).hexdigest(), "size": [64, 64]}]
    assert told["model"]["sha256"] == hashlib.sha256((tmp_path / "tiny.safetensors").read_bytes()).hexdigest()
    assert told["model"]["name"] == "tiny"
    assert told["restore"] == __version__
    given = {"seed": 7, "size": 64, "precision": "fp32", "blend": "poisson", "device": "cpu", "match": True}
    assert given.items() <= told["options"].items()
    assert told["options"]["mask"].endswith("hole.png (white_missing)")
    assert 0 < told["faces"][0]["invented"] < 1
    assert -1 <= told["faces"][0]["visible"][0] < 1
    assert f"likeness to what the photo shows {told['faces'][0]['visible'][0]:.2f}" in capsys.readouterr().out
    assert images.read(tmp_path / "out" / "a_report.png").shape[1] == WIDTH
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_what_a_network_is_shown_in_the_hole_is_what_its_training_says(tmp_path, unmask):
    unmask("--report", "--no_compare")
    assert facts(tmp_path)["options"]["fill"] == "keep"
    task = {"type": "Inpainting", "show_hole": False}
    network_file(tmp_path / "tiny.safetensors", UNET, size=64, task=task)
    unmask("--report", "--no_compare", "--overwrite")
    assert facts(tmp_path)["options"]["fill"] == "black"


def test_the_same_run_has_the_same_bytes_also_when_the_report_comes_later(tmp_path, unmask, capsys):
    unmask()
    result = (tmp_path / "out" / "a.png").read_bytes()
    unmask("--report")
    first = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert first[tmp_path / "out" / "a.png"] == result
    unmask("--report")
    assert "skipped" in capsys.readouterr().out
    unmask("--report", "--overwrite")
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == first


def test_no_report_is_made_of_a_result_of_other_settings(tmp_path, unmask, capsys):
    unmask()
    images.write(tmp_path / "out" / "a.png", 255 - images.read(tmp_path / "out" / "a.png"))
    with pytest.raises(Exception, match="1 of 1 pictures"):
        unmask("--report")
    assert "differs from what these settings make" in capsys.readouterr().err
    assert not (tmp_path / "out" / "a_report.json").exists()


def test_the_result_is_compared_with_the_person(tmp_path, unmask, capsys):
    images.write(tmp_path / "them" / "sub" / "b.png", draw_face(0, 2, 64).image)
    (tmp_path / "them" / "c.png").write_bytes(b"no picture")
    unmask("--report", "--reference", tmp_path / "them", tmp_path / "a.png")
    printed = capsys.readouterr()
    told = facts(tmp_path)
    assert [each["file"] for each in told["references"]] == ["sub/b.png", "a.png"]
    similar = told["faces"][0]["references"][0]
    assert similar[1] > similar[0]
    assert told["ranking"] == [{"file": "a.png", "similarity": pytest.approx(np.mean(similar), abs=1e-3)}]
    assert f", to the references {told['ranking'][0]['similarity']:.2f}" in printed.out
    assert "WARNING reference c.png: left out" in printed.err
    assert any("c.png" in note for note in told["notes"])


def test_of_several_results_the_references_own_comes_first(tmp_path, unmask, capsys):
    """The reference is a further result of a run before."""
    as_it_is = ("--blend", "feather", "--no_match")  # fitted, those of an untrained network are all alike
    network_file(tmp_path / "tiny.safetensors", GANSFORMER, size=64)
    unmask(*as_it_is, "--candidates", 3)
    person = images.read(tmp_path / "out" / "a_c2.png")
    images.write(tmp_path / "them.png", person)
    names = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("a*.png")}
    unmask(*as_it_is, "--candidates", 3, "--report", "--reference", tmp_path / "them.png")
    told = facts(tmp_path)
    assert [each["file"] for each in told["results"]] == ["a.png", "a_c1.png", "a_c2.png"]
    assert told["ranking"][0] == {"file": "a_c2.png", "similarity": 1.0}
    assert told["ranking"][1]["similarity"] < 1
    assert told["ranking_face"] == 1
    assert "by likeness to the references: a_c2.png 1.00, a" in capsys.readouterr().out
    assert {path: data for path, data in names.items() if (tmp_path / "out" / path).read_bytes() != data} == {}


def test_enlarged_photos_are_made_up_all_over(tmp_path):
    network_file(tmp_path / "large.safetensors", EDSR, scale=2)
    images.write(tmp_path / "a.png", draw_face(0, 1, 64).image)
    run(tmp_path / "a.png", "--model", tmp_path / "large.safetensors", "-o", tmp_path / "out", "--report",
        "--detector", "aligned")  # fmt: skip
    told = facts(tmp_path)
    assert told["invented"]["share"] == 1
    assert told["invented"]["rest"] == "none"
    assert told["options"]["outscale"] == 2
    assert "mask" not in told["options"]
    assert len(told["faces"]) == 1
    assert told["faces"][0]["box"][2] > 64  # in the result's pixels


def test_lossy_results_are_told_not_to_be_the_photos(tmp_path, unmask):
    images.write(tmp_path / "j.jpg", draw_face(0, 1, 64).image)
    unmask("--report", "--format", "keep", also=[tmp_path / "j.jpg"])
    assert facts(tmp_path, "j")["invented"]["rest"] == "changed"
    assert facts(tmp_path)["invented"]["rest"] == "identical"


def test_missing_weights_are_a_gap_and_no_failure(tmp_path, unmask, monkeypatch, capsys):
    def nowhere(file):
        raise UserError(f"{file.name}: cannot be fetched; put it into {pretrained.cache()}")

    monkeypatch.setattr(reporting, "Likeness", Likeness)
    monkeypatch.setattr(pretrained, "fetch", nowhere)
    monkeypatch.setenv("RESTORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RESTORE_WEIGHTS", raising=False)
    unmask("--report", "--reference", tmp_path / "a.png")
    printed = capsys.readouterr()
    assert "identity: not measured: the weights of `mobilefacenet` cannot be had" in printed.out
    assert "WARNING identity: not measured: mobilefacenet: cannot be fetched" in printed.err
    gap = facts(tmp_path)["identity"]["gap"]
    assert gap.startswith("not measured: the weights of `mobilefacenet`")
    assert str(tmp_path) not in gap


def test_what_cannot_be_reported_is_told_before_anything_is_done(tmp_path, unmask):
    with pytest.raises(UserError, match=r"--reference .*add --report"):
        unmask("--reference", tmp_path / "a.png")
    with pytest.raises(UserError, match=r"--reference .*nobody: no such file"):
        unmask("--report", "--reference", tmp_path / "nobody")
    (tmp_path / "film.mp4").write_bytes(b"film")
    with pytest.raises(UserError, match=r"film.mp4: --report tells of photos, not of films"):
        unmask("--report", also=[tmp_path / "film.mp4"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="--reference: no photos there"):
        unmask("--report", "--reference", tmp_path / "empty")
    images.write(tmp_path / "a_report.png", draw_face(0, 2, 64).image)
    with pytest.raises(UserError, match="its result would have the name of a report of"):
        unmask("--report", also=[tmp_path / "a_report.png"])
    assert not (tmp_path / "out").exists()
