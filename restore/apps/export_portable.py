"""A network with what its users would have to know of it inside: what it is to be shown, what its answer is for."""

from copy import deepcopy

import torch
from torch import Tensor, nn

from restore.apps.export_source import Source
from restore.tasks.inpainting_task import composited
from restore.tasks.networks import takes_mask


class PortableRestorer(nn.Module):
    """LQ (N, 3, H, W) in [0, 1] to the restored picture (N, 3, H * scale, W * scale) in [0, 1], both float32.

    Args:
        dtype: what the network computes in.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network, self.dtype = network, dtype

    def forward(self, lq: Tensor) -> Tensor:
        pred: Tensor = self.network(lq.to(self.dtype))
        return pred.float().clamp(0, 1)


class PortableInpainter(nn.Module):
    """LQ and a mask (N, 1, H, W), 1 = missing, to LQ with the network's answer where the mask is set, in [0, 1].

    Args:
        show_hole: whether the network sees what stands in the hole; otherwise it is black to it.
        dtype: what the network computes in.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype, show_hole: bool) -> None:
        super().__init__()
        self.network, self.dtype = network, dtype
        self.show_hole, self.takes_mask = show_hole, takes_mask(network)

    def forward(self, lq: Tensor, mask: Tensor) -> Tensor:
        seen = lq if self.show_hole else lq * (mask == 0)
        shown = (seen, mask) if self.takes_mask else (seen,)
        pred = self.network(*(each.to(self.dtype) for each in shown))
        return composited(pred.float().clamp(0, 1), lq, mask)


def portable(source: Source, half: bool = False) -> nn.Module:
    """The source's network as it is carried elsewhere, or a copy in half precision."""
    model = source.model
    network, dtype = (deepcopy(model.network).half(), torch.float16) if half else (model.network, torch.float32)
    if source.masked:
        return PortableInpainter(network, dtype, model.show_hole).eval()
    return PortableRestorer(network, dtype).eval()
