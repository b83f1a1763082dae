"""SFace (Zhong et al., IEEE TIP 2021) through OpenCV: whose face it is, as 128 numbers, without gradients."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from restore import pretrained
from restore.errors import UserError
from restore.features.face_network import FaceNetwork


class SFace(FaceNetwork):
    """OpenCV's FaceRecognizerSF, on the CPU wherever the pictures are. Faces are rounded to 8 bits.

    Args:
        weights: None takes the registered file, a path another one.

    Raises:
        UserError: the file is neither here nor can be fetched.
    """

    differentiable = False

    def __init__(self, weights: str | None = None) -> None:
        import cv2

        super().__init__()
        path = Path(weights).expanduser() if weights else pretrained.find("sface")
        try:
            self.recognizer: Any = cv2.FaceRecognizerSF.create(str(path), "")
        except cv2.error as error:
            raise UserError(f"{path}: OpenCV cannot read this network: {error.err}") from error

    def forward(self, faces: Tensor) -> Tensor:
        """(N, 3, 112, 112) aligned RGB faces in [0, 1] to (N, 128)."""
        bgr = (faces.detach().flip(1).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        vectors = [self.recognizer.feature(np.ascontiguousarray(face)).reshape(-1) for face in bgr]
        return torch.from_numpy(np.stack(vectors)).to(faces.device)
