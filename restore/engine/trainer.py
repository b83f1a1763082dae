"""The trainer: `Trainer.fit` is the only loop."""

import errno
import math
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial, reduce
from operator import add
from typing import Any

from torch import Tensor, nn

from restore import distributed, keyed
from restore.data.loader import Batch, SampleSource, defer_degradation, train_batches
from restore.data.staging import build_dataset
from restore.engine import snapshot
from restore.engine.average import Average
from restore.engine.checkpoint import Checkpoint, Checkpoints
from restore.engine.device import is_out_of_memory, peak_memory, pick_device, prepare_backend, seed_step
from restore.engine.experiment import Experiment, dump
from restore.engine.logging import Board, Log
from restore.engine.meter import Meter
from restore.engine.preemption import StopRequests, what_now
from restore.engine.schedules import Schedule
from restore.engine.update import Update
from restore.engine.validator import Validator
from restore.errors import Fault, Preempted, UserError
from restore.options.schema import Options, Train
from restore.precision import full
from restore.progress import duration, watched
from restore.ranges import multiples_around
from restore.registry import TASKS
from restore.step import Step
from restore.tasks.task import Phase, Task

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE)  # what a disk refuses with


class Trainer:
    """Builds the parts of an experiment, or of one of its stages, and trains it."""

    def __init__(self, options: Options, experiment: Experiment, log: Log, debug: bool = False, first: int = 0) -> None:
        """`first` counts the iterations of the stages before this one."""
        if options.train is None or options.datasets.train is None:
            raise UserError(f"{options.name}: no `train` section or no `datasets.train`: nothing to train")
        self.options, self.train, self.data = options, options.train, options.datasets.train
        self.experiment, self.log, self.debug = experiment, log, debug
        self._check_parts()
        self.device = pick_device(options.device, distributed.local_rank())
        prepare_backend(self.device, self.train.deterministic)
        self.update = Update(self.train.precision, self.train.grad_clip, self.device)
        self.task: Task = TASKS.build(options.task, options=options, device=self.device, autocast=self.update.autocast)
        self.averages = self._averages()
        self.dataset: SampleSource = build_dataset(self.data, self.log.info)
        self.pipeline = defer_degradation(self.dataset) if self.data.degrade_on == "device" else None
        self.validator = Validator(options, experiment, self.device, log, debug)
        samples = len(self.dataset) * self.data.dataset_enlarge_ratio
        self.first, length = first, total_iterations(self.train, samples, self.data.batch_size)
        self.last_iter = first + length
        self.schedules = {p.name: self._schedule(p, length) for p in self.task.phases}
        self.seed = keyed.number(options.manual_seed, options.stage.name) if options.stage else options.manual_seed
        self.checkpoints = Checkpoints(experiment.checkpoints, options.logger.keep_checkpoints)
        self.board = Board(None)
        self.meter = Meter()
        self.iter = first  # iterations done, those of earlier stages included
        self.validated = -1  # the last iteration that was
        self.saved: tuple[int, int] | None = None  # `iter` and `validated` of the last checkpoint
        self.best_saved: dict[str, float] | None = None  # as in the last checkpoint
        self.set_aside: list[str] = []  # unreadable records, each with what is wrong with it
        self.unsaved: str | None = None  # why the last save failed
        self.postponed = False  # a checkpoint was due, and the last step was skipped
        self.size: int | None = None  # the shorter side of the GT that is trained on, once there was one

    # -- the loop

    def fit(self) -> None:
        """Trains to the end. Raises `Preempted` when asked to stop, `Fault` when it cannot go on."""
        with self._way_on(), StopRequests() as stop, self._open_board() as self.board, self._batches() as batches:
            self._finish_interrupted_validation(stop)
            for batch in watched(self._timed(batches), self.last_iter, self.options.name, self.iter, lines=False):
                self._note_set_aside(batch.set_aside)
                self.iter += 1
                distributed.note(f"iteration {self.iter}")
                self._seed_step()
                steps = self._prepare(batch)
                for phase in self.task.phases:
                    if phase.due(self.stage_iter):
                        self.step(phase, steps)
                for schedule in self.schedules.values():
                    schedule.step(self.stage_iter)
                for average in self.averages.values():
                    average.update()
                self._after_step(stop)
            self._finish(stop)

    def step(self, phase: Phase, steps: list[Step]) -> None:
        """One optimizer step of a phase, over the parts of an accumulated batch."""
        for module in phase.modules:
            if not module.training:  # as after a validation; asking all of its layers costs more
                module.train()
        for number, step in enumerate(steps, 1):
            with nullcontext() if number == len(steps) else distributed.unsynced(phase.forward):
                losses = phase.losses(step)
                total = reduce(add, (full(loss) for name, loss in losses.items() if name.startswith("l_")))
                self.update.backward(total / len(steps))
            self.meter.add(losses, 1 / len(steps))
        self.meter.add({f"grad_norm_{phase.name}": self.update.apply(phase)})

    @property
    def stage_iter(self) -> int:
        """The iterations done of this stage."""
        return self.iter - self.first

    def _prepare(self, batch: Batch) -> list[Step]:
        tensors = batch.to(self.device)
        self.size = min(tensors["gt"].shape[-2:]) if "gt" in tensors else None
        if self.pipeline is not None:
            tensors |= self.pipeline(tensors["gt"], [keyed.draws("degrade", seed) for seed in batch.seeds])
        tensors = self.update.cast(tensors)
        if self.train.accumulate == 1:
            return [self.task.prepare(tensors, self.stage_iter)]
        split = {name: tensor.chunk(self.train.accumulate) for name, tensor in tensors.items()}
        parts = [dict(zip(split, part, strict=True)) for part in zip(*split.values(), strict=True)]
        return [self.task.prepare(part, self.stage_iter) for part in parts]

    def _batches(self) -> AbstractContextManager[Iterator[Batch]]:
        return train_batches(
            self.dataset,
            seed=self.seed,
            batch_size=self.data.batch_size,
            enlarge=self.data.dataset_enlarge_ratio,
            workers=0 if self.debug else self.data.num_workers,
            start=self.stage_iter,
            stop=self.last_iter - self.first,
            pin=self.device.type == "cuda",
            part=(distributed.rank(), distributed.world()),
        )

    def _seed_step(self) -> None:
        """For dropout and noise, which differ from rank to rank."""
        others = [distributed.rank()] if not distributed.is_main() else []
        seed_step(keyed.number(self.seed, "step", self.iter, *others), self.device)

    def _timed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
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
        improved = self.validator.due(self.iter) and self._validate(stop)
        if improved or self.postponed or self.iter % logger.save_checkpoint_freq == 0:
            self._save_if_healthy(improved)
        stop.vote()
        if stop.agreed:
            self._save()
            self._raise_if_unsaved()
        self._raise_if_stopped(stop)

    def _raise_if_stopped(self, stop: StopRequests) -> None:
        if stop.agreed:
            raise Preempted(f"{stop.agreed}: saved at iteration {self.iter}; {what_now(stop.agreed)}")

    def _finish(self, stop: StopRequests) -> None:
        improved = self.validated != self.iter and self._validate(stop)
        stop.agree()
        self._save(improved)
        self._raise_if_unsaved()
        self._raise_if_stopped(stop)
        if self.validator.best is not None:
            results = {f"best/{key}": value for key, value in self.validator.best.items()}
            self.board.hparams(_settings(self.options), results, self.iter)
        if self.update.skipped:
            self.log.warning(f"{int(self.update.skipped)} steps were skipped: their loss or gradient was no number")
        self.log.info(f"done: {self.iter} iterations; {self.experiment.path}")

    # -- telling

    def _log(self) -> None:
        """Reads the device once, checks the health of the run, and tells how it goes."""
        values = self.meter.read()
        self._raise_if_diverged()
        rate = values.pop("it_per_s")
        lr = next(iter(self.schedules.values())).rates()[0]
        left = duration((self.last_iter - self.iter) / rate)
        shown = "  ".join(f"{name}: {value:.4g}" for name, value in values.items())
        skipped = f"  skipped: {int(self.update.skipped)}" if self.update.skipped else ""
        self.log.info(
            f"iter {self.iter}/{self.last_iter}  lr: {lr:.3g}  {rate:.1f} it/s  {left} left  {shown}{skipped}"
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
                f"iteration {self.iter}: the last {self.update.in_row} steps had a loss or gradient that is no "
                "finite number; lower the learning rate, set train.grad_clip, or use bf16 instead of fp16"
            )

    def _note_set_aside(self, reasons: Iterable[str]) -> None:
        for reason in reasons:
            if reason not in self.set_aside:
                self.set_aside.append(reason)
                self.log.warning(f"set aside ({len(self.set_aside)} so far): {reason}")
        allowed = self.data.max_set_aside * len(self.dataset)
        if len(self.set_aside) > allowed:
            raise Fault(
                f"{len(self.set_aside)} of {len(self.dataset)} records are unreadable, more than "
                f"datasets.train.max_set_aside allows ({self.data.max_set_aside:g}); the last: {self.set_aside[-1]}"
            )

    def _open_board(self) -> Board:
        tells = self.options.logger.use_tb_logger and distributed.is_main()
        folder = self.experiment.tensorboard if tells else None
        if distributed.is_main():
            best = self.validator.best
            self.checkpoints.go_on_from(self.iter, int(best["iter"]) if best else None)
        self.log.info(self._summary())
        board = Board(folder, self.log, self.iter)
        board.text("options", dump(self.options))
        self.meter.restart()
        return board

    def _summary(self) -> str:
        parameters = sum(p.numel() for p in self.task.networks["network_g"].parameters())
        stage = f", stage {self.options.stage.name}" if self.options.stage else ""
        processes = f" = {distributed.world()} x {self._own_batch}" if distributed.world() > 1 else ""
        return (
            f"{self.options.name}{stage}: {self.options.network_g.type} with {parameters:,} parameters "
            f"on {self.device.type}, {self.train.precision}; {len(self.dataset):,} training pictures, "
            f"batch {self.data.batch_size}{processes}; iterations {self.iter} to {self.last_iter}"
        )

    @property
    def _own_batch(self) -> int:
        """The samples of a batch that this process computes."""
        return self.data.batch_size // distributed.world()

    def _check_parts(self) -> None:
        parts = distributed.world() * self.train.accumulate
        if distributed.world() > 1 and self.data.batch_size % parts:
            raise UserError(
                f"datasets.train.batch_size: {self.data.batch_size} pictures, which is over all processes, do not "
                f"divide by {distributed.world()} processes x accumulate {self.train.accumulate}; "
                f"take {multiples_around(self.data.batch_size, parts)}"
            )

    # -- validating

    def _validate(self, stop: StopRequests) -> bool:
        """Scores the model. Returns whether it is the best so far."""
        began = time.perf_counter()
        network = self._network_to_show().eval()
        distributed.copy_from_main(network.buffers())
        improved = self.validator.run(partial(self._predict, network), self.iter, self.board, stop)
        if improved is not None:  # else `_finish_interrupted_validation` makes up for it in the resumed run
            self.validated = self.iter
        self.meter.paused += time.perf_counter() - began
        return bool(improved)

    def _predict(self, network: nn.Module, lq: Tensor, mask: Tensor | None) -> Tensor:
        pictures = self.update.cast({"lq": lq} | ({} if mask is None else {"mask": mask}))
        return self.task.predict(network, pictures["lq"], pictures.get("mask")).float()

    def _network_to_show(self) -> nn.Module:
        """The averaged generator where there is one, as it is what gets used."""
        average = self.averages.get("network_g")
        return average.module if average is not None else self.task.networks["network_g"]

    def _finish_interrupted_validation(self, stop: StopRequests) -> None:
        if self.validator.due(self.iter) and self.validated != self.iter:
            self._save(self._validate(stop))
            self._raise_if_stopped(stop)

    # -- saving and resuming

    def _save(self, best: bool = False) -> None:
        """Writes a checkpoint. A disk that refuses is reported at once and tried again at the next log line."""
        if self.saved == (self.iter, self.validated):
            return
        self._raise_if_diverged()
        began = time.perf_counter()
        self._join_set_aside()
        self.unsaved = distributed.share(self._write(best) if distributed.is_main() else None)
        if self.unsaved:
            self.log.warning(f"cannot save at iteration {self.iter}: {self.unsaved}; training goes on and tries again")
            self.validator.best = self.best_saved  # what is not on the disk cannot be the best
        else:
            self.saved, self.best_saved = (self.iter, self.validated), self.validator.best
            self.log.info(f"saved {self.experiment.checkpoints / str(self.iter)}")
        self.board.flush()
        self.meter.paused += time.perf_counter() - began

    def _save_if_healthy(self, best: bool) -> None:
        """Saves, but after a bad step not before a good one: a run that bad steps stop goes on from before them."""
        self._raise_if_diverged()
        self.postponed = bool(self.update.in_row)
        if not self.postponed:
            self._save(best)
        elif best:
            self.validator.best = self.best_saved

    def _write(self, best: bool) -> str | None:
        """Writes the files of a checkpoint. Returns why they cannot be written."""
        try:
            self.checkpoints.save(self.iter, snapshot.take(self), best)
        except OSError as error:
            return f"{error.filename or self.experiment.checkpoints}: {error.strerror}"
        return None

    def _join_set_aside(self) -> None:
        """What other ranks have set aside is set aside for all."""
        for reasons in distributed.gather(self.set_aside):
            self._note_set_aside(reasons)

    def _raise_if_unsaved(self) -> None:
        if self.unsaved:
            raise Fault(f"the run ended and could not be saved: {self.unsaved}; free space or mend the disk")

    @contextmanager
    def _way_on(self) -> Iterator[None]:
        """Whatever ends the run says how it goes on; memory or a disk that runs out is no bug of ours."""
        try:
            yield
        except (Fault, UserError) as error:
            if isinstance(error, UserError) and self.saved is None:
                raise  # of an option, as a rule; later it is of data that have gone
            raise type(error)(f"{error}; {self._go_on()}") from error
        except (OSError, MemoryError, RuntimeError) as error:
            if isinstance(error, OSError) and error.errno in _DISK:
                told = f"{error.filename or self.experiment.path}: {error.strerror}; free space or mend the disk"
            elif is_out_of_memory(error):
                told = (
                    f"iteration {self.iter}: memory has run out on {self.device.type}; lower datasets.train.batch_size "
                    "or num_workers, raise train.accumulate, or end other programs"
                )
            else:
                raise
            raise Fault(f"{told}; {self._go_on()}") from error

    def _go_on(self) -> str:
        return f"--auto_resume goes on from iteration {self.saved[0] if self.saved else self.first}"

    def resume(self, checkpoint: Checkpoint) -> None:
        """Goes on from a checkpoint as if never stopped. Raises `UserError` when it is of another kind of run."""
        snapshot.put_back(self, checkpoint)
        self.best_saved, self.saved = self.validator.best, (self.iter, self.validated)
        self.log.info(f"resumed from {checkpoint.path}, iteration {self.iter}")

    # -- building

    def _schedule(self, phase: Phase, length: int) -> Schedule:
        return Schedule(self.train.scheduler, self.train.warmup_iter, length, phase.optimizer)

    def _averages(self) -> dict[str, Average]:
        decay = self.train.ema_decay
        return {"network_g": Average(self.task.networks["network_g"], decay)} if decay else {}


def total_iterations(train: Train, samples_per_epoch: int, batch_size: int) -> int:
    """The length of training; epochs are converted, the last one being completed."""
    if train.total_iter is not None:
        return train.total_iter
    assert train.total_epoch is not None
    return math.ceil(train.total_epoch * samples_per_epoch / batch_size)


def _settings(options: Options) -> dict[str, Any]:
    train = options.train
    assert train is not None
    assert options.datasets.train is not None
    optim = {f"optim_g.{key}": value for key, value in train.optim_g.args.items()}
    network = {f"network_g.{key}": value for key, value in options.network_g.args.items()}
    return {"arch": options.network_g.type, "batch_size": options.datasets.train.batch_size, **network, **optim}
