"""The face should stay the same person's."""

from typing import Any, Literal

import torch
from torch import Tensor

from restore.errors import UserError
from restore.faces.face import Face
from restore.faces.identity import NETWORKS, Identity, Network
from restore.losses.loss import Loss
from restore.registry import LOSSES
from restore.step import Step


@LOSSES.register
class IdentityLoss(Loss):
    """Distance between the face-recognition vectors of `step.pred` and `step.gt`, aligned by the same landmarks.

    Faces should be whole: a crop that cuts them is compared as far as it goes. A network that is trained against is no
    judge: what this loss reaches says that it works, not that people look like themselves.

    Args:
        network: `mobilefacenet`; `arcface`, facexlib's IR-SE50; `arcface18`, GFPGAN's, by its file; `resnet50`, by a
            file that was trained on faces; `vggface2`, likewise. `sface` has no gradient, and is for metrics.
        distance: `cosine` is 1 - cosine, in [0, 2]; `l2` is the distance of the unit vectors, in [0, 2].
        weights: of the network, in the place of the registered file; `random` for tests.
        faces: `landmarks` are the data set's; `aligned` takes the geometry of pictures in FFHQ's frame.

    Raises:
        UserError: the network has no gradient, or its weights cannot be had.
    """

    @staticmethod
    def needs(args: dict[str, Any]) -> tuple[str, ...]:
        """Which sections of the option file go with the arguments."""
        return () if args.get("faces") == "aligned" else ("datasets.train.landmarks",)

    def __init__(
        self,
        network: Network = "mobilefacenet",
        distance: Literal["cosine", "l2"] = "cosine",
        weights: str | None = None,
        faces: Literal["landmarks", "aligned"] = "landmarks",
    ) -> None:
        super().__init__()
        if not NETWORKS[network].differentiable:
            raise UserError(f"IdentityLoss: `{network}` has no gradient and cannot train; use it in a metric")
        self.identity = Identity(network, weights)
        self.distance, self.faces = distance, faces

    def forward(self, step: Step) -> Tensor:
        landmarks = self._landmarks(step)
        with torch.no_grad():
            wanted = self.identity(step.gt, landmarks)
        seen = self.identity(step.pred, landmarks)
        if self.distance == "l2":  # of equal vectors, torch's norm has the gradient 0, not NaN
            apart: Tensor = torch.linalg.vector_norm(seen - wanted, dim=1).mean()
            return apart
        cosine: Tensor = (seen * wanted).sum(1)
        return 1 - cosine.mean()

    def _landmarks(self, step: Step) -> Tensor:
        """(N, 5, 2)."""
        if self.faces == "landmarks":
            if step.landmarks is None:
                told = "set datasets.train.landmarks, or `faces: aligned` for pictures in FFHQ's frame"
                raise UserError(f"IdentityLoss: the data set gives no landmarks; {told}")
            return step.landmarks
        number, _, height, width = step.gt.shape
        return torch.from_numpy(Face.aligned(height, width).landmarks).to(step.gt.device).expand(number, -1, -1)
