"""Colour: jitter, a cast, and gray. Only the LQ changes: a network trained on it learns to set colours right."""

from collections.abc import Callable, Sequence
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from restore.degradations.pictures import Degradation, Pictures
from restore.keyed import Draws
from restore.ranges import Limits, Share
from restore.registry import DEGRADATIONS

Factor = Annotated[float, Field(ge=0)]
Turn = Annotated[float, Field(ge=-0.5, le=0.5)]
Range = Limits[Factor]

_BT601 = (0.299, 0.587, 0.114)  # as in OpenCV's BGR2GRAY
_TORCHVISION = (0.2989, 0.587, 0.114)  # as in torchvision's rgb_to_grayscale


@DEGRADATIONS.register
class ColorShift(Degradation):
    """Adds a number to each channel, and clips: GFPGAN's first colour jitter (Wang et al., CVPR 2021).

    Args:
        shift: the largest number, in levels of 8 bits.
        probability: how often.
    """

    def __init__(self, shift: Annotated[float, Field(ge=0, le=255)] = 20.0, probability: Share = 0.3) -> None:
        self.shift = shift
        self.probability = probability

    def __call__(self, pictures: Pictures, draws: Sequence[Draws]) -> Pictures:
        drawn = [(d.random() < self.probability, d.uniform(-self.shift, self.shift, 3)) for d in draws]
        if not any(is_chosen for is_chosen, _ in drawn):
            return pictures
        shifts = np.stack([is_chosen * shift for is_chosen, shift in drawn]) / 255
        moved = pictures.canvas + _column(shifts, pictures.canvas)
        return pictures.filled(moved.clamp_(0, 1))


@DEGRADATIONS.register
class ColorJitter(Degradation):
    """Brightness, contrast, saturation and hue by random amounts in random order: torchvision's, and GFPGAN's second.

    Args:
        brightness: range of the factor on the picture; null leaves it out, as with the others.
        contrast: range of the factor on the distance from the picture's mean gray.
        saturation: range of the factor on the distance from each pixel's gray.
        hue: range of the turn on the colour circle, in turns.
        probability: how often there is any jitter.
    """

    def __init__(
        self,
        brightness: Range | None = (0.5, 1.5),
        contrast: Range | None = (0.5, 1.5),
        saturation: Range | None = (0.0, 1.5),
        hue: Limits[Turn] | None = (-0.1, 0.1),
        probability: Share = 0.3,
    ) -> None:
        self.ranges = (brightness, contrast, saturation, hue)
        self.probability = probability

    def __call__(self, pictures: Pictures, draws: Sequence[Draws]) -> Pictures:
        drawn = [self.draw(d) for d in draws]
        for turn in range(len(_ADJUSTMENTS)):
            for kind, adjust in enumerate(_ADJUSTMENTS):
                chosen = [n for n, (order, _) in enumerate(drawn) if turn < len(order) and order[turn] == kind]
                if chosen:
                    part = pictures.select(chosen)
                    amount = _column(np.array([drawn[n][1][kind] for n in chosen]), part.canvas)
                    pictures = pictures.replaced(chosen, part.filled(adjust(part, amount)))
        return pictures

    def draw(self, draws: Draws) -> tuple[list[int], list[float]]:
        """The adjustments to make, in their order (none, when the coin says so), and the amount of each."""
        is_chosen = draws.random() < self.probability
        order = [int(kind) for kind in draws.permutation(len(self.ranges)) if self.ranges[kind]]
        amounts = [draws.uniform(*limits) if limits else 0.0 for limits in self.ranges]
        return order if is_chosen else [], amounts


@DEGRADATIONS.register
class Gray(Degradation):
    """Takes the colour out: the luma of ITU-R BT.601 in all channels.

    Args:
        probability: how often.
    """

    def __init__(self, probability: Share = 0.01) -> None:
        self.probability = probability

    def __call__(self, pictures: Pictures, draws: Sequence[Draws]) -> Pictures:
        chosen = [n for n, d in enumerate(draws) if d.random() < self.probability]
        if not chosen:
            return pictures
        part = pictures.select(chosen)
        return pictures.replaced(chosen, part.filled(_gray(part.canvas, _BT601).expand(-1, 3, -1, -1)))


def adjust_brightness(pictures: Pictures, factor: Tensor) -> Tensor:
    """`factor` (N, 1, 1, 1) times the picture."""
    return (pictures.canvas * factor).clamp_(0, 1)


def adjust_contrast(pictures: Pictures, factor: Tensor) -> Tensor:
    """The distance from the mean gray of each picture, times `factor`."""
    own = zip(pictures.canvas, pictures.sizes, strict=True)
    means = torch.stack([picture[:, :h, :w].mean((1, 2)) for picture, (h, w) in own])
    mean = _gray(means[:, :, None, None], _TORCHVISION)  # the gray of the mean is the mean of the gray
    return (pictures.canvas * factor).add_(mean * (1 - factor)).clamp_(0, 1)


def adjust_saturation(pictures: Pictures, factor: Tensor) -> Tensor:
    """The distance of each pixel from its gray, times `factor`."""
    gray = _gray(pictures.canvas, _TORCHVISION)
    return (pictures.canvas * factor).add_(gray.mul_(1 - factor)).clamp_(0, 1)


def adjust_hue(pictures: Pictures, turns: Tensor) -> Tensor:
    """Turns the colours on the circle of hues, value and chroma kept (Smith, "Color gamut transform pairs", 1978)."""
    canvas = pictures.canvas
    if canvas.device.type == "cpu" and not canvas.requires_grad:
        turned = torch.empty(canvas.shape)
        for picture, out, turn in zip(canvas, turned, turns.flatten().tolist(), strict=True):
            _turn_one(picture, turn, out)
        return turned
    red, green, blue = canvas.unbind(1)
    value, chroma = canvas.amax(1), canvas.amax(1) - canvas.amin(1)
    divisor = torch.where(chroma > 0, chroma, 1)
    sixths = torch.where(value == green, (blue - red) / divisor + 2, (red - green) / divisor + 4)
    sixths = torch.where(value == red, (green - blue) / divisor, sixths)
    place = sixths + 6 * turns[:, 0]
    channels = []
    for start in (5, 3, 1):
        along = (place + start) % 6
        channels.append(value - chroma * torch.minimum(along, 4 - along).clamp(0, 1))
    return torch.stack(channels, 1)


def _turn_one(picture: Tensor, turn: float, out: Tensor) -> None:
    """The same by OpenCV, whose float HSV agrees to 1e-5, in a quarter of the time."""
    import cv2

    hsv = cv2.cvtColor(cv2.merge(list(picture.numpy())), cv2.COLOR_RGB2HSV)
    degrees = 360 * (turn % 1)  # its way back takes angles of any size, but none below 0
    cv2.add(hsv, np.array([degrees, 0, 0, 0]), dst=hsv)
    cv2.split(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB, dst=hsv), list(out.numpy()))


_ADJUSTMENTS: tuple[Callable[[Pictures, Tensor], Tensor], ...] = (
    adjust_brightness,
    adjust_contrast,
    adjust_saturation,
    adjust_hue,
)


def _gray(batch: Tensor, weights: tuple[float, float, float]) -> Tensor:
    red, green, blue = batch.unbind(1)
    return (weights[0] * red).add_(green, alpha=weights[1]).add_(blue, alpha=weights[2])[:, None]


def _column(values: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]", like: Tensor) -> Tensor:
    """(N,) or (N, 3) numbers as (N, 1 or 3, 1, 1) on the device of `like`."""
    return torch.from_numpy(values).to(like).view(len(values), -1, 1, 1)
