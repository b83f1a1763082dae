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

from benchmarks.measure import (
    Claim,
    has_bf16,
    no_gpu,
    publish,
    ratios,
    read_command,
    slug,
    spread,
    table,
    take_turns,
    verdict,
)
from benchmarks.peers import (
    Peer,
    PeerFailed,
    basicsr_options,
    build_lmdbs,
    finish,
    restore_trainer,
    write_options,
)
from benchmarks.shares import WORK, time_shares
from restore import images
from restore.data.image_dataset import PictureDataset
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
COMPARISON = ["net", "batch", "setting", "an iteration", "peak memory, GB", "times BasicSR's speed", "bar", ""]
PEER = "BasicSR, fp32"
AT = ".gpu" if ON_GPU else ""  # what the keys of claims end with
NO_GPU = "A GPU was not there: the figures on one wait for it; this script runs on it as it is."


@dataclass(frozen=True)
class Plan:
    """How long to measure."""

    data: Path  # the folder of the LMDBs
    rounds: int
    seconds: float  # a block, roughly
    quick: bool  # the smallest net alone, to see that the script works


# ------------------------------------------------------------------------------------------------------- overhead


def overhead(plan: Plan) -> Iterator[str | Claim]:
    """The trainer against a bare loop, in turns within one process."""
    cases = [(MSRRESNET, 128, 4), (MSRRESNET, 128, 16), (SMALL, 64, 4)]
    found = [overhead_row(plan, *case) for case in (cases[2:] if plan.quick else cases)]
    header = ["net", "GT crop", "batch", "bare loop, ms", "trainer, ms", "throughput", "added, ms", "bar", ""]
    text = (
        "The trainer against a bare PyTorch loop: the same net, pictures, fp32, channels_last, fused Adam, L1, no EMA; "
        f"blocks of both in turns in one process. The trainer logs every {PRINT_FREQ} iterations, to TensorBoard too. "
        "Medians and quartiles."
    )
    yield f"## Overhead\n\n{text}\n\n{table(header, [row for row, _ in found])}"
    yield from (claim for _, claim in found)


def overhead_row(plan: Plan, network: dict[str, Any], gt_size: int, batch: int) -> tuple[list[str], Claim]:
    """One net's row of the table, and its claim."""
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
    floor, own = (spread([1e3 * value for value in values]) for values in (bare, around))
    claim = Claim(
        f"train_step.overhead.{slug(title(network))}_b{batch}{AT}",
        f"the trainer's step, {title(network)}, GT crop {gt_size}, batch {batch}, fp32",
        f"{own.show('.2f')} ms",
        floor=f"bare PyTorch loop: {floor.show('.2f')} ms",
        ratio=f"{added.show('.2f')} ms more" if small else f"{throughput.show()} of its throughput",
        bar=bar,
        met=met,
    )
    cells = [title(network), str(gt_size), str(batch), f"{floor.median:.2f}", f"{own.median:.2f}"]
    return [*cells, throughput.show(), added.show(".2f"), bar, verdict(met)], claim


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


def breakdown(plan: Plan) -> Iterator[str | Claim]:
    """Where the trainer's time goes, by clocks around its parts."""
    network, batch = (SMALL, 4) if plan.quick else (MSRRESNET, 4)
    kinds = {"fp32": ["train.precision=fp32"], "fastest": FASTEST}
    shares = {}
    for name, overrides in kinds.items():
        with tempfile.TemporaryDirectory() as folder:
            options = basicsr_options(plan.data, batch, 4 if ON_GPU else 2, 128, network)
            options["logger"]["print_freq"] = PRINT_FREQ
            trainer = restore_trainer(write_options(Path(folder) / "train.yml", options), overrides)
            shares[name] = time_shares(trainer, plan.rounds * plan.seconds, warm_up=WARM_UP).parts
    rows = [
        [part, *(f"{100 * share[part]:.2f} %" for share in shares.values())] for part in next(iter(shares.values()))
    ]
    claims = [outside_work(kind, network, batch, share) for kind, share in shares.items()]
    rows.append(
        ["**outside network, loss and optimizer**", *(f"{claim.ours} {verdict(claim.met)}" for claim in claims)]
    )
    text = (
        f"Where the trainer's time goes: {title(network)}, GT crop 128, batch {batch}, EMA 0.999, a log line every "
        f"{PRINT_FREQ} iterations. Clocks around the parts of the real loop"
        + (", each of which waits for the GPU, so that nothing overlaps" if ON_GPU else "")
        + ". Bar: less than 5 % outside."
    )
    yield f"## Breakdown\n\n{text}\n\n{table(['part', *shares], rows)}"
    yield from claims


def outside_work(kind: str, network: dict[str, Any], batch: int, share: dict[str, float]) -> Claim:
    """The part of the time in which nothing is learned."""
    outside = sum(value for part, value in share.items() if part not in WORK)
    what = f"time outside network, loss and optimizer, {title(network)}, GT crop 128, batch {batch}, {kind}"
    key = f"train_step.breakdown.{slug(title(network))}_b{batch}.{kind}{AT}"
    return Claim(key, what, f"{100 * outside:.2f} %", bar="< 5 %", met=outside < 0.05)


# -------------------------------------------------------------------------------------------------------- BasicSR


def against_basicsr(plan: Plan) -> Iterator[str | Claim]:
    """Restore and BasicSR from the same option file and LMDBs, in turns."""
    networks, batches = ([SMALL], [4]) if plan.quick else ([MSRRESNET, EDSR], [4, 16])
    rows, claims = [], []
    for network in networks:
        for batch in batches:
            options = basicsr_options(plan.data, batch, WORKERS, 128, network)
            case = Case("basicsr", network, batch, Bars(1.05, 2.0 if network is EDSR else 1.9, 2.5))
            of_case = compare(plan, case, options)
            rows += of_case[0]
            claims += of_case[1]
    text = (
        "BasicSR's loop (`feed_data`, `optimize_parameters`, its loader) and ours, from one option file of BasicSR's: "
        "GT crop 128, L1, EMA 0.999, Adam, cosine; the same LMDBs and workers; a process each, in turns. Medians and "
        f"quartiles. Fastest: `{' '.join(FASTEST)}`, channels_last being the default."
    )
    yield f"## Against BasicSR 1.4.2\n\n{text}\n\n{table(COMPARISON, rows)}"
    yield from claims


def game(plan: Plan) -> Iterator[str | Claim]:
    """A generator and a discriminator: Restore and BasicSR's SRGANModel from the same option file."""
    network, batch, width = (SMALL, 2, 4) if plan.quick else (MSRRESNET, 4, 64)
    options = basicsr_options(plan.data, batch, WORKERS, 128, network)
    discriminator = {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": width}
    options |= {"model_type": "SRGANModel", "network_d": discriminator}
    optimizer = {"type": "Adam", "lr": 0.0001, "weight_decay": 0, "betas": [0.9, 0.99]}
    labels = {"real_label_val": 1.0, "fake_label_val": 0.0}
    loss = {"type": "GANLoss", "gan_type": "vanilla", **labels, "loss_weight": 0.1}
    options["train"] |= {"optim_d": optimizer, "gan_opt": loss, "net_d_iters": 1, "net_d_init_iters": 0}
    rows, claims = compare(plan, Case("gan", network, batch, Bars(1.0, 1.6, 2.0)), options)
    text = (
        "BasicSR's SRGANModel and ours, from one option file of BasicSR's: the generator against Real-ESRGAN's U-Net "
        "discriminator with 64 features, L1 and vanilla GAN loss, GT crop 128; otherwise as above."
    )
    yield f"## A GAN's step against BasicSR 1.4.2\n\n{text}\n\n{table(COMPARISON, rows)}"
    yield from claims


@dataclass(frozen=True)
class Case:
    """What is trained on both sides, and how much faster ours is to be."""

    part: str
    network: dict[str, Any]
    batch: int
    bars: "Bars"


def compare(plan: Plan, case: Case, options: dict[str, Any]) -> tuple[list[list[str]], list[Claim]]:
    """The rows and claims of one net and batch."""
    sides: dict[str, tuple[str, list[str]]] = {
        PEER: ("basicsr", []),
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
                failed[name] = f"cannot run: {error}"
                continue
            runs[name] = partial(timed, peer, length, name, memory)
        times = take_turns(runs, plan.rounds)
    start, rows, claims = [title(case.network), str(case.batch)], [], []
    for name in sides:
        claim = claim_of(case, name, times, failed)
        used = f"{memory[name] / 2**30:.2f}" if name in memory else ""
        rows.append([*start, name, claim.ours or claim.why, used, claim.ratio, claim.bar, verdict(claim.met)])
        if name != PEER:
            claims.append(claim)
    if not ON_GPU:
        gap = claims[-1]
        claims.append(no_gpu(f"{gap.key}.gpu", gap.what, f">= {case.bars.gpu}"))
    return rows, claims


def timed(peer: Peer, length: int, name: str, memory: dict[str, int]) -> float:
    """Seconds an iteration; notes the peak memory."""
    block = peer.run(length)
    memory[name] = block.memory
    return block.seconds


def claim_of(case: Case, name: str, times: dict[str, list[float]], failed: dict[str, str]) -> Claim:
    """One setting's figures against BasicSR's; one that cannot run says why."""
    setting = name.removeprefix("ours, ")
    what = f"a training step, {title(case.network)}, batch {case.batch}, GT crop 128, {setting}"
    bar = case.bars.least(name)
    claim = Claim(
        f"train_step.{case.part}.{slug(title(case.network))}_b{case.batch}.{slug(setting)}{AT}",
        what if case.part == "basicsr" else f"{what}, with a discriminator",
        milliseconds(times[name]) if name in times else "",
        bar=f">= {bar}" if bar else "",
    )
    if name in failed or name == PEER or PEER in failed:
        return claim._replace(why=failed.get(name) or failed.get(PEER, ""))
    ratio = spread(ratios(times[PEER], times[name]))
    return claim._replace(
        peer=f"BasicSR: {milliseconds(times[PEER])}",
        ratio=ratio.show(".2f"),
        met=ratio.median >= bar if bar else None,
    )


def milliseconds(seconds: list[float]) -> str:
    """Times as a cell of a table."""
    return spread([1e3 * value for value in seconds]).show(".1f") + " ms"


@dataclass(frozen=True)
class Bars:
    """The least ratios: on a CPU in fp32, at its fastest where bf16 has instructions, and on a GPU at its fastest."""

    fp32: float
    fastest: float
    gpu: float

    def least(self, name: str) -> float | None:
        """The bar for a setting, where there is one."""
        if name == PEER:
            return None
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


def measure(plan: Plan, chosen: list[str]) -> Iterator[str | Claim]:
    """The text of each part."""
    build_lmdbs(plan.data, 8 if plan.quick else 64)
    if not ON_GPU:
        yield NO_GPU
    for name in chosen:
        yield from PARTS[name](plan)


def main() -> None:
    """Parses the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="only this part (default: all)")
    parser.add_argument("--rounds", type=int, default=8, help="turns of each side (8)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of a turn (3)")
    args = read_command(parser, rounds=1, seconds=0.05)
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(Path(folder), args.rounds, args.seconds, args.quick)
        publish("A training step", measure(plan, args.only or list(PARTS)), args.out)


if __name__ == "__main__":
    main()
