"""A shipped option file at its full size, on drawn faces of the size that it asks for: what stands in for its data."""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.shares import Shares, time_shares
from restore import keyed
from restore.data.drawn import draw_face
from restore.data.encode import encode
from restore.data.landmarks import write_landmarks
from restore.data.lmdb_store import LmdbWriter
from restore.engine.experiment import Experiment
from restore.engine.logging import Log
from restore.engine.trainer import Trainer
from restore.options.load import load_stages, read_extended
from restore.options.paths import MustExist
from restore.options.schema import Options
from restore.options.walk import marked_values
from restore.registry import LOSSES

OPTIONS = Path(__file__).resolve().parents[1] / "options"
PICTURES = 16
LEAST = 3  # iterations
PORTRAIT = (275, 225)  # height and width of the photos of datasets/congress.md
LESS = {  # smaller batches, where 24 GB of memory or a step of 20 s on two cores ask for them
    "train_Diffusion_celebahq": 1,
    "train_FFC_celebahq": 2,
    "train_FaceEnhanceNet_x4": 4,
    "train_GANsformer_celebahq": 2,
    "train_PremiumGAN_celebahq": 4,
    "train_RRDBNet_GAN_x4": 1,
}


class Row(NamedTuple):
    """What one stage of an option file took; `made` are a core's seconds for the data of one batch."""

    stage: str
    batch: str
    workers: int
    made: float
    shares: Shares


def recipes() -> list[Path]:
    """The training files that ship."""
    return sorted([OPTIONS / "quickstart.yml", *(OPTIONS / "train").rglob("*.yml")], key=lambda path: path.stem)


def measure_recipe(recipe: Path, folder: Path, seconds: float, changes: tuple[str, ...] = ()) -> list[Row]:
    """A row for each stage of an option file; its data stand below `folder`."""
    os.environ["RESTORE_DATA"] = str(folder / "data")
    data = read_extended(recipe).data
    place_data(data, folder / "data")
    overrides = [*stand_ins(data), *smaller(recipe), *changes]
    rows = []
    stages = load_stages(recipe, [*overrides, f"path.experiments_root={folder / 'experiments'}"])
    experiment = Experiment(stages)
    experiment.prepare(resuming=False, archive=True, source=recipe)
    for options in stages:
        trainer = Trainer(options, experiment, Log(experiment.log))
        made = seconds_to_make(trainer)
        rows.append(_row(trainer, data, made, time_shares(trainer, seconds, LEAST, warm_up=1)))
    return rows


def _row(trainer: Trainer, data: dict[str, Any], made: float, shares: Shares) -> Row:
    stage, own = trainer.options.stage, data["datasets"]["train"].get("batch_size")
    size = trainer.data.batch_size
    batch = str(size) if size == own else f"{size} of {own}"
    return Row(stage.name if stage else "", batch, trainer.data.num_workers, made, shares)


def place_data(data: dict[str, Any], folder: Path) -> None:
    """Draws the training sets that an option file names, with landmarks where it names such."""
    for loc, marker, value in marked_values(Options, data):
        if isinstance(marker, MustExist) and loc[:2] == ("datasets", "train"):
            path = folder / Path(value).relative_to("datasets")
            if path.suffix == ".lmdb" and not path.exists():
                draw(path, picture_size(value))


def picture_size(name: str) -> tuple[int, int]:
    """Height and width of the pictures in a data set, which its name tells, or the page of datasets/ about it."""
    if "photos" in name:
        return PORTRAIT
    told = re.search(r"_(\d+)[_/]", name)
    side = int(told[1]) if told else 256  # as `restore prepare drawn` makes them
    return side, side


def draw(path: Path, size: tuple[int, int], count: int = PICTURES) -> None:
    """Writes an LMDB of `count` drawn faces, and the landmarks file beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    faces = {f"{number:04d}": draw_face(0, number, max(size)) for number in range(count)}
    with LmdbWriter(path) as writer:
        for key, face in faces.items():
            writer.put_all([encode(key, face.image[: size[0], : size[1]], compact=False)])
    write_landmarks(path.with_name(f"{path.stem}_landmarks.json"), {key: f.landmarks for key, f in faces.items()})


def stand_ins(data: dict[str, Any]) -> Iterator[str]:
    """Overrides without which a file could not run here: random weights in the losses, and no validation."""
    stages = data.get("stages") or []
    for prefix, section in [("", data), *((f"stages.{number}.", stage) for number, stage in enumerate(stages))]:
        for name, loss in section.get("train", {}).get("losses", {}).items():
            if loss and "weights" in LOSSES.get(loss.get("type", "L1Loss")).parameters:
                yield f"{prefix}train.losses.{name}.weights=random"
    yield from (f"datasets.{name}=null" for name in data["datasets"] if name != "train")
    yield from ("val.metrics={}", "val.best=null", "val.baselines=[]")
    yield "datasets.train.dataset_enlarge_ratio=1000"


def smaller(recipe: Path) -> list[str]:
    """Overrides for a smaller batch, where `LESS` has one."""
    if recipe.stem not in LESS:
        return []
    return [f"datasets.train.batch_size={LESS[recipe.stem]}", "train.accumulate=1"]


def seconds_to_make(trainer: Trainer) -> float:
    """What one core takes to make the data of a batch, from the record on."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    count = min(4, trainer.data.batch_size)
    trainer.dataset.load(0, keyed.draws(0))
    began = time.perf_counter()
    for number in range(count):
        trainer.dataset.load(number, keyed.draws(number))
    torch.set_num_threads(threads)
    return (time.perf_counter() - began) / count * trainer.data.batch_size
