"""Validation: the model scored on every validation set, and the best figure so far."""

import math

import torch
from torch import Tensor, nn

from restore import distributed, images
from restore.data.loader import SampleSource
from restore.data.staging import build_dataset
from restore.engine.experiment import Experiment
from restore.engine.logging import Board, Log
from restore.engine.preemption import StopRequests
from restore.engine.validation import Method, Scored, Table, build_metrics, merged, on_device, score
from restore.errors import UserError
from restore.options.figure import figure_of
from restore.options.schema import Options

Pictures = dict[int, tuple[str, Tensor]]  # by number in the data set: the key, and what to show

DEBUG_PICTURES = 2  # of each validation set, in a debug run


class Validator:
    """Scores a model on the validation sets of an experiment, tells the scores, and keeps the best figure."""

    def __init__(self, options: Options, experiment: Experiment, device: torch.device, log: Log, debug: bool) -> None:
        self.options, self.val = options, options.val
        self.experiment, self.device, self.log = experiment, device, log
        self.limit = DEBUG_PICTURES if debug else None
        self.sections = options.datasets.evaluation("val")
        self.sets = {name: build_dataset(part, log.info) for name, part in self.sections.items()}
        self.metrics = build_metrics(self.val.metrics, device)
        self.best: dict[str, float] | None = None  # its `value` and `iter`
        self.told: set[str] = set()  # notes, which are the same at each validation

    def due(self, iteration: int) -> bool:
        """Whether the options ask for a validation after this iteration."""
        return iteration > 0 and iteration % self.val.val_freq == 0

    def run(self, predict: Method, iteration: int, board: Board, stop: StopRequests) -> bool | None:
        """Scores `predict` on every set. Returns whether it is the best so far.

        None when there is nothing to score, or when asked to stop before all was scored.
        """
        if not self.sets or not (self.metrics or self.val.save_img):
            return None
        tables: dict[str, Table] = {}
        shown: dict[str, Pictures] = {}
        for name, dataset in self.sets.items():
            table, pictures = self._score_share(name, dataset, predict, iteration, stop)
            stop.agree()
            if stop.agreed:
                return None
            shares = distributed.gather((table, pictures))
            tables[name] = merged((table for table, _ in shares), self.metrics)
            shown[name] = dict(sorted(one for _, pictures in shares for one in pictures.items()))
        for name, table in tables.items():
            self._tell(name, table, shown[name], iteration, board)
        return self._is_best({name: table.means("model") for name, table in tables.items()}, iteration)

    def _score_share(
        self,
        name: str,
        dataset: SampleSource,
        predict: Method,
        iteration: int,
        stop: StopRequests,
    ) -> tuple[Table, Pictures]:
        """This process's share of the scores on a validation set, and pictures to show of it, by their numbers."""
        table, pictures = Table(), dict[int, tuple[str, Tensor]]()
        methods = {"model": on_device(predict, self.device, self.options.scale, self.val.tile, self.val.tile_overlap)}
        share = distributed.rank(), distributed.world()
        for scored in score(dataset, methods, self.metrics, self.options.manual_seed, table, self.limit, share):
            if scored.number < self.val.num_pictures:
                pictures[scored.number] = scored.key, side_by_side(scored)
            if self.val.save_img:
                self._save_picture(name, scored, iteration)
            if stop.received:
                break
        return table, pictures

    def _save_picture(self, name: str, scored: Scored, iteration: int) -> None:
        path = self.experiment.pictures / self._label(name) / f"{scored.key}_{iteration}.png"
        try:
            images.write(path, images.to_uint8(scored.preds["model"][0]))
        except UserError as error:  # a full disk is no reason to stop
            self.log.warning(str(error))

    def _tell(self, name: str, table: Table, pictures: Pictures, iteration: int, board: Board) -> None:
        label, means = self._label(name), table.means("model")
        for text in table.set_aside.values():
            self.log.warning(f"not scored: {text}")
        for note in (f"{label}: {note}" for note in table.notes):
            if note not in self.told:
                self.log.warning(note)
                self.told.add(note)
        if not table.keys:
            remedy = "correct val.metrics or the pictures"
            self.log.warning(f"validation {label} at {iteration}: none of its pictures can be scored; {remedy}")
            return
        shown = "  ".join(f"{metric}: {value:.4f}" for metric, value in means.items())
        self.log.info(f"validation {label} ({len(table.keys)} pictures) at {iteration}: {shown}")
        board.scalars({f"metrics/{label}/{metric}": value for metric, value in means.items()}, iteration)
        for key, picture in pictures.values():
            board.picture(f"{label}/{key}", picture, iteration)

    def _label(self, name: str) -> str:
        return self.sections[name].name or name

    def _is_best(self, means: dict[str, dict[str, float]], iteration: int) -> bool:
        figure = figure_of(self.options)
        if figure is None:
            return False
        value = means[figure.dataset].get(figure.metric, math.nan)
        sign = 1 if figure.higher_is_better else -1
        if math.isnan(value) or (self.best is not None and sign * value <= sign * self.best["value"]):
            return False
        self.best = {"value": value, "iter": iteration}
        self.log.info(f"best so far: {figure.dataset} {figure.metric} {value:.4f}")
        return True


def side_by_side(scored: Scored) -> Tensor:
    """LQ (enlarged), prediction and GT in one (3, H, W) picture."""
    pred = scored.preds["model"]
    lq = nn.functional.interpolate(scored.lq, size=pred.shape[-2:], mode="nearest")
    return torch.cat([lq, pred, *([scored.gt] if scored.gt is not None else [])], dim=-1)[0]
