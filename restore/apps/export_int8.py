"""ONNX in 8 bits for CPUs: convolutions whose ranges were measured on pictures, and what that loses in PSNR."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from restore import images, keyed
from restore.apps.export_check import Call, Size
from restore.apps.export_source import Source
from restore.apps.export_torch import quietly
from restore.data.drawn import draw_face
from restore.degradations.resize import shrink
from restore.errors import UserError
from restore.faces.face import Face
from restore.inference.onnx_model import OnnxNetwork
from restore.metrics.psnr_metric import psnr
from restore.occlusions.box_occlusion import LowerFace

CALIBRATION, HELD_OUT = 1, 2  # series of drawn faces
FACES, MOST, SCORED = 16, 64, 8  # drawn for calibration; taken of a folder; scored
SIDE = 256  # of drawn faces, and at most of pictures in a folder
CONVOLUTION = "Conv"

Inputs = tuple[Tensor, ...]


def quantise(full: Path, path: Path, source: Source, folder: Path | None, size: Size) -> str:
    """Writes `path`, the ONNX file `full` with its convolutions in 8 bits, and tells what it loses on drawn faces.

    Weights have a scale for each output channel; the first and the last convolution, which meet the pictures, stay as
    they are: they cost little, and most of the loss would come from them.

    Args:
        folder: pictures such as the model will be given; None: drawn faces.

    Raises:
        UserError: no pictures in the folder, or they are smaller than `size`.
    """
    from onnxruntime import quantization

    drawn = (shown for shown, _ in faces(source, CALIBRATION, size))
    with quietly():
        quantization.quantize_static(
            full,
            path,
            _Reader(pictures_of(folder, source.masked, size) if folder else drawn),
            op_types_to_quantize=[CONVOLUTION],
            nodes_to_exclude=_ends(full),
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
            activation_type=quantization.QuantType.QUInt8,
        )
    return loss(OnnxNetwork(full), OnnxNetwork(path), source, size)


def loss(full: Call, small: Call, source: Source, size: Size) -> str:
    """Tells the mean PSNR of two networks on drawn faces that calibration has not seen."""
    score, scores = psnr(), {"full": 0.0, "small": 0.0}
    held_out = list(faces(source, HELD_OUT, size, SCORED))
    for shown, gt in held_out:
        for name, call in (("full", full), ("small", small)):
            scores[name] += float(score(call(*shown), gt)) / len(held_out)
    lost = scores["full"] - scores["small"]
    return f"loses {lost:.3f} dB of PSNR ({scores['full']:.3f} to {scores['small']:.3f}) on {SCORED} drawn faces"


def faces(source: Source, series: int, size: Size, count: int = FACES) -> Iterator[tuple[Inputs, Tensor]]:
    """Drawn faces as the model is shown them, made smaller or with their lower part hidden, and as they are."""
    scale, hide = source.model.scale, LowerFace()
    side = min(source.model.size or SIDE, SIDE) // scale * scale
    height, width = (edge * scale for edge in size) if size else (side, side)
    for number in range(count):
        face = draw_face(series, number, max(height, width, 32))
        gt = face.image[:height, :width]
        if not source.masked:
            yield (images.to_unit(shrink(gt, scale)),), images.to_unit(gt)
            continue
        lq, mask = hide(gt, Face(face.box, face.landmarks), keyed.draws("export", number))
        yield (images.to_unit(lq), torch.from_numpy(mask)[None, None].float()), images.to_unit(gt)


def pictures_of(folder: Path, masked: bool, size: Size) -> Iterator[Inputs]:
    """The middle of each picture in a folder, for inpainting with its lower half hidden."""
    paths = list(images.find(folder))[:MOST]
    if not paths:
        raise UserError(f"--calibrate {folder}: no pictures there")
    for path in paths:
        lq = images.to_unit(images.read(path))
        height, width = size or (min(SIDE, lq.shape[-2]), min(SIDE, lq.shape[-1]))
        top, left = ((have - want) // 2 for have, want in zip(lq.shape[-2:], (height, width), strict=True))
        if min(top, left) < 0:
            raise UserError(f"{path}: is smaller than --size {height}x{width}")
        lq = lq[..., top : top + height, left : left + width].contiguous()
        mask = torch.zeros_like(lq[:, :1])
        mask[..., height // 2 :, :] = 1
        yield (lq, mask) if masked else (lq,)


class _Reader:
    """Inputs one after the other, as ONNX Runtime asks for them."""

    def __init__(self, shown: Iterator[Inputs]) -> None:
        self.shown = shown

    def get_next(self) -> dict[str, Any] | None:
        for inputs in self.shown:
            return {name: each.numpy() for name, each in zip(("lq", "mask"), inputs, strict=False)}
        return None


def _ends(path: Path) -> list[str]:
    """The names of the first and the last convolution."""
    import onnx

    names = [node.name for node in onnx.load(path).graph.node if node.op_type == CONVOLUTION]
    return names[:1] + names[-1:]
