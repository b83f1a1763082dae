"""Forty and more broken option files: each mistake is told in one line, with its place and a remedy; nothing is run."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from restore.errors import UserError
from restore.options.load import load

GOOD = """\
name: probe
scale: 4
manual_seed: 7
network_g:
  type: MSRResNet
  num_feat: 8
  num_block: 1
datasets:
  train:
    type: GTImageDataset
    dataroot_gt: faces
    gt_size: 64
    batch_size: 4
    transforms:
      - type: RandomFlip
        horizontal: 0.5
  val:
    type: PairedImageDataset
    dataroot_gt: faces
    dataroot_lq: faces
train:
  total_iter: 100
  ema_decay: 0.9
  precision: bf16
  accumulate: 2
  optim_g:
    type: Adam
    lr: 1e-3
    betas: [0.9, 0.99]
  scheduler:
    type: MultiStepLR
    milestones: [50]
  losses:
    pixel:
      type: L1Loss
      weight: 1.0
val:
  val_freq: 50
  metrics:
    psnr:
      crop_border: 4
  best:
    metric: psnr
logger:
  print_freq: 10
path:
  experiments_root: runs
"""


@dataclass(frozen=True)
class Mutation:
    """A line of GOOD replaced, and what is then told of which key; the mistake stands `down` lines below the change."""

    old: str
    new: str
    key: str
    says: str
    down: int = 0

    def text(self) -> str:
        assert GOOD.count(self.old) >= 1
        return GOOD.replace(self.old, self.new, 1)

    def line(self) -> int:
        return GOOD[: GOOD.index(self.old)].count("\n") + 1 + self.down


MISSPELT = [
    Mutation("name: probe", "nme: probe", "nme", "unknown key; did you mean `name`?"),
    Mutation("scale: 4", "scael: 4", "scael", "unknown key; did you mean `scale`?"),
    Mutation("manual_seed: 7", "manul_seed: 7", "manul_seed", "did you mean `manual_seed`?"),
    Mutation("network_g:", "network:", "network", "did you mean `network_g`?"),
    Mutation("num_feat: 8", "num_feats: 8", "network_g.num_feats", "for MSRResNet; did you mean `num_feat`?"),
    Mutation("  train:", "  tarin:", "datasets.tarin", "did you mean `train`?"),
    Mutation("dataroot_gt: faces", "dataroot_g: faces", "datasets.train.dataroot_g", "did you mean `dataroot_gt`?"),
    Mutation("batch_size: 4", "bach_size: 4", "datasets.train.bach_size", "did you mean `batch_size`?"),
    Mutation("horizontal:", "horizontl:", "datasets.train.transforms.0.horizontl", "did you mean `horizontal`?"),
    Mutation("total_iter:", "total_itr:", "train.total_itr", "did you mean `total_iter`?"),
    Mutation("ema_decay:", "ema_dcay:", "train.ema_dcay", "did you mean `ema_decay`?"),
    Mutation("optim_g:", "optimg:", "train.optimg", "did you mean `optim_g`?"),
    Mutation("    betas:", "    beta:", "train.optim_g.beta", "for Adam; did you mean `betas`?"),
    Mutation("milestones:", "milestone:", "train.scheduler.milestone", "did you mean `milestones`?"),
    Mutation("losses:", "loses:", "train.loses", "did you mean `losses`?"),
    Mutation("type: L1Loss", "tpye: L1Loss", "train.losses.pixel.tpye", "did you mean `type`?"),
    Mutation("weight:", "wieght:", "train.losses.pixel.wieght", "did you mean `weight`?"),
    Mutation("val_freq:", "val_frq:", "val.val_frq", "did you mean `val_freq`?"),
    Mutation("crop_border:", "crop_boarder:", "val.metrics.psnr.crop_boarder", "did you mean `crop_border`?"),
    Mutation("    metric: psnr", "    metic: psnr", "val.best.metic", "did you mean `metric`?"),
    Mutation("print_freq:", "print_frq:", "logger.print_frq", "did you mean `print_freq`?"),
    Mutation("experiments_root:", "experiment_root:", "path.experiment_root", "did you mean `experiments_root`?"),
    Mutation("logger:\n", "logger:\n  wandb: x\n", "logger.wandb", "known here: print_freq, ", 1),
]
WRONG_TYPES = [
    Mutation("scale: 4", 'scale: "4"', "scale", 'should be a valid integer, found "4"'),
    Mutation("total_iter: 100", "total_iter: 1.5", "train.total_iter", "found 1.5"),
    Mutation("num_block: 1", "num_block: one", "network_g.num_block", 'should be a valid integer, found "one"'),
    Mutation("lr: 1e-3", "lr: fast", "train.optim_g.lr", 'should be a valid number, found "fast"'),
    Mutation("betas: [0.9, 0.99]", "betas: 0.9", "train.optim_g.betas", "should be a list, such as [a, b], found 0.9"),
    Mutation("manual_seed: 7", "manual_seed: true", "manual_seed", "should be a valid integer, found true"),
    Mutation("  print_freq: 10", "  use_tb_logger: 1", "logger.use_tb_logger", "should be a valid boolean, found 1"),
    Mutation(
        "logger:\n  print_freq: 10", "logger: 10", "logger", "should be a section of `key: value` lines, found 10"
    ),
    Mutation("horizontal: 0.5", "horizontal: ~", "datasets.train.transforms.0.horizontal", "found null"),
    Mutation("precision: bf16", "precision: bf61", "train.precision", "'fp32', 'bf16' or 'fp16', found \"bf61\""),
]
MISSING = [
    Mutation("dataroot_gt: faces", "dataroot_gt: face", "datasets.train.dataroot_gt", "did you mean `faces`?"),
    Mutation("dataroot_gt: faces", "dataroot_gt: datasets/none", "datasets.train.dataroot_gt", "set RESTORE_DATA"),
    Mutation("dataroot_lq: faces", 'dataroot_lq: ""', "datasets.val.dataroot_lq", "is empty; name a file or folder"),
    Mutation("dataroot_lq: faces", "dataroot_lq: ~nobody-here/x", "datasets.val.dataroot_lq", "write the whole path"),
    Mutation("dataroot_lq: faces", f"dataroot_lq: {'x' * 300}", "datasets.val.dataroot_lq", "correct the path"),
    Mutation("gt_size: 64", "meta_info: list.txt", "datasets.train.meta_info", "no file or folder `list.txt`"),
    Mutation("path:\n", "path:\n  pretrain_network_g: a.pth\n", "path.pretrain_network_g", "correct the path", 1),
    Mutation("name: probe", 'name: ""', "name", "a letter or digit first"),
    Mutation("name: probe", "name: ../probe", "name", "letters, digits, `_`, `-` and `.` only"),
    Mutation("experiments_root: runs", 'experiments_root: ""', "path.experiments_root", "should not be empty"),
    Mutation("    dataroot_lq: faces\n", "", "datasets.val.dataroot_lq", "is missing; add it", -3),
    Mutation("  total_iter: 100\n", "", "train.total_iter", "give it, or `total_epoch`", -1),
]
UNKNOWN_NAMES = [
    Mutation("type: MSRResNet", "type: MSRResnt", "network_g.type", "no `MSRResnt` among the archs; did you mean"),
    Mutation("type: GTImageDataset", "type: GTDataset", "datasets.train.type", "did you mean `GTImageDataset`?"),
    Mutation("type: RandomFlip", "type: RandomFilp", "datasets.train.transforms.0.type", "did you mean `RandomFlip`?"),
    Mutation("type: Adam", "type: Adamm", "train.optim_g.type", "did you mean `Adam`?"),
    Mutation("type: MultiStepLR", "type: MultistepLr2", "train.scheduler.type", "did you mean `MultiStepLR`?"),
    Mutation("type: L1Loss", "type: L11oss", "train.losses.pixel.type", "did you mean `L1Loss`?"),
    Mutation("manual_seed: 7", "task: {type: Restortion}", "task.type", "did you mean `Restoration`?"),
    Mutation("manual_seed: 7", "plugins: [no_such_package.archs]", "plugins.0", "no module `no_such_package`; install"),
    Mutation("    metric: psnr", "    metric: psrn", "val.best.metric", "did you mean `psnr`?"),
    Mutation("    metric: psnr", "    {metric: psnr, dataset: vla}", "val.best.dataset", "did you mean `val`?"),
    Mutation("type: MSRResNet", "type: ''", "network_g.type", "`restore list archs` shows them"),
]
BAD_RANGES = [
    Mutation("scale: 4", "scale: 0", "scale", "greater than or equal to 1, found 0"),
    Mutation("gt_size: 64", "gt_size: 63", "datasets.train.gt_size", "no multiple of the scale 4; such as 60"),
    Mutation("batch_size: 4", "batch_size: 0", "datasets.train.batch_size", "greater than or equal to 1, found 0"),
    Mutation("accumulate: 2", "accumulate: 3", "train.accumulate", "batch_size 4 cannot be split into 3 equal parts"),
    Mutation("horizontal: 0.5", "horizontal: 1.5", "datasets.train.transforms.0.horizontal", "less than or equal to 1"),
    Mutation("ema_decay: 0.9", "ema_decay: 1", "train.ema_decay", "should be less than 1, found 1"),
    Mutation("total_iter: 100", "total_iter: 1e30", "train.total_iter", "found 1e+30"),
    Mutation("total_iter: 100", f"total_iter: 1{'0' * 40}", "train.total_iter", "less than or equal to 1000000000000"),
    Mutation("lr: 1e-3", "lr: -1e-3", "train.optim_g.lr", "should be greater than 0, found -0.001"),
    Mutation("lr: 1e-3", "lr: .nan", "train.optim_g.lr", "finite number"),
    Mutation("lr: 1e-3", "lr: .inf", "train.optim_g.lr", "finite number"),
    Mutation("betas: [0.9, 0.99]", "betas: [0.9, 1.0]", "train.optim_g.betas.1", "should be less than 1, found 1.0"),
    Mutation("weight: 1.0", "weight: .nan", "train.losses.pixel.weight", "finite number"),
    Mutation("num_block: 1", "upscale: 2", "network_g.upscale", "the experiment's `scale` is 4; make them equal"),
    Mutation("scale: 4", "scale: 32", "network_g.upscale", "should be 1, 2, 3, 4, 8 or 16, found 32"),
    Mutation("type: MSRResNet", "upscale: 5\n  type: MSRResNet", "network_g.upscale", "make them equal"),
    Mutation("crop_border: 4", "crop_border: -1", "val.metrics.psnr.crop_border", "greater than or equal to 0"),
    Mutation(
        "ema_decay: 0.9",
        "total_epoch: 3",
        "train.total_epoch",
        "`total_iter` stands at bad.yml:22; give one, and set the other to null",
    ),
    Mutation("      type: L1Loss\n      weight: 1.0\n", "", "train.losses", "such as `pixel: {type: L1Loss}`", -2),
]
CASES = [*MISSPELT, *WRONG_TYPES, *MISSING, *UNKNOWN_NAMES, *BAD_RANGES]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RESTORE_DATA", raising=False)
    (tmp_path / "faces").mkdir()
    return tmp_path


def told(text: str | bytes) -> list[str]:
    """The lines of the error that the option file is answered with, without the heading."""
    Path("bad.yml").write_bytes(text if isinstance(text, bytes) else text.encode())
    before = sorted(os.listdir())
    with pytest.raises(UserError) as caught:
        load("bad.yml")
    assert sorted(os.listdir()) == before, "reading an option file wrote something"
    return str(caught.value).removeprefix("the option file has mistakes:\n").split("\n")


def test_the_file_that_is_broken_below_is_good(folder: Path) -> None:
    Path("good.yml").write_text(GOOD)
    assert load("good.yml").name == "probe"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.new.strip()[:40])
def test_mistake_is_told_with_its_place_and_a_remedy(case: Mutation, folder: Path) -> None:
    (line,) = told(case.text())
    assert line.startswith(f"bad.yml:{case.line()}: {case.key}: ")
    assert case.says in line


SYNTAX = {
    "duplicate key": (
        GOOD.replace("  num_block: 1", "  num_feat: 9"),
        7,
        "network_g.num_feat: written twice, first on",
    ),
    "duplicate section": (GOOD + "train: {}\n", 48, "written twice, first on line 21; remove one"),
    "tab": (GOOD.replace("  num_feat", "\tnum_feat"), 6, "check indentation"),
    "indentation": (GOOD.replace("  num_feat", "   num_feat"), 6, "check indentation"),
    "open quote": (GOOD.replace("probe", '"probe'), 1, "check indentation, colons and quotes"),
    "open bracket": (GOOD.replace("[0.9, 0.99]", "[0.9, 0.99"), 30, "check indentation, colons and quotes"),
    "unknown alias": (GOOD.replace("probe", "*probe"), 1, "undefined alias"),
    "two documents": (GOOD + "---\nname: b\n", 48, "not valid YAML: but found another document"),
    "root is a list": ("- name: probe\n", 1, "an option file is a mapping"),
    "root is a word": ("probe", 1, "an option file is a mapping"),
    "empty": ("", 1, "an option file is a mapping"),
    "list as key": ("? [a]\n: b\n", 1, "a key must be a plain word"),
    "NUL byte": ("name: a\nscale: \x00", 2, "not a text file"),
    "binary": (b"name: a\n\x89PNG\r\n\x1a\n\xff\xfe", 2, "not UTF-8 text"),
    "bad integer": (GOOD.replace("manual_seed: 7", "manual_seed: !!int seven"), 3, "`seven` is no int; correct it"),
    "endless integer": (GOOD.replace("seed: 7", "seed: " + "9" * 5000), 3, f"`{'9' * 40}` is no int"),
    "bad truth": (GOOD.replace("manual_seed: 7", "manual_seed: !!bool maybe"), 3, "`maybe` is no bool"),
    "alias bomb": (
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{c}: &{c} [{', '.join(['*' + p] * 10)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)),
        1,
        "remove nested aliases",
    ),
    "alias of itself": ("name: &a [*a]\n", 1, "remove nested aliases"),
    "deep nesting": ("name: " + "[" * 5000 + "]" * 5000, 1, "flatten it"),
    "merge of a word": (GOOD.replace("  num_feat: 8", "  <<: word"), 6, "`<<` takes a section"),
}


@pytest.mark.parametrize("name", SYNTAX)
def test_file_that_is_no_option_file_is_told(name: str, folder: Path) -> None:
    text, number, says = SYNTAX[name]
    (line,) = told(text)
    assert line.startswith(f"bad.yml:{number}: ")
    assert says in line


TAGS = [
    '!!python/object/apply:os.system ["touch marker"]',
    '!!python/object/apply:subprocess.check_call [["touch", "marker"]]',
    '!!python/object/new:os.system ["touch marker"]',
    '!<tag:yaml.org,2002:python/object/apply:os.system> ["touch marker"]',
    "!!python/object/apply:os.system {args: [touch marker]}",
    "!!python/name:os.system",
    '!!python/module:os ""',
    "!!python/tuple [1, 2]",
    "!!binary aGVsbG8=",
    "!own word",
]


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("place", ["name: probe", "lr: 1e-3", "type: L1Loss"])
def test_tags_are_refused_and_nothing_is_executed(tag: str, place: str, folder: Path) -> None:
    case = Mutation(place, f"{place.split(':')[0]}: {tag}", "", "")
    (line,) = told(case.text())
    assert line.startswith(f"bad.yml:{case.line()}: the tag `!")
    assert "option files hold plain data only" in line
    assert not Path("marker").exists()


def test_a_tag_on_a_key_is_refused(folder: Path) -> None:
    (line,) = told(GOOD + '? !!python/object/apply:os.system ["touch marker"]\n: 1\n')
    assert line.startswith("bad.yml:48: a key must be a plain word")
    assert not Path("marker").exists()


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(folder: Path) -> None:
    chosen = [
        "scael: 4",
        "num_feats: 8",
        "dataroot_gt: face",
        "gt_size: 63",
        "accumulate: 3",
        "lr: .nan",
        "type: L11oss",
    ]
    chosen += ["crop_boarder:", "    metric: psrn"]
    cases = [case for new in chosen for case in CASES if case.new == new]
    assert len(cases) == len(chosen)
    text = GOOD
    for case in cases:
        text = text.replace(case.old, case.new, 1)
    # Without `scale`, 63 is a multiple; a mistake in one section hides none in another.
    keys = [line.split(": ")[1] for line in told(text)]
    assert keys == [case.key for case in cases if case.new != "gt_size: 63"]


def test_a_mistake_of_many_lines_is_told_in_one(folder: Path) -> None:
    (line,) = told(GOOD.replace("type: MSRResNet", 'type: "MSR\\nRes"'))
    assert line.startswith("bad.yml:5: network_g.type: no `MSR Res` among the archs")


@pytest.mark.parametrize(("path", "says"), [("none.yml", "No such file"), ("faces", "Is a directory")])
def test_file_that_cannot_be_read_is_told(path: str, says: str, folder: Path) -> None:
    with pytest.raises(UserError, match=f"^{path}: cannot read the option file: {says}.*; give `-opt` a YAML file$"):
        load(path)


ENTRY_POINT = Path(__file__).resolve().parents[2] / "restore" / "train.py"
THROUGH_THE_COMMAND = [MISSPELT[10], WRONG_TYPES[0], MISSING[0], UNKNOWN_NAMES[0], BAD_RANGES[9]]


@pytest.mark.parametrize("case", THROUGH_THE_COMMAND, ids=lambda case: case.new.strip()[:40])
@pytest.mark.slow
def test_the_command_exits_2_with_the_line(case: Mutation, folder: Path) -> None:
    Path("bad.yml").write_text(case.text())
    command = [sys.executable, str(ENTRY_POINT), "-opt", "bad.yml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    last = done.stderr.rstrip("\n").split("\n")[-1]
    assert last.startswith(f"bad.yml:{case.line()}: {case.key}: ")
    assert case.says in last
    assert "Traceback" not in done.stderr
    assert sorted(os.listdir()) == ["bad.yml", "faces"]


def test_the_command_executes_no_tag(folder: Path) -> None:
    Path("bad.yml").write_text(GOOD.replace("probe", TAGS[0]))
    command = [sys.executable, str(ENTRY_POINT), "-opt", "bad.yml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.startswith("error: bad.yml:1: the tag `!!python/object/apply:os.system` is not allowed")
    assert not Path("marker").exists()
