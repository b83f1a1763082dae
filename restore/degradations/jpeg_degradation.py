"""JPEG compression: by libjpeg itself, or by the same arithmetic in tensor operations."""

from collections.abc import Sequence
from typing import Annotated, Literal

import cv2
import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from restore import images
from restore.degradations.jpeg import jpeg
from restore.degradations.pictures import Degradation, Pictures, Size
from restore.keyed import Draws
from restore.ranges import Limits, Share
from restore.registry import DEGRADATIONS

Quality = Annotated[float, Field(ge=1, le=100)]


@DEGRADATIONS.register
class Jpeg(Degradation):
    """Compresses each picture as JPEG with 4:2:0 chroma, and decodes it again.

    Args:
        quality: range of libjpeg's quality; what is drawn is cut to a whole number.
        probability: how often a picture is compressed.
        codec: `libjpeg` through OpenCV, on the CPU; `tensor`, the same numbers on any device that has float64, and with
            a straight-through gradient; `auto` takes `tensor` on CUDA and for what needs a gradient.
    """

    def __init__(
        self,
        quality: Limits[Quality] = (30, 95),
        probability: Share = 1.0,
        codec: Literal["auto", "libjpeg", "tensor"] = "auto",
    ) -> None:
        self.quality = quality
        self.probability = probability
        self.codec = codec

    def __call__(self, pictures: Pictures, draws: Sequence[Draws]) -> Pictures:
        drawn = [(d.random() < self.probability, int(d.uniform(*self.quality))) for d in draws]
        chosen = [number for number, (is_chosen, _) in enumerate(drawn) if is_chosen]
        if not chosen:
            return pictures
        part = pictures.select(chosen)
        code = jpeg if self.uses_tensors(part.canvas) else _libjpeg
        coded = code(part.canvas, part.sizes, [drawn[n][1] for n in chosen])
        return pictures.replaced(chosen, part.filled(coded))

    def uses_tensors(self, canvas: Tensor) -> bool:
        """Whether pictures on this canvas are compressed in tensor operations."""
        if self.codec == "auto":
            return canvas.device.type == "cuda" or canvas.requires_grad
        return self.codec == "tensor"


def _libjpeg(canvas: Tensor, sizes: Sequence[Size], quality: Sequence[int]) -> Tensor:
    coded = torch.zeros_like(canvas, device="cpu")
    for row, picture, (height, width), q in zip(coded, canvas, sizes, quality, strict=True):
        bgr = np.ascontiguousarray(images.to_uint8(picture[:, :height, :width])[:, :, ::-1])
        data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, q])[1]
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
        row[:, :height, :width] = images.to_float(images.to_chw(np.asarray(decoded)[:, :, ::-1]))
    return coded.to(canvas.device)
