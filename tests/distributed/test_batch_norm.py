"""Batch norm over two ranks is PyTorch's over all pictures; and votes, means and gathering between two ranks."""

import pytest
import torch
from torch import nn

from restore import distributed
from restore.distributed.batch_norm import SyncedBatchNorm
from tests.distributed.ranks import together

RANKS = 2


def norm(**arguments) -> nn.BatchNorm2d:
    torch.manual_seed(0)
    made = nn.BatchNorm2d(3, dtype=torch.float64, **arguments)
    if made.affine:
        nn.init.normal_(made.weight)
        nn.init.normal_(made.bias)
    return made


def pictures() -> torch.Tensor:
    """Of six pictures, the last three are another kind: each rank's own statistics are far from those of all."""
    generator = torch.Generator().manual_seed(1)
    found = torch.randn(6, 3, 4, 5, generator=generator, dtype=torch.float64)
    found[3:] = 3 * found[3:] + 7
    return found


def judged(layer: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Outputs, gradients, and the gradients of a gradient penalty, as R1 has it."""
    x = x.clone().requires_grad_()
    out = layer(x)
    (slope,) = torch.autograd.grad(out.pow(3).sum(), x, create_graph=True)
    parameters = [x, *layer.parameters()]
    gradients = torch.autograd.grad(slope.square().sum(), parameters, allow_unused=True)
    names = ["x", *dict(layer.named_parameters())]
    twice = {f"twice {name}": g for name, g in zip(names, gradients, strict=True) if g is not None}
    return {"out": out.detach(), "slope": slope.detach()} | twice


def one_rank(arguments: dict) -> dict[str, torch.Tensor]:
    layer = SyncedBatchNorm.put_into(nn.Sequential(norm(**arguments)))[0]
    assert type(layer) is SyncedBatchNorm
    mine = pictures().chunk(RANKS)[distributed.rank()]
    found = judged(layer, mine) | {"again": layer(mine).detach()}
    layer.eval()
    return found | {"eval": layer(mine).detach()} | dict(layer.named_buffers())


@pytest.mark.parametrize("arguments", [{}, {"momentum": None}, {"affine": False}], ids=str)
def test_two_ranks_norm_as_one_does(arguments):
    whole = norm(**arguments)
    wanted = judged(whole, pictures()) | {"again": whole(pictures()).detach()}
    whole.eval()
    wanted |= {"eval": whole(pictures()).detach()} | dict(whole.named_buffers())
    first, second = together(RANKS, one_rank, arguments)
    assert first.keys() == wanted.keys()
    for name, value in wanted.items():
        if name in dict(whole.named_buffers()):
            torch.testing.assert_close(first[name], value, rtol=0, atol=1e-12)
            torch.testing.assert_close(second[name], value, rtol=0, atol=1e-12)
        elif name in ("twice weight", "twice bias"):  # DDP takes the mean, over as many ranks as here are added
            torch.testing.assert_close(first[name] + second[name], value, rtol=1e-10, atol=1e-10)
        else:
            torch.testing.assert_close(torch.cat([first[name], second[name]]), value, rtol=1e-10, atol=1e-10)


def votes() -> list[bool]:
    vote = distributed.Vote()
    yes = {0: [False, False, False, False], 1: [False, True, False, False]}[distributed.rank()]
    return [vote(one) for one in yes] + [vote.close(), vote.close()]


def test_a_vote_is_known_to_all_one_iteration_later():
    assert together(RANKS, votes) == [[False, False, True, False, False, False]] * RANKS


def test_a_vote_of_one_is_known_at_once():
    vote = distributed.Vote()
    assert [vote(yes) for yes in (False, True, False)] == [False, True, False]
    assert not vote.close()


def talk() -> list[object]:
    rank = distributed.rank()
    mean = distributed.mean_(torch.tensor([float(rank), 4.0]))
    tensors = [torch.full((2,), float(rank)), torch.tensor(rank)]
    distributed.copy_from_main(tensors)
    distributed.barrier()
    copied = [tensor.tolist() for tensor in tensors]
    return [distributed.gather({"rank": rank}), distributed.share(f"of {rank}"), mean.tolist(), copied]


def test_what_ranks_tell_each_other():
    assert together(3, talk) == [[[{"rank": 0}, {"rank": 1}, {"rank": 2}], "of 0", [1.0, 4.0], [[0.0, 0.0], 0]]] * 3


def test_alone_it_is_trivial():
    assert talk() == [[{"rank": 0}], "of 0", [0.0, 4.0], [[0.0, 0.0], 0]]
    assert (distributed.rank(), distributed.world(), distributed.local_rank()) == (0, 1, 0)


def slopes() -> list[float]:
    """Of the square of the mean over ranks of 1 and 3."""
    x = torch.tensor(1.0 + 2 * distributed.rank(), requires_grad=True)
    distributed.mean(x).square().backward()
    return [float(x.grad)]


def test_gradients_pass_through_a_mean_to_all_ranks():
    """Each rank's loss is 2 ** 2, with slope 4 in the mean and 2 in each share of it; both ranks' losses add up."""
    assert together(RANKS, slopes) == [[4.0], [4.0]]
