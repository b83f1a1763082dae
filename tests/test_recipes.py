"""Every option file that ships loads, builds, takes a step at tiny size, and can be tested."""

from pathlib import Path

import pytest
import torch
import yaml

from restore.apps.evaluate import evaluate
from restore.cli import build_parser
from restore.options.load import load, read_extended
from restore.options.paths import MustExist
from restore.options.schema import Options
from restore.options.walk import marked_values

REPOSITORY = Path(__file__).parents[1]
RECIPES = sorted((REPOSITORY / "options").rglob("*.yml"))
TRAIN = [path for path in RECIPES if "test" not in path.relative_to(REPOSITORY / "options").parts]
TEST = [path for path in RECIPES if path not in TRAIN]
TINY_NET = ["network_g.num_feat=8", "network_g.num_block=1"]
TINY = [*TINY_NET, "train.total_iter=2", "datasets.train.batch_size=2", "datasets.train.gt_size=32", "val.val_freq=2"]


def restore(*arguments: str) -> None:
    args = build_parser().parse_args(arguments)
    args.run(args)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    restore("prepare", "drawn", str(folder), "--count", "4", "--val", "2", "--size", "64", "--workers", "1")
    return folder / "val.lmdb"


@pytest.fixture
def workplace(tmp_path, monkeypatch, drawn, faces):
    """A folder to work in, where every data set that a recipe names is a tiny one."""
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RESTORE_DATA", raising=False)

    def place(recipe: Path) -> None:
        for _, marker, value in marked_values(Options, read_extended(recipe).data):
            if isinstance(marker, MustExist) and value.startswith("datasets/"):
                Path(value).parent.mkdir(parents=True, exist_ok=True)
                if not Path(value).exists():
                    Path(value).symlink_to(drawn if value.endswith(".lmdb") else faces)

    return place


def test_the_recipes_are_found():
    assert REPOSITORY / "options" / "quickstart.yml" in TRAIN
    assert TEST


@pytest.mark.parametrize("recipe", TRAIN, ids=lambda path: path.stem)
def test_a_recipe_checks_and_trains(recipe, workplace, capsys):
    workplace(recipe)
    restore("check", "-opt", str(recipe))
    assert "correct" in capsys.readouterr().out
    restore("train", "-opt", str(recipe), "--set", *TINY)
    name = load(recipe, TINY).name
    assert Path("experiments", name, "checkpoints", "2", "network_g.safetensors").is_file()


@pytest.mark.parametrize("recipe", TEST, ids=lambda path: path.stem)
def test_a_test_recipe_scores_what_its_training_made(recipe, workplace):
    workplace(recipe)
    trained = recipe.parent / yaml.safe_load(recipe.read_text())["extends"]
    restore("train", "-opt", str(trained), "--set", *TINY)
    options = load(recipe, TINY_NET, testing=True)
    tables = evaluate(options)
    assert all(table.keys and table.means("model") for table in tables.values())
    assert Path(options.path.results_root, options.name, "report.png").is_file()
