"""Adversarial loss on eyes and mouth, each judged by a discriminator of its own."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from restore.faces.align import turned, warp
from restore.losses.gan_loss import GANLoss
from restore.ranges import Positive
from restore.registry import LOSSES
from restore.step import Step

Side = Annotated[float, Field(gt=0)]


@LOSSES.register
class ComponentGANLoss(GANLoss):
    """Left eye, right eye and mouth should look real, as GFPGAN trains (Wang et al., CVPR 2021).

    The discriminator, `network_d_parts`, sees squares around them that are turned with the face. Their sides count in
    the face's scale: the distance between the eyes, or from the eyes to the mouth where that is longer, as in a face
    that is turned aside.

    Args:
        gan_type: as for `GANLoss`.
        eye: side of an eye's square. The default is about GFPGAN's 80 px of 512 px faces.
        mouth: side of the mouth's square, about GFPGAN's 120 px.
        size: pixels a side that the discriminator sees; 80 suits faces of 512 px, 40 those of 256.
    """

    section = "network_d_parts"
    needs = ("network_d_parts", "train.optim_d", "datasets.train.landmarks")

    def __init__(
        self,
        gan_type: Literal["vanilla", "wgan_softplus", "lsgan", "hinge", "wgan"] = "vanilla",
        eye: Side = 0.65,
        mouth: Side = 0.95,
        size: Positive = 80,
    ) -> None:
        super().__init__(gan_type)
        self.sides = (eye, eye, mouth)
        self.size = size

    def view(self, step: Step, picture: Tensor) -> Tensor:
        """(3N, 3, size, size): the left eyes of all pictures, then the right eyes, then the mouths."""
        assert step.landmarks is not None
        left, right, _, corner, other = step.landmarks.unbind(1)
        across, mouth = right - left, (corner + other) / 2
        scale = torch.maximum(across.norm(dim=1), (mouth - (left + right) / 2).norm(dim=1)).clamp(min=1e-3)
        cosine, sine = (across / across.norm(dim=1, keepdim=True).clamp(min=1e-3)).unbind(1)
        middle = torch.full_like(left, (self.size - 1) / 2)
        parts = []
        for center, side in zip((left, right, mouth), self.sides, strict=True):
            zoom = self.size / (side * scale)
            matrices = turned(zoom * cosine, -zoom * sine, center, middle)
            parts.append(warp(picture, matrices, (self.size, self.size), samples=2))
        return torch.cat(parts)
