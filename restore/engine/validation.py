"""Applying methods to a data set, picture by picture, and scoring what they make of it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from restore import images, keyed
from restore.data.loader import SampleSource
from restore.degradations.resize import Interpolation, upscale
from restore.engine.tiles import predict_tiled
from restore.registry import METRICS, Part

Method = Callable[[Tensor], Tensor]  # LQ (1, 3, h, w) to a prediction (1, 3, H, W), both in [0, 1] on the CPU


class Metric(Protocol):
    """A measure of pictures against their GT, with its direction and protocol."""

    higher_is_better: bool

    @property
    def protocol(self) -> str:
        """What the figure is exactly, for tables: colour space, rounding, border."""

    def __call__(self, pred: Tensor, gt: Tensor, mask: Tensor | None = None) -> Tensor:
        """One value per image."""


@dataclass
class Scored:
    """One picture, what each method made of it, and each method's scores by metric."""

    key: str
    lq: Tensor
    gt: Tensor | None
    preds: dict[str, Tensor]
    scores: dict[str, dict[str, float]]


@dataclass
class Table:
    """The scores of a data set: for each method a row of scores per picture, in the order of the data set."""

    keys: list[str] = field(default_factory=list)
    rows: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    set_aside: dict[str, str] = field(default_factory=dict)

    def add(self, scored: Scored) -> None:
        """Adds a picture's row."""
        self.keys.append(scored.key)
        for method, scores in scored.scores.items():
            self.rows.setdefault(method, []).append(scores)

    def means(self, method: str) -> dict[str, float]:
        """The mean over the pictures, by metric."""
        rows = self.rows.get(method, [])
        return {name: sum(row[name] for row in rows) / len(rows) for name in (rows[0] if rows else {})}


def build_metrics(sections: Mapping[str, Part]) -> dict[str, Metric]:
    """The metrics of a `val.metrics` section, by name."""
    return {name: METRICS.build(part) for name, part in sections.items()}


def interpolation(method: Interpolation, scale: int) -> Method:
    """The baseline that enlarges a picture by interpolation."""
    return lambda lq: images.to_unit(upscale(images.to_uint8(lq[0]), scale, method))


def on_device(
    predict: Callable[[Tensor], Tensor], device: torch.device, scale: int, tile: int | None, overlap: int
) -> Method:
    """The method that runs `predict` on a device, in tiles of `tile` LQ pixels unless that is None."""

    def method(lq: Tensor) -> Tensor:
        lq = lq.to(device)
        pred = predict_tiled(predict, lq, scale, tile, overlap) if tile else predict(lq)
        return pred.cpu()

    return method


def score(
    dataset: SampleSource,
    methods: Mapping[str, Method],
    metrics: Mapping[str, Metric],
    seed: int,
    table: Table,
    limit: int | None = None,
) -> Iterator[Scored]:
    """Yields every picture of a data set with its predictions and scores, and adds them to `table`.

    A picture that cannot be read or scored is set aside in the table by name. Without GT there are predictions and no
    scores.
    """
    for index in range(min(len(dataset), limit or len(dataset))):
        key = dataset.keys[index]
        try:
            sample = dataset.load(index, keyed.draws(seed, "evaluate", key))
        except images.UnreadableImage as error:
            table.set_aside[key] = str(error)
            continue
        lq = images.to_unit(sample["lq"])
        gt = images.to_unit(sample["gt"]) if "gt" in sample else None
        with torch.inference_mode():
            preds = {name: method(lq) for name, method in methods.items()}
        try:
            scores = {name: _scores(metrics, pred, gt) for name, pred in preds.items()} if gt is not None else {}
        except ValueError as error:  # such as a picture smaller than SSIM's window
            table.set_aside[key] = f"{sample['path']}: {error}"
            continue
        scored = Scored(key, lq, gt, preds, scores)
        table.add(scored)
        yield scored


@torch.inference_mode()
def _scores(metrics: Mapping[str, Metric], pred: Tensor, gt: Tensor) -> dict[str, float]:
    return {name: float(metric(pred, gt, None)[0]) for name, metric in metrics.items()}
