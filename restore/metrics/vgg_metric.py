"""The distance of two pictures to a VGG network, layer by layer: what a paper's column "VGG" is."""

from collections.abc import Iterable

import torch
from torch import Tensor

from restore.features.layers import FeatureNetwork
from restore.features.vgg import VGG19, VGGNormalised
from restore.metrics.protocol import eight_bit_pair
from restore.registry import METRICS


class _VggDistance:
    """What the metrics below share: the sum over layers of the mean absolute difference of their outputs."""

    higher_is_better = False
    network: type[FeatureNetwork]
    layers: Iterable[str]
    smallest: int
    shown: str

    def __init__(self, weights: str | None = None) -> None:
        self.weights = weights
        self.features = self.network(self.layers, weights)
        self.device = torch.device("cpu")

    def to(self, device: torch.device) -> None:
        """Computes there from now on, wherever the pictures are."""
        self.device = device
        self.features.to(device)

    @property
    def protocol(self) -> str:
        other = f", network weights {self.weights}" if self.weights else ""
        layers = ", ".join(self.layers)
        return f"RGB, 8 bits, {self.shown}, sum over {layers} of the mean absolute difference{other}"

    @torch.no_grad()
    def __call__(self, pred: Tensor, gt: Tensor, mask: Tensor | None = None) -> Tensor:
        """One value per image, 0 for equal ones: (N, 3, H, W) RGB in [0, 1] to (N,) float64. The mask plays no part.

        Equal pictures give an equal figure however they lie in memory, which convolutions round by otherwise.

        Raises:
            ValueError: see `eight_bit_pair`; too small for the pools before the last layer.
        """
        pair = eight_bit_pair(pred, gt, smallest=self.smallest)
        seen, wanted = (self.features(picture.to(self.device, torch.float32).contiguous()) for picture in pair)
        values = [(seen[layer].double() - wanted[layer]).abs().mean(dim=(1, 2, 3)) for layer in self.layers]
        return torch.stack(values).sum(dim=0).to(pred.device)


@METRICS.register
class vgg_distance(_VggDistance):
    """L1 between VGG19's relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1, summed; lower is better.

    Assumed, where papers name no more than layers and L1: torchvision's weights, ImageNet's normalisation of RGB in
    [0, 1], each layer's mean over channels and places, weights of 1, whole composited pictures at their own size.

    Args:
        weights: of the network, in the place of the registered file; `random` for tests.

    Raises:
        UserError: the weights cannot be had.
    """

    network, layers, smallest = VGG19, tuple(f"relu{stage}_1" for stage in range(1, 6)), 16
    shown = "VGG19 normalised as ImageNet"


@METRICS.register
class vgg_distance_normalised(_VggDistance):
    """As `vgg_distance`, over the normalised VGG19 up to relu3_1: to compare methods by where VGG19 cannot be had.

    Its activations are of another size: not comparable with `vgg_distance`, nor with published figures.
    """

    network, layers, smallest = VGGNormalised, tuple(f"relu{stage}_1" for stage in range(1, 4)), 8
    shown = "normalised VGG19 (not comparable with VGG19)"
