"""Self-attention between all places of a feature map (Zhang et al., "SAGAN", ICML 2019, arXiv:1805.08318)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SelfAttention(nn.Module):
    """Adds to each place what it finds at all others: (N, C, H, W) to the same shape.

    Widths are SAGAN's (queries and keys an eighth of the channels, values a half), and so is the gain that begins at
    zero, at which the block changes nothing. Scores are divided by the root of the keys' width, as in transformers.
    """

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        inner, values = max(1, num_feat // 8), max(1, num_feat // 2)
        self.widths = [inner, inner, values]
        self.qkv = nn.Conv2d(num_feat, sum(self.widths), 1, bias=False)
        self.out = nn.Conv2d(values, num_feat, 1, bias=False)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        places = self.qkv(x).flatten(2).transpose(1, 2)  # (N, H * W, channels)
        query, key, value = places.split(self.widths, dim=2)
        found = _attend(query, key, value)
        return x + self.gain * self.out(found.transpose(1, 2).unflatten(2, x.shape[2:]))


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    if torch.compiler.is_exporting():  # what ONNX has no operator for, written out
        scores = torch.bmm(query, key.transpose(1, 2)) / query.shape[-1] ** 0.5
        return torch.bmm(torch.softmax(scores, dim=2), value)
    return F.scaled_dot_product_attention(query, key, value)
