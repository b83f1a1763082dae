"""Trains the stages of an option file, one after the other."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from restore import distributed
from restore.engine.checkpoint import Checkpoint, open_checkpoint
from restore.engine.device import is_out_of_memory
from restore.engine.experiment import Experiment
from restore.engine.logging import Log
from restore.engine.snapshot import begin_from
from restore.engine.trainer import Trainer
from restore.errors import Fault, UserError
from restore.options.schema import Options


@contextmanager
def _memory_told() -> Iterator[None]:
    """Memory that runs out before the loop, which tells it itself, is no bug of ours either."""
    try:
        yield
    except (OSError, MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise Fault(
            "memory has run out before the first step; take a smaller network, or end other programs"
        ) from error


@_memory_told()
def train_stages(
    stages: list[Options],
    experiment: Experiment,
    log: Log,
    checkpoint: Checkpoint | None,
    prepare: Callable[[], object],
    debug: bool = False,
) -> None:
    """Trains every stage, or what is left after a checkpoint.

    Args:
        stages: the options of each, in order.
        experiment: where all of them write.
        log: where all of them tell.
        checkpoint: where to go on.
        prepare: makes the experiment's folder; called when the first trainer stands, so that a mistake takes no name.
        debug: a few steps of everything.

    Raises:
        UserError: the checkpoint is of a stage that the file does not have; or what `Trainer` raises.
        Fault: out of memory; or what `Trainer.fit` raises.
    """
    number, first = _place(stages, checkpoint) if checkpoint is not None else (0, 0)
    for options in stages[number + 1 :]:
        Trainer(options, experiment, log, debug)  # what a later stage lacks is told now, not after days of the first
    for options in stages[number:]:
        trainer = Trainer(options, experiment, log, debug, first)
        prepare()
        if checkpoint is not None:
            trainer.resume(checkpoint)
        elif first:
            start = options.stage.start_from if options.stage else "last"
            pointer = experiment.checkpoints / ("latest" if start == "last" else "best")
            begin_from(trainer, distributed.from_main(partial(open_checkpoint, pointer)))
        trainer.fit()
        first, checkpoint, prepare = trainer.last_iter, None, _prepared


def _prepared() -> None:
    """What is left to prepare for a later stage: nothing."""


def _place(stages: list[Options], checkpoint: Checkpoint) -> tuple[int, int]:
    """The number of the stage that a checkpoint is of, and the iterations before that stage."""
    state = checkpoint.state()
    names = [options.stage.name if options.stage else None for options in stages]
    if state["stage"] not in names:
        raise UserError(
            f"{checkpoint.path}: is of stage `{state['stage']}`, the option file has {', '.join(map(str, names))}"
        )
    return names.index(state["stage"]), state["first"]
