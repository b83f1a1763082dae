"""Learning-rate schedules: torch's own by name, those of BasicSR's files, and the linear warm-up before any of them."""

import inspect
import math

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from restore.errors import UserError
from restore.ranges import Positive
from restore.registry import SCHEDULERS, Part


@SCHEDULERS.register
class MultiStepLR(torch.optim.lr_scheduler.MultiStepLR):
    """Multiplies the rate by `gamma` at each of the `milestones`, in iterations."""

    def __init__(
        self, optimizer: Optimizer, milestones: list[Positive], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        super().__init__(optimizer, milestones, gamma, last_epoch)


@SCHEDULERS.register
class CosineAnnealingRestartLR(LRScheduler):
    """Cosine annealing in periods, each starting at the full rate times its weight (BasicSR's schedule of that name).

    Args:
        periods: lengths in iterations; after the last one the rate stays.
        restart_weights: one factor a period.
        eta_min: the rate at the end of each period.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        periods: list[Positive],
        restart_weights: list[float] | None = None,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        self.periods = periods
        self.restart_weights = restart_weights or [1.0] * len(periods)
        self.eta_min = eta_min
        if not periods or len(self.restart_weights) != len(periods):
            raise ValueError(f"{len(periods)} periods need as many restart_weights, got {len(self.restart_weights)}")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | torch.Tensor]:
        """The rate of each parameter group at `last_epoch`."""
        start, period, weight = 0, self.periods[0], self.restart_weights[0]
        for length, factor in zip(self.periods, self.restart_weights, strict=True):
            period, weight = length, factor
            if self.last_epoch <= start + length:
                break
            start += length
        else:
            start -= period  # past the end: where the last period ends
        share = min(1.0, (self.last_epoch - start) / period)
        cosine = weight * 0.5 * (1 + math.cos(math.pi * share))
        return [self.eta_min + cosine * (base - self.eta_min) for base in self.base_lrs]


@SCHEDULERS.register
class CosineLR(LRScheduler):
    """One half cosine from the full rate down to `eta_min` over the whole of the training, or of its stage.

    Args:
        eta_min: the rate at the end.
    """

    def __init__(self, optimizer: Optimizer, total_iter: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.total_iter = total_iter
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | torch.Tensor]:
        """The rate of each parameter group at `last_epoch`."""
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, self.last_epoch / self.total_iter)))
        return [self.eta_min + cosine * (base - self.eta_min) for base in self.base_lrs]


class Schedule:
    """An optimizer's rate over the iterations: a scheduler's, or a constant, after a linear warm-up to the full rate.

    The first `warmup_iter` iterations rise to the rate that the optimizer was built with, as in BasicSR, while the
    scheduler already counts.
    """

    def __init__(self, section: Part | None, warmup_iter: int, total_iter: int, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.warmup_iter = max(0, warmup_iter)
        try:
            self.scheduler: LRScheduler | None = _build(section, optimizer, total_iter) if section else None
        except ValueError as error:
            raise UserError(f"train.scheduler: {error}") from error
        self.full = [float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups]
        self.plain = self.rates()  # the scheduler's own rates: many of torch's go on from what they find in the group
        self._warm(0)

    def rates(self) -> list[float]:
        """The rate of each parameter group."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def step(self, iteration: int) -> None:
        """Sets the rates for the iteration after number `iteration`, counted from 1."""
        if self.scheduler is not None:
            self._set(self.plain)
            self.scheduler.step()
            self.plain = self.rates()
        self._warm(iteration)

    def state_dict(self) -> dict[str, object]:
        """What `load_state_dict` needs to go on as if never stopped."""
        return {"plain": self.plain, "scheduler": self.scheduler.state_dict() if self.scheduler else None}

    def load_state_dict(self, state: dict[str, object], iteration: int) -> None:
        """Goes on after iteration number `iteration`."""
        self.plain = list(state["plain"])  # type: ignore[call-overload]
        if self.scheduler is not None and isinstance(state["scheduler"], dict):
            self.scheduler.load_state_dict(state["scheduler"])
        self._set(self.plain)
        self._warm(iteration)

    def _warm(self, iteration: int) -> None:
        if iteration + 1 < self.warmup_iter:
            self._set([rate * (iteration + 1) / self.warmup_iter for rate in self.full])
        else:
            self._set(self.plain)

    def _set(self, rates: list[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate


def _build(section: Part, optimizer: Optimizer, total_iter: int) -> LRScheduler:
    takes_length = "total_iter" in inspect.signature(SCHEDULERS.get(section.type).build).parameters
    length = {"total_iter": total_iter} if takes_length else {}
    scheduler: LRScheduler = SCHEDULERS.build(section, optimizer=optimizer, **length)
    return scheduler
