"""Restoration: one network maps LQ to GT, trained with losses on their difference."""

import torch
from torch import Tensor, nn

from restore.errors import UserError
from restore.options.schema import Options
from restore.registry import TASKS
from restore.step import Step
from restore.tasks.networks import build_network
from restore.tasks.task import Autocast, Losses, Phase, build_losses, build_optimizer, weigh


@TASKS.register
class Restoration:
    """Super-resolution and other restoration with one network and no adversary."""

    def __init__(self, options: Options, device: torch.device, autocast: Autocast) -> None:
        self.autocast = autocast
        self.network_g = build_network(options, "network_g", device)
        self.networks = {"network_g": self.network_g}
        self.phases: list[Phase] = []
        if options.train is None:
            return
        self.losses = build_losses(options.train.losses, device)
        self.forward = torch.compile(self.network_g) if options.train.compile else self.network_g
        optimizer = build_optimizer(options.train.optim_g, self.network_g, device)
        self.phases.append(Phase("g", [self.network_g], optimizer, self.generator_losses))

    def prepare(self, batch: dict[str, Tensor]) -> Step:
        if "gt" not in batch:
            raise UserError("training needs GT pictures: use GTImageDataset or PairedImageDataset")
        return Step(lq=batch["lq"], gt=batch["gt"])

    def generator_losses(self, step: Step) -> Losses:
        with self.autocast():
            step.pred = self.forward(step.lq)
        return weigh(self.losses, step)

    def predict(self, network: nn.Module, lq: Tensor) -> Tensor:
        with self.autocast():
            pred: Tensor = network(lq)
        return pred.float()
