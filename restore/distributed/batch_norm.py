"""Batch norm over the pictures of all ranks: on a CPU, and twice differentiable, as PyTorch's own is not."""

import torch
from torch import Tensor, nn

from restore.distributed import ranks


class SyncedBatchNorm(nn.BatchNorm2d):
    """`nn.BatchNorm2d`, in training with mean and variance over all ranks, each of which has as many pictures.

    Ioffe and Szegedy, "Batch normalization" (ICML 2015).
    """

    @staticmethod
    def put_into(network: nn.Module) -> nn.Module:
        """Turns every `nn.BatchNorm2d` of a network, in place."""
        for module in network.modules():
            if type(module) is nn.BatchNorm2d:
                module.__class__ = SyncedBatchNorm
        return network

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        mean = ranks.mean(x.mean(dim=(0, 2, 3)))
        centred = x - mean[:, None, None]
        variance = ranks.mean(centred.square().mean(dim=(0, 2, 3)))
        self._remember(mean.detach(), variance.detach(), ranks.world() * x.numel() // x.shape[1])
        normal = centred * torch.rsqrt(variance + self.eps)[:, None, None]
        return normal * self.weight[:, None, None] + self.bias[:, None, None] if self.affine else normal

    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Updates the running statistics, of which the variance is that of a sample."""
        if not self.track_running_stats:
            return
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var), share)
