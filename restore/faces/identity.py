"""Whose face a picture shows: a vector from an aligned face."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restore.errors import UserError, nearest
from restore.faces.align import similarity, warp
from restore.features.arcface import ArcFace, ArcFace18
from restore.features.face_network import FaceNetwork
from restore.features.mobilefacenet import MobileFaceNet
from restore.features.resnet_face import ResNet50, VGGFace2
from restore.features.sface import SFace

Network = Literal["mobilefacenet", "arcface", "arcface18", "resnet50", "vggface2", "sface"]
NETWORKS: dict[str, type[FaceNetwork]] = {
    "mobilefacenet": MobileFaceNet,
    "arcface": ArcFace,
    "arcface18": ArcFace18,
    "resnet50": ResNet50,
    "vggface2": VGGFace2,
    "sface": SFace,
}


class Identity(nn.Module):
    """Aligns faces by their landmarks and looks at them through a frozen face-recognition network.

    Args:
        network: `mobilefacenet`, `arcface` (facexlib's IR-SE50), `arcface18` (GFPGAN's), `resnet50` and `vggface2` from
            a file of one's own, `sface` (OpenCV's, without gradients).
        weights: a file in the place of the registered one; `random` for tests.

    Raises:
        UserError: no such network, or its weights cannot be had, are damaged, or another network's.
    """

    template: Tensor

    def __init__(self, network: str = "mobilefacenet", weights: str | None = None) -> None:
        super().__init__()
        if network not in NETWORKS:
            raise UserError(f"no identity network `{network}`{nearest(network, NETWORKS) or f'; {_known()}'}")
        self.network = NETWORKS[network](weights)
        self.register_buffer("template", torch.tensor(self.network.template), persistent=False)

    def forward(self, pictures: Tensor, landmarks: Tensor) -> Tensor:
        """Unit vectors (N, D), whose products are cosines: near 1 for one person, near 0 for two.

        Args:
            pictures: (N, 3, H, W), RGB in [0, 1].
            landmarks: (N, 5, 2), as in `restore.faces`.
        """
        samples = math.ceil(min(pictures.shape[-2:]) / self.network.frame)
        faces = warp(pictures, similarity(landmarks, self.template), self.network.size, samples)
        return F.normalize(self.network(faces))


def _known() -> str:
    return "there are " + ", ".join(NETWORKS)
