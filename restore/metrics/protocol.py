"""What two pictures go through before they are compared: check, rounding to 8 bits, border, luma."""

from typing import Annotated

from pydantic import Field
from torch import Tensor

CropBorder = Annotated[int, Field(ge=0, description="Pixels left out at each edge; by custom the scale.")]


def eight_bit_pair(pred: Tensor, gt: Tensor, crop_border: int = 0, smallest: int = 1) -> tuple[Tensor, Tensor]:
    """The two pictures as files would hold them, without their border.

    Args:
        pred: (N, 3, H, W), RGB float; what lies outside [0, 1] is clamped.
        gt: of the same shape.
        crop_border: pixels left out at each edge.
        smallest: the least height and width that has to be left.

    Returns:
        Both as float64 multiples of 1/255 in [0, 1].

    Raises:
        ValueError: the shapes differ or are not (N, 3, H, W), or too little is left inside the border.
    """
    if pred.shape != gt.shape or pred.ndim != 4 or pred.shape[1] != 3:
        raise ValueError(f"pred is {tuple(pred.shape)}, gt is {tuple(gt.shape)}: both must be the same (N, 3, H, W)")
    height, width = pred.shape[2:]
    if crop_border < 0 or min(height, width) - 2 * crop_border < smallest:
        raise ValueError(f"crop_border {crop_border} leaves less than {smallest} pixels of {height}x{width}; lower it")
    inside = slice(crop_border, height - crop_border), slice(crop_border, width - crop_border)
    return _to_levels(pred[:, :, *inside]), _to_levels(gt[:, :, *inside])


def luma(rgb: Tensor) -> Tensor:
    """Y of ITU-R BT.601 in its 8-bit range: RGB (N, 3, H, W) in [0, 1] to (N, 1, H, W) in [16/255, 235/255].

    Not rounded to levels of its own, as in BasicSR; MATLAB's `rgb2ycbcr` of a `uint8` picture does round it.
    """
    red, green, blue = rgb.unbind(dim=1)
    return (65.481 * red + 128.553 * green + 24.966 * blue + 16).unsqueeze(1) / 255


def _to_levels(picture: Tensor) -> Tensor:
    """Rounds in float32 as `images.to_uint8` does, so that metrics see what a saved file would hold."""
    return picture.detach().float().clamp(0, 1).mul(255).round().double() / 255
