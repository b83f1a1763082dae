"""Normalisation by name, for the networks that let an option file choose it."""

import math
from typing import Literal

from torch import nn

Norm = Literal["batch", "instance", "group", "none"]


def norm_layer(norm: Norm, channels: int) -> nn.Module:
    """The layer, with a learned gain and shift for each channel; the convolution before it needs no bias.

    `group` takes 32 groups (Wu and He, ECCV 2018, arXiv:1803.08494), fewer where 32 does not divide the channels.
    """
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "instance":
        return nn.InstanceNorm2d(channels, affine=True)
    return nn.GroupNorm(math.gcd(32, channels), channels) if norm == "group" else nn.Identity()
