"""One step of every task, at a size of practice: the trainer and a step by hand, on the same batches out of memory."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle, islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import yaml

from benchmarks import bare_loops
from benchmarks.bare_loops import BareStep
from benchmarks.peers import finish, restore_trainer
from benchmarks.recipes import draw
from restore.data.loader import Batch
from restore.engine.trainer import Trainer
from restore.registry import ARCHS

LOG_EVERY = 5  # steps of the trainer
WARM_UP = 3
BATCHES = 4  # that are kept in memory
ADAM = {"type": "Adam", "lr": 2e-4, "betas": [0.9, 0.99]}
PIXEL = {"pixel": {"type": "L1Loss"}}
GAME = PIXEL | {"adversarial": {"type": "GANLoss", "weight": bare_loops.ADVERSARIAL}}
MSRRESNET = {"type": "MSRResNet", "num_feat": 64, "num_block": 16}
WORN = [{"type": "OneOf", "choices": [{"type": "FaceMask"}, {"type": "LowerFace", "fill": "random"}]}]
TINY = {"num_feat": 8, "num_block": 1, "num_level": 2, "n_layers": 1}  # of what a network takes of it


class StepTask(NamedTuple):
    """A step to measure, as sections of an option file, and the step by hand that does the same."""

    what: str
    bare: Callable[[Trainer], BareStep]
    batch: int
    size: int  # of the pictures
    sections: dict[str, Any]
    data: dict[str, Any]
    losses: dict[str, Any]


GT = {"type": "GTImageDataset"}
OCCLUDED = {"type": "OccludedImageDataset", "occlusion": WORN}
LANDMARKS = {"landmarks": "gt_landmarks.json"}  # beside the LMDB
BLIND = GT | {"degradation": [{"type": "realesrgan"}], "degrade_on": "device"}
ALIKE = {"identity": {"type": "IdentityLoss", "weight": bare_loops.IDENTITY, "weights": "random"}}
SHAPE = {"bce": {"type": "MaskBCELoss"}, "dice": {"type": "MaskDiceLoss", "weight": bare_loops.DICE}}
UNET = {"type": "UNet", "num_feat": 16}
NOISE = {"type": "DenoisingUNet", "block_out_channels": [24, 48, 96, 192], "layers_per_block": 1}
NOISE |= {"attention_levels": [3], "norm_num_groups": 8}

TASKS = {
    "sr": StepTask(
        *("SR: MSRResNet 64x16, 128 px, batch 4", bare_loops.super_resolution, 4, 128),
        *({"scale": 4, "network_g": MSRRESNET}, GT, PIXEL),
    ),
    "gan": StepTask(
        *("SR-GAN: MSRResNet 64x16 and UNetDiscriminatorSN 64, 64 px, batch 4", bare_loops.gan, 4, 64),
        *({"scale": 4, "network_g": MSRRESNET, "network_d": {"type": "UNetDiscriminatorSN"}}, GT, GAME),
    ),
    "inpainting": StepTask(
        *("inpainting: UNet 16 and PatchGAN 16, face masks, 64 px, batch 16", bare_loops.inpainting, 16, 64),
        {"task": {"type": "Inpainting"}, "network_g": UNET, "network_d": {"type": "PatchGAN", "num_feat": 16}},
        *(OCCLUDED, GAME),
    ),
    "identity": StepTask(
        *("identity loss: UNet 16, MobileFaceNet, 64 px, batch 16", bare_loops.identity, 16, 64),
        *({"task": {"type": "Inpainting"}, "network_g": UNET}, OCCLUDED | LANDMARKS, PIXEL | ALIKE),
    ),
    "diffusion": StepTask(
        *("diffusion: DenoisingUNet 24 to 192, 64 px, batch 8", bare_loops.diffusion, 8, 64),
        *({"task": {"type": "Diffusion"}, "network_g": NOISE}, GT, {}),
    ),
    "segmentation": StepTask(
        *("segmentation: UNet 12, 128 px, batch 8", bare_loops.segmentation, 8, 128),
        {
            "task": {"type": "Segmentation"},
            "network_g": {"type": "UNet", "mask_channel": False, "num_feat": 12, "num_level": 4, "num_out_ch": 1},
        },
        *(OCCLUDED, SHAPE),
    ),
    "blind": StepTask(
        *("blind SR, degraded on the device: MSRResNet 64x16, 128 px, batch 4", bare_loops.super_resolution, 4, 128),
        *({"scale": 4, "network_g": MSRRESNET}, BLIND, PIXEL),
    ),
}


def task_trainer(task: StepTask, folder: Path, quick: bool = False) -> Trainer:
    """The trainer of a task, in an empty folder."""
    draw(folder / "gt.lmdb", (task.size, task.size))
    sections = {name: tiny(section) if quick else section for name, section in task.sections.items()}
    paths = {"landmarks": str(folder / task.data["landmarks"])} if "landmarks" in task.data else {}
    data = {**task.data, **paths, "dataroot_gt": str(folder / "gt.lmdb"), "num_workers": 0}
    data["batch_size"] = 2 if quick else task.batch
    train = {"total_iter": 10**6, "ema_decay": 0, "optim_g": ADAM, "losses": task.losses}
    train |= {"optim_d": ADAM} if "network_d" in sections else {}
    logger = {"print_freq": LOG_EVERY, "save_checkpoint_freq": 10**6}
    options = {"name": "step", "manual_seed": 0, "datasets": {"train": data}, "train": train, "logger": logger}
    file = folder / "train.yml"
    file.write_text(yaml.safe_dump(options | sections))
    return restore_trainer(file)


def tiny(section: Any) -> Any:
    """A network's section made small; any other as it is."""
    known = isinstance(section, dict) and section["type"] in ARCHS
    takes = ARCHS.get(section["type"]).parameters if known else {}
    return section | {name: value for name, value in TINY.items() if name in takes} if known else section


def held_batches(trainer: Trainer) -> list[Batch]:
    """Some batches, as the trainer's loader makes them."""
    with trainer._batches() as batches:
        return list(islice(batches, BATCHES))


def fit_with(trainer: Trainer, batches: Iterable[Batch]) -> None:
    """Trains on these batches in place of the loader's. Neither validates nor saves."""
    given = lambda loader, *rest, **more: iter(batches)  # noqa: E731
    with (
        patch("restore.engine.trainer.watched", given),
        patch.object(trainer, "_finish", lambda stop: None),
        contextlib.redirect_stdout(None),
    ):
        trainer.fit()


class Pair(NamedTuple):
    """Seconds of a step of the bare loop, and the mean of the trainer's steps before and after it."""

    bare: float
    ours: float


def bare_and_trainer(task: StepTask, trainer: Trainer, rounds: int) -> list[Pair]:
    """Steps of both in turns: a shared machine changes its pace within seconds, and longer turns would see that."""
    held = held_batches(trainer)
    step, memory = task.bare(trainer), cycle(held)
    bare: list[float] = []
    ours: list[float] = []

    def run_bare() -> float:
        began = time.perf_counter()
        step(next(memory))
        finish(trainer.device)
        return time.perf_counter() - began

    def in_turns() -> Iterator[Batch]:
        batches = cycle(held)
        yield from islice(batches, WARM_UP)
        for number in range(rounds + 1):
            began = time.perf_counter()
            yield next(batches)
            finish(trainer.device)
            ours.append(time.perf_counter() - began)
            if number < rounds:
                bare.append(run_bare())

    for _ in range(WARM_UP):
        run_bare()
    fit_with(trainer, in_turns())
    return [Pair(one, (before + after) / 2) for one, (before, after) in zip(bare, pairwise(ours), strict=True)]
