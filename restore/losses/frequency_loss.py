"""Losses on spectra."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from restore.distributed import mean
from restore.losses.loss import Loss
from restore.precision import full
from restore.ranges import Positive
from restore.registry import LOSSES
from restore.step import Step


@LOSSES.register
class FocalFrequencyLoss(Loss):
    """Squared distance of the spectra, each frequency weighted by how far off it is (Jiang et al., ICCV 2021).

    "Focal frequency loss for image reconstruction and synthesis". The weights lie in [0, 1], relative to the worst
    frequency of each patch and channel, and pass no gradient. Unlike every other loss it is no mean of per-sample
    values where `ave_spectrum` is set.

    Args:
        alpha: exponent of the weights; 0 leaves the plain squared distance.
        patch_factor: each side is cut into so many parts, and each patch has its own spectrum.
        ave_spectrum: compare the mean spectra of the batch, over all processes.
        log_matrix: weights of log(1 + distance ** alpha), which are more even.
    """

    def __init__(
        self,
        alpha: Annotated[float, Field(ge=0)] = 1.0,
        patch_factor: Positive = 1,
        ave_spectrum: bool = False,
        log_matrix: bool = False,
    ) -> None:
        super().__init__()
        self.alpha, self.patch_factor = alpha, patch_factor
        self.ave_spectrum, self.log_matrix = ave_spectrum, log_matrix

    def forward(self, step: Step) -> Tensor:
        """Raises `ValueError` when the sides are no multiples of `patch_factor`."""
        difference = self._spectrum(full(step.pred) - full(step.gt))  # the transform is linear
        if self.ave_spectrum:
            difference = mean(difference.mean(dim=0, keepdim=True))
        squared = difference.real.square() + difference.imag.square()
        return (self._weights(squared.detach()) * squared).mean()

    def _spectrum(self, picture: Tensor) -> Tensor:
        """(N, C, H, W) to the orthonormal transform of each patch: (N, C, P, P, H / P, W / P), complex."""
        height, width = picture.shape[2:]
        parts = self.patch_factor
        if height % parts or width % parts:
            raise ValueError(f"pictures of {height}x{width} do not divide into {parts}x{parts}: mend patch_factor")
        patches = picture.reshape(*picture.shape[:2], parts, height // parts, parts, width // parts).transpose(3, 4)
        spectrum: Tensor = torch.fft.fft2(patches, norm="ortho")
        return spectrum

    def _weights(self, squared: Tensor) -> Tensor:
        weights = squared.sqrt() ** self.alpha
        if self.log_matrix:
            weights = weights.log1p()
        most = weights.amax(dim=(-2, -1), keepdim=True)
        return torch.where(most > 0, weights / most, 0)
