"""The trainer: `Trainer.fit` is the only loop."""

import json
import math
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from restore import __version__, images, keyed
from restore.data.loader import Batch, SampleSource, train_batches
from restore.engine.checkpoint import Checkpoint, Checkpoints, state_bytes
from restore.engine.device import peak_memory, pick_device, prepare_backend
from restore.engine.experiment import Experiment, dump
from restore.engine.logging import Board, Log
from restore.engine.meter import Meter
from restore.engine.preemption import StopRequests
from restore.engine.schedules import Schedule
from restore.engine.update import Update
from restore.engine.validation import Scored, Table, build_metrics, on_device, score
from restore.errors import Fault, Preempted, UserError
from restore.options.schema import Options, Train
from restore.progress import duration, watched
from restore.registry import DATASETS, TASKS
from restore.step import Step
from restore.tasks.task import Phase, Task
from restore.weights import load_weights

DEBUG_PICTURES = 2  # of each validation set, in a debug run


class Trainer:
    """Builds the parts of an experiment and trains it."""

    def __init__(self, options: Options, experiment: Experiment, log: Log, debug: bool = False) -> None:
        if options.train is None or options.datasets.train is None:
            raise UserError(f"{options.name}: no `train` section or no `datasets.train`: nothing to train")
        self.options, self.train, self.data = options, options.train, options.datasets.train
        self.experiment, self.log, self.debug = experiment, log, debug
        self.device = pick_device(options.device)
        prepare_backend(self.device, self.train.deterministic)
        self.update = Update(self.train.precision, self.train.grad_clip, self.device)
        self.task: Task = TASKS.build(options.task, options=options, device=self.device, autocast=self.update.autocast)
        self.schedules = {p.name: self._schedule(p) for p in self.task.phases}
        self.averages = self._averages()
        self.dataset: SampleSource = DATASETS.build(self.data)
        self.val_sets = {name: DATASETS.build(part) for name, part in options.datasets.evaluation("val").items()}
        self.metrics = build_metrics(options.val.metrics)
        self.total_iter = total_iterations(
            self.train, len(self.dataset) * self.data.dataset_enlarge_ratio, self.data.batch_size
        )
        self.checkpoints = Checkpoints(experiment.checkpoints, options.logger.keep_checkpoints)
        self.board = Board(None)
        self.meter = Meter()
        self.iter = 0  # iterations done
        self.validated = self.saved = -1  # the last iterations at which these were done
        self.best: dict[str, float] | None = None
        self.set_aside: dict[str, str] = {}
        self.unsaved: str | None = None  # why the last save failed

    # -- the loop

    def fit(self) -> None:
        """Trains to the end. Raises `Preempted` when asked to stop, `Fault` when it cannot go on."""
        with StopRequests() as stop, self._open_board() as self.board:
            self._finish_interrupted_validation(stop)
            for batch in watched(self._batches(), self.total_iter, self.options.name, self.iter, lines=False):
                self._note_set_aside(batch)
                self.iter += 1
                torch.manual_seed(keyed.number(self.options.manual_seed, "step", self.iter))  # for dropout and the like
                steps = self._prepare(batch)
                for phase in self.task.phases:
                    if phase.due(self.iter):
                        self.step(phase, steps)
                for schedule in self.schedules.values():
                    schedule.step(self.iter)
                for name, average in self.averages.items():
                    average.update_parameters(self.task.networks[name])
                self._after_step(stop)
            self._finish(stop)

    def step(self, phase: Phase, steps: list[Step]) -> None:
        """One optimizer step of a phase, over the parts of an accumulated batch."""
        for module in phase.modules:
            module.train()
        for step in steps:
            losses = phase.losses(step)
            total = torch.stack([loss.float() for loss in losses.values()]).sum()
            self.update.backward(total / len(steps))
            self.meter.add(losses, 1 / len(steps))
        self.meter.add({f"grad_norm_{phase.name}": self.update.apply(phase)})

    def _prepare(self, batch: Batch) -> list[Step]:
        tensors = batch.to(self.device)
        if self.train.accumulate == 1:
            return [self.task.prepare(tensors)]
        parts = {name: tensor.chunk(self.train.accumulate) for name, tensor in tensors.items()}
        return [self.task.prepare(dict(zip(parts, part, strict=True))) for part in zip(*parts.values(), strict=True)]

    def _batches(self) -> Iterator[Batch]:
        batches = train_batches(
            self.dataset,
            seed=self.options.manual_seed,
            batch_size=self.data.batch_size,
            enlarge=self.data.dataset_enlarge_ratio,
            workers=0 if self.debug else self.data.num_workers,
            start=self.iter,
            stop=self.total_iter,
            pin=self.device.type == "cuda",
        )
        while True:
            began = time.perf_counter()
            batch = next(batches, None)
            self.meter.waited += time.perf_counter() - began
            if batch is None:
                return
            yield batch

    def _after_step(self, stop: StopRequests) -> None:
        logger = self.options.logger
        if self.iter % logger.print_freq == 0:
            self._log()
            if self.unsaved:
                self._save()
        improved = self.iter % self.options.val.val_freq == 0 and self._validate(stop)
        if improved or self.iter % logger.save_checkpoint_freq == 0:
            self._save(improved)
        if stop.received:
            self._save()
            self._raise_if_unsaved()
            raise Preempted(f"{stop.received}: saved at iteration {self.iter}; --auto_resume goes on from there")

    def _finish(self, stop: StopRequests) -> None:
        improved = self.validated != self.iter and self._validate(stop)
        self._save(improved)
        self._raise_if_unsaved()
        if self.best is not None:
            self.board.hparams(
                _settings(self.options), {"best/value": self.best["value"], "best/iter": self.best["iter"]}
            )
        self.log.info(f"done: {self.iter} iterations; {self.experiment.path}")

    # -- telling

    def _log(self) -> None:
        """Reads the device once, checks the health of the run, and tells how it goes."""
        values = self.meter.read()
        self._raise_if_diverged()
        rate = values.pop("it_per_s")
        lr = next(iter(self.schedules.values())).rates()[0]
        left = duration((self.total_iter - self.iter) / rate)
        shown = "  ".join(f"{name}: {value:.4g}" for name, value in values.items())
        skipped = f"  skipped: {int(self.update.skipped)}" if self.update.skipped else ""
        self.log.info(
            f"iter {self.iter}/{self.total_iter}  lr: {lr:.3g}  {rate:.1f} it/s  {left} left  {shown}{skipped}"
        )
        losses = {f"losses/{name}": value for name, value in values.items() if name.startswith("l_")}
        rest = {f"train/{name}": value for name, value in values.items() if not name.startswith("l_")}
        rates = {f"lr/{name}": schedule.rates()[0] for name, schedule in self.schedules.items()}
        told = {"train/it_per_s": rate, "train/peak_memory_gb": peak_memory(self.device) / 2**30}
        told |= {"train/skipped_steps": float(self.update.skipped), "train/set_aside": float(len(self.set_aside))}
        self.board.scalars({**losses, **rest, **rates, **told}, self.iter)

    def _raise_if_diverged(self) -> None:
        if self.update.in_row >= self.train.max_nonfinite:
            raise Fault(
                f"iteration {self.iter}: the last {int(self.update.in_row)} steps had a loss or gradient that is no "
                "finite number; lower the learning rate, set train.grad_clip, or use bf16 instead of fp16"
            )

    def _note_set_aside(self, batch: Batch) -> None:
        for name, reason in batch.set_aside.items():
            if name not in self.set_aside:
                self.set_aside[name] = reason
                self.log.warning(f"set aside ({len(self.set_aside)} so far): {reason}")
        allowed = self.data.max_set_aside * len(self.dataset)
        if len(self.set_aside) > allowed:
            last = list(self.set_aside.values())[-1]
            raise Fault(
                f"{len(self.set_aside)} of {len(self.dataset)} records are unreadable, more than "
                f"datasets.train.max_set_aside allows ({self.data.max_set_aside:g}); the last: {last}"
            )

    def _open_board(self) -> Board:
        folder = self.experiment.tensorboard if self.options.logger.use_tb_logger else None
        self.checkpoints.sweep()
        self.log.info(self._summary())
        board = Board(folder, self.iter)
        self.meter.restart()
        return board

    def _summary(self) -> str:
        parameters = sum(p.numel() for p in self.task.networks["network_g"].parameters())
        return (
            f"{self.options.name}: {self.options.network_g.type} with {parameters:,} parameters on {self.device}, "
            f"{self.train.precision}; {len(self.dataset):,} training pictures, batch {self.data.batch_size}; "
            f"iterations {self.iter} to {self.total_iter}"
        )

    # -- validating

    def _validate(self, stop: StopRequests) -> bool:
        """Scores the model on every validation set. Returns whether it is the best so far."""
        if not self.val_sets or not (self.metrics or self.options.val.save_img):
            return False
        began = time.perf_counter()
        means = {}
        for name, dataset in self.val_sets.items():
            table = self._score_set(name, dataset, stop)
            if stop.received:
                return False  # `_finish_interrupted_validation` makes up for it in the resumed run
            means[name] = table.means("model")
            for text in table.set_aside.values():
                self.log.warning(f"not scored: {text}")
            shown = "  ".join(f"{metric}: {value:.4f}" for metric, value in means[name].items())
            self.log.info(f"validation {self._label(name)} ({len(table.keys)} pictures) at {self.iter}: {shown}")
            self.board.scalars({f"metrics/{self._label(name)}/{k}": v for k, v in means[name].items()}, self.iter)
        self.validated = self.iter
        self.meter.paused += time.perf_counter() - began
        return self._is_best(means)

    def _score_set(self, name: str, dataset: SampleSource, stop: StopRequests) -> Table:
        table, val = Table(), self.options.val
        network = self._network_to_show()
        network.eval()
        predict = partial(self.task.predict, network)
        methods = {"model": on_device(predict, self.device, self.options.scale, val.tile, val.tile_overlap)}
        limit = DEBUG_PICTURES if self.debug else None
        for number, scored in enumerate(score(dataset, methods, self.metrics, self.options.manual_seed, table, limit)):
            if number < val.num_pictures:
                self.board.picture(f"{self._label(name)}/{scored.key}", side_by_side(scored), self.iter)
            if val.save_img:
                path = self.experiment.pictures / self._label(name) / f"{scored.key}_{self.iter}.png"
                images.write(path, images.to_uint8(scored.preds["model"][0]))
            if stop.received:
                break
        return table

    def _label(self, name: str) -> str:
        return self.options.datasets.evaluation("val")[name].name or name

    def _network_to_show(self) -> nn.Module:
        """The averaged generator where there is one, as it is what gets used."""
        average = self.averages.get("network_g")
        return average.module if average is not None else self.task.networks["network_g"]

    def _is_best(self, means: dict[str, dict[str, float]]) -> bool:
        if not self.metrics:
            return False
        chosen = self.options.val.best
        dataset, metric = (chosen.dataset, chosen.metric) if chosen else (next(iter(means)), next(iter(self.metrics)))
        higher = chosen.better == "higher" if chosen and chosen.better else self.metrics[metric].higher_is_better
        value = means[dataset].get(metric, math.nan)
        sign = 1 if higher else -1
        if math.isnan(value) or (self.best is not None and sign * value <= sign * self.best["value"]):
            return False
        self.best = {"value": value, "iter": self.iter}
        self.log.info(f"best so far: {dataset} {metric} {value:.4f}")
        return True

    def _finish_interrupted_validation(self, stop: StopRequests) -> None:
        due = self.iter and self.iter % self.options.val.val_freq == 0
        if due and self.validated != self.iter and self._validate(stop):
            self._save(best=True)

    # -- saving and resuming

    def _save(self, best: bool = False) -> None:
        """Writes a checkpoint. A disk that refuses is reported at once and tried again at the next log line."""
        if self.saved == self.iter and not best:
            return
        self._raise_if_diverged()
        began = time.perf_counter()
        try:
            self.checkpoints.save(self.iter, self._files(), best)
        except OSError as error:
            self.unsaved = f"{error.filename or self.experiment.checkpoints}: {error.strerror}"
            self.log.warning(f"cannot save at iteration {self.iter}: {self.unsaved}; training goes on and tries again")
        else:
            self.saved, self.unsaved = self.iter, None
            self.log.info(f"saved {self.experiment.checkpoints / str(self.iter)}")
        self.board.flush()
        self.meter.paused += time.perf_counter() - began

    def _raise_if_unsaved(self) -> None:
        if self.unsaved:
            raise Fault(
                f"the run ended and could not be saved: {self.unsaved}; the last whole checkpoint is {self.saved}"
            )

    def _files(self) -> dict[str, bytes]:
        files = {}
        for name, network in self.task.networks.items():
            files[f"{name}.safetensors"] = self._weights(name, name, network)
            if name in self.averages:
                files[f"{name}_ema.safetensors"] = self._weights(f"{name}_ema", name, self.averages[name].module)
        state = {
            "iter": self.iter,
            "validated": self.validated,
            "best": self.best,
            "set_aside": self.set_aside,
            "update": self.update.state_dict(),
            "optimizers": {p.name: p.optimizer.state_dict() for p in self.task.phases},
            "schedules": {name: schedule.state_dict() for name, schedule in self.schedules.items()},
        }
        return files | {"state.pt": state_bytes(state), "options.yml": dump(self.options).encode()}

    def _weights(self, saved_as: str, section: str, network: nn.Module) -> bytes:
        part = getattr(self.options, section)
        metadata = {
            "arch": json.dumps({"type": part.type, **part.args}),
            "scale": str(self.options.scale),
            "network": saved_as,
            "experiment": self.options.name,
            "iter": str(self.iter),
            "restore": __version__,
        }
        return save({k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}, metadata)

    def resume(self, checkpoint: Checkpoint) -> None:
        """Goes on from a checkpoint as if never stopped."""
        state = checkpoint.state()
        for name, network in self.task.networks.items():
            load_weights(network, checkpoint.weights(name))
            if name in self.averages:
                load_weights(self.averages[name].module, checkpoint.weights(f"{name}_ema"))
                self.averages[name].n_averaged.fill_(state["iter"])
        self.iter = self.saved = state["iter"]
        self.validated, self.best, self.set_aside = state["validated"], state["best"], state["set_aside"]
        self.update.load_state_dict(state["update"])
        for phase in self.task.phases:
            phase.optimizer.load_state_dict(state["optimizers"][phase.name])
            self.schedules[phase.name].load_state_dict(state["schedules"][phase.name], self.iter)
        self.log.info(f"resumed from {checkpoint.path}, iteration {self.iter}")

    # -- building

    def _schedule(self, phase: Phase) -> Schedule:
        return Schedule(self.train.scheduler, self.train.warmup_iter, phase.optimizer)

    def _averages(self) -> dict[str, AveragedModel]:
        if not self.train.ema_decay:
            return {}
        average = get_ema_multi_avg_fn(self.train.ema_decay)  # type: ignore[no-untyped-call]
        generator = self.task.networks["network_g"]
        return {"network_g": AveragedModel(generator, multi_avg_fn=average).requires_grad_(False)}


def total_iterations(train: Train, samples_per_epoch: int, batch_size: int) -> int:
    """The length of training; epochs are converted, the last one being completed."""
    if train.total_iter is not None:
        return train.total_iter
    assert train.total_epoch is not None
    return math.ceil(train.total_epoch * samples_per_epoch / batch_size)


def side_by_side(scored: Scored) -> Tensor:
    """LQ (enlarged), prediction and GT in one (3, H, W) picture."""
    pred = scored.preds["model"]
    lq = nn.functional.interpolate(scored.lq, size=pred.shape[-2:], mode="nearest")
    return torch.cat([lq, pred, *([scored.gt] if scored.gt is not None else [])], dim=-1)[0]


def _settings(options: Options) -> dict[str, Any]:
    train = options.train
    assert train is not None
    assert options.datasets.train is not None
    optim = {f"optim_g.{key}": value for key, value in train.optim_g.args.items()}
    network = {f"network_g.{key}": value for key, value in options.network_g.args.items()}
    return {"arch": options.network_g.type, "batch_size": options.datasets.train.batch_size, **network, **optim}
