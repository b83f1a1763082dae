"""The exponential moving average of a network's weights, which is what gets used."""

import copy

import torch
from torch import Tensor, nn


class Average:
    """A copy of a network, `module`, that follows it: averages what is a number, copies what counts.

    Running statistics of batch norm are averaged with the weights: those of today's network do not fit the average of
    its past. The average is short at first, so that it does not hold on to where training began.

    Args:
        network: what to follow.
        decay: the share of the average that stays at each update, in the long run.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.module: nn.Module = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Takes in the network as it is now."""
        weight = 1 - min(self.decay, self.updates / (self.updates + 9))
        own, new = _tensors(self.module), _tensors(network)
        numbers = [i for i, tensor in enumerate(own) if tensor.is_floating_point()]
        torch._foreach_lerp_([own[i] for i in numbers], [new[i] for i in numbers], weight)
        for i in set(range(len(own))).difference(numbers):
            own[i].copy_(new[i])
        self.updates += 1


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]
