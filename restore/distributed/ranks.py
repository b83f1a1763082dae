"""Reductions over the ranks of a job, and networks that are trained on all of them at once."""

import time
import warnings
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from restore.distributed.launch import Launch
from restore.errors import Fault

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

T = TypeVar("T")

_VISIBLE_IN = 90.0  # seconds; NFS looks for new names in a folder every 60 s at most


class _Here:
    """This process's place, and the group in which objects and flags travel beside the gradients."""

    launch = Launch()
    beside: Any = None


def rank() -> int:
    """The number of this process; 0 is the one that logs and saves."""
    return _Here.launch.rank if _Here.beside is not None else 0


def world() -> int:
    """The number of processes that train together."""
    return _Here.launch.world if _Here.beside is not None else 1


def local_rank() -> int:
    """The number of this process on its node, by which it takes a GPU."""
    return _Here.launch.local_rank if _Here.beside is not None else 0


def is_main() -> bool:
    """Whether this process is the one that logs and saves."""
    return rank() == 0


def gather(value: T) -> list[T]:
    """What every rank has, in their order, on all of them."""
    if world() == 1:
        return [value]
    import torch.distributed as dist

    values: list[Any] = [None] * world()
    dist.all_gather_object(values, value, group=_Here.beside)
    return values


def share(value: T) -> T:
    """What rank 0 has, on all ranks; the others' is not looked at."""
    if world() == 1:
        return value
    import torch.distributed as dist

    values = [value]
    dist.broadcast_object_list(values, src=0, group=_Here.beside)
    return values[0]


def from_main(find: Callable[[], T]) -> T:
    """What rank 0 finds, on all ranks."""
    return share(find() if is_main() else None)  # type: ignore[return-value]


def expect(path: Path) -> Path:
    """A path that rank 0 has written, once this rank sees it too: a network file system may take its time.

    Raises:
        Fault: it does not come.
    """
    until = time.monotonic() + _VISIBLE_IN
    while world() > 1 and not path.exists():
        if time.monotonic() > until:
            raise Fault(f"{path}: rank 0 has it and this node does not; put experiments_root where all nodes see it")
        time.sleep(0.2)
    return path


def barrier() -> None:
    """Waits until every rank is here."""
    if world() > 1:
        import torch.distributed as dist

        dist.barrier(group=_Here.beside)


def mean_(tensor: "Tensor") -> "Tensor":
    """Replaces a tensor by its mean over the ranks. Gradients do not pass."""
    if world() > 1:
        import torch.distributed as dist

        dist.all_reduce(tensor)
        tensor /= world()
    return tensor


def mean(tensor: "Tensor") -> "Tensor":
    """The mean over the ranks, through which gradients pass to all of them."""
    return total(tensor) / world() if world() > 1 else tensor


def total(tensor: "Tensor") -> "Tensor":
    """The sum over the ranks, through which gradients pass to all of them."""
    from restore.distributed.total import Total

    summed: Tensor = Total.apply(tensor)
    return summed


def copy_from_main(tensors: "Iterable[Tensor]") -> None:
    """Overwrites tensors by those of rank 0."""
    if world() > 1:
        import torch.distributed as dist

        for tensor in tensors:
            dist.broadcast(tensor, src=0)


class Vote:
    """Whether any rank says yes, known to all in the same iteration: the next one, so that nobody has to wait."""

    def __init__(self) -> None:
        self._last: tuple[Any, Tensor] | None = None

    def __call__(self, yes: bool) -> bool:
        """Takes this iteration's vote, and returns the outcome of the one before; alone, of this one."""
        if world() == 1:
            return yes
        outcome, self._last = self.close(), self._cast(yes)
        return outcome

    def close(self) -> bool:
        """The outcome of the last vote."""
        if self._last is None:
            return False
        work, ballot = self._last
        self._last = None
        work.wait()
        return bool(ballot)

    @staticmethod
    def _cast(yes: bool) -> "tuple[Any, Tensor]":
        import torch
        import torch.distributed as dist

        ballot = torch.tensor(int(yes))
        return dist.all_reduce(ballot, group=_Here.beside, async_op=True), ballot


# -------------------------------------------------------------------------------------------------------- networks


def replicated(network: "nn.Module", device: "torch.device", static: bool) -> "nn.Module":
    """A network whose gradients are averaged over the ranks while they are computed; alone, the network itself.

    Args:
        static: every step computes the same graph, in one part.
    """
    return network if world() == 1 else averaging(network, device, static)


def averaging(network: "nn.Module", device: "torch.device", static: bool) -> "nn.Module":
    """PyTorch's DistributedDataParallel, as it is used here; needs a process group.

    Buffers stay each rank's own: running statistics of batch norm do not take part in training, and rank 0's count.
    """
    from torch.nn.parallel import DistributedDataParallel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of `broadcast_buffers`, whose successor older versions lack
        return DistributedDataParallel(
            network,
            device_ids=[device.index] if device.type == "cuda" else None,
            broadcast_buffers=False,
            gradient_as_bucket_view=True,
            static_graph=static,
        )


def unsynced(network: "nn.Module") -> AbstractContextManager[object]:
    """The context in which a replicated network only adds up gradients: all parts of an accumulated batch but one."""
    return network.no_sync() if hasattr(network, "no_sync") else nullcontext()  # type: ignore[operator]


def synced_batch_norm(network: "nn.Module", device: "torch.device", twice: bool) -> "nn.Module":
    """The network with batch norm over the pictures of all ranks; alone, as it is.

    Args:
        twice: whether it is differentiated twice, as R1 does: PyTorch's own, which is for GPUs and faster, cannot be.
    """
    if world() == 1:
        return network
    from torch import nn

    if device.type == "cuda" and not twice:
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return converted
    from restore.distributed.batch_norm import SyncedBatchNorm

    return SyncedBatchNorm.put_into(network)


def backend_of(device_type: str) -> str:
    """The library that carries gradients: NCCL between GPUs, else gloo."""
    return "nccl" if device_type == "cuda" else "gloo"
