"""Option files: values, `extends`, overrides, sharing of `scale`, data elsewhere, the schema for editors."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from restore.errors import UserError
from restore.options.document import parse, parse_value
from restore.options.json_schema import json_schema
from restore.options.load import load
from restore.options.schema import Options

REPOSITORY = Path(__file__).resolve().parents[2]
BASE = """\
name: base
scale: 2
network_g: {type: MSRResNet, num_feat: 8, num_block: 1}
datasets:
  train: {type: GTImageDataset, dataroot_gt: datasets/faces, gt_size: 32, batch_size: 2}
  val: {type: GTImageDataset, dataroot_gt: datasets/faces}
train:
  total_iter: 5e3
  optim_g: {type: Adam, lr: 2e-4, betas: [0.9, 0.99]}
  losses: {pixel: {type: L1Loss}}
val: {metrics: {psnr: , luma: {type: psnr_y, crop_border: 2}}}
"""

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes an option file into the working directory, which has `datasets/faces`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RESTORE_DATA", raising=False)
    (tmp_path / "datasets" / "faces").mkdir(parents=True)

    def write(text: str, name: str = "x.yml") -> str:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text, encoding="utf-8")
        return name

    return write


def error_of(path: str, *overrides: str) -> list[str]:
    with pytest.raises(UserError) as caught:
        load(path, overrides)
    return str(caught.value).removeprefix("the option file has mistakes:\n").split("\n")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4), ("2E+3", 2000), ("5e3", 5000), ("!!float 5e3", 5000), ("1.5", 1.5), (".5", 0.5),
        ("1_000", 1000), ("-3", -3), ("true", True), ("off", False), ("~", None), ("", None), ("12:30", "12:30"),
        ("1.2.3", "1.2.3"),
        ("2020-01-01", "2020-01-01"), ("0x10", "0x10"), ("1e", "1e"), ("'1'", "1"), ("[1, 1e-1]", [1, 0.1]),
        ("{a: [b]}", {"a": ["b"]}), ("é", "é"), ("y", "y"),
    ],
)  # fmt: skip
def test_scalars(text: str, value: object) -> None:
    read = parse_value(text, "test")
    assert read == value
    assert type(read) is type(value)


def test_values_are_typed_and_defaults_filled_in(write: Write) -> None:
    options = load(write(BASE))
    assert options.train is not None
    assert options.train.total_iter == 5000
    assert options.train.optim_g.args == {"lr": 2e-4, "betas": [0.9, 0.99]}
    assert options.train.precision == "fp32"
    assert options.datasets.train is not None
    assert options.datasets.train.batch_size == 2
    assert list(options.datasets.evaluation("val")) == ["val"]
    assert {name: part.type for name, part in options.val.metrics.items()} == {"psnr": "psnr", "luma": "psnr_y"}


def test_null_takes_a_data_set_out(write: Write) -> None:
    second = "datasets.val_2={type: GTImageDataset, dataroot_gt: datasets/nowhere, name: two}"
    options = load(write(BASE), [second, "datasets.val_2=null"])
    assert list(options.datasets.evaluation("val")) == ["val"]


def test_scale_goes_to_networks_and_data_sets(write: Write) -> None:
    options = load(write(BASE))
    assert options.network_g.args["upscale"] == 2
    assert options.datasets.train is not None
    assert options.datasets.train.args["scale"] == 2
    assert options.datasets.evaluation("val")["val"].args["scale"] == 2


def test_scale_goes_into_data_sets_within_data_sets(write: Write) -> None:
    inner = "{type: GTImageDataset, dataroot_gt: datasets/faces, gt_size: 32}"
    mixed = f"datasets.train={{type: MixedDataset, datasets: [{inner}, {inner}]}}"
    options = load(write(BASE), [mixed])
    assert options.datasets.train is not None
    assert [part["scale"] for part in options.datasets.train.args["datasets"]] == [2, 2]
    (line,) = error_of(write(BASE), mixed.replace("32", "33", 1))
    assert line.startswith("--set datasets.train=")
    assert ": datasets.train.datasets.0.gt_size: 33 is no multiple of the scale 2" in line


def test_data_can_be_elsewhere(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "datasets" / "faces").rename(tmp_path / "moved")
    path = write(BASE)
    assert "set RESTORE_DATA" in error_of(path)[0]
    (tmp_path / "disk").mkdir()
    (tmp_path / "moved").rename(tmp_path / "disk" / "faces")
    monkeypatch.setenv("RESTORE_DATA", str(tmp_path / "disk"))
    assert load(path).name == "base"


def test_extends_lays_a_file_over_another(write: Write) -> None:
    write(BASE, "common/base.yml")
    top = write("extends: common/base.yml\nname: top\ntrain: {optim_g: {lr: 1e-3}, ema_decay: 0.5}\n")
    options = load(top)
    assert options.name == "top"
    assert options.train is not None
    assert options.train.optim_g.args == {"lr": 1e-3, "betas": [0.9, 0.99]}
    assert (options.train.ema_decay, options.train.total_iter) == (0.5, 5000)


def test_extends_replaces_a_part_of_another_type_wholly(write: Write) -> None:
    write(BASE, "base.yml")
    options = load(write("extends: base.yml\ntrain: {optim_g: {type: SGD, lr: 0.1}}\n"))
    assert options.train is not None
    assert options.train.optim_g.args == {"lr": 0.1}


def test_mistakes_in_a_chain_point_into_the_file_that_made_them(write: Write) -> None:
    write(BASE.replace("gt_size: 32", "gt_size: 33"), "a.yml")
    write("extends: a.yml\n\ntrain:\n  ema_dcay: 0.9\n", "b.yml")
    top = write("extends: b.yml\nval:\n  val_frq: 3\n", "c.yml")
    assert [line.split(": ")[:2] for line in error_of(top)] == [
        ["a.yml:5", "datasets.train.gt_size"],
        ["b.yml:4", "train.ema_dcay"],
        ["c.yml:3", "val.val_frq"],
    ]


@pytest.mark.parametrize(
    ("files", "place", "says"),
    [
        ({"x.yml": "name: a\nextends: bsae.yml\n", "base.yml": BASE}, "x.yml:2", "no file bsae.yml; did you mean `bas"),
        ({"x.yml": "extends: sub/y.yml\n"}, "x.yml:1", "no file sub/y.yml; it is looked for from the folder of this"),
        ({"x.yml": "\nextends: x.yml\n"}, "x.yml:2", "goes in a circle: x.yml -> x.yml; remove one"),
        ({"x.yml": "extends: y.yml\n", "y.yml": "a: 1\nextends: x.yml\n"}, "y.yml:2", "circle: x.yml -> y.yml -> x"),
        ({"x.yml": "extends: [a.yml, b.yml]\n"}, "x.yml:1", "takes the name of one option file"),
        ({"x.yml": "extends:\n"}, "x.yml:1", "takes the name of one option file"),
        ({"x.yml": "extends: y.yml\n", "y.yml": "a: 1\na: 2\n"}, "y.yml:2", "written twice, first on line 1"),
    ],
)  # fmt: skip
def test_broken_chains_are_told(files: dict[str, str], place: str, says: str, write: Write) -> None:
    for name, text in files.items():
        write(text, name)
    (line,) = error_of("x.yml")
    assert line.startswith(f"{place}: ")
    assert says in line


@pytest.mark.parametrize("override", ["train.total_iter=100", "train:total_iter=100", " train.total_iter = 1e2"])
def test_override(override: str, write: Write) -> None:
    options = load(write(BASE), [override])
    assert options.train is not None
    assert options.train.total_iter == 100


def test_overrides_reach_into_lists_and_make_sections(write: Write) -> None:
    options = load(write(BASE), ["train.optim_g.betas.1=0.5", "logger.print_freq=7", "datasets.val.name=faces"])
    assert options.train is not None
    assert options.train.optim_g.args["betas"] == [0.9, 0.5]
    assert options.logger.print_freq == 7
    assert options.datasets.evaluation("val")["val"].name == "faces"


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("train.ema_dcay=0.9", "train.ema_dcay: unknown key; did you mean `ema_decay`?"),
        ("train.total_iter=many", 'train.total_iter: should be a valid integer, found "many"'),
        ("network_g.type=MSRResNt", "network_g.type: no `MSRResNt` among the archs; did you mean `MSRResNet`?"),
        ("network_g={type: EDSR, num_fet: 3}", "network_g.num_fet: unknown key for EDSR; did you mean `num_feat`?"),
        ("network_g={type: EDSR, rgb_mean: [0.4, 0.4]}", "network_g.rgb_mean.2: is missing; add it"),
        (
            "network_g={type: RCAN, rgb_mean: [1, 2, 3, 4]}",
            "network_g.rgb_mean: should have at most 3 items, not 4, found",
        ),
        ("name.x=1", 'name: should be a valid string, found {"x": 1}'),
        ("train.optim_g.betas.5=0.5", "`5` is no position in a list of 2; count from 0"),
        ("train.optim_g.betas.0.x=1", "train.optim_g.betas.0: should be a valid number, found {"),
        ("total_iter", "write it as path.to.key=value, such as train.total_iter=100"),
        ("train..lr=1", "write it as path.to.key=value, such as train.total_iter=100"),
        ("name=[a", "not valid YAML: expected ',' or ']'"),
        ("name=!!python/name:os.system", "the tag `!!python/name:os.system` is not allowed"),
    ],
)
def test_mistakes_in_overrides_are_told(override: str, says: str, write: Write) -> None:
    (line,) = error_of(write(BASE), override)
    assert line.startswith(f"--set {override}: {says}")


def test_a_merged_section_keeps_the_marks_of_its_own_keys() -> None:
    document = parse("a: &a\n  x: 1\n  y: 2\nb:\n  y: 3\n  <<: *a\n", "f.yml")
    assert document.data["b"] == {"x": 1, "y": 3}
    assert str(document.mark(("b", "y"))) == "f.yml:5"
    assert str(document.mark(("b", "x"))) == "f.yml:2"


def test_resolved_options_load_again_as_they_are(write: Write) -> None:
    from restore.engine.experiment import dump

    options = load(write(BASE))
    again = load(write(dump(options), "resolved.yml"))
    assert again == options


def test_resolved_options_do_not_hang_on_the_data_folder(write: Write) -> None:
    """What a checkpoint carries is read by people: plain YAML, every default in it."""
    from restore.engine.experiment import dump

    resolved = yaml.safe_load(dump(load(write(BASE))))
    assert resolved["train"]["precision"] == "fp32"
    assert resolved["datasets"]["train"]["dataroot_gt"] == "datasets/faces"


@cache
def validator() -> Any:
    """Of the schema for editors, which takes a second to make."""
    jsonschema = pytest.importorskip("jsonschema")
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def schema_errors(data: object) -> list[str]:
    return [".".join(map(str, error.absolute_path)) for error in validator().iter_errors(data)]


def test_schema_accepts_what_loads() -> None:
    data = parse(BASE, "base").data
    assert schema_errors(data) == []
    assert schema_errors({"extends": "base.yml", "network_g": {"num_feat": 3}}) == []
    assert schema_errors({"network_g": {"type": "basicsr/RRDBNet", "num_grow_ch": 3}}) == []


@pytest.mark.parametrize(
    ("override", "place"),
    [
        ("train.ema_dcay=1", "train"),
        ("network_g.num_fet=1", "network_g"),
        ("network_g.num_feat=a", "network_g"),
        ("datasets.train.batch_size=0", "datasets.train"),
        ("datasets.train.transforms=[{type: RandomFlop}]", "datasets.train"),
        ("val.metrics.luma.type=pnsr", "val.metrics.luma"),
        ("train.losses.pixel.wieght=1", "train"),
    ],
)
def test_schema_refuses_what_does_not(override: str, place: str) -> None:
    from restore.options.load import apply_override

    document = parse(BASE, "base")
    apply_override(document, override)
    assert schema_errors(document.data) == [place]


def test_schema_is_pydantics_own_besides_the_parts() -> None:
    assert set(json_schema()["properties"]) == {*Options.model_fields, "extends"}


OPTION_FILES = [path for path in (REPOSITORY / "options").rglob("*.yml") if path.parent.name != "sweeps"]
SHIPPED = sorted(path.relative_to(REPOSITORY).as_posix() for path in OPTION_FILES)


@pytest.mark.parametrize("path", SHIPPED)
def test_shipped_option_file_fits_the_schema(path: str) -> None:
    assert schema_errors(parse((REPOSITORY / path).read_text(encoding="utf-8"), path).data) == []


@pytest.mark.parametrize("path", SHIPPED)
def test_shipped_option_file_has_no_mistake_but_missing_data(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from restore.options import check

    monkeypatch.setattr(check, "_check_path", lambda *_: None)
    assert load(REPOSITORY / path).name


def test_two_sets_of_one_name_are_told(write: Write) -> None:
    path = write(BASE)
    second = "datasets.val_2={type: GTImageDataset, dataroot_gt: datasets/faces, name: val}"
    assert error_of(path, second)[0].endswith("`val` is val's name too; change one")


def test_a_plugin_lies_beside_the_option_file(write: Write) -> None:
    write("from restore.losses.pixel_loss import L1Loss\nfrom restore.registry import LOSSES\n\n@LOSSES.register\n"
          "class BesideLoss(L1Loss):\n    'Beside.'\n", "sub/beside_loss_part.py")  # fmt: skip
    path = write(
        "extends: ../x.yml\nplugins: [beside_loss_part]\ntrain: {losses: {pixel: {type: BesideLoss}}}\n", "sub/y.yml"
    )
    write(BASE)
    options = load(path)
    assert options.train is not None
    assert options.train.losses["pixel"] is not None


def test_parts_that_refuse_what_they_are_given_are_told_with_their_place(tmp_path):
    file = tmp_path / "x.yml"
    file.write_text(
        "name: x\nnetwork_g: {type: MSRResNet}\ndatasets:\n  val:\n    type: OccludedImageDataset\n"
        f"    dataroot_gt: {tmp_path}\n    occlusion:\n"
        "      - {type: LamaMedium, area: [0.5, 0.2]}\n"
        "      - {type: Maybe, probability: 0.5, part: {type: OneOf, probabilities: [1, 2], choices: [{type: Eyes}]}}\n"
        "      - {type: LowerFace, fill: [3, 0]}\n"
        "      - {type: LowerFace, fill: [[3, 0, 0], [0, 0, 300]]}\n"
        "      - {type: LowerFace, fill: [3, 0, 255]}\n"
    )
    with pytest.raises(UserError) as told:
        load(file)
    first, second, third, fourth = str(told.value).splitlines()[1:]
    assert first == f"{file}:8: datasets.val.occlusion.0.area: should have the smaller number first, found [0.5, 0.2]"
    assert f"{file}:9: datasets.val.occlusion.1.part: OneOf: 2 probabilities for 1 choices" in second
    for line, number, found in ((third, 10, "[3, 0]"), (fourth, 11, "[[3, 0, 0], [0, 0, 300]]")):
        assert line.startswith(f"{file}:{number}: datasets.val.occlusion.{number - 8}.fill: should be black, white")
        assert line.endswith(
            f"an RGB colour such as [200, 30, 30] of levels in 0..255, or a list of such colours, found {found}"
        )


def test_missing_landmarks_say_what_writes_them(tmp_path, monkeypatch):
    monkeypatch.delenv("RESTORE_DATA", raising=False)
    file = tmp_path / "x.yml"
    section = f"{{type: GTImageDataset, dataroot_gt: {tmp_path}, landmarks: datasets/mine_landmarks.json}}"
    file.write_text(f"name: x\nnetwork_g: {{type: MSRResNet}}\ndatasets: {{val: {section}}}\n")
    with pytest.raises(UserError, match="write it with `restore prepare landmarks datasets/mine.lmdb`"):
        load(file)


def test_inpainting_enlarges_nothing(tmp_path):
    file = tmp_path / "x.yml"
    file.write_text("name: x\nscale: 4\ntask: {type: Inpainting}\nnetwork_g: {type: UNet}\n")
    with pytest.raises(UserError, match=r"x.yml:2: scale: is 4, but inpainting keeps the size; set `scale: 1`"):
        load(file, testing=True)


@pytest.mark.parametrize("task", ["Inpainting", "Segmentation"])
def test_a_data_set_without_holes_is_of_no_use_to_inpainting(tmp_path, task):
    file = tmp_path / "x.yml"
    train = f"{{type: OccludedImageDataset, dataroot_gt: {tmp_path}, occlusion: [{{type: LowerFace}}]}}"
    val = f"{{type: GTImageDataset, dataroot_gt: {tmp_path}}}"
    text = f"name: x\ntask: {{type: {task}}}\nnetwork_g: {{type: UNet}}\ndatasets:\n  train: {train}\n  val: {val}\n"
    file.write_text(text + "train: {total_iter: 1, optim_g: {type: Adam}, losses: {pixel: {type: L1Loss}}}\n")
    with pytest.raises(UserError, match=r"x.yml:6: datasets.val.type: GTImageDataset hides nothing; Occluded") as told:
        load(file)
    assert len(str(told.value).splitlines()) == 2
    blurred = f"{{type: GTImageDataset, dataroot_gt: {tmp_path}, degradation: [{{type: Blur}}]}}"
    file.write_text(file.read_text().replace(val, blurred))
    load(file)


def test_two_lengths_are_told_with_both_places(tmp_path):
    (tmp_path / "base.yml").write_text("train:\n  total_iter: 5\n")
    file = tmp_path / "x.yml"
    file.write_text("extends: base.yml\nname: x\nnetwork_g: {type: MSRResNet}\ntrain: {total_epoch: 1}\n")
    with pytest.raises(UserError, match=r"x.yml:4: train.total_epoch: `total_iter` stands at .*base.yml:2; give one"):
        load(file)


def test_a_recipe_is_not_proposed_as_data(tmp_path):
    (tmp_path / "faces_160.md").touch()
    section = f"{{type: GTImageDataset, dataroot_gt: {tmp_path / 'faces_160.lmdb'}}}"
    file = tmp_path / "x.yml"
    file.write_text(f"name: x\nnetwork_g: {{type: MSRResNet}}\ndatasets: {{val: {section}}}\n")
    with pytest.raises(UserError, match=r"no file or folder `.*faces_160.lmdb`; correct the path$"):
        load(file, testing=True)
