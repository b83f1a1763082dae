"""Channel attention and its residual blocks (Zhang et al., "RCAN", ECCV 2018, arXiv:1807.02758), with RCAN's keys."""

from torch import Tensor, nn


class ChannelAttention(nn.Module):
    """Weighs each channel in (0, 1) by the means of all (squeeze and excitation).

    Args:
        num_feat: channels.
        reduction: how many times fewer there are between the two layers that make the weights; at least one stays.
    """

    def __init__(self, num_feat: int, reduction: int) -> None:
        super().__init__()
        squeezed = max(1, num_feat // reduction)
        self.conv_du = nn.Sequential(
            nn.Conv2d(num_feat, squeezed, 1), nn.ReLU(inplace=True), nn.Conv2d(squeezed, num_feat, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.conv_du(x.mean((2, 3), keepdim=True))


class RCAB(nn.Module):
    """conv - ReLU - conv - channel attention, added to its input: (N, C, H, W) to the same shape."""

    def __init__(self, num_feat: int, reduction: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(num_feat, num_feat, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(num_feat, num_feat, 3, padding=1),
            ChannelAttention(num_feat, reduction),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class ResidualGroup(nn.Module):
    """`num_block` RCABs and a convolution, added to their input."""

    def __init__(self, num_feat: int, num_block: int, reduction: int) -> None:
        super().__init__()
        blocks = (RCAB(num_feat, reduction) for _ in range(num_block))
        self.body = nn.Sequential(*blocks, nn.Conv2d(num_feat, num_feat, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)
