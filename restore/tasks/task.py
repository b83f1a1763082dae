"""What the trainer asks of a task, and the phases that a task's step is made of."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from restore.errors import UserError
from restore.losses.loss import Loss
from restore.options.schema import Options, Train
from restore.registry import LOSSES, OPTIMIZERS, Part
from restore.step import Step

Losses = dict[str, Tensor]
Autocast = Callable[[], AbstractContextManager[object]]


@dataclass
class Phase:
    """One optimizer's share of a training step: a PSNR task has one, a GAN has two.

    `forward` is what the losses call of the modules in training: over several processes, it averages their gradients.
    `losses(step)` gives weighted scalars by name; those called `l_*` are summed, others are only told. The phase runs
    every `every` iterations, from iteration `start` of the stage on.
    """

    name: str
    modules: list[nn.Module]
    forward: nn.Module
    optimizer: torch.optim.Optimizer
    losses: Callable[[Step], Losses]
    every: int = 1
    start: int = 1

    def due(self, iteration: int) -> bool:
        """Whether the phase runs at this iteration of the stage, counted from 1."""
        return iteration >= self.start and (iteration - self.start) % self.every == 0

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What the optimizer updates."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]


class Task(Protocol):
    """What one step computes. Built from the options alone; the trainer moves nothing into it but batches."""

    networks: dict[str, nn.Module]  # by their name in the options, as saved in checkpoints
    phases: list[Phase]

    def __init__(self, options: Options, device: torch.device, autocast: Autocast) -> None: ...

    def prepare(self, batch: dict[str, Tensor], iteration: int) -> Step:
        """A step's tensors from a batch on the device, at an iteration of the stage counted from 1."""

    def predict(self, network: nn.Module, lq: Tensor, mask: Tensor | None = None, candidate: int = 0) -> Tensor:
        """What is made of whole LQ pictures, (N, 3, H, W) in [0, 1], with masks where there are: in tests.

        Of several results that a network may have for one picture, the one of number `candidate`. Raises `UserError`
        where it has but one, number 0.
        """


def build_losses(train: Train, device: torch.device) -> dict[str, tuple[float, Loss]]:
    """The losses of a training section, by name, each with its weight. Raises `UserError`, which names the loss."""
    dtype = torch.float64 if train.precision == "fp64" else None
    losses: dict[str, tuple[float, Loss]] = {}
    for name, part in train.losses.items():
        try:
            if part:
                losses[name] = part.weight, LOSSES.build(part).to(device, dtype)
        except UserError as error:
            raise UserError(f"train.losses.{name}: {error}") from error
    return losses


def weigh(losses: Mapping[str, tuple[float, Loss]], step: Step) -> Losses:
    """Each loss of a step times its weight, as `l_<name>`."""
    return {f"l_{name}": weight * loss(step) for name, (weight, loss) in losses.items()}


def build_optimizer(section: Part, module: nn.Module) -> torch.optim.Optimizer:
    """The optimizer that a section names over a module's trainable parameters; fused where torch has it so."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    if not parameters:
        raise UserError(f"{section.type}: the network has no trainable parameters")
    entry = OPTIMIZERS.get(section.type)
    fused = {"fused": True} if "fused" in entry.parameters and "fused" not in section.args else {}
    try:
        optimizer: torch.optim.Optimizer = entry.build(parameters, **section.args, **fused)
    except RuntimeError as error:
        if not fused:
            raise UserError(f"{section.type}: {error}") from error
        optimizer = entry.build(parameters, **section.args)  # this device has no fused kernel
    except ValueError as error:
        raise UserError(f"{section.type}: {error}") from error
    return optimizer
