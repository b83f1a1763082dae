"""Training batches, each a function of (seed, number of the batch) alone: whatever the workers, whenever resumed."""

import multiprocessing.connection
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.queues import Queue
from types import TracebackType
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from restore import images, keyed
from restore.data.sample import PICTURES, Sample
from restore.degradations.pipeline import Pipeline
from restore.errors import Fault, RestoreError, UserError

_WORKER_DIED = re.compile(r"DataLoader worker \(pid.*(is killed by signal|exited unexpectedly)")
MAX_REPLACEMENTS = 20  # unreadable records in a row before giving up on one sample


class SampleSource(Protocol):
    """What a data set offers the loader."""

    keys: Sequence[str]

    def __len__(self) -> int: ...

    def load(self, index: int, draws: keyed.Draws) -> Sample:
        """The sample at `index`, made with `draws`."""


def defer_degradation(source: SampleSource) -> Pipeline:
    """Takes the degradation out of a data set, to be run on the device. Raises `UserError` where it has none."""
    pipeline: Pipeline | None = getattr(source, "pipeline", None)
    if pipeline is None:
        raise UserError("datasets.train.degrade_on: device: this data set has no `degradation` to run there")
    source.deferred = True  # type: ignore[attr-defined]
    return pipeline


@dataclass
class Batch:
    """Samples of one step.

    `tensors` holds `lq`, `gt`, ... of shape (N, C, H, W), `uint8` or float in [0, 1], and `landmarks` (N, 5, 2), float
    in pixels. `set_aside` tells of each record that could not be read, by name, what is wrong with it; other samples
    stand in for them.
    """

    tensors: dict[str, Tensor]
    set_aside: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)  # of each sample's degradation, where the device makes the LQ

    def pin_memory(self) -> "Batch":
        """The batch in page-locked memory, from which copies to a GPU need not wait."""
        return replace(self, tensors={name: tensor.pin_memory() for name, tensor in self.tensors.items()})

    def to(self, device: torch.device) -> dict[str, Tensor]:
        """The tensors on the device, pictures as floats in [0, 1]."""
        return {name: images.to_float(t.to(device, non_blocking=True)) for name, t in self.tensors.items()}


@dataclass(frozen=True)
class Place:
    """Where a sample stands in the run: the key of its draws, and the record it shows."""

    epoch: int
    position: int
    index: int


Part = tuple[int, int]  # the number of a process, and how many there are


class Order:
    """The places of every batch: all records once an epoch, in an order of its own each epoch, nothing dropped."""

    def __init__(self, size: int, batch_size: int, seed: int, start: int, stop: int, part: Part = (0, 1)) -> None:
        """`size` samples an epoch; batches number `start` (counted from 0) up to, and without, `stop`.

        Of each batch there is part number `part[0]` of `part[1]` equal ones, which together are the batch.
        """
        self.size, self.batch_size, self.seed = size, batch_size, seed
        self.start, self.stop = start, stop
        number, parts = part
        self.part = slice(number * batch_size // parts, (number + 1) * batch_size // parts)

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[Place]]:
        epoch, order = -1, None
        for batch in range(self.start, self.stop):
            places = []
            for number in range(batch * self.batch_size, (batch + 1) * self.batch_size)[self.part]:
                if number // self.size != epoch or order is None:
                    epoch = number // self.size
                    order = keyed.draws(self.seed, "order", epoch).permutation(self.size)
                position = number % self.size
                places.append(Place(epoch, position, int(order[position])))
            yield places


@dataclass(frozen=True)
class Loaded:
    """A sample's tensors, the records set aside before it could be read, and the seed of its degradation."""

    tensors: dict[str, Tensor]
    set_aside: list[str]
    seed: int | None


class KeyedSamples:
    """A data set whose samples are asked for by `Place`; an unreadable record is replaced by another, drawn by key."""

    def __init__(self, source: SampleSource, seed: int) -> None:
        self.source, self.seed = source, seed

    def __getitem__(self, place: Place) -> Loaded | RestoreError:
        set_aside: list[str] = []
        records = len(self.source)
        index = place.index % records
        for attempt in range(MAX_REPLACEMENTS):
            try:
                draws = keyed.draws(self.seed, "train", place.epoch, place.position, attempt)
                sample = self.source.load(index, draws)
                return Loaded(_tensors(sample), set_aside, sample.get("seed"))
            except images.UnreadableImage as error:
                set_aside.append(str(error))
                index = int(keyed.draws(self.seed, "instead", place.epoch, place.position, attempt).integers(records))
            except RestoreError as error:  # returned, since a worker would wrap it in a traceback
                return error
            except Exception as error:
                error.add_note(f"while record `{self.source.keys[index]}` was loaded")
                raise
        return Fault(f"{MAX_REPLACEMENTS} records in a row cannot be used; the last: {set_aside[-1]}")


def _tensors(sample: Sample) -> dict[str, Tensor]:
    pictures = {name: images.to_chw(sample[name]) for name in PICTURES if name in sample}  # type: ignore[literal-required]
    if "landmarks" in sample:
        return pictures | {"landmarks": torch.from_numpy(sample["landmarks"])}
    return pictures


def collate(items: list[Loaded | RestoreError]) -> Batch | RestoreError:
    """Stacks samples; the first error among them stands for the batch."""
    samples: list[Loaded] = []
    for item in items:
        if isinstance(item, RestoreError):
            return item
        samples.append(item)
    each = [sample.tensors for sample in samples]
    try:
        tensors = {name: _stack([one[name] for one in each]) for name in each[0]}
    except RuntimeError:
        sizes = sorted({tuple(one[name].shape[1:]) for one in each for name in PICTURES if name in one})
        return Fault(f"pictures of different sizes {sizes[:4]} cannot form a batch; set gt_size to crop them")
    set_aside = [text for sample in samples for text in sample.set_aside]
    return Batch(tensors, set_aside, [sample.seed for sample in samples if sample.seed is not None])


@contextmanager
def train_batches(
    source: SampleSource,
    *,
    seed: int,
    batch_size: int,
    enlarge: int,
    workers: int,
    start: int,
    stop: int,
    pin: bool,
    part: Part = (0, 1),
) -> Iterator[Iterator[Batch]]:
    """Gives the batches number `start` to `stop` of a run, as long as the context is entered.

    Args:
        enlarge: passes through the data set that make one epoch.
        workers: processes that load; 0 loads in this one.
        pin: put batches in page-locked memory, for a GPU.
        part: which of several processes' equal parts of each batch this one computes.

    Raises:
        RestoreError: what a data set raised; or that a worker died, which interrupts whatever the context is at.
    """
    loader: DataLoader[Any] = DataLoader(
        KeyedSamples(source, seed),  # type: ignore[arg-type]
        batch_sampler=Order(len(source) * enlarge, batch_size, seed, start, stop, part),
        num_workers=workers,
        collate_fn=collate,
        pin_memory=pin,
        worker_init_fn=_prepare_worker if workers else None,
    )
    if workers:
        _close_opencv_threads()
    batches = iter(loader)
    try:
        yield map(_whole, batches)
    except (RuntimeError, OSError, EOFError) as error:  # what it was handing over may break off before PyTorch knows
        if _WORKER_DIED.match(str(error)) or _has_lost_one(batches):
            said = str(error) or type(error).__name__
            raise Fault(f"a data worker died ({said}); memory may be short: lower num_workers") from error
        raise
    finally:
        _end_workers(batches)


def _whole(batch: Batch | RestoreError) -> Batch:
    if isinstance(batch, RestoreError):
        raise batch
    return batch


def _has_lost_one(batches: Any) -> bool:
    """Whether a worker ended that should not have, or does so within a second."""
    workers = getattr(batches, "_workers", [])
    try:
        ended = multiprocessing.connection.wait([worker.sentinel for worker in workers], timeout=1)
        for worker in workers:
            worker.join(1 if worker.sentinel in ended else 0)  # its pipe closes a little before it has ended
        return any(worker.exitcode for worker in workers)
    except RuntimeError:  # by which PyTorch's handler of SIGCHLD says so
        return True


def _end_workers(batches: Any) -> None:
    """Ends them now: they ignore SIGTERM, by which Python would try to end them as it exits, and then wait for ever."""
    if hasattr(batches, "_shutdown_workers"):
        with suppress(RuntimeError):  # that one died, which PyTorch says once: too late to matter, or the run has ended
            batches._shutdown_workers()
        for worker in batches._workers:
            worker.kill()  # one that is stuck in a data set
            worker.join()


def _stack(tensors: list[Tensor]) -> Tensor:
    if len({tensor.dtype for tensor in tensors}) > 1:  # 8-bit beside 16-bit pictures
        tensors = [images.to_float(tensor) for tensor in tensors]
    return torch.stack(tensors)


def _close_opencv_threads() -> None:
    """Before workers are forked: one that inherits OpenCV's threads waits for ever when it closes them."""
    import cv2

    cv2.setNumThreads(1)


def _prepare_worker(worker: int) -> None:
    """Leaves Ctrl-C and SLURM's signals to the main process, and the cores to the other workers."""
    import cv2

    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(signum, signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    Queue._on_queue_feeder_error = staticmethod(_die)  # type: ignore[attr-defined]
    sys.excepthook = _tell_unless_alone


def _tell_unless_alone(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Prints a traceback, but not of a thread that was handing something to a main process that has been killed."""
    if not isinstance(error, ConnectionError):
        sys.__excepthook__(kind, error, trace)


def _die(error: Exception, batch: object) -> None:
    """Ends a worker that cannot hand over a batch, for want of memory: the main process would wait for it for ever."""
    os._exit(1)
