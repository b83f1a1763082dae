"""Applying methods to a data set, picture by picture, and scoring what they make of it."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from restore import images, keyed
from restore.data.loader import SampleSource
from restore.engine.tiles import predict_tiled
from restore.registry import METRICS, Part

# LQ (1, 3, h, w), and where there is one its mask (1, 1, h, w), to a prediction (1, 3, H, W); in [0, 1] on the CPU.
Method = Callable[[Tensor, Tensor | None], Tensor]


class Metric(Protocol):
    """A measure of pictures against their GT, with its direction and protocol.

    One that computes with a network also offers `to(device)`, and takes pictures from wherever they are.
    """

    higher_is_better: bool

    @property
    def protocol(self) -> str:
        """What the figure is exactly, for tables: colour space, rounding, border."""


@runtime_checkable
class PictureMetric(Metric, Protocol):
    """A metric with a figure for each picture; that of a data set is their mean."""

    def __call__(self, pred: Tensor, gt: Tensor, mask: Tensor | None = None) -> Tensor:
        """One value per image."""


class Collector(Protocol):
    """Gathers what a metric keeps of pictures, and makes one figure of all of them."""

    def add(self, pred: Tensor, gt: Tensor) -> None:
        """Takes a batch in."""

    def value(self) -> float:
        """The figure of what was taken in."""

    @property
    def note(self) -> str | None:
        """What to warn readers of the figure of, such as too few pictures."""


@runtime_checkable
class SetMetric(Metric, Protocol):
    """A metric with one figure for a whole data set and none for a picture, such as FID."""

    def collector(self) -> Collector:
        """An empty one: each method on each data set has its own."""


@dataclass
class Scored:
    """One picture, what each method made of it, and each method's scores by metric."""

    key: str
    lq: Tensor
    gt: Tensor | None
    preds: dict[str, Tensor]
    scores: dict[str, dict[str, float]]
    mask: Tensor | None = None

    @property
    def hole_area(self) -> float:
        """The share of the picture that is missing; NaN where no mask tells."""
        return math.nan if self.mask is None else float((self.mask > 0).double().mean())


@dataclass
class Table:
    """The scores of a data set: for each method a row of scores per picture, in the order of the data set.

    Args:
        keys: the pictures.
        rows: of each method, the figures of each picture by metric; NaN where a picture has none.
        whole: of each method, the figures of metrics that have one for the whole set, by metric.
        notes: what readers of those should know.
        set_aside: pictures that could not be scored, and why.
        hole_areas: of each picture the share that is missing; NaN without a mask.
    """

    keys: list[str] = field(default_factory=list)
    rows: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    whole: dict[str, dict[str, float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    set_aside: dict[str, str] = field(default_factory=dict)
    hole_areas: list[float] = field(default_factory=list)

    def add(self, scored: Scored) -> None:
        """Adds a picture's row."""
        self.keys.append(scored.key)
        self.hole_areas.append(scored.hole_area)
        for method, scores in scored.scores.items():
            self.rows.setdefault(method, []).append(scores)

    def close(self, collectors: Mapping[str, Mapping[str, Collector]]) -> None:
        """Adds the figures of the whole set, by method and metric, once every picture is in."""
        for method, own in collectors.items():
            self.whole[method] = {name: collector.value() for name, collector in own.items()}
            notes = (f"{name}: {collector.note}" for name, collector in own.items() if collector.note)
            self.notes += [note for note in notes if note not in self.notes]
        self.notes += self._without_figure()

    def _without_figure(self) -> Iterator[str]:
        for name in next(iter(self.rows.values()))[0]:
            count = sum(any(math.isnan(row[name]) for row in rows) for rows in zip(*self.rows.values(), strict=True))
            if count:
                yield f"{name}: {count} of {len(self.keys)} pictures have no such figure, and no part in the mean"

    def means(self, method: str) -> dict[str, float]:
        """The figure of each metric: the mean over the pictures that have one (NaN if none has), or the whole set's."""
        rows = self.rows.get(method, [])
        means = {name: _mean([row[name] for row in rows]) for name in (rows[0] if rows else {})}
        return means | self.whole.get(method, {})


def _mean(values: list[float]) -> float:
    there = [value for value in values if not math.isnan(value)]
    return sum(there) / len(there) if there else math.nan


def build_metrics(sections: Mapping[str, Part], device: torch.device | None = None) -> dict[str, Metric]:
    """The metrics of a `val.metrics` section, by name; those with networks compute on `device`."""
    metrics = {name: METRICS.build(part) for name, part in sections.items()}
    for metric in metrics.values():
        if device is not None and hasattr(metric, "to"):
            metric.to(device)
    return metrics


def on_device(predict: Method, device: torch.device, scale: int, tile: int | None, overlap: int) -> Method:
    """The method that runs `predict` on a device, in tiles of `tile` LQ pixels unless that is None."""

    def apply(joined: Tensor) -> Tensor:
        return predict(joined[:, :3], joined[:, 3:] if joined.shape[1] > 3 else None)

    def method(lq: Tensor, mask: Tensor | None) -> Tensor:
        joined = (lq if mask is None else torch.cat([lq, mask], dim=1)).to(device)
        pred = predict_tiled(apply, joined, scale, tile, overlap) if tile else apply(joined)
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
    scores. Figures of the whole set are in the table once the last picture was taken.
    """
    collectors = _collectors(methods, metrics)
    for index in range(min(len(dataset), limit or len(dataset))):
        key = dataset.keys[index]
        try:
            sample = dataset.load(index, keyed.draws(seed, "evaluate", key))
        except images.UnreadableImage as error:
            table.set_aside[key] = str(error)
            continue
        lq = images.to_unit(sample["lq"])
        gt = images.to_unit(sample["gt"]) if "gt" in sample else None
        mask = images.to_unit(sample["mask"]) if "mask" in sample else None
        with torch.inference_mode():
            preds = {name: method(lq, mask) for name, method in methods.items()}
        try:
            scores = {name: _scores(metrics, pred, gt, mask) for name, pred in preds.items()} if gt is not None else {}
            _collect(collectors, preds, gt)
        except ValueError as error:  # such as a picture smaller than SSIM's window
            table.set_aside[key] = f"{sample['path']}: {error}"
            continue
        scored = Scored(key, lq, gt, preds, scores, mask)
        table.add(scored)
        yield scored
    if table.rows:
        table.close(collectors)


def _collectors(methods: Iterable[str], metrics: Mapping[str, Metric]) -> dict[str, dict[str, Collector]]:
    wholes = {name: metric for name, metric in metrics.items() if isinstance(metric, SetMetric)}
    return {method: {name: metric.collector() for name, metric in wholes.items()} for method in methods}


@torch.inference_mode()
def _collect(collectors: Mapping[str, Mapping[str, Collector]], preds: Mapping[str, Tensor], gt: Tensor | None) -> None:
    if gt is not None:
        for method, pred in preds.items():
            for collector in collectors[method].values():
                collector.add(pred, gt)


@torch.inference_mode()
def _scores(metrics: Mapping[str, Metric], pred: Tensor, gt: Tensor, mask: Tensor | None) -> dict[str, float]:
    singles = {name: metric for name, metric in metrics.items() if isinstance(metric, PictureMetric)}
    return {name: float(metric(pred, gt, mask)[0]) for name, metric in singles.items()}
