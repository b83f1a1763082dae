"""NIQE: how unlike natural pictures' statistics a picture's are. Mittal, Soundararajan and Bovik, "Making a 'completely
blind' image quality analyzer" (SPL 2013).
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from restore.metrics.protocol import CropBorder, eight_bit_pair, luma
from restore.registry import METRICS

BLOCK = 96
_SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))  # to a pixel's neighbours: across, down, both diagonals
_SHAPES = torch.arange(200, 10001, dtype=torch.float64) / 1000
_BELL = torch.exp(-((torch.arange(7) - 3).double() ** 2) / (2 * (7 / 6) ** 2))
_GAUSSIAN = _BELL / _BELL.sum()
_CUBIC = torch.tensor([-3.0, -9.0, 29.0, 111.0, 111.0, 29.0, -9.0, -3.0], dtype=torch.float64) / 256


class Pristine(NamedTuple):
    """The statistics of natural pictures, as their authors measured them: mean (36,) and covariance (36, 36)."""

    mean: Tensor
    covariance: Tensor


@lru_cache(maxsize=1)
def pristine() -> Pristine:
    """The authors' model in the file that BasicSR ships. Raises `UserError` where it is missing."""
    from restore.pretrained import find

    arrays = np.load(find("niqe"))
    return Pristine(torch.from_numpy(arrays["mu_pris_param"][0]), torch.from_numpy(arrays["cov_pris_param"]))


def niqe_of(gray: Tensor, natural: Pristine) -> float:
    """NIQE of one gray picture (H, W) with levels of 0 to 255; NaN where a flat picture has no statistics.

    The precision of `gray` is that of the computation: BasicSR's figures come from float32, MATLAB's from float64. They
    differ in flat regions, where rounding is all that varies.

    Raises:
        ValueError: fewer than two blocks of 96x96 pixels, which have no covariance.
    """
    rows, columns = gray.shape[0] // BLOCK, gray.shape[1] // BLOCK
    if rows * columns < 2:
        raise ValueError(f"NIQE needs 96x192 pixels or more inside the border, not {gray.shape[0]}x{gray.shape[1]}")
    gray = gray[: rows * BLOCK, : columns * BLOCK]
    features = torch.cat([_features(gray, BLOCK), _features(_halved(gray), BLOCK // 2)], dim=1)
    complete = features[~features.isnan().any(dim=1)]
    if len(complete) < 2:
        return float("nan")
    away = natural.mean - features.nanmean(dim=0)
    spread = (natural.covariance + complete.T.cov()) / 2
    return float((away @ torch.linalg.pinv(spread, hermitian=True) @ away).sqrt())


def _features(gray: Tensor, block: int) -> Tensor:
    """The 18 statistics of each block of a picture: (B, 18) float64."""
    blocks = _normalised(gray).unfold(0, block, block).unfold(1, block, block).flatten(0, 1)
    shape, left, right = _asymmetric_fit(blocks)
    features = [shape, (left + right) / 2]
    for shift in _SHIFTS:
        shape, left, right = _asymmetric_fit(blocks * blocks.roll(shift, dims=(1, 2)))
        mean = (right - left) * (torch.lgamma(2 / shape) - torch.lgamma(1 / shape)).exp()
        features += [shape, mean, left, right]
    return torch.stack(features, dim=1)


def _normalised(gray: Tensor) -> Tensor:
    """Less the local mean, over the local deviation: the paper's equation 1."""
    mean = _blur(gray)
    deviation = (_blur(gray.square()) - mean.square()).abs().sqrt()
    return (gray - mean) / (deviation + 1)


def _blur(gray: Tensor) -> Tensor:
    """Gaussian 7x7, sigma 7/6, the edge repeated; summed in float64 as SciPy does, and rounded to the input's type."""
    padded = F.pad(gray.double()[None, None], (3, 3, 3, 3), mode="replicate")
    across = F.conv2d(padded, _GAUSSIAN.view(1, 1, 1, 7))
    return F.conv2d(across, _GAUSSIAN.view(1, 1, 7, 1))[0, 0].to(gray.dtype)


def _halved(gray: Tensor) -> Tensor:
    """MATLAB's `imresize(gray, 0.5)` of a picture with even sides: bicubic, antialiased, the edge mirrored.

    In BasicSR's order, scale and products, since what is left of flat regions are their rounding errors.
    """
    small, weights = gray / 255, _CUBIC.to(gray.dtype)
    for dim in (0, 1):
        count = small.shape[dim] // 2
        edges = small.narrow(dim, 0, 3).flip(dim), small.narrow(dim, 2 * count - 3, 3).flip(dim)
        mirrored = torch.cat([edges[0], small, edges[1]], dim)
        windows = (mirrored.narrow(dim, 2 * i, 8) for i in range(count))
        small = torch.stack([(window if dim else window.T).mv(weights) for window in windows], dim)
    return small * 255


def _asymmetric_fit(blocks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Shape, left and right scale of the asymmetric generalised Gaussian in each block (B, H, W), by its moments.

    Lasmar, Stitou and Berthoumieu, "Multiscale skewed heavy tailed model for texture analysis" (ICIP 2009).
    """
    values = blocks.flatten(1).double()
    left, right = _deviation(values, values < 0), _deviation(values, values > 0)
    ratio = left / right
    moments = values.abs().mean(dim=1) ** 2 / values.square().mean(dim=1)
    target = moments * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    shape = _SHAPES[(_moment_ratios() - target[:, None]).abs().argmin(dim=1)]
    scale = ((torch.lgamma(1 / shape) - torch.lgamma(3 / shape)) / 2).exp()
    return shape, left * scale, right * scale


def _deviation(values: Tensor, chosen: Tensor) -> Tensor:
    return ((values.square() * chosen).sum(dim=1) / chosen.sum(dim=1)).sqrt()


@lru_cache(maxsize=1)
def _moment_ratios() -> Tensor:
    """E[|x|]^2 / E[x^2] for each shape in `_SHAPES`."""
    one, two, three = (torch.lgamma(power / _SHAPES) for power in (1, 2, 3))
    return (2 * two - one - three).exp()


@METRICS.register
class niqe:
    """NIQE as BasicSR computes it: of luma rounded to levels. Lower is better; the GT plays no part.

    Pictures of two blocks of 96x96 pixels or more; it means little on fewer than a dozen.

    Raises:
        UserError: the file of natural pictures' statistics cannot be had.
    """

    higher_is_better = False

    def __init__(self, crop_border: CropBorder = 0) -> None:
        self.crop_border = crop_border
        self.natural = pristine()  # at once: a run that lacks the file says so before it trains

    @property
    def protocol(self) -> str:
        return f"no reference, Y of BT.601 in levels (BasicSR), border {self.crop_border}"

    def __call__(self, pred: Tensor, gt: Tensor, mask: Tensor | None = None) -> Tensor:
        """One value per image: (N, 3, H, W) RGB in [0, 1] to (N,) float64; NaN for a flat picture.

        Raises:
            ValueError: see `eight_bit_pair`; at least two blocks of 96x96 pixels have to be left inside the border.
        """
        rgb, _ = eight_bit_pair(pred, pred, self.crop_border, BLOCK)
        return torch.tensor([niqe_of(gray, self.natural) for gray in self._gray(rgb)], dtype=torch.float64)

    def _gray(self, rgb: Tensor) -> Tensor:
        return luma(rgb.float().double())[:, 0].float().mul(255).round()  # of halves, BasicSR's rounding


@METRICS.register
class niqe_matlab(niqe):
    """NIQE as its authors' MATLAB release computes it: of `rgb2gray`, in double precision. As for `niqe` otherwise.

    Not the `niqe` of MATLAB's Image Processing Toolbox, whose statistics of natural pictures are others.
    """

    @property
    def protocol(self) -> str:
        return f"no reference, rgb2gray (authors' MATLAB release), border {self.crop_border}"

    def _gray(self, rgb: Tensor) -> Tensor:
        weights = rgb.new_tensor([0.298936021293775, 0.587043074451121, 0.114020904255103])  # MATLAB's
        return torch.einsum("nchw,c->nhw", rgb, weights).mul(255).round()
