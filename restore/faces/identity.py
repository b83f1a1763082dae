"""Whose face a picture shows: a vector from an aligned face."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restore.faces.align import similarity, warp
from restore.features.mobilefacenet import MobileFaceNet


class Identity(nn.Module):
    """Aligns faces by their landmarks and looks at them through MobileFaceNet. `weights`: as there."""

    template: Tensor

    def __init__(self, weights: str | None = None) -> None:
        super().__init__()
        self.network = MobileFaceNet(weights)
        self.register_buffer("template", torch.tensor(MobileFaceNet.template), persistent=False)

    def forward(self, pictures: Tensor, landmarks: Tensor) -> Tensor:
        """Unit vectors (N, 128), whose products are cosines: near 1 for one person, near 0 for two.

        Args:
            pictures: (N, 3, H, W), RGB in [0, 1]. Gradients reach them.
            landmarks: (N, 5, 2), as in `restore.faces`.
        """
        samples = math.ceil(min(pictures.shape[-2:]) / 128)  # a face that fills 128 px is about as large as the input
        faces = warp(pictures, similarity(landmarks, self.template), MobileFaceNet.size, samples)
        return F.normalize(self.network(faces))
