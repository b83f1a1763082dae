"""The models that ship: each has a card that tells the truth, opens, and is better than doing without it."""

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from restore import images, keyed
from restore.data.drawn import draw_face
from restore.engine.baselines import baseline
from restore.inference.model import SHIPPED, load_model, shipped
from restore.metrics.hole_metric import mean_over
from restore.options.load import read_extended
from restore.pretrained import sha256_of
from restore.registry import ARCHS, DATASETS, Part
from restore.weights import load_weights, read_facts

OPTIONS = Path(__file__).parents[1] / "options/train/models"
LISTS = Path(__file__).parents[1] / "datasets"
MODELS = shipped()
SIZES = {"photo_x4": 256, "photo_x2": 256, "face_x4": 160, "face_unmask": 128}  # of the faces drawn here
MARGIN = {"photo_x4": 0.5, "photo_x2": 0.5, "face_x4": 0.5, "face_unmask": 2.0}  # dB over bicubic, or over Telea
FACES = 6
MOST_BYTES = 12e6


def psnr(pred: torch.Tensor, gt: torch.Tensor, part: torch.Tensor) -> float:
    """Of 8-bit pictures, in the pixels of `part`."""
    rounded = images.to_unit(images.to_uint8(pred[0]))
    return float(-10 * torch.log10(mean_over((rounded - gt).square(), part)))


def test_there_is_a_card_for_every_model_and_a_model_for_every_card():
    assert set(MODELS) >= set(SIZES)
    assert set(MODELS) == {path.stem for path in SHIPPED.glob("*.md")}
    assert sum(path.stat().st_size for path in MODELS.values()) < MOST_BYTES


@pytest.mark.parametrize("name", MODELS)
def test_a_card_names_the_file_that_is_there_and_how_it_was_made(name):
    card = (SHIPPED / f"{name}.md").read_text()
    assert sha256_of(MODELS[name]) in card
    assert f"options/train/models/train_{name}.yml" in card
    assert (OPTIONS / f"train_{name}.yml").is_file()
    words = ("data", "recipe", "limits", "bias", "licence", "| --- |")
    assert [word for word in words if word not in card.lower()] == []


@pytest.mark.parametrize("name", MODELS)
def test_a_file_says_what_it_is_and_holds_the_whole_network_in_16_bits(name):
    facts = read_facts(MODELS[name])
    assert {"arch", "scale", "task", "size", "faces", "title", "licence", "iter", "experiment", "version"} <= set(facts)
    assert facts["faces"] == ("photo" not in name)
    network = ARCHS.build(Part.model_validate(facts["arch"]))
    assert load_weights(network, MODELS[name]).complete
    with safe_open(MODELS[name], "pt") as file:
        kinds = {file.get_tensor(key).dtype for key in file.keys()}  # noqa: SIM118
    assert kinds <= {torch.float16, torch.int64}  # whole numbers: how many batches a norm has seen


@pytest.mark.parametrize("name", [name for name in SIZES if name in MODELS])
def test_it_beats_what_needs_no_network_on_faces_that_it_has_not_seen(name, tmp_path):
    recipe = read_extended(OPTIONS / f"train_{name}.yml").data
    for index in range(FACES):
        images.write(tmp_path / f"{index}.png", draw_face(20, index, SIZES[name]).image)
    model = load_model(name, device="cpu")
    section = recipe["datasets"]["train"]["datasets"][1] | {"dataroot_gt": str(tmp_path), "transforms": []}
    if model.kind == "sr":
        section |= {"gt_size": None, "scale": model.scale}
    dataset = DATASETS.build(Part.model_validate(section))
    rival = baseline("bicubic" if model.kind == "sr" else "telea", model.scale)
    gains = []
    for index in range(len(dataset)):
        sample = dataset.load(index, keyed.draws(0, "test_models", index))
        lq, gt = images.to_unit(sample["lq"]), images.to_unit(sample["gt"])
        mask = images.to_chw(sample["mask"])[None].float() / 255 if "mask" in sample else None
        part = torch.ones_like(gt[:, :1]) if mask is None else mask
        gains.append(psnr(model.answer(lq, mask), gt, part) - psnr(rival(lq, mask), gt, part))
    assert sum(gains) / len(gains) > MARGIN[name], gains


def test_who_is_kept_for_scoring_is_not_trained_on():
    train, val = ((LISTS / f"congress_{part}.txt").read_text().split() for part in ("train", "val"))
    everyone = sorted([*train, *val], key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    assert (len(train), len(val), len(set(everyone))) == (458, 60, 518)
    assert set(everyone[:60]) == set(val)
    for name in SIZES:
        datasets = read_extended(OPTIONS / f"train_{name}.yml").data["datasets"]
        seen = [part["dataroot_gt"] for part in datasets["train"]["datasets"]]
        assert all(path.startswith(("datasets/congress_", "datasets/drawn_")) for path in seen)
        assert all(path.endswith("train.lmdb") for path in seen)
        assert datasets["val"]["dataroot_gt"].endswith("_val.lmdb")
