"""Networks on their device: built from a section, with pretrained weights where the options name them."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from restore import distributed, keyed
from restore.errors import UserError
from restore.options.paths import resolve
from restore.options.schema import Options
from restore.registry import ARCHS, Part
from restore.weights import load_weights


def build_network(options: Options, name: str, device: torch.device) -> nn.Module:
    """The network of the section called `name`, initialised from the seed or from `path.pretrain_<name>`."""
    part: Part = getattr(options, name)
    torch.manual_seed(keyed.number(options.manual_seed, "init", name))
    try:
        network: nn.Module = ARCHS.build(part)
    except ValueError as error:
        raise UserError(f"{name}: {part.type}: {error}") from error
    pretrained = getattr(options.path, f"pretrain_{name}")
    if pretrained is not None:
        net = name.removeprefix("network")  # `_g` or `_d`
        key, strict = getattr(options.path, f"param_key{net}"), getattr(options.path, f"strict_load{net}")
        transfer = load_weights(network, resolve(pretrained), key, strict)
        if not transfer.complete and distributed.is_main():
            print(f"{name}: {transfer}", flush=True)
    if options.train is not None and options.train.grad_checkpointing:
        _enable_checkpointing(network, part)
    network.to(device)
    if options.train is not None and options.train.precision == "fp64":
        network.double()
    if options.train is not None and options.train.sync_bn:
        twice = name != "network_g" and options.train.discriminator.r1_weight > 0
        network = distributed.synced_batch_norm(network, device, twice)
    flat = all(tensor.dim() != 5 for tensor in network.state_dict().values())  # StyleGAN2's kernels have no such form
    if flat and (options.train is None or options.train.channels_last):
        network.to(memory_format=torch.channels_last)
    return network


def compiled(network: nn.Module, options: Options) -> nn.Module:
    """The network as training calls it: compiled where the options ask for it."""
    assert options.train is not None
    return torch.compile(network) if options.train.compile else network  # type: ignore[return-value]


def replicated(network: nn.Module, options: Options, device: torch.device) -> nn.Module:
    """The same where its gradients count: averaged over all processes."""
    assert options.train is not None
    static = options.train.accumulate == 1
    return compiled(distributed.replicated(network, device, static), options)


def takes_mask(network: nn.Module) -> bool:
    """Whether it is called as `network(x, mask)`."""
    return "mask" in inspect.signature(type(network).forward).parameters


def takes_time(arch: Callable[..., Any]) -> bool:
    """Whether networks of that class are called as `network(x, time)`: they predict the noise in x, for diffusion."""
    return "time" in inspect.signature(getattr(arch, "forward", arch)).parameters


def predicts_noise(section: Mapping[str, Any]) -> bool:
    """Whether `network_g`, as it is written, is a network for diffusion."""
    known = str(section.get("type"))
    return known in ARCHS and takes_time(ARCHS.get(known).build)


def _enable_checkpointing(network: nn.Module, part: Part) -> None:
    if not hasattr(network, "grad_checkpointing"):
        raise UserError(f"train.grad_checkpointing: {part.type} does not offer it")
    network.grad_checkpointing = True  # type: ignore[assignment]
