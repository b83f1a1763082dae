"""Training steps as one writes them by hand in PyTorch: no trainer, no schedule, no log, no look at the gradients."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restore import keyed
from restore.data.loader import Batch
from restore.engine.trainer import Trainer
from restore.tasks.restoration_task import Restoration

BareStep = Callable[[Batch], None]
Forward = Callable[[dict[str, Tensor]], Tensor]  # the generator's answer to a batch
Criterion = Callable[[Tensor, dict[str, Tensor]], Tensor]  # of that answer
ADVERSARIAL, IDENTITY, DICE = 0.1, 0.1, 0.5  # weights
MIN_SNR = 5.0


def adam(network: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of every network here."""
    return torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.9, 0.99), fused=True)


def own(trainer: Trainer, name: str) -> nn.Module:
    """A network with the weights of the trainer's."""
    return copy.deepcopy(trainer.task.networks[name]).train()


def on_device(trainer: Trainer, batch: Batch) -> dict[str, Tensor]:
    """The pictures as floats in [0, 1]; where the trainer makes the LQ itself, so is it here, by the same parts."""
    tensors = {name: tensor.to(trainer.device, non_blocking=True) for name, tensor in batch.tensors.items()}
    pictures = {name: t.float().div_(255) if t.dtype == torch.uint8 else t for name, t in tensors.items()}
    if trainer.pipeline is not None:
        pictures |= trainer.pipeline(pictures["gt"], [keyed.draws("degrade", seed) for seed in batch.seeds])
    return pictures


def super_resolution(trainer: Trainer) -> BareStep:
    """L1."""
    network = own(trainer, "network_g")
    return supervised(trainer, network, lambda x: network(x["lq"]), lambda pred, x: F.l1_loss(pred, x["gt"]))


def segmentation(trainer: Trainer) -> BareStep:
    """Cross entropy and Dice of where something lies over the face."""
    network = own(trainer, "network_g")

    def criterion(pred: Tensor, x: dict[str, Tensor]) -> Tensor:
        entropy = -torch.where(x["mask"] > 0, pred, 1 - pred).clamp(min=1e-7).log().mean()
        both, total = (pred * x["mask"]).sum((1, 2, 3)), (pred + x["mask"]).sum((1, 2, 3))
        return entropy + DICE * (1 - (2 * both + 1) / (total + 1)).mean()

    return supervised(trainer, network, lambda x: network(x["lq"]), criterion)


def identity(trainer: Trainer) -> BareStep:
    """L1, and the cosine of what a face-recognition network sees."""
    network = own(trainer, "network_g")
    assert isinstance(trainer.task, Restoration)
    loss = trainer.task.losses["identity"][1]

    def criterion(pred: Tensor, x: dict[str, Tensor]) -> Tensor:
        with torch.no_grad():
            wanted = loss.identity(x["gt"], x["landmarks"])  # type: ignore[operator]
        apart = 1 - (loss.identity(pred, x["landmarks"]) * wanted).sum(1).mean()  # type: ignore[operator]
        return F.l1_loss(pred, x["gt"]) + IDENTITY * apart

    return supervised(trainer, network, lambda x: network(x["lq"], x["mask"]), criterion)


def supervised(trainer: Trainer, network: nn.Module, forward: Forward, criterion: Criterion) -> BareStep:
    """One network, one loss."""
    optimizer = adam(network)

    def step(batch: Batch) -> None:
        pictures = on_device(trainer, batch)
        optimizer.zero_grad()
        criterion(forward(pictures), pictures).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def gan(trainer: Trainer) -> BareStep:
    """Super-resolution against a discriminator."""
    network = own(trainer, "network_g")
    return adversarial(trainer, network, lambda x: network(x["lq"]))


def inpainting(trainer: Trainer) -> BareStep:
    """A network that is told where the hole is, against a discriminator."""
    network = own(trainer, "network_g")
    return adversarial(trainer, network, lambda x: network(x["lq"], x["mask"]))


def adversarial(trainer: Trainer, network: nn.Module, forward: Forward) -> BareStep:
    """L1 and the vanilla GAN loss: the generator's step, then the discriminator's."""
    judge = own(trainer, "network_d")
    optimizer, optimizer_d = adam(network), adam(judge)

    def step(batch: Batch) -> None:
        pictures = on_device(trainer, batch)
        judge.requires_grad_(False)
        optimizer.zero_grad()
        pred = forward(pictures)
        loss = F.l1_loss(pred, pictures["gt"]) + ADVERSARIAL * F.softplus(-judge(pred)).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        judge.requires_grad_(True)
        optimizer_d.zero_grad()
        loss_d = F.softplus(-judge(pictures["gt"])).mean() + F.softplus(judge(pred.detach())).mean()
        loss_d.backward()  # type: ignore[no-untyped-call]
        optimizer_d.step()

    return step


def diffusion(trainer: Trainer) -> BareStep:
    """The noise in a picture, linear schedule, min-SNR weights."""
    network = own(trainer, "network_g")
    alphas = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0).float().to(trainer.device)
    optimizer = adam(network)

    def step(batch: Batch) -> None:
        x0 = on_device(trainer, batch)["gt"] * 2 - 1
        time = torch.randint(1000, x0.shape[:1], device=x0.device)
        noise = torch.randn_like(x0)
        alpha = alphas[time]
        snr = alpha / (1 - alpha)
        kept = alpha[:, None, None, None]
        optimizer.zero_grad()
        error = (network(kept.sqrt() * x0 + (1 - kept).sqrt() * noise, time) - noise).square().mean((1, 2, 3))
        (snr.clamp(max=MIN_SNR) / snr * error).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step
