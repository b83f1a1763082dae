"""A discriminator of a task: what it tells the generator, and the phase that trains it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from restore.distributed import mean_
from restore.errors import UserError
from restore.losses.gan_loss import AdversarialLoss, scales
from restore.losses.loss import Loss
from restore.options.schema import Discriminator, Options
from restore.precision import full
from restore.step import Logits, Step
from restore.tasks.networks import build_network, compiled, replicated
from restore.tasks.task import Autocast, Losses, Phase, build_optimizer, weigh


class Adversary:
    """A discriminator with its optimizer, and the adversarial loss that both sides of the game read.

    Each has its own section of the option file, `network_d` or `network_d_parts`, and trains in the phase named after
    it, `d` or `d_parts`. `train.discriminator` and `train.optim_d` count for all. `companions` are losses of the
    generator that look at the outputs of the discriminator's layers.
    """

    def __init__(
        self,
        options: Options,
        name: str,
        weight: float,
        loss: AdversarialLoss,
        device: torch.device,
        autocast: Autocast,
        companions: Mapping[str, tuple[float, Loss]],
    ) -> None:
        assert options.train is not None
        assert options.train.optim_d is not None
        self.network = build_network(options, loss.section, device)
        self.name, self.weight, self.loss, self.autocast = name, weight, loss, autocast
        self.companions = companions
        if companions and not hasattr(self.network, "layers"):
            part = getattr(options, loss.section).type
            raise UserError(f"train.losses.{next(iter(companions))}: {part} does not show its layers; PatchGAN does")
        self.settings: Discriminator = options.train.discriminator
        optimizer = build_optimizer(options.train.optim_d, self.network)
        self.look = compiled(self.network, options)  # as the generator's judge, whose gradients it keeps none of
        self.forward = replicated(self.network, options, device)
        every, start = self.settings.every, self.settings.start
        phase = loss.section.removeprefix("network_")
        self.phase = Phase(phase, [self.network], self.forward, optimizer, self.discriminator_losses, every, start)

    def counts(self, step: Step) -> bool:
        """Whether the generator hears of the discriminator yet."""
        return step.iter >= self.settings.start

    def generator_losses(self, step: Step, others: Losses, generator: nn.Module) -> Losses:
        """What the generator hears, given the losses it has already, from which an adaptive weight is made."""
        if not self.counts(step):
            return {}
        self.judge(step)
        losses = weigh({self.name: (self.weight, self.loss)}, step)
        beside = weigh(self.companions, step)
        if not self.settings.adaptive_weight or not others:
            return losses | beside
        total = torch.stack([full(loss) for loss in (others | beside).values()]).sum()
        scale = self.weight * adaptive_weight(total, next(iter(losses.values())), generator)
        scaled = {name: loss * scale for name, loss in losses.items()}
        return scaled | beside | {f"adaptive_weight_{self.phase.name}": scale}

    def judge(self, step: Step) -> None:
        """Gives the generator's step its logits. Gradients pass through the discriminator and leave none in it."""
        with _frozen(self.network), self.autocast():
            shown = self.loss.view(step, step.pred)
            if self.companions:
                step.logits_pred, step.features_pred = self._looked_at(shown)
                with torch.no_grad():
                    step.logits_real, step.features_real = self._looked_at(self.loss.view(step, step.real))
                return
            step.logits_pred = _floats(self.look(shown))
            if self.loss.wants_real:
                with torch.no_grad():
                    step.logits_real = _floats(self.look(self.loss.view(step, step.real)))

    def _looked_at(self, picture: Tensor) -> tuple[Logits, list[Tensor]]:
        """The logits, and what the layers before them put out, of all scales."""
        layers: Any = self.network.layers
        outputs = layers(picture)
        if isinstance(outputs[0], Tensor):
            return full(outputs[-1]), outputs[:-1]
        return [full(scale[-1]) for scale in outputs], [output for scale in outputs for output in scale[:-1]]

    def discriminator_losses(self, step: Step) -> Losses:
        """The game's other side, on the picture that the generator made before its own step."""
        with self.autocast():
            step.logits_real = _floats(self.forward(self.loss.view(step, step.real)))
            step.logits_pred = _floats(self.forward(self.loss.view(step, step.pred.detach())))
        sure = {"out_d_real": _mean(step.logits_real), "out_d_fake": _mean(step.logits_pred)}
        losses = self.loss.discriminator(step) | sure
        if self.settings.r1_weight and step.iter % self.settings.r1_every == 0:
            losses |= {"l_d_r1": self.settings.r1_weight / 2 * self.settings.r1_every * self.penalty(step)}
        return {name.replace("_d_", f"_{self.phase.name}_"): loss for name, loss in losses.items()}

    def penalty(self, step: Step) -> Tensor:
        """R1, the squared gradient of real pictures' logits (Mescheder et al., ICML 2018), in float32: it is
        differentiated twice. Computed lazily and weighted up by as much, as in StyleGAN2 (Karras et al., CVPR 2020).
        """
        real = self.loss.view(step, step.real).detach().requires_grad_()
        total = torch.stack([scale.sum() for scale in scales(_floats(self.network(real)))]).sum()
        (gradient,) = torch.autograd.grad(total, real, create_graph=True)
        squared: Tensor = gradient.square().sum(dim=(1, 2, 3))
        return squared.mean()


def _floats(logits: Logits) -> Logits:
    return [full(one) for one in logits] if isinstance(logits, list) else full(logits)


def _mean(logits: Logits) -> Tensor:
    return torch.stack([scale.detach().mean() for scale in scales(logits)]).mean()


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


def adaptive_weight(others: Tensor, adversarial: Tensor, network: nn.Module) -> Tensor:
    """How many times longer the gradient of the other losses is than the adversarial one's, at the network's end.

    Esser et al., "Taming transformers" (CVPR 2021), equation 7, limited to 10,000 as there; without its 1e-4 below the
    line, which suits sums over pixels: losses are means here. The last among the network's parameters that has more
    than one dimension stands for its last layer. Gradients are those of all ranks.
    """
    last = [p for p in network.parameters() if p.ndim > 1 and p.requires_grad][-1]
    (to_others,) = torch.autograd.grad(others, last, retain_graph=True)
    (to_adversarial,) = torch.autograd.grad(adversarial, last, retain_graph=True)
    ratio: Tensor = mean_(to_others).norm() / mean_(to_adversarial).norm()
    return ratio.nan_to_num(0.0).clamp(0, 1e4).detach()
