"""The Frechet distance between what a network sees in two sets of pictures: FID, and the same over another network.

Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium" (NeurIPS 2017).
Dowson and Landau, "The Frechet distance between multivariate normal distributions" (J. Multivar. Anal. 1982).
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from restore.metrics.protocol import eight_bit_pair
from restore.registry import METRICS

ENOUGH = 2048  # pictures: with fewer than FID's features the covariance has no full rank, and the distance is too large


def frechet_distance(pred: Tensor, gt: Tensor) -> float:
    """Between the normal distributions fitted to two sets of features, (N, D) and (M, D), with divisor N - 1.

    |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2). The roots of the eigenvalues of S1 S2 are the singular values of
    R1 R2^T for any R with R^T R = S, so that no matrix root is taken, nor a covariance formed. NaN for fewer than two.
    """
    if min(len(pred), len(gt)) < 2:
        return float("nan")
    one, other = _factor(pred), _factor(gt)
    apart = (pred.double().mean(dim=0) - gt.double().mean(dim=0)).square().sum()
    shared = torch.linalg.svdvals(one @ other.T).sum()
    return float(apart + one.square().sum() + other.square().sum() - 2 * shared)


def _factor(features: Tensor) -> Tensor:
    """R with R^T R = the covariance: the centred features, or, where those are more than D, their triangle (D, D)."""
    centred = (features - features.double().mean(dim=0)) / (len(features) - 1) ** 0.5
    factor: Tensor = torch.linalg.qr(centred, mode="r").R if len(centred) > centred.shape[1] else centred
    return factor


class FrechetMetric:
    """Base of the Frechet distances: a network, and what of it is a picture's row of features."""

    higher_is_better = False
    network: nn.Module
    _last: tuple[Tensor, Tensor] | None = None  # a GT, and its features

    @property
    def protocol(self) -> str:
        raise NotImplementedError

    def rows(self, pictures: Tensor) -> Tensor:
        """(N, 3, H, W) float32 RGB in [0, 1] at levels of 8 bits to (N, D)."""
        raise NotImplementedError

    def keep(self, pred: Tensor, gt: Tensor) -> dict[str, Tensor]:
        """The features of (N, 3, H, W), RGB in [0, 1], rounded to 8 bits. Raises `ValueError`: see `eight_bit_pair`."""
        rounded, _ = eight_bit_pair(pred, gt)
        return {"pred": self.features(rounded), "gt": self.features_of_gt(gt)}

    def figure(self, kept: Sequence[Mapping[str, Tensor]]) -> float:
        """The distance between all that was kept; NaN for fewer than two pictures."""
        if not kept:
            return float("nan")
        return frechet_distance(*(torch.cat([part[name] for part in kept]) for name in ("pred", "gt")))

    def note(self, kept: Sequence[Mapping[str, Tensor]]) -> str | None:
        """A warning where the figure is of few pictures."""
        count = sum(len(part["pred"]) for part in kept)
        warning = f"of {count:,} pictures, fewer than {ENOUGH:,}: too large, and comparable only for the same pictures"
        return warning if count < ENOUGH else None

    def to(self, device: torch.device) -> "FrechetMetric":
        """Moves the network."""
        self.network.to(device)
        return self

    @torch.inference_mode()
    def features(self, pictures: Tensor) -> Tensor:
        """The features of 8-bit pictures, on the CPU, as float32."""
        device = next(self.network.parameters()).device
        return self.rows(pictures.float().to(device)).float().cpu()

    def features_of_gt(self, gt: Tensor) -> Tensor:
        """As `features`; the last is kept, since several methods are compared with one GT."""
        if self._last is None or self._last[0] is not gt:
            self._last = gt, self.features(eight_bit_pair(gt, gt)[0])
        return self._last[1]


@METRICS.register
class fid_inception_tf(FrechetMetric):
    """FID in torch-fidelity's protocol: TensorFlow's Inception of 2015-12-05 and its resizing, 2,048 features.

    Comparable with published figures only where those took the same protocol and as many pictures.

    Args:
        weights: a file with Inception's weights; None takes the registered one, `random` is for tests.

    Raises:
        UserError: the weights cannot be had.
    """

    def __init__(self, weights: str | None = None) -> None:
        from restore.features.inception import Inception

        self.network, self.weights = Inception(weights), weights

    @property
    def protocol(self) -> str:
        weights = self.weights or "2015-12-05"
        return f"8 bits, Inception ({weights}) at 299 px as in TensorFlow 1, covariance over N - 1 (torch-fidelity)"

    def rows(self, pictures: Tensor) -> Tensor:
        rows: Tensor = self.network(pictures)
        return rows


@METRICS.register
class fd_squeezenet(FrechetMetric):
    """Frechet distance over SqueezeNet 1.1: its last 512 feature maps, averaged over the picture, unresized.

    Small enough for every validation. Not FID, and of another size: comparable only with itself.

    Args:
        weights: a file with the network's weights; None takes the registered one, `random` is for tests.

    Raises:
        UserError: the weights cannot be had.
    """

    trained = "torchvision's weights"

    def __init__(self, weights: str | None = None) -> None:
        self.network, self.weights = self._network(weights), weights

    @property
    def protocol(self) -> str:
        return f"8 bits, SqueezeNet 1.1 ({self.weights or self.trained}), mean of fire9, covariance over N - 1; not FID"

    def rows(self, pictures: Tensor) -> Tensor:
        rows: Tensor = self.network(pictures)["fire9"].mean(dim=(2, 3))
        return rows

    def _network(self, weights: str | None) -> nn.Module:
        from restore.features.squeezenet import SqueezeNet

        return SqueezeNet(["fire9"], weights)


@METRICS.register
class fd_squeezenet_caffe(fd_squeezenet):
    """As `fd_squeezenet`, over the weights that SqueezeNet's authors trained in Caffe."""

    trained = "its authors' Caffe weights"

    def _network(self, weights: str | None) -> nn.Module:
        from restore.features.squeezenet import SqueezeNetCaffe

        return SqueezeNetCaffe(["fire9"], weights)
