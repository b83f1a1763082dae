"""A training step: what the trainer adds to a bare PyTorch loop, where its time goes, and BasicSR 1.4.2 beside it."""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

if __name__ == "__main__":  # run as a script: find the packages
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, RandomSampler

from benchmarks.measure import add_out, has_bf16, publish, ratios, spread, table, take_turns, verdict
from benchmarks.peers import (
    Peer,
    PeerFailed,
    basicsr_options,
    build_lmdbs,
    finish,
    restore_trainer,
    write_options,
)
from restore import images
from restore.data.image_dataset import PictureDataset
from restore.engine.trainer import Trainer
from restore.options.schema import Options
from restore.registry import ARCHS, DATASETS

RGB = {"num_in_ch": 3, "num_out_ch": 3}  # BasicSR's EDSR has no defaults for these
MSRRESNET = {"type": "MSRResNet", **RGB, "num_feat": 64, "num_block": 16}
EDSR = {"type": "EDSR", **RGB, "num_feat": 64, "num_block": 16}
SMALL = {"type": "MSRResNet", **RGB, "num_feat": 16, "num_block": 2}
ON_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if ON_GPU else "cpu")
FASTEST = ["train.precision=bf16", *(["train.compile=true"] if ON_GPU else [])]  # channels_last is the default
WARM_UP = 5 if ON_GPU else 3  # iterations: compiling, choosing algorithms
WORKERS = 8 if ON_GPU else 2
PRINT_FREQ = 10
COMPARISON = ["net", "batch", "setting", "ms an iteration", "peak memory, GB", "times BasicSR's speed", "bar", ""]
NO_GPU = "A GPU was not there: the figures on one wait for it; this script runs on it as it is."


@dataclass(frozen=True)
class Plan:
    """How long to measure."""

    data: Path  # the folder of the LMDBs
    rounds: int
    seconds: float  # a block, roughly
    quick: bool  # the smallest net alone, to see that the script works


# ------------------------------------------------------------------------------------------------------- overhead


def overhead(plan: Plan) -> str:
    """The trainer against a bare loop, in turns within one process."""
    cases = [(MSRRESNET, 128, 4), (MSRRESNET, 128, 16), (SMALL, 64, 4)]
    rows = [overhead_row(plan, *case) for case in (cases[2:] if plan.quick else cases)]
    header = ["net", "GT crop", "batch", "bare loop, ms", "trainer, ms", "throughput", "added, ms", "bar", ""]
    text = (
        "The trainer against a bare PyTorch loop: the same net, pictures, fp32, channels_last, fused Adam, L1, no EMA; "
        f"blocks of both in turns in one process. The trainer logs every {PRINT_FREQ} iterations, to TensorBoard too. "
        "Medians and quartiles."
    )
    return f"## Overhead\n\n{text}\n\n{table(header, rows)}"


def overhead_row(plan: Plan, network: dict[str, Any], gt_size: int, batch: int) -> list[str]:
    """One net's row of the table."""
    options = basicsr_options(plan.data, batch, 4 if ON_GPU else 0, gt_size, network)
    options["train"]["ema_decay"] = 0
    options["logger"]["print_freq"] = PRINT_FREQ
    small = network is SMALL
    with tempfile.TemporaryDirectory() as folder:
        file = write_options(Path(folder) / "train.yml", options)
        rounds = plan.rounds * (2 if small else 1)
        bare, ours = bare_and_trainer(file, rounds, plan.seconds / (2 if small else 1))
    around = [(one + other) / 2 for one, other in pairwise(ours)]  # of each block of the bare loop
    throughput, added = spread(ratios(bare, around)), spread([1e3 * (b - a) for a, b in zip(bare, around, strict=True)])
    met, bar = (added.median <= 0.7, "<= 0.7 ms") if small else (throughput.median >= 0.98, ">= 0.98")
    times = [f"{1e3 * spread(values).median:.2f}" for values in (bare, around)]
    return [title(network), str(gt_size), str(batch), *times, throughput.show(), added.show(".2f"), bar, verdict(met)]


def bare_and_trainer(file: Path, rounds: int, seconds: float) -> tuple[list[float], list[float]]:
    """Seconds an iteration of each block of the bare loop, and of the trainer's blocks before and after each."""
    trainer = restore_trainer(file)
    steps = bare_loop(trainer.options)
    run_block(steps, WARM_UP)
    block = block_length(run_block(steps, 3), seconds)
    bare: list[float] = []
    ours: list[float] = []

    def in_turns(batches: Iterable[Any], *rest: object, **more: object) -> Iterator[Any]:
        batches = iter(batches)
        yield from islice(batches, WARM_UP)
        while True:
            finish(DEVICE)
            began = time.perf_counter()
            yield from islice(batches, block)
            finish(DEVICE)
            ours.append((time.perf_counter() - began) / block)
            if len(bare) == rounds:
                return
            bare.append(run_block(steps, block))

    with patch("restore.engine.trainer.watched", in_turns), contextlib.redirect_stdout(None):
        trainer.fit()
    return bare, ours


def block_length(step: float, seconds: float) -> int:
    """Iterations that take about so long: whole intervals between log lines."""
    return max(PRINT_FREQ, PRINT_FREQ * round(seconds / step / PRINT_FREQ))


def run_block(steps: Iterator[None], count: int) -> float:
    """Seconds a step."""
    began = time.perf_counter()
    for _ in range(count):
        next(steps)
    finish(DEVICE)
    return (time.perf_counter() - began) / count


class Pictures(Dataset[tuple[Tensor, Tensor]]):
    """The pictures of one of Restore's data sets, augmented with whatever draws come."""

    def __init__(self, source: PictureDataset) -> None:
        self.source, self.draws = source, np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        sample = self.source.load(index, self.draws)
        return images.to_chw(sample["lq"]), images.to_chw(sample["gt"])


def bare_loop(options: Options) -> Iterator[None]:
    """What one writes by hand: a step each time it is asked for one."""
    data, train = options.datasets.train, options.train
    assert data is not None
    assert train is not None
    dataset = Pictures(DATASETS.build(data))
    sampler = RandomSampler(dataset, replacement=True, num_samples=10**6)
    loader = DataLoader(dataset, data.batch_size, sampler=sampler, num_workers=data.num_workers, pin_memory=ON_GPU)
    network: nn.Module = ARCHS.build(options.network_g).to(DEVICE, memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.9, 0.99), fused=True)
    network.train()
    for pair in loader:
        lq, gt = (tensor.to(DEVICE, non_blocking=True).float().div_(255) for tensor in pair)
        optimizer.zero_grad()
        F.l1_loss(network(lq), gt).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield


# ------------------------------------------------------------------------------------------------------ breakdown


def breakdown(plan: Plan) -> str:
    """Where the trainer's time goes, by clocks around its parts."""
    network, batch = (SMALL, 4) if plan.quick else (MSRRESNET, 4)
    kinds = {"fp32": ["train.precision=fp32"], "fastest": FASTEST}
    shares = {}
    for name, overrides in kinds.items():
        with tempfile.TemporaryDirectory() as folder:
            options = basicsr_options(plan.data, batch, 4 if ON_GPU else 2, 128, network)
            options["logger"]["print_freq"] = PRINT_FREQ
            trainer = restore_trainer(write_options(Path(folder) / "train.yml", options), overrides)
            shares[name] = time_shares(trainer, plan.rounds * plan.seconds)
    rows = [
        [part, *(f"{100 * share[part]:.2f} %" for share in shares.values())] for part in next(iter(shares.values()))
    ]
    outside = [sum(value for part, value in share.items() if part not in WORK) for share in shares.values()]
    rows.append(["**outside network, loss and optimizer**", *(f"{100 * x:.2f} % {verdict(x < 0.05)}" for x in outside)])
    text = (
        f"Where the trainer's time goes: {title(network)}, GT crop 128, batch {batch}, EMA 0.999, a log line every "
        f"{PRINT_FREQ} iterations. Clocks around the parts of the real loop"
        + (", each of which waits for the GPU, so that nothing overlaps" if ON_GPU else "")
        + ". Bar: less than 5 % outside."
    )
    return f"## Breakdown\n\n{text}\n\n{table(['part', *shares], rows)}"


WORK = ("forward and losses", "backward", "optimizer")


def time_shares(trainer: Trainer, seconds: float) -> dict[str, float]:
    """Each part's share of the trainer's time over about so many seconds."""
    spent = dict.fromkeys((*WORK, "data wait and copy", "EMA", "logging"), 0.0)
    clocked = partial(clock, spent)

    def some(batches: Iterable[Any], *rest: object, **more: object) -> Iterator[Any]:
        batches = iter(batches)
        yield from islice(batches, WARM_UP)
        draw = clocked("data wait and copy", lambda: next(batches))
        spent.update(dict.fromkeys(spent, 0.0))
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            yield draw()
        total = time.perf_counter() - began
        spent.update({part: value / total for part, value in spent.items()})

    phase = trainer.task.phases[0]
    phase.losses = clocked("forward and losses", phase.losses)
    clock_optimizer(spent, phase.optimizer)
    for owner, method, part in (
        (trainer.update, "backward", "backward"),
        (trainer, "_prepare", "data wait and copy"),
        (trainer.averages["network_g"], "update", "EMA"),
        (trainer, "_log", "logging"),
    ):
        setattr(owner, method, clocked(part, getattr(owner, method)))
    with patch("restore.engine.trainer.watched", some), contextlib.redirect_stdout(None):
        trainer.fit()
    return {**spent, "gradient norm and the rest": 1 - sum(spent.values())}


def clock(spent: dict[str, float], part: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, its time counted under `part`."""

    def call(*arguments: Any) -> Any:
        began = time.perf_counter()
        result = function(*arguments)
        finish(DEVICE)
        spent[part] += time.perf_counter() - began
        return result

    return call


def clock_optimizer(spent: dict[str, float], optimizer: torch.optim.Optimizer) -> None:
    """Counts the optimizer's steps. By its hooks, since torch's schedulers warn of a `step` that was replaced."""
    began = 0.0

    def start(*_: object) -> None:
        nonlocal began
        finish(DEVICE)
        began = time.perf_counter()

    def stop(*_: object) -> None:
        finish(DEVICE)
        spent["optimizer"] += time.perf_counter() - began

    optimizer.register_step_pre_hook(start)
    optimizer.register_step_post_hook(stop)


# -------------------------------------------------------------------------------------------------------- BasicSR


def against_basicsr(plan: Plan) -> str:
    """Restore and BasicSR from the same option file and LMDBs, in turns."""
    networks, batches = ([SMALL], [4]) if plan.quick else ([MSRRESNET, EDSR], [4, 16])
    rows = []
    for network in networks:
        for batch in batches:
            options = basicsr_options(plan.data, batch, WORKERS, 128, network)
            rows += compare(plan, network, batch, options, Bars(1.05, 2.0 if network is EDSR else 1.9, 2.5))
    text = (
        "BasicSR's loop (`feed_data`, `optimize_parameters`, its loader) and ours, from one option file of BasicSR's: "
        "GT crop 128, L1, EMA 0.999, Adam, cosine; the same LMDBs and workers; a process each, in turns. Medians and "
        f"quartiles. Fastest: `{' '.join(FASTEST)}`, channels_last being the default."
    )
    return f"## Against BasicSR 1.4.2\n\n{text}\n\n{table(COMPARISON, rows)}"


def game(plan: Plan) -> str:
    """A generator and a discriminator: Restore and BasicSR's SRGANModel from the same option file."""
    network, batch, width = (SMALL, 2, 4) if plan.quick else (MSRRESNET, 4, 64)
    options = basicsr_options(plan.data, batch, WORKERS, 128, network)
    discriminator = {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": width}
    options |= {"model_type": "SRGANModel", "network_d": discriminator}
    optimizer = {"type": "Adam", "lr": 0.0001, "weight_decay": 0, "betas": [0.9, 0.99]}
    labels = {"real_label_val": 1.0, "fake_label_val": 0.0}
    loss = {"type": "GANLoss", "gan_type": "vanilla", **labels, "loss_weight": 0.1}
    options["train"] |= {"optim_d": optimizer, "gan_opt": loss, "net_d_iters": 1, "net_d_init_iters": 0}
    rows = compare(plan, network, batch, options, Bars(1.0, 1.6, 2.0))
    text = (
        "BasicSR's SRGANModel and ours, from one option file of BasicSR's: the generator against Real-ESRGAN's U-Net "
        "discriminator with 64 features, L1 and vanilla GAN loss, GT crop 128; otherwise as above."
    )
    return f"## A GAN's step against BasicSR 1.4.2\n\n{text}\n\n{table(COMPARISON, rows)}"


def compare(plan: Plan, network: dict[str, Any], batch: int, options: dict[str, Any], bars: "Bars") -> list[list[str]]:
    """The rows of one net and batch."""
    sides: dict[str, tuple[str, list[str]]] = {
        "BasicSR, fp32": ("basicsr", []),
        "ours, fp32": ("restore", ["train.precision=fp32"]),
        "ours, fastest": ("restore", FASTEST),
    }
    failed: dict[str, str] = {}
    runs: dict[str, Callable[[], float]] = {}
    memory: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        for number, (name, (side, overrides)) in enumerate(sides.items()):
            file = write_options(Path(folder) / str(number) / "train.yml", options)
            peer = stack.enter_context(Peer(side, file, overrides))
            try:
                peer.run(WARM_UP)
                length = max(1, round(plan.seconds / peer.run(2).seconds))
            except PeerFailed as error:
                failed[name] = str(error)
                continue
            runs[name] = partial(timed, peer, length, name, memory)
        times = take_turns(runs, plan.rounds)
    start = [title(network), str(batch)]
    return [[*start, *comparison_row(bars, name, times, memory, failed)] for name in sides]


def timed(peer: Peer, length: int, name: str, memory: dict[str, int]) -> float:
    """Seconds an iteration; notes the peak memory."""
    block = peer.run(length)
    memory[name] = block.memory
    return block.seconds


def comparison_row(
    bars: "Bars",
    name: str,
    times: dict[str, list[float]],
    memory: dict[str, int],
    failed: dict[str, str],
) -> list[str]:
    """One setting's row; one that cannot run says why."""
    start = [name]
    if name in failed:
        return [*start, f"cannot run: {failed[name]}", "", "", "", ""]
    start += [f"{1e3 * spread(times[name]).median:.1f}", f"{memory[name] / 2**30:.2f}"]
    if name == "BasicSR, fp32" or "BasicSR, fp32" in failed:
        return [*start, "", "", ""]
    ratio = spread(ratios(times["BasicSR, fp32"], times[name]))
    bar = bars.least(name)
    return [*start, ratio.show(".2f"), *((f">= {bar}", verdict(ratio.median >= bar)) if bar else ("", ""))]


@dataclass(frozen=True)
class Bars:
    """The least ratios: on a CPU in fp32, at its fastest where bf16 has instructions, and on a GPU at its fastest."""

    fp32: float
    fastest: float
    gpu: float

    def least(self, name: str) -> float | None:
        """The bar for a setting, where there is one."""
        if name == "ours, fp32":
            return None if ON_GPU else self.fp32
        if ON_GPU:
            return self.gpu
        return self.fastest if has_bf16() else None


# ----------------------------------------------------------------------------------------------------- the script

PARTS = {"overhead": overhead, "breakdown": breakdown, "basicsr": against_basicsr, "gan": game}


def title(network: dict[str, Any]) -> str:
    """A net and its size."""
    return f"{network['type']} {network['num_feat']}x{network['num_block']}"


def measure(plan: Plan, chosen: list[str]) -> Iterator[str]:
    """The text of each part."""
    build_lmdbs(plan.data, 8 if plan.quick else 64)
    if not ON_GPU:
        yield NO_GPU
    for name in chosen:
        yield PARTS[name](plan)


def main() -> None:
    """Parses the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="only this part (default: all)")
    parser.add_argument("--rounds", type=int, default=8, help="turns of each side (8)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of a turn (3)")
    parser.add_argument("--quick", action="store_true", help="a tiny net alone, to see that the script works")
    add_out(parser)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(Path(folder), args.rounds, args.seconds, args.quick)
        publish("A training step", measure(plan, args.only or list(PARTS)), args.out)


if __name__ == "__main__":
    main()
