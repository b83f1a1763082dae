"""What one training step works on."""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class Step:
    """The tensors of one step, all (N, C, H, W) and RGB in [0, 1]; a task fills in what it has.

    `lq` is the input, `gt` the target, `pred` the network's output once there is one; `mask` is 1 where pixels miss.
    """

    lq: Tensor
    gt: Tensor
    mask: Tensor | None = None
    pred: Tensor = field(init=False)
