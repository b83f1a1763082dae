"""LPIPS: how different two pictures look to a network, weighed by people's judgements.

Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric" (CVPR 2018), version 0.1.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from restore import pretrained
from restore.features.alexnet import AlexNet
from restore.features.layers import FeatureNetwork
from restore.features.squeezenet import SqueezeNet, SqueezeNetCaffe
from restore.features.vgg import VGG16
from restore.metrics.protocol import CropBorder, eight_bit_pair
from restore.registry import METRICS
from restore.weights import read_weights

Net = Literal["alex", "vgg", "squeeze", "squeeze_caffe"]
SMALLEST = 32  # pixels a side that are left after AlexNet's strides

_FIRES = ("relu1", "fire3", "fire5", "fire6", "fire7", "fire8", "fire9")
NETS: dict[str, tuple[type[FeatureNetwork], tuple[str, ...], str]] = {
    "alex": (AlexNet, tuple(f"relu{n}" for n in range(1, 6)), "lpips_alex"),
    "vgg": (VGG16, ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3"), "lpips_vgg"),
    "squeeze": (SqueezeNet, _FIRES, "lpips_squeeze"),
    "squeeze_caffe": (SqueezeNetCaffe, _FIRES, "lpips_squeeze"),
}


class Distance(nn.Module):
    """LPIPS of two batches of pictures, as a frozen network.

    Args:
        net: which network looks.
        weights: of that network, see `load_frozen`; the heads are the published ones always.

    Raises:
        UserError: a file cannot be had.
    """

    def __init__(self, net: Net, weights: str | None = None) -> None:
        super().__init__()
        network, self.layers, heads = NETS[net]
        self.features = network(self.layers, weights)
        tensors = read_weights(pretrained.find(heads)).tensors
        for number, layer in enumerate(self.layers):
            self.register_buffer(f"head_{layer}", tensors[f"lin{number}.model.1.weight"].float().flatten())

    def forward(self, pred: Tensor, gt: Tensor) -> Tensor:
        """One value per image, 0 for equal ones: (N, 3, H, W) RGB in [0, 1] to (N,). Gradients flow to `pred` alone.

        In float32 whatever autocast says: the features' differences are small.
        """
        with torch.autocast(pred.device.type, enabled=False):
            seen = self.features(pred)
            with torch.no_grad():
                wanted = self.features(gt)
            values = [
                (_unit(seen[layer]) - _unit(wanted[layer])).square().mean(dim=(2, 3)) @ getattr(self, f"head_{layer}")
                for layer in self.layers
            ]
        return torch.stack(values).sum(dim=0)


def _unit(features: Tensor) -> Tensor:
    """Each pixel's channels divided by their length.

    The root's slope at zero is infinite, but features are ReLUs' outputs, and a shut ReLU drops what comes back.
    """
    length = features.square().sum(dim=1, keepdim=True).sqrt()
    return features / (length + 1e-10)


class _Lpips:
    """What the metrics below share."""

    higher_is_better = False
    net: ClassVar[Net]
    shown: ClassVar[str]

    def __init__(self, crop_border: CropBorder = 0, weights: str | None = None) -> None:
        self.crop_border, self.weights = crop_border, weights
        self.distance = Distance(self.net, weights)
        self.device = torch.device("cpu")

    def to(self, device: torch.device) -> None:
        """Computes there from now on, wherever the pictures are."""
        self.device = device
        self.distance.to(device)

    @property
    def protocol(self) -> str:
        other = f", network weights {self.weights}" if self.weights else ""
        return f"LPIPS 0.1, {self.shown}, RGB, 8 bits, border {self.crop_border}{other}"

    @torch.no_grad()
    def __call__(self, pred: Tensor, gt: Tensor, mask: Tensor | None = None) -> Tensor:
        """One value per image, 0 for equal ones: (N, 3, H, W) RGB in [0, 1] to (N,) float64. The mask plays no part.

        Raises:
            ValueError: see `eight_bit_pair`; at least 32x32 pixels have to be left inside the border.
        """
        pred, gt = eight_bit_pair(pred, gt, self.crop_border, SMALLEST)
        values: Tensor = self.distance(*(picture.to(self.device, torch.float32) for picture in (pred, gt)))
        return values.to(pred.device, torch.float64)


@METRICS.register
class lpips_alex(_Lpips):
    """LPIPS over AlexNet: the figure that papers quote; lower is better."""

    net, shown = "alex", "AlexNet"


@METRICS.register
class lpips_vgg(_Lpips):
    """LPIPS over VGG16; lower is better."""

    net, shown = "vgg", "VGG16"


@METRICS.register
class lpips_squeeze(_Lpips):
    """LPIPS over torchvision's SqueezeNet 1.1; lower is better."""

    net, shown = "squeeze", "SqueezeNet 1.1"


@METRICS.register
class lpips_squeeze_caffe(_Lpips):
    """LPIPS's formula and heads over SqueezeNet's first training, in Caffe; lower is better.

    The heads were fitted to another training of this network: a perceptual distance to compare methods by, whose
    figures are not comparable with published LPIPS.
    """

    net, shown = "squeeze_caffe", "SqueezeNet 1.1 as trained in Caffe (not comparable with published LPIPS)"
