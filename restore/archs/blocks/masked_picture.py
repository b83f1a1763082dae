"""Where a picture enters an inpainting network and leaves it: range, mask, and sizes that do not divide."""

import torch
from torch import Tensor
from torch.nn import functional as F


def entering(x: Tensor, mask: Tensor | None, mask_channel: bool, multiple: int, least: int) -> Tensor:
    """(N, 3, H, W) in [0, 1] to [-1, 1], the mask behind it, sides grown by replication below and to the right.

    Args:
        x: the picture.
        mask: (N, 1, H, W), 1 where pixels miss.
        mask_channel: the network sees the mask as a fourth channel; otherwise it is ignored.
        multiple: what the sides are multiples of afterwards.
        least: a multiple of `multiple` that no side is smaller than afterwards.

    Raises:
        ValueError: the network sees masks, and there is none.
    """
    x = 2 * x - 1
    if mask_channel:
        if mask is None:
            raise ValueError("the network sees the mask, and was given none; `mask_channel: false` makes one without")
        x = torch.cat((x, mask.to(x.dtype)), 1)
    below, right = (max(-side % multiple, least - side) for side in x.shape[-2:])
    if torch.compiler.is_exporting() or below or right:  # an exported network has no branches
        x = F.pad(x, (0, right, 0, below), mode="replicate")
    return x


def leaving(features: Tensor, x: Tensor) -> Tensor:
    """The last layer's output to a picture in [0, 1] of the size and precision of `x`, through tanh.

    The precision is regained before it: between 0.5 and 1, bfloat16 has no more than 128 values.
    """
    height, width = x.shape[-2:]
    return (torch.tanh(features[..., :height, :width].to(x.dtype)) + 1) / 2
