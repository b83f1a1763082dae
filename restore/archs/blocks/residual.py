"""Residual blocks and upsampling of the EDSR family (Lim et al., CVPR Workshops 2017, arXiv:1707.02921)."""

import math

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class ResidualBlockNoBN(nn.Module):
    """conv - ReLU - conv, scaled and added to its input: (N, C, H, W) to the same shape.

    Args:
        num_feat: channels C.
        res_scale: factor on the residual; 0.1 keeps wide networks stable.
    """

    def __init__(self, num_feat: int = 64, res_scale: float = 1.0) -> None:
        super().__init__()
        self.res_scale = res_scale
        self.conv1 = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv2 = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, self.conv2(self.relu(self.conv1(x))), alpha=self.res_scale)


def pixel_shuffle_steps(upscale: int) -> list[int]:
    """The factors of the pixel shuffles that make up `upscale`: 8 is [2, 2, 2], 3 is [3], 1 is []."""
    return [2] * int(math.log2(upscale)) if upscale & (upscale - 1) == 0 else [upscale]


def pixel_shuffles(num_feat: int, upscale: int) -> list[nn.Module]:
    """Layers that enlarge features by `upscale`, their number kept: a convolution and a pixel shuffle for each step."""
    layers: list[nn.Module] = []
    for step in pixel_shuffle_steps(upscale):
        layers += [nn.Conv2d(num_feat, num_feat * step**2, 3, padding=1), nn.PixelShuffle(step)]
    return layers


def run_blocks(body: nn.Sequential, x: Tensor, checkpointing: bool) -> Tensor:
    """Applies blocks in order; with `checkpointing` their activations are computed again in the backward pass."""
    for block in body:
        x = checkpoint(block, x, use_reentrant=False) if checkpointing else block(x)
    return x


@torch.no_grad()
def init_small(*modules: nn.Module, scale: float = 0.1) -> None:
    """Kaiming-normal weights times `scale` and zero biases, which start a deep residual network near identity."""
    for module in modules:
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
                layer.weight.mul_(scale)
                nn.init.zeros_(layer.bias)
