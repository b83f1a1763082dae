"""Restoration: a network maps LQ to GT, trained with losses on their difference, and against adversaries if wanted."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from restore.errors import UserError
from restore.losses.gan_loss import AdversarialLoss
from restore.options.document import Loc
from restore.options.schema import Options
from restore.options.walk import section_at
from restore.precision import full
from restore.registry import TASKS
from restore.step import Step
from restore.tasks.adversary import Adversary
from restore.tasks.candidates import latents_of
from restore.tasks.networks import build_network, predicts_noise, replicated
from restore.tasks.task import Autocast, Losses, Phase, build_losses, build_optimizer, weigh


@TASKS.register
class Restoration:
    """Super-resolution and other restoration with one network, and a discriminator for each adversarial loss."""

    @staticmethod
    def mistakes(data: dict[str, Any]) -> Iterator[tuple[Loc, str]]:
        """What in an option file, as it is written, does not go together with this task."""
        network = section_at(data, ("network_g",))
        if predicts_noise(network):
            yield ("network_g", "type"), f"{network['type']} predicts noise, which is for `Diffusion`: set task.type"

    def __init__(self, options: Options, device: torch.device, autocast: Autocast) -> None:
        self.autocast = autocast
        self.network_g = build_network(options, "network_g", device)
        self.networks = {"network_g": self.network_g}
        self.phases: list[Phase] = []
        self.adversaries: list[Adversary] = []
        if options.train is None:
            return
        losses = build_losses(options.train, device)
        self.companions = {name: loss for name, loss in losses.items() if loss[1].wants_features}
        for name, (weight, loss) in losses.items():
            if isinstance(loss, AdversarialLoss):
                self._oppose(options, name, weight, loss, device)
        if self.companions and "network_d" not in self.networks:
            raise UserError(f"train.losses.{next(iter(self.companions))}: no loss trains `network_d`; add a GANLoss")
        plain = (name for name, loss in losses.items() if not isinstance(loss[1], AdversarialLoss))
        self.losses = {name: losses[name] for name in plain if name not in self.companions}
        self.forward = replicated(self.network_g, options, device)
        optimizer = build_optimizer(options.train.optim_g, self.network_g)
        self.phases.insert(0, Phase("g", [self.network_g], self.forward, optimizer, self.generator_losses))

    def _oppose(self, options: Options, name: str, weight: float, loss: AdversarialLoss, device: torch.device) -> None:
        if getattr(options, loss.section) is None or loss.section in self.networks:
            raise UserError(f"train.losses.{name}: there is no `{loss.section}` of its own for it")
        companions = self.companions if loss.section == "network_d" else {}
        adversary = Adversary(options, name, weight, loss, device, self.autocast, companions)
        self.adversaries.append(adversary)
        self.networks[loss.section] = adversary.network
        self.phases.append(adversary.phase)

    def prepare(self, batch: dict[str, Tensor], iteration: int) -> Step:
        if "gt" not in batch:
            raise UserError("training needs GT pictures: use a data set that has them, such as GTImageDataset")
        real, landmarks = batch.get("real", batch["gt"]), batch.get("landmarks")
        return Step(lq=batch["lq"], gt=batch["gt"], iter=iteration, real=real, landmarks=landmarks)

    def generator_losses(self, step: Step) -> Losses:
        with self.autocast():  # of the losses, what looks through a network; sums and differences stay in float32
            step.pred = self.restore(step)
            losses = weigh(self.losses, step)
        adversarial: Losses = {}
        for adversary in self.adversaries:
            adversarial |= adversary.generator_losses(step, losses, self.network_g)
        return losses | adversarial

    def restore(self, step: Step) -> Tensor:
        """The network's answer in training."""
        pred: Tensor = self.forward(step.lq)
        return pred

    def predict(self, network: nn.Module, lq: Tensor, mask: Tensor | None = None, candidate: int = 0) -> Tensor:
        latents = latents_of(network, lq, candidate)
        with self.autocast():
            pred: Tensor = network(lq, **latents)
        return full(pred)


def without_holes(data: dict[str, Any]) -> Iterator[tuple[Loc, str]]:
    """The data sets of an option file that hide nothing, of no use to a task that is about what is hidden."""
    for name, section in section_at(data, ("datasets",)).items():
        if isinstance(section, dict) and section.get("type") == "GTImageDataset" and not section.get("degradation"):
            yield ("datasets", name, "type"), "GTImageDataset hides nothing; OccludedImageDataset does"
