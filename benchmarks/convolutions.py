"""The floor under a network: its convolutions alone, called directly, without modules, graph or optimizer."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Call(NamedTuple):
    """One convolution of a forward pass."""

    x: Tensor
    weight: Tensor
    bias: Tensor | None
    stride: Any
    padding: Any
    dilation: Any
    groups: int
    first: bool  # whose input wants no gradient


@torch.no_grad()
def recorded(network: nn.Module, run: Callable[[], Any]) -> list[Call]:
    """The convolutions that `run` makes `network` compute, with inputs as they came."""
    calls: list[Call] = []

    def note(layer: nn.Conv2d, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        kind = (layer.stride, layer.padding, layer.dilation, layer.groups)
        bias = layer.bias.detach() if layer.bias is not None else None
        calls.append(Call(inputs[0].detach().clone(), layer.weight.detach(), bias, *kind, first=not calls))

    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return calls


@torch.no_grad()
def forward(calls: list[Call]) -> list[Tensor]:
    """All of them."""
    return [F.conv2d(c.x, c.weight, c.bias, c.stride, c.padding, c.dilation, c.groups) for c in calls]


@torch.no_grad()
def forward_and_backward(calls: list[Call]) -> None:
    """All of them, and their gradients for input, weight and bias."""
    for call, y in zip(calls, forward(calls), strict=True):
        sizes = [len(call.bias)] if call.bias is not None else None
        wanted = [not call.first, True, call.bias is not None]
        kind = (call.stride, call.padding, call.dilation, False, [0, 0], call.groups)
        torch.ops.aten.convolution_backward(y, call.x, call.weight, sizes, *kind, wanted)
