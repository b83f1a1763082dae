"""Every option file that ships loads, builds, takes a step at tiny size, and can be tested."""

import json
import re
from pathlib import Path

import pytest
import torch
import yaml

from restore import pretrained
from restore.apps.evaluate import evaluate
from restore.cli import build_parser
from restore.data.records import open_records
from restore.options.load import load, load_stages, read_extended
from restore.options.paths import MustExist
from restore.options.schema import Options
from restore.options.walk import marked_values
from restore.registry import ARCHS, LOSSES, METRICS

REPOSITORY = Path(__file__).parents[1]
RECIPES = sorted(path for path in (REPOSITORY / "options").rglob("*.yml") if path.parent.name != "sweeps")
TRAIN = [path for path in RECIPES if "test" not in path.relative_to(REPOSITORY / "options").parts]
TRAIN_FILES = {path.resolve() for path in TRAIN}
TEST = [path for path in RECIPES if path not in TRAIN]
LARGE = re.compile("RRDBNet|FaceEnhanceNet_x4|(PremiumGAN|Diffusion)_celebahq$")
TINY_NET = {"num_feat": 8, "num_block": 1, "num_level": 2, "num_bottleneck": 8}  # as far as a network takes them
TINY_NET |= {"block_out_channels": [8, 8], "layers_per_block": 1, "attention_levels": [1], "norm_num_groups": 4}
TINY = ["datasets.train.batch_size=2", "train.accumulate=1", "datasets.train.num_workers=0"]
TINY += ["val.val_freq=2", "path.experiments_root=experiments"]
FACE = [[22, 28], [42, 28], [32, 38], [25, 46], [39, 46]]  # landmarks, about, of a drawn face of 64 px
LENGTH = ("train.total_iter=2", "train.total_epoch=null")


def tiny(recipe: Path) -> list[str]:
    """Overrides that make a recipe small, and let what looks at pictures look through random networks."""
    data = read_extended(recipe).data
    stages = data.get("stages") or []
    overrides = [*TINY, *tiny_net(data), *few_steps(data), *(() if stages else LENGTH)]
    if "n_layers" in data.get("network_d", {}):
        overrides.append("network_d.n_layers=1")  # for one judgement of a large picture there may be many
    overrides += small_crops("datasets.train", data["datasets"]["train"])
    overrides += random_metrics(data)
    for prefix, section in [("", data), *((f"stages.{number}.", stage) for number, stage in enumerate(stages))]:
        overrides += [f"{prefix}{length}" for length in LENGTH if prefix]
        for name, loss in section.get("train", {}).get("losses", {}).items():
            if loss and "weights" in LOSSES.get(loss.get("type", "L1Loss")).parameters:
                overrides.append(f"{prefix}train.losses.{name}.weights=random")
    return overrides


def tiny_net(data: dict) -> list[str]:
    """Overrides that make the generator of a recipe small."""
    takes = ARCHS.get(data["network_g"]["type"]).parameters
    return [f"network_g.{name}={value}" for name, value in TINY_NET.items() if name in takes]


def small_crops(key: str, section: dict) -> list[str]:
    """Overrides that let a training set, or those that it is mixed of, cut crops out of small pictures."""
    parts = enumerate(section.get("datasets", []))
    own = [f"{key}.gt_size=32"] if "gt_size" in section else []
    return own + [each for number, part in parts for each in small_crops(f"{key}.datasets.{number}", part)]


def few_steps(data: dict) -> list[str]:
    """Overrides that make a diffusion short."""
    return ["task.num_steps=2"] if data.get("task", {}).get("type") == "Diffusion" else []


def random_metrics(data: dict) -> list[str]:
    """Overrides that let the metrics of a recipe look through random networks."""
    names = [name for name in data["val"]["metrics"] if "weights" in METRICS.get(name).parameters]
    return [f"val.metrics.{name}.weights=random" for name in names]


def some_heads(name: str, folder: Path) -> Path:
    """A file like that of LPIPS's heads, which need not be here."""
    widths = {"lpips_alex": (64, 192, 384, 256, 256), "lpips_squeeze": (64, 128, 256, 384, 384, 512, 512)}[name]
    tensors = {f"lin{number}.model.1.weight": torch.rand(1, width, 1, 1) for number, width in enumerate(widths)}
    torch.save(tensors, folder / f"{name}.pth")
    return folder / f"{name}.pth"


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
    monkeypatch.setattr(pretrained, "find", lambda name: some_heads(name, tmp_path))
    monkeypatch.delenv("RESTORE_DATA", raising=False)

    def place(recipe: Path) -> None:
        for _, marker, value in marked_values(Options, read_extended(recipe).data):
            if isinstance(marker, MustExist) and value.startswith("datasets/"):
                Path(value).parent.mkdir(parents=True, exist_ok=True)
                if value.endswith("landmarks.json"):
                    Path(value).write_text(json.dumps(dict.fromkeys(open_records(str(drawn)).keys, FACE)))
                    continue
                gt = drawn if value.endswith(".lmdb") else faces
                if "lq" in value.lower().replace("lrbic", "lq"):
                    restore("prepare", "degrade", str(gt), value, "--scale", "4", "--degradation", "[{type: bicubic}]")
                elif not Path(value).exists():
                    Path(value).symlink_to(gt)

    return place


def test_the_recipes_are_found():
    assert REPOSITORY / "options" / "quickstart.yml" in TRAIN
    assert TEST


def each(recipes):
    """The recipes as parameters; those of large networks take seconds also where all is small."""
    return [
        pytest.param(path, id=path.stem, marks=pytest.mark.slow if LARGE.search(path.stem) else ()) for path in recipes
    ]


@pytest.mark.parametrize("recipe", each(TRAIN))
def test_a_recipe_checks_and_trains(recipe, workplace, capsys):
    workplace(recipe)
    restore("check", "-opt", str(recipe))
    assert "correct" in capsys.readouterr().out
    restore("train", "-opt", str(recipe), "--set", *tiny(recipe))
    stages = load_stages(recipe, tiny(recipe))
    last = 2 * len(stages)
    assert Path("experiments", stages[0].name, "checkpoints", str(last), "network_g.safetensors").is_file()


@pytest.mark.parametrize("recipe", each(TEST))
def test_a_test_recipe_scores_what_its_training_made(recipe, workplace):
    workplace(recipe)
    data = read_extended(recipe).data
    overrides = [*tiny_net(data), *few_steps(data), *random_metrics(data)]
    trained = recipe.parent / yaml.safe_load(recipe.read_text()).get("extends", "none")
    if trained.resolve() in TRAIN_FILES:
        restore("train", "-opt", str(trained), "--set", *tiny(trained))
    else:
        overrides.append("path.pretrain_network_g=published.pth")
        Path("published.pth").touch()
        network = ARCHS.build(load(recipe, overrides, testing=True).network_g)
        torch.save({"params": network.state_dict()}, "published.pth")
    options = load(recipe, overrides, testing=True)
    tables = evaluate(options)
    assert all(table.keys and table.means("model") for table in tables.values())
    if options.val.report:
        assert Path(options.path.results_root, options.name, "report.png").is_file()
