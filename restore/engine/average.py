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
        self.network = network
        self.module: nn.Module = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay
        self.updates = 0
        # kept, since to walk through the layers costs more than to average those of a small network
        self._own, self._own_buffers = list(self.module.parameters()), list(self.module.buffers())
        self._new = list(network.parameters())

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the network as it is now."""
        weight = 1 - min(self.decay, self.updates / (self.updates + 9))
        own: list[Tensor] = [*self._own]
        new: list[Tensor] = [*self._new]
        for held, buffer in zip(self._own_buffers, self.network.buffers(), strict=True):
            if held.is_floating_point():
                own.append(held)
                new.append(buffer)
            else:
                held.copy_(buffer)
        torch._foreach_lerp_(own, new, weight)
        self.updates += 1
