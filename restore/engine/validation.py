"""Applying methods to a data set, picture by picture, and scoring what they make of it."""

import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
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

Kept = Mapping[str, Tensor]  # what a metric of whole sets keeps of pictures, by a name of its own; on the CPU


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


@runtime_checkable
class SetMetric(Metric, Protocol):
    """A metric with one figure for a whole data set and none for a picture, such as FID.

    It remembers nothing: what it keeps of pictures travels between processes and files, and the figure is made of all.
    """

    def keep(self, pred: Tensor, gt: Tensor) -> Kept:
        """What the figure needs of a batch."""

    def figure(self, kept: Sequence[Kept]) -> float:
        """The figure of what was kept of all pictures, in the order of the data set."""

    def note(self, kept: Sequence[Kept]) -> str | None:
        """What to warn readers of the figure of, such as too few pictures."""


@dataclass
class Scored:
    """One picture, what each method made of it, and each method's scores by metric.

    `number` is the picture's in the data set; `kept` is what metrics of whole sets keep, by method and metric.
    """

    key: str
    lq: Tensor
    gt: Tensor | None
    preds: dict[str, Tensor]
    scores: dict[str, dict[str, float]]
    mask: Tensor | None = None
    number: int = 0
    kept: dict[str, dict[str, Kept]] = field(default_factory=dict)

    @property
    def hole_area(self) -> float:
        """The share of the picture that is missing; NaN where no mask tells."""
        return math.nan if self.mask is None else float((self.mask > 0).double().mean())


@dataclass
class Entry:
    """What a table holds of a picture: as in `Scored`, or why it was set aside."""

    number: int
    key: str
    set_aside: str | None = None
    hole_area: float = math.nan
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    kept: dict[str, dict[str, Kept]] = field(default_factory=dict)


@dataclass
class Table:
    """The scores of a data set, or of a part of it, which is to be `merged`.

    Args:
        entries: the pictures, in the order of the data set.
        whole: of each method, the figures of metrics that have one for the whole set, by metric.
        notes: what readers of the figures should know.
    """

    entries: list[Entry] = field(default_factory=list)
    whole: dict[str, dict[str, float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, scored: Scored) -> None:
        """Adds a picture's row."""
        row = Entry(scored.number, scored.key, None, scored.hole_area, scored.scores, scored.kept)
        self.entries.append(row)

    def close(self, metrics: Mapping[str, Metric]) -> None:
        """Adds the figures of the whole set, once every picture is in. Without scores there are none."""
        wholes = {name: metric for name, metric in metrics.items() if isinstance(metric, SetMetric)}
        for method in self.rows:
            self.whole[method] = {}
            for name, metric in wholes.items():
                kept = [entry.kept[method][name] for entry in self._scored]
                self.whole[method][name] = metric.figure(kept)
                note = f"{name}: {told}" if (told := metric.note(kept)) else None
                self.notes += [note] if note and note not in self.notes else []
        self.notes += self._without_figure()

    @property
    def _scored(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.set_aside is None]

    @property
    def keys(self) -> list[str]:
        """The pictures that were scored."""
        return [entry.key for entry in self._scored]

    @property
    def rows(self) -> dict[str, list[dict[str, float]]]:
        """Of each method, the figures of each of `keys` by metric; NaN where a picture has none."""
        scored = self._scored
        return {method: [entry.scores[method] for entry in scored] for method in (scored[0].scores if scored else ())}

    @property
    def hole_areas(self) -> list[float]:
        """Of each of `keys` the share that is missing; NaN without a mask."""
        return [entry.hole_area for entry in self._scored]

    @property
    def set_aside(self) -> dict[str, str]:
        """Pictures that could not be scored, and why."""
        return {entry.key: entry.set_aside for entry in self.entries if entry.set_aside is not None}

    def _without_figure(self) -> Iterator[str]:
        methods = list(self.rows.values())
        for name in methods[0][0] if methods else ():
            count = sum(any(math.isnan(row[name]) for row in rows) for rows in zip(*methods, strict=True))
            if count:
                yield f"{name}: {count} of {len(methods[0])} pictures have no such figure, and no part in the mean"

    def means(self, method: str) -> dict[str, float]:
        """The figure of each metric: the mean over the pictures that have one (NaN if none has), or the whole set's."""
        rows = self.rows.get(method, [])
        means = {name: _mean([row[name] for row in rows]) for name in (rows[0] if rows else {})}
        return means | self.whole.get(method, {})


def merged(parts: Iterable[Table], metrics: Mapping[str, Metric]) -> Table:
    """The table of the whole data set, equal to that of one process, from the tables of all its shards."""
    table = Table(sorted((entry for part in parts for entry in part.entries), key=lambda entry: entry.number))
    table.close(metrics)
    return table


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
    shard: tuple[int, int] | None = None,
    done: Container[int] = (),
) -> Iterator[Scored]:
    """Yields every picture of a data set with its predictions and scores, and adds them to `table`.

    A picture that cannot be read or scored is set aside in the table by name. Without GT there are predictions and no
    scores. Figures of the whole set are in the table once the last picture was taken, unless it is a shard's.

    Args:
        limit: the first pictures only.
        shard: of those, every `count`-th from the `index`-th on, as (index, count). The tables of all shards are to be
            `merged`.
        done: the numbers of pictures to pass over, whose rows are elsewhere.
    """
    index, count = shard or (0, 1)
    for number in range(min(len(dataset), limit or len(dataset)))[index::count]:
        if number in done:
            continue
        key = dataset.keys[number]
        try:
            sample = dataset.load(number, keyed.draws(seed, "evaluate", key))
        except images.UnreadableImage as error:
            table.entries.append(Entry(number, key, str(error)))
            continue
        lq = images.to_unit(sample["lq"])
        gt = images.to_unit(sample["gt"]) if "gt" in sample else None
        mask = images.to_unit(sample["mask"]) if "mask" in sample else None
        with torch.inference_mode():
            preds = {name: method(lq, mask) for name, method in methods.items()}
        try:
            scores = {name: _scores(metrics, pred, gt, mask) for name, pred in preds.items()} if gt is not None else {}
            kept = {name: _kept(metrics, pred, gt) for name, pred in preds.items()} if gt is not None else {}
        except ValueError as error:  # such as a picture smaller than SSIM's window
            table.entries.append(Entry(number, key, f"{sample['path']}: {error}"))
            continue
        scored = Scored(key, lq, gt, preds, scores, mask, number, kept)
        table.add(scored)
        yield scored
    if shard is None:
        table.close(metrics)


@torch.inference_mode()
def _kept(metrics: Mapping[str, Metric], pred: Tensor, gt: Tensor) -> dict[str, Kept]:
    return {name: metric.keep(pred, gt) for name, metric in metrics.items() if isinstance(metric, SetMetric)}


@torch.inference_mode()
def _scores(metrics: Mapping[str, Metric], pred: Tensor, gt: Tensor, mask: Tensor | None) -> dict[str, float]:
    singles = {name: metric for name, metric in metrics.items() if isinstance(metric, PictureMetric)}
    return {name: float(metric(pred, gt, mask)[0]) for name, metric in singles.items()}
