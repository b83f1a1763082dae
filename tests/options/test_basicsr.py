"""BasicSR's option files: read without an edit but paths; what is not honoured is named with its line."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from restore import keyed
from restore.errors import UserError
from restore.guest import import_basicsr
from restore.options.load import load
from restore.options.schema import Options
from restore.registry import TRANSFORMS, Part

TRAIN = """\
name: 900_MSRResNet_x3
model_type: SRModel
scale: 3
num_gpu: 2
manual_seed: 5

datasets:
  train:
    name: Faces
    type: PairedImageDataset
    dataroot_gt: gt
    dataroot_lq: lq
    meta_info_file: list.txt
    filename_tmpl: '{}x3'
    io_backend:
      type: disk

    gt_size: 96
    use_hflip: true
    use_rot: true

    num_worker_per_gpu: 4
    batch_size_per_gpu: 6
    dataset_enlarge_ratio: 10
    prefetch_mode: ~
    pin_memory: true

  val:
    name: Few
    type: PairedImageDataset
    dataroot_gt: gt
    dataroot_lq: lq
    gt_size: 96
    io_backend:
      type: disk

network_g:
  type: MSRResNet
  num_in_ch: 3
  num_out_ch: 3
  num_feat: 32
  num_block: 4
  upscale: 3

path:
  pretrain_network_g: ~
  strict_load_g: true
  resume_state: ~

train:
  ema_decay: 0.99
  optim_g:
    type: Adam
    lr: !!float 3e-4
    weight_decay: 0
    betas: [0.9, 0.98]

  scheduler:
    type: CosineAnnealingRestartLR
    periods: [400, 600]
    restart_weights: [1, 0.5]
    eta_min: !!float 1e-6

  total_iter: !!float 1000
  warmup_iter: -1

  pixel_opt:
    type: L1Loss
    loss_weight: 0.7
    reduction: mean

val:
  val_freq: !!float 5e2
  save_img: false
  pbar: false

  metrics:
    psnr:
      type: calculate_psnr
      crop_border: 3
      test_y_channel: false
      better: higher
    luma:
      type: calculate_ssim
      crop_border: 3
      test_y_channel: true

logger:
  print_freq: 20
  save_checkpoint_freq: !!float 5e2
  use_tb_logger: true
  wandb:
    project: ~
    resume_id: ~

dist_params:
  backend: nccl
  port: 29111
"""

TEST = """\
name: 901_EDSR_x2
model_type: SRModel
scale: 2
num_gpu: 0
datasets:
  test_1:
    name: One
    type: PairedImageDataset
    dataroot_gt: gt
    dataroot_lq: lq
    filename_tmpl: '{}x2'
    io_backend: {type: disk}
  test_2:
    name: Two
    type: SingleImageDataset
    dataroot_lq: lq
    io_backend: {type: disk}
network_g: {type: EDSR, num_in_ch: 3, num_out_ch: 3, num_feat: 8, num_block: 1, upscale: 2, img_range: 255.}
path:
  pretrain_network_g: weights.pth
  param_key_g: params
  strict_load_g: true
val:
  save_img: true
  suffix: ~
  metrics:
    psnr: {type: calculate_psnr, crop_border: 2, test_y_channel: true}
"""


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("gt", "lq", "gt.lmdb", "lq.lmdb"):
        (tmp_path / folder).mkdir()
    for file in ("list.txt", "weights.pth"):
        (tmp_path / file).touch()


def read(text: str, *overrides: str) -> tuple[Options, list[str]]:
    Path("b.yml").write_text(text, encoding="utf-8")
    notes: list[str] = []
    return load("b.yml", overrides, tell=notes.append), notes


def mistakes(text: str, *overrides: str) -> list[str]:
    with pytest.raises(UserError) as caught:
        read(text, *overrides)
    return str(caught.value).removeprefix("the option file has mistakes:\n").split("\n")


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def line_of_key(text: str, key: str) -> int:
    """The line of the first key of that name and depth."""
    *above, last = key.split(".")
    return line_of(text, f"\n{'  ' * len(above)}{last}:") + 1


def test_training_file_is_read_whole() -> None:
    options, notes = read(TRAIN)
    assert notes == []
    assert options.model_dump(exclude_unset=True) == {
        "name": "900_MSRResNet_x3",
        "task": {"type": "Restoration"},
        "scale": 3,
        "manual_seed": 5,
        "network_g": {
            "type": "MSRResNet",
            "num_in_ch": 3,
            "num_out_ch": 3,
            "num_feat": 32,
            "num_block": 4,
            "upscale": 3,
        },
        "datasets": {
            "train": {
                "name": "Faces",
                "type": "PairedImageDataset",
                "dataroot_gt": "gt",
                "dataroot_lq": "lq",
                "meta_info": "list.txt",
                "filename_tmpl": "{}x3",
                "gt_size": 96,
                "scale": 3,
                "transforms": [
                    {"type": "RandomFlip", "horizontal": 0.5, "vertical": 0.5},
                    {"type": "RandomTranspose", "probability": 0.5},
                ],
                "num_workers": 4,
                "batch_size": 12,
                "dataset_enlarge_ratio": 10,
            },
            "val": {"name": "Few", "type": "PairedImageDataset", "dataroot_gt": "gt", "dataroot_lq": "lq", "scale": 3},
        },
        "path": {"strict_load_g": True},
        "train": {
            "ema_decay": 0.99,
            "optim_g": {"type": "Adam", "lr": 3e-4, "weight_decay": 0, "betas": [0.9, 0.98]},
            "scheduler": {
                "type": "CosineAnnealingRestartLR",
                "periods": [400, 600],
                "restart_weights": [1, 0.5],
                "eta_min": 1e-6,
            },
            "total_iter": 1000,
            "warmup_iter": -1,
            "losses": {"pixel": {"type": "L1Loss", "weight": 0.7}},
        },
        "val": {
            "val_freq": 500,
            "save_img": False,
            "metrics": {"psnr": {"type": "psnr", "crop_border": 3}, "luma": {"type": "ssim_y", "crop_border": 3}},
        },
        "logger": {"print_freq": 20, "save_checkpoint_freq": 500, "keep_checkpoints": 0, "use_tb_logger": True},
    }


def test_test_file_is_read_whole() -> None:
    options, notes = read(TEST)
    assert notes == []
    assert options.train is None
    assert options.device == "cpu"
    assert options.path.model_dump(exclude_unset=True) == {
        "pretrain_network_g": "weights.pth",
        "param_key_g": "params",
        "strict_load_g": True,
    }
    assert [(key, part.type, part.name) for key, part in options.datasets.evaluation("test").items()] == [
        ("test_1", "PairedImageDataset", "One"),
        ("test_2", "SingleImageDataset", "Two"),
    ]
    assert options.val.metrics["psnr"].type == "psnr_y"
    assert options.val.save_img is True


def changed(old: str, new: str, text: str = TRAIN) -> str:
    assert text.count(old) >= 1
    return text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("old", "new", "path", "value"),
    [
        ("num_gpu: 2", "num_gpu: 0", "datasets.train.batch_size", 6),
        ("num_gpu: 2", "num_gpu: 0", "device", "cpu"),
        ("num_gpu: 2", "num_gpu: auto", "datasets.train.batch_size", 6),
        ("num_gpu: 2\n", "", "datasets.train.batch_size", 6),
        ("type: L1Loss", "type: CharbonnierLoss\n    eps: 1e-6", "train.losses.pixel.eps", 1e-6),
        ("type: L1Loss", "type: MSELoss", "train.losses.pixel.type", "MSELoss"),
        ("test_y_channel: false", "test_y_channel: true", "val.metrics.psnr.type", "psnr_y"),
        ("pretrain_network_g: ~", "pretrain_network_g: weights.pth", "path.param_key_g", "params"),
        ("warmup_iter: -1", "warmup_iter: !!float 20", "train.warmup_iter", 20),
        ("type: disk", "type: lmdb", "datasets.train.dataroot_gt", "gt.lmdb"),
        ("use_rot: true", "use_rot: false", "datasets.train.transforms.0.vertical", 0.0),
        ("use_hflip: true", "use_hflip: false", "datasets.train.transforms.0.horizontal", 0.0),
    ],
)
def test_keys_that_are_translated(old: str, new: str, path: str, value: object) -> None:
    text = changed(old, new)
    if "lmdb" in new:
        text = text.replace(": gt\n", ": gt.lmdb\n").replace(": lq\n", ": lq.lmdb\n")
    found: Any = read(text)[0].model_dump()
    for key in path.split("."):
        found = found[int(key)] if isinstance(found, list) else found[key]
    assert found == value
    assert type(found) is type(value)


def test_schedules_that_basicsr_calls_otherwise() -> None:
    start, end = TRAIN.index("    type: CosineAnnealingRestartLR"), TRAIN.index("  total_iter")
    for block, expected in {
        "type: MultiStepLR\n    milestones: [3]\n    gamma: 0.5": {
            "type": "MultiStepLR",
            "milestones": [3],
            "gamma": 0.5,
        },
        "type: MultiStepRestartLR\n    milestones: [3]\n    restarts: [0]": {"type": "MultiStepLR", "milestones": [3]},
        "type: TrueCosineAnnealingLR\n    T_max: 9": {"type": "CosineAnnealingLR", "T_max": 9},
    }.items():
        options, _ = read(TRAIN[:start] + f"    {block}\n" + TRAIN[end:])
        assert options.train is not None
        assert options.train.scheduler is not None
        assert options.train.scheduler.model_dump() == expected


def test_networks_that_are_not_here_are_basicsrs() -> None:
    try:
        import_basicsr()
    except UserError as error:
        pytest.skip(str(error))
    text = changed("type: MSRResNet", "type: RCAN\n  num_group: 2", changed("scale: 3\n", "scale: 4\n", TRAIN))
    text = text.replace("upscale: 3", "upscale: 4")
    assert read(text)[0].network_g.type == "basicsr/RCAN"


NOTED = [
    ("num_gpu: 2", "num_gpu: auto", "num_gpu", "is taken for one GPU"),
    ("manual_seed: 5", "manual_seed: ~", "manual_seed", "0 is used"),
    ("dist_params:", "find_unused_parameters: true\ndist_params:", "find_unused_parameters", "not needed"),
    ("dist_params:", "suffix: end\ndist_params:", "suffix", "without a suffix"),
    ("dist_params:", "crop_border: 4\ndist_params:", "crop_border", "set crop_border of each of val.metrics"),
    ("  pbar: false", "  suffix: end", "val.suffix", "without a suffix"),
    ("better: higher", "better: lower", "val.metrics.psnr.better", "higher is better for psnr"),
    ("project: ~", "project: faces", "logger.wandb", "curves go to TensorBoard"),
    ("resume_state: ~", "ignore_resume_networks: [network_g]", "path.ignore_resume_networks", "without resume_state"),
]


@pytest.mark.parametrize(("old", "new", "key", "says"), NOTED, ids=lambda item: item[:30])
def test_what_changes_no_result_is_noted_with_its_line(old: str, new: str, key: str, says: str) -> None:
    text = changed(old, new)
    _, (note,) = read(text)
    assert note.startswith(f"b.yml:{line_of_key(text, key)}: {key}: ")
    assert says in note


def test_metrics_that_are_not_here_are_noted() -> None:
    text = changed("    luma:\n      type: calculate_ssim", "    fid:\n      type: calculate_fid")
    options, (note,) = read(text)
    assert list(options.val.metrics) == ["psnr"]
    assert (
        note == f"b.yml:{line_of(text, 'fid:')}: val.metrics.fid: `calculate_fid` is not known here yet; it is left out"
    )


def test_keys_that_basicsr_ignores_on_an_lmdb_are_noted() -> None:
    text = TRAIN.replace(": gt\n", ": gt.lmdb\n").replace(": lq\n", ": lq.lmdb\n")
    options, notes = read(text)
    assert options.datasets.train is not None
    assert not {"meta_info", "filename_tmpl"} & set(options.datasets.train.args)
    assert [note.split(": ")[:2] for note in notes] == [
        [f"b.yml:{line_of(text, 'meta_info_file')}", "datasets.train.meta_info_file"],
        [f"b.yml:{line_of(text, 'filename_tmpl')}", "datasets.train.filename_tmpl"],
    ]


REFUSED = [
    ("resume_state: ~", "resume_state: a.state", "path.resume_state", "give the command --resume DIR or --auto_resume"),
    ("gt_size: 96", "mean: [0.5, 0.5, 0.5]\n    gt_size: 96", "datasets.train.mean", "pictures in [0, 1]; remove it"),
    ("gt_size: 96", "std: [0.5, 0.5, 0.5]\n    gt_size: 96", "datasets.train.std", "normalise inside the network"),
    ("gt_size: 96", "color: y\n    gt_size: 96", "datasets.train.color", "remove it to train on RGB"),
    ("type: disk", "type: lmdb", "datasets.train.io_backend", "does not end in .lmdb"),
    ("type: disk", "type: memcached", "datasets.train.io_backend", "use disk or lmdb"),
    ("use_rot: true", "use_rot: 0.5", "datasets.train.use_rot", "should be true or false, found 0.5"),
    ("num_gpu: 2", "num_gpu: two", "num_gpu", "should be a number of GPUs, or auto, found 'two'"),
    ("reduction: mean", "reduction: sum", "train.pixel_opt.reduction", "set mean, and adapt loss_weight"),
    ("warmup_iter: -1", "ldl_opt: {type: L1Loss}", "train.ldl_opt", "not known here yet"),
    ("warmup_iter: -1", "net_d_iters: 2", "train.net_d_iters", "set it to 1"),
    ("warmup_iter: -1", "gan_opt: {type: GANLoss, real_label_val: 0.9}", "train.gan_opt.real_label_val", "only 1 is"),
    (
        "warmup_iter: -1",
        "perceptual_opt: {type: PerceptualLoss, criterion: fro}",
        "train.perceptual_opt.criterion",
        "`fro`",
    ),
    ("type: calculate_psnr", "type: calculate_pnsr", "val.metrics.psnr.type", "did you mean `calculate_psnr`?"),
    ("test_y_channel: false", "test_y_channel: 3", "val.metrics.psnr.test_y_channel", "true or false, found 3"),
    ("restart_weights: [1, 0.5]", "restart_weight: [1, 0.5]", "train.scheduler.restart_weight", "`restart_weights`?"),
    # Ours is told in the file's own words, and on its lines.
    ("batch_size_per_gpu: 6", "batch_size_per_gpu: six", "datasets.train.batch_size_per_gpu", 'found "six"'),
    ("num_worker_per_gpu: 4", "num_worker_per_gpu: -1", "datasets.train.num_worker_per_gpu", "found -1"),
    (
        "meta_info_file: list.txt",
        "meta_info_file: lst.txt",
        "datasets.train.meta_info_file",
        "did you mean `list.txt`?",
    ),
    (
        "loss_weight: 0.7",
        "loss_weight: heavy",
        "train.pixel_opt.loss_weight",
        'should be a valid number, found "heavy"',
    ),
    ("type: L1Loss", "type: L1Los", "train.pixel_opt.type", "did you mean `L1Loss`?"),
    ("gt_size: 96", "gt_size: 95", "datasets.train.gt_size", "no multiple of the scale 3"),
    ("upscale: 3", "upscale: 4", "network_g.upscale", "the experiment's `scale` is 3; make them equal"),
    ("val_freq: !!float 5e2", "val_freq: 0.5", "val.val_freq", "should be a valid integer, found 0.5"),
    # Misspelt keys of BasicSR's own.
    ("use_hflip: true", "use_hflp: true", "datasets.train.use_hflp", "did you mean `use_hflip`?"),
    ("pixel_opt:", "pixl_opt:", "train.pixl_opt", "did you mean `pixel_opt`?"),
    ("ema_decay: 0.99", "ema_dcay: 0.99", "train.ema_dcay", "did you mean `ema_decay`?"),
    ("warmup_iter: -1", "warmup_itr: -1", "train.warmup_itr", "did you mean `warmup_iter`?"),
    ("manual_seed: 5", "manul_seed: 5", "manul_seed", "did you mean `manual_seed`?"),
    ("pretrain_network_g: ~", "pretrain_net_g: ~", "path.pretrain_net_g", "did you mean `pretrain_network_g`?"),
    ("dist_params:", "dist_prams:", "dist_prams", "did you mean `dist_params`?"),
]


@pytest.mark.parametrize(("old", "new", "key", "says"), REFUSED, ids=lambda item: item[:30])
def test_what_cannot_be_honoured_is_told_with_its_line(old: str, new: str, key: str, says: str) -> None:
    text = changed(old, new)
    lines = [line for line in mistakes(text) if f": {key}: " in line]
    place = line_of(text, new if key.split(".")[-1] + ":" in new else key.split(".")[-1] + ":")
    assert len(lines) == 1
    assert lines[0].startswith(f"b.yml:{place}: {key}: ")
    assert says in lines[0]


def test_refusals_and_other_mistakes_are_told_together() -> None:
    text = changed("resume_state: ~", "resume_state: a.state", changed("num_feat: 32", "num_fet: 32"))
    assert [line.split(": ")[1] for line in mistakes(text)] == ["network_g.num_fet", "path.resume_state"]


def test_niqe_is_known() -> None:
    niqe = "    luma:\n      type: calculate_niqe\n      num_thread: 4\n      better: lower"
    text = changed("    luma:\n      type: calculate_ssim", niqe).replace("      test_y_channel: true\n", "")
    options, notes = read(text)
    assert options.val.metrics["luma"].model_dump() == {"type": "niqe", "crop_border": 3}
    assert [note.rpartition(": ")[2] for note in notes] == ["has no effect"]


GAME = """\
  warmup_iter: -1
  optim_d: {type: Adam, lr: !!float 1e-4, weight_decay: 0, betas: [0.9, 0.99]}
  perceptual_opt:
    type: PerceptualLoss
    layer_weights: {'conv5_4': 1}
    vgg_type: vgg19
    use_input_norm: true
    range_norm: false
    perceptual_weight: 0.8
    style_weight: 0
    criterion: l1
  gan_opt: {type: GANLoss, gan_type: vanilla, real_label_val: 1.0, fake_label_val: 0.0, loss_weight: !!float 5e-3}
  net_d_iters: 1
  net_d_init_iters: 0
"""


@pytest.mark.parametrize(("model", "kind"), [("SRGANModel", "GANLoss"), ("ESRGANModel", "RelativisticGANLoss")])
def test_a_game_against_a_discriminator_is_read_whole(model: str, kind: str) -> None:
    """The settings of BasicSR's train_MSRGAN_x4.yml."""
    text = changed("SRModel", model).replace("  warmup_iter: -1\n", GAME)
    text = text.replace("path:\n", "network_d: {type: VGGStyleDiscriminator, num_in_ch: 3, num_feat: 8}\npath:\n", 1)
    options, notes = read(text)
    assert notes == []
    assert options.network_d is not None
    assert options.network_d.type == "VGGStyleDiscriminator"
    assert options.train is not None
    assert options.train.model_dump()["losses"] == {
        "pixel": {"type": "L1Loss", "weight": 0.7},
        "perceptual": {
            "type": "PerceptualLoss",
            "weight": 0.8,
            "layers": {"conv5_4": 1},
            "network": "vgg19",
            "criterion": "l1",
        },
        "adversarial": {"type": kind, "weight": 0.005, "gan_type": "vanilla"},
    }


@pytest.mark.parametrize("model", ["SwinIRModel", "SRModle"])
def test_other_models_are_told(model: str) -> None:
    known = "SRModel, SRGANModel, ESRGANModel"
    expected = f"b.yml:2: model_type: of BasicSR's models {known} are known here so far, found `{model}`"
    assert mistakes(changed("SRModel", model)) == [expected]


def test_overrides_speak_basicsrs_language_and_ours() -> None:
    options, _ = read(
        TRAIN, "datasets:train:batch_size_per_gpu=3", "train:pixel_opt:loss_weight=2", "train.precision=bf16"
    )
    assert options.datasets.train is not None
    assert options.train is not None
    assert options.datasets.train.batch_size == 6
    assert options.train.losses["pixel"] is not None
    assert options.train.losses["pixel"].weight == 2
    assert options.train.precision == "bf16"
    (line,) = mistakes(TRAIN, "datasets:train:batch_size_per_gpu=none")
    assert line.startswith("--set datasets:train:batch_size_per_gpu=none: datasets.train.batch_size_per_gpu: should be")


def test_our_key_beside_basicsrs_is_taken_and_noted() -> None:
    options, (note,) = read(TRAIN, "datasets.train.batch_size=5")
    assert options.datasets.train is not None
    assert options.datasets.train.batch_size == 5
    assert note.endswith("datasets.train.batch_size_per_gpu: ignored, since `batch_size` is given too")


def poses(transforms: list[dict[str, Any]], number: int) -> Counter[bytes]:
    built = [TRANSFORMS.build(Part(**section)) for section in transforms]
    counted: Counter[bytes] = Counter()
    for index in range(number):
        sample: Any = {"lq": np.arange(12, dtype=np.uint8).reshape(2, 2, 3), "key": "", "path": ""}
        draws = keyed.draws(1, index)
        for transform in built:
            sample = transform(sample, draws)
        counted[np.ascontiguousarray(sample["lq"]).tobytes()] += 1
    return counted


@pytest.mark.parametrize(("hflip", "rotation", "number"), [(True, True, 8), (False, True, 4), (True, False, 2)])
def test_augmentations_are_distributed_as_basicsrs(hflip: bool, rotation: bool, number: int) -> None:
    text = changed("use_hflip: true", f"use_hflip: {hflip}", changed("use_rot: true", f"use_rot: {rotation}"))
    options, _ = read(text)
    assert options.datasets.train is not None
    counted = poses(options.datasets.train.args["transforms"], 4000)
    assert set(counted) == expected_poses(hflip, rotation)
    assert len(counted) == number
    expected = 4000 / number
    chi2 = sum((count - expected) ** 2 / expected for count in counted.values())
    assert chi2 < 30  # 7 degrees of freedom: exceeded once in 10,000; it has no chance in it, the draws being keyed


def expected_poses(hflip: bool, rotation: bool) -> set[bytes]:
    """What BasicSR's `augment` can make of a picture: mirror, turn over, then transpose."""
    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    found = set()
    for mirror in {False, hflip}:
        for over in {False, rotation}:
            for transpose in {False, rotation}:
                turned = picture[:: -1 if over else 1, :: -1 if mirror else 1]
                found.add(np.ascontiguousarray(turned.transpose(1, 0, 2) if transpose else turned).tobytes())
    return found


def test_no_augmentation_gives_no_transforms() -> None:
    text = changed("use_hflip: true", "use_hflip: false", changed("use_rot: true", "use_rot: false"))
    options, _ = read(text)
    assert options.datasets.train is not None
    assert "transforms" not in options.datasets.train.args
