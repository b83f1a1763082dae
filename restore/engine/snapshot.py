"""What a checkpoint holds of a run, and how a run goes on from one."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch import nn

from restore import __version__, distributed
from restore.engine.checkpoint import Checkpoint, state_bytes
from restore.engine.experiment import differences, dump, plain
from restore.errors import UserError
from restore.weights import load_weights, locate, weights_bytes

if TYPE_CHECKING:
    from restore.engine.trainer import Trainer

_STAYS = "; the checkpoint's stays"


def take(trainer: "Trainer") -> dict[str, bytes]:
    """The files of a checkpoint: every network, its average, the state of everything else, and the options."""
    files = {}
    for name, network in trainer.task.networks.items():
        files[f"{name}.safetensors"] = _weights(trainer, name, name, network)
        if name in trainer.averages:
            files[f"{name}_ema.safetensors"] = _weights(trainer, f"{name}_ema", name, trainer.averages[name].module)
    state = {
        "iter": trainer.iter,
        "first": trainer.first,
        "stage": trainer.options.stage.name if trainer.options.stage else None,
        "validated": trainer.validated,
        "best": trainer.validator.best,
        "set_aside": trainer.set_aside,
        "update": trainer.update.state_dict(),
        "parts": _parts(trainer),
        "optimizers": {phase.name: phase.optimizer.state_dict() for phase in trainer.task.phases},
        "schedules": {name: schedule.state_dict() for name, schedule in trainer.schedules.items()},
    }
    return files | {"state.pt": state_bytes(state), "options.yml": dump(trainer.options).encode()}


def put_back(trainer: "Trainer", checkpoint: Checkpoint) -> None:
    """Sets a freshly built trainer to where the checkpoint was taken.

    Raises:
        UserError: it belongs to another network, optimizer or scheduler, or its state is broken.
    """
    distributed.expect(checkpoint.path)
    state = checkpoint.state()
    for change in _changes(checkpoint.options(), plain(trainer.options.model_dump(mode="json"))):
        trainer.log.warning(f"changed since the checkpoint: {change}")
    for name, own in _parts(trainer).items():
        if state["parts"].get(name) != own:
            raise UserError(
                f"{checkpoint.path}: {name} was {state['parts'].get(name)}, the options say {own}; go on as it "
                "was, or start another run from its weights with path.pretrain_network_g"
            )
    for name, network in trainer.task.networks.items():
        load_weights(network, checkpoint.weights(name))
        if name in trainer.averages:
            load_weights(trainer.averages[name].module, checkpoint.weights(f"{name}_ema"))
            trainer.averages[name].updates = state["iter"] - state["first"]
    trainer.iter, trainer.validated, trainer.set_aside = state["iter"], state["validated"], state["set_aside"]
    trainer.validator.best = state["best"]
    lengths = _lengths(trainer)
    try:
        trainer.update.load_state_dict(state["update"])
        for phase in trainer.task.phases:
            phase.optimizer.load_state_dict(state["optimizers"][phase.name])
            trainer.schedules[phase.name].load_state_dict(state["schedules"][phase.name], trainer.stage_iter)
    except (KeyError, TypeError, ValueError) as error:
        why = f"{type(error).__name__}: {error}"
        raise UserError(f"{checkpoint.path}: its state fits no such run ({why}); resume from another one") from error
    for name, kept in _lengths(trainer).items():
        if kept != lengths[name]:
            trainer.log.warning(f"changed since the checkpoint: {name}: {kept} -> {lengths[name]}{_STAYS}")


def begin_from(trainer: "Trainer", checkpoint: Checkpoint) -> None:
    """Gives a stage the weights that the stage before ended with: the averaged ones where it kept an average.

    A network that the checkpoint lacks, such as a discriminator that comes in only now, keeps its own beginning.
    """
    distributed.expect(checkpoint.path)
    for name, network in trainer.task.networks.items():
        if checkpoint.weights(name).is_file():
            load_weights(network, locate(checkpoint.path, name))
        if name in trainer.averages:
            trainer.averages[name].module.load_state_dict(network.state_dict())
    trainer.validated = trainer.iter  # by the stage before
    trainer.log.info(f"begins with the weights of {checkpoint.path}")


def _changes(before: Any, now: Any) -> Iterator[str]:
    """What differs between two sets of options; optimizers' and schedulers' settings go on as they were saved."""
    for key, old, new in differences(before, now):
        kept = _STAYS if key.startswith(("train.optim_", "train.scheduler.")) else ""
        yield f"{key}: {old} -> {new}{kept}"


def _lengths(trainer: "Trainer") -> dict[str, int]:
    """The iterations over which schedules run that are made for the length of the training."""
    schedulers = (schedule.scheduler for schedule in trainer.schedules.values())
    lengths = {f"length of {type(each).__name__}": getattr(each, "total_iter", None) for each in schedulers}
    return {name: length for name, length in lengths.items() if length is not None}


def _parts(trainer: "Trainer") -> dict[str, str]:
    """The types whose state a checkpoint holds."""
    parts = {f"optimizer {phase.name}": type(phase.optimizer).__name__ for phase in trainer.task.phases}
    return parts | {f"scheduler {name}": type(s.scheduler).__name__ for name, s in trainer.schedules.items()}


def _weights(trainer: "Trainer", saved_as: str, section: str, network: nn.Module) -> bytes:
    part = getattr(trainer.options, section)
    facts = {
        "arch": {"type": part.type, **part.args},
        "scale": trainer.options.scale,
        "task": {"type": trainer.options.task.type, **trainer.options.task.args},
        "network": saved_as,
        "experiment": trainer.options.name,
        "iter": trainer.iter,
        "version": __version__,
    }
    return weights_bytes(network, facts | ({"size": trainer.size} if trainer.size else {}))
