"""Perceptual and style losses: distances between what a frozen network sees in `step.pred` and in `step.gt`."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from restore.errors import UserError
from restore.features.layers import FeatureNetwork
from restore.features.squeezenet import SqueezeNet, SqueezeNetCaffe
from restore.features.vgg import VGG16, VGG19, VGGNormalised
from restore.losses.loss import Loss
from restore.registry import LOSSES
from restore.step import Step

Network = Literal["vgg19", "vgg16", "vgg_normalised", "squeezenet", "squeezenet_caffe"]
Criterion = Literal["l1", "l2", "fro"]

NETWORKS: dict[str, type[FeatureNetwork]] = {
    "vgg19": VGG19,
    "vgg16": VGG16,
    "vgg_normalised": VGGNormalised,
    "squeezenet": SqueezeNet,
    "squeezenet_caffe": SqueezeNetCaffe,
}

# VGG19's are those of GFPGAN and Real-ESRGAN; the others put their weight at like depths.
LAYERS = {
    "vgg19": {"conv1_2": 0.1, "conv2_2": 0.1, "conv3_4": 1.0, "conv4_4": 1.0, "conv5_4": 1.0},
    "vgg16": {"conv1_2": 0.1, "conv2_2": 0.1, "conv3_3": 1.0, "conv4_3": 1.0, "conv5_3": 1.0},
    "vgg_normalised": {"conv1_2": 0.1, "conv2_2": 0.1, "conv3_1": 1.0},
    "squeezenet": {"fire3": 0.1, "fire5": 1.0, "fire7": 1.0, "fire9": 1.0},
    "squeezenet_caffe": {"fire3": 0.1, "fire5": 1.0, "fire7": 1.0, "fire9": 1.0},
}


class FeatureLoss(Loss):
    """Base of the two losses here: the weighted sum over layers of a distance between features.

    Args:
        network: which network looks.
        layers: the weight of each layer; left out, those of `LAYERS`.
        criterion: distance of two layers' outputs.
        weights: a file of one's own in the place of the registered one; `random` for tests.

    Raises:
        UserError: an unknown layer, none at all, or the weights cannot be had.
    """

    def __init__(
        self,
        network: Network = "vgg19",
        layers: dict[str, float] | None = None,
        criterion: Criterion = "l1",
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.layers: Mapping[str, float] = LAYERS[network] if layers is None else layers
        if not self.layers:
            raise UserError(f"{type(self).__name__}: layers is empty; name one, or leave it out")
        self.criterion = criterion
        self.features = NETWORKS[network](self.layers, weights)

    def forward(self, step: Step) -> Tensor:
        with torch.no_grad():
            wanted = {name: self.statistic(x) for name, x in self.features(step.gt).items()}
        seen = self.features(step.pred)
        parts = [
            weight * distance(self.statistic(seen[name]), wanted[name], self.criterion)
            for name, weight in self.layers.items()
        ]
        total: Tensor = torch.stack(parts).sum()
        return total

    def statistic(self, features: Tensor) -> Tensor:
        """What of a layer's output is compared."""
        return features


@LOSSES.register
class PerceptualLoss(FeatureLoss):
    """Distance between the features of two pictures (Johnson et al., ECCV 2016), by default over VGG19.

    A layer is named `conv5_4` before its ReLU, `relu5_4` behind it. VGG19 with `conv1_2: 0.1, conv2_2: 0.1, conv3_4: 1,
    conv4_4: 1, conv5_4: 1` and `l1`, the default, is the setting of GFPGAN and Real-ESRGAN, with weight 1; ESRGAN's is
    `conv5_4: 1`. `fro` is each sample's Frobenius norm; BasicSR takes one norm of the whole batch, so that there its
    weight hangs on the batch size.

    A weight does not carry over from one network to another. Substitutes for where VGG19 cannot be had, with the weight
    at which their gradient is as long as that of an L1Loss of weight 1 (docs/weights.md): `vgg_normalised` (file
    `vgg_normalised`, layers conv1_2, conv2_2, conv3_1): 0.016; `squeezenet_caffe` (file `squeezenet1_1_caffe`, layers
    fire3, fire5, fire7, fire9): 0.00017.

    Args:
        network: vgg19 (file `vgg19`), vgg16 (`vgg16`), squeezenet (`squeezenet1_1`), or a substitute.
        layers: the weight of each layer; left out, the network's in `LAYERS`.
        criterion: mean absolute difference, mean square, or Frobenius norm.
        weights: a file of one's own in the place of the registered one; `random` for tests.
    """


@LOSSES.register
class StyleLoss(FeatureLoss):
    """Distance between the Gram matrices of features (Gatys et al., CVPR 2016), over the layers of PerceptualLoss.

    GFPGAN gives it, over VGG19's default layers with `l1`, weight 50. As for PerceptualLoss, a weight belongs to one
    network and its file.
    """

    def statistic(self, features: Tensor) -> Tensor:
        """The Gram matrix (N, C, C) over the number of values."""
        flat = features.flatten(2)
        with torch.autocast(features.device.type, enabled=False):  # sums over all pixels overflow in half precision
            return flat @ flat.mT / flat[0].numel()


def distance(one: Tensor, other: Tensor, criterion: Criterion) -> Tensor:
    """The mean over samples of the distance of two batches."""
    if criterion == "l1":
        return F.l1_loss(one, other)
    if criterion == "l2":
        return F.mse_loss(one, other)
    norms: Tensor = torch.linalg.vector_norm((one - other).flatten(1), dim=1)
    return norms.mean()
