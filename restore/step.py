"""What one training step works on."""

from dataclasses import dataclass, field

from torch import Tensor

Logits = Tensor | list[Tensor]


@dataclass
class Step:
    """The tensors of one step, pictures being (N, C, H, W) and RGB in [0, 1]; a task fills in what it has.

    Args:
        lq: the network's input.
        gt: the target.
        iter: the iteration of the stage, counted from 1.
        mask: 1 where pixels miss.
        landmarks: (N, 5, 2), x and y in pixels of the GT, centres at whole numbers; their order is `data.sample`'s.
        real: what a discriminator is shown as real; the target, unless that was sharpened.
        pred: the network's output, once there is one.
        logits_pred: what the discriminator says of `pred`, where there is one: a tensor, or one for each of its scales;
            likewise `logits_real`, which only those losses find that ask for it.
        features_pred: the outputs of the discriminator's layers for `pred`; likewise `features_real`; for losses
            that ask for them.
    """

    lq: Tensor
    gt: Tensor
    iter: int = 1
    mask: Tensor | None = None
    landmarks: Tensor | None = None
    real: Tensor = field(default=None)  # type: ignore[assignment]
    pred: Tensor = field(init=False)
    logits_pred: Logits = field(init=False)
    logits_real: Logits = field(init=False)
    features_pred: list[Tensor] = field(init=False)
    features_real: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        if self.real is None:
            self.real = self.gt
