"""Published weights on Set5 through the shipped option files: the figures that others measured, to 0.02 dB."""

from pathlib import Path

import pytest

from restore.apps.evaluate import evaluate
from restore.options.load import load
from tests.oracles import basicsr, shared

RECIPES = Path(__file__).parents[2] / "options" / "test" / "sr"
SAFMN = ("test_SAFMN_NTIRE2023_x4_Set5.yml", "safmn_x4.pth", 32.16)
ANIME = ("test_SRVGGNetCompact_animevideov3_x4_Set5.yml", "realesr-animevideov3.pth", 28.25)
GENERAL = ("test_SRVGGNetCompact_general_x4v3_Set5.yml", "realesr-general-x4v3_from_fp16.pth", 26.64)


def psnr_y(recipe: str, file: str, tmp_path, monkeypatch, *overrides: str) -> float:
    """PSNR on Y, four pixels at the border left out, of the network that the recipe names with these weights."""
    monkeypatch.setenv("RESTORE_DATA", str(shared("Set5").parent))
    weights = shared("..", "weights", "sr", file)
    places = [f"path.pretrain_network_g={weights}", f"path.results_root={tmp_path}", "device=cpu"]
    tables = evaluate(load(RECIPES / recipe, [*places, *overrides], testing=True))
    assert len(tables["Set5"].keys) == 5
    return tables["Set5"].means("model")["psnr_y"]


@pytest.mark.parametrize(("recipe", "file", "figure"), [SAFMN, ANIME, GENERAL])
def test_published_weights_score_as_measured_elsewhere(recipe, file, figure, tmp_path, monkeypatch):
    """The figures: measured apart from this project, on MATLAB's bicubic LR (the shared weights' SOURCES.md)."""
    assert psnr_y(recipe, file, tmp_path, monkeypatch) == pytest.approx(figure, abs=0.02)


@pytest.mark.parametrize(("recipe", "file", "figure"), [ANIME, GENERAL])
def test_basicsrs_own_class_scores_the_same(recipe, file, figure, tmp_path, monkeypatch):
    basicsr("archs.srvgg_arch")
    guest = psnr_y(recipe, file, tmp_path, monkeypatch, "network_g.type=basicsr/SRVGGNetCompact")
    assert guest == pytest.approx(figure, abs=0.02)


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*_Set5.yml")), ids=lambda path: path.stem)
def test_the_recipes_are_correct_but_for_files_that_are_elsewhere(recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("RESTORE_DATA", str(tmp_path))
    for folder in ("GT", "LRbicx4"):
        (tmp_path / "Set5" / folder).mkdir(parents=True)
    (tmp_path / "weights.pth").touch()
    options = load(recipe, [f"path.pretrain_network_g={tmp_path}/weights.pth"], testing=True)
    assert options.scale == 4
    assert options.name in recipe.stem
