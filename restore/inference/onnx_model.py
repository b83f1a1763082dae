"""Networks that `restore export` wrote as ONNX, run by ONNX Runtime: in 8 bits what is fastest on a CPU."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from restore.errors import UserError

SUFFIX = ".onnx"


class OnnxNetwork(nn.Module):
    """An exported network, called with LQ and, for inpainting, with the mask. On the CPU, whatever the device.

    Attributes:
        facts: what the file says of itself.

    Raises:
        UserError: ONNX Runtime is missing, or the file is broken or not one of `restore export`.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        try:
            import onnxruntime
        except ImportError as error:
            raise UserError(f"{path}: ONNX Runtime is missing; `pip install 'restore-faces[export]'`") from error
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = torch.get_num_threads()
        settings.log_severity_level = 4  # what goes wrong is raised
        if not path.is_file():
            raise UserError(f"{path}: no such file")
        try:
            self.session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
            self.inputs = [each.name for each in self.session.get_inputs()]
            self.facts = dict(self.session.get_modelmeta().custom_metadata_map)
        except Exception as error:  # of a class of the compiled module's own for each kind of fault; names not in UTF-8
            raise UserError(f"{path}: ONNX Runtime cannot load it: {_first_line(error)}") from error
        if self.inputs not in (["lq"], ["lq", "mask"]):
            raise UserError(f"{path}: not a file of `restore export`: its inputs are {', '.join(self.inputs)}")

    def forward(self, lq: Tensor, mask: Tensor | None = None) -> Tensor:
        """(N, 3, H, W) in [0, 1], and the mask where there is one, to the restored pictures.

        Raises:
            ValueError: pictures of that size are not for this file.
        """
        shown = [each.float().cpu().numpy() for each in (lq, mask) if each is not None]
        try:
            named: dict[str, Any] = dict(zip(self.inputs, shown, strict=True))
            return torch.from_numpy(self.session.run(None, named)[0])
        except Exception as error:
            raise ValueError(_first_line(error)) from error


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
