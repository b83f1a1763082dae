"""Convolutions whose weights a style scales (Karras et al., "StyleGAN2", CVPR 2020, arXiv:1912.04958)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ModulatedConv(nn.Module):
    """A convolution with each sample's style on its input channels: (N, C, H, W) and (N, S) to (N, C', H, W).

    Scaling the input and then the output is the published scaling of the weights, at the price of no grouped
    convolution: both are linear in each channel.

    Args:
        kernel: its side, odd.
        demodulate: brings each output channel to the size that a normal input would give it.
    """

    def __init__(self, in_ch: int, out_ch: int, style_dim: int, kernel: int = 3, demodulate: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_ch, in_ch, kernel, kernel) / (in_ch * kernel * kernel) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(out_ch))
        self.style = nn.Linear(style_dim, in_ch)
        nn.init.ones_(self.style.bias)
        self.padding, self.demodulate = kernel // 2, demodulate

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        scale = self.style(style)
        y = F.conv2d(x * scale[:, :, None, None], self.weight, padding=self.padding)
        if self.demodulate:
            energy = scale.square() @ self.weight.square().sum(dim=(2, 3)).T
            y = y * torch.rsqrt(energy + 1e-8)[:, :, None, None]
        return y + self.bias[:, None, None]
