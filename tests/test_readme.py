"""The README is true: its commands parse, the files it names exist, its example of a part works as written."""

import re
import shlex
from pathlib import Path

import pytest
import torch

from restore import cli, test, train
from restore.errors import UserError
from restore.options.load import load

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, flags=re.M | re.S)
COMMANDS = [line.split("  #")[0].strip() for kind, block in BLOCKS if not kind for line in block.splitlines()]
SCRIPTS = {"restore/train.py": train, "restore/test.py": test}


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith(("restore ", "python restore/"))])
def test_a_command_parses(command):
    words = shlex.split(command.split(" >")[0])
    if words[0] == "restore":
        cli.build_parser().parse_args(words[1:])
    else:
        arguments = ["train" if "train" in words[1] else "test", *words[2:]]
        assert words[1] in SCRIPTS
        cli.build_parser().parse_args(arguments)


@pytest.mark.parametrize("target", [c.split()[1] for c in COMMANDS if c.startswith("make ")])
def test_a_make_target_exists(target):
    assert re.search(rf"^{target}:", (REPOSITORY / "Makefile").read_text(), flags=re.M)


@pytest.mark.parametrize(
    "name", sorted(set(re.findall(r"(?:options|docs|restore|benchmarks)/[\w/]+\.(?:yml|png|py|md)", README)))
)
def test_a_named_file_exists(name):
    if name not in ("options/mine.yml", "restore/losses/slope_loss.py"):  # what the reader makes
        assert (REPOSITORY / name).is_file()


@pytest.fixture
def example(tmp_path, monkeypatch, faces, val_faces):
    """The README's example of a part, in a folder of its own."""
    part = next(block for kind, block in BLOCKS if kind == "python")
    options = next(block for kind, block in BLOCKS if kind == "yaml" and "plugins" in block)
    (tmp_path / "slope_loss.py").write_text(part)
    (tmp_path / "quickstart.yml").write_text((REPOSITORY / "options" / "quickstart.yml").read_text())
    (tmp_path / "sharper.yml").write_text(options)
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    data = [f"datasets.train.dataroot_gt={faces}", f"datasets.val.dataroot_gt={val_faces}"]
    return [*data, "train.total_iter=2", "datasets.train.gt_size=32", "network_g.num_feat=8", "network_g.num_block=1"]


def test_the_example_of_a_part_trains(example, capsys):
    args = cli.build_parser().parse_args(["train", "-opt", "sharper.yml", "--set", *example, "logger.print_freq=1"])
    args.run(args)
    assert "l_edges" in capsys.readouterr().out


def test_a_misspelt_argument_of_the_example_is_explained_as_promised(example):
    with pytest.raises(UserError, match=r"reech: unknown key.*did you mean `reach`\?"):
        load("sharper.yml", [*example, "train.losses.edges.reech=2"])
