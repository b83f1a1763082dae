"""The curves of an experiment, read from TensorBoard's event files."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from restore.errors import UserError
from restore.options.paths import nearest_beside

FOLDER = "tb"
EVENTS = "*tfevents*"
OPTIONS = "options/text_summary"  # the option file as text, written whenever a run or a stage begins


@dataclass
class Curve:
    """Values over iterations."""

    iterations: list[int]
    values: list[float]


@dataclass
class Curves:
    """The curves of an experiment by tag, and the iteration after which each stage begins, by the stage's name."""

    name: str
    curves: dict[str, Curve]
    stages: dict[str, int] = field(default_factory=dict)


def read_curves(experiment: Path) -> Curves:
    """Every scalar in an experiment's folder, or in a folder of event files. What a resumed run superseded is left out.

    Raises:
        UserError: no event files there.
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it warns of every resumed run
    if not experiment.is_dir():
        raise UserError(f"{experiment}: no such folder{nearest_beside(experiment)}")
    folder = next((f for f in (experiment / FOLDER, experiment) if any(f.glob(EVENTS))), None)
    if folder is None:
        raise UserError(
            f"{experiment}: no TensorBoard event files here or in {FOLDER}/; train with logger.use_tb_logger: true"
        )
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0, "images": 1}).Reload()
    curves = {}
    for tag in events.Tags()["scalars"]:
        points = {point.step: point.value for point in events.Scalars(tag)}  # the last word on each iteration
        curves[tag] = Curve(list(points), list(points.values()))
    name = folder.parent.name if folder.name == FOLDER else folder.name
    return Curves(name, curves, _stages(events))


def _stages(events: Any) -> dict[str, int]:
    stages: dict[str, int] = {}
    for event in events.Tensors(OPTIONS) if OPTIONS in events.Tags()["tensors"] else []:
        try:
            options: Any = yaml.safe_load(event.tensor_proto.string_val[0])
        except yaml.YAMLError:  # not a text of ours
            continue
        stage = options.get("stage") if isinstance(options, dict) else None
        if isinstance(stage, dict):
            stages.setdefault(stage["name"], event.step - 1)
    return stages
