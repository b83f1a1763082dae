"""Several processes: what averaging gradients costs a step, and where that stops scaling on 8 to 512 GPUs."""

import argparse
import json
import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # run as a script: find the packages
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
from torch import nn

from benchmarks.measure import (
    REPOSITORY,
    Claim,
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
from benchmarks.peers import finish
from restore import distributed
from restore.distributed import ranks
from restore.engine.update import Update
from restore.options.schema import Distributed, Options, Precision
from restore.registry import ARCHS, TASKS, Part
from restore.tasks.task import Task

ON_GPU = torch.cuda.is_available()
PRECISION: Precision = "bf16" if ON_GPU else "fp32"
GPUS = (1, 8, 16, 32, 64, 128, 256, 512)
MSRRESNET = {"type": "MSRResNet", "num_feat": 64, "num_block": 16}
PATCHGAN = {"type": "PatchGAN"}


@dataclass(frozen=True, eq=False)
class Case:
    """A training to measure: its networks, the GT's side, the scale, and a process's share of the batch."""

    name: str
    network_g: dict[str, Any]
    network_d: dict[str, Any] | None
    gt_size: int
    scale: int
    batch: int


CASES = {
    case.name: case
    for case in (
        Case("MSRResNet 64x16", MSRRESNET, None, 128, 4, 4),
        Case("MSRResNet 64x16 and PatchGAN", MSRRESNET, PATCHGAN, 128, 4, 4),
        Case("UNet (31 million)", {"type": "UNet", "mask_channel": False}, None, 128, 1, 2),
    )
}
QUICK = Case("MSRResNet 16x2", {**MSRRESNET, "num_feat": 16, "num_block": 2}, None, 64, 4, 4)


# --------------------------------------------------------------------------------------------------- measured here


def one_process(case: Case, rounds: int, seconds: float) -> tuple[list[str], Claim, float]:
    """A step alone, and the same through DistributedDataParallel by itself: the row, the claim, and ms a sample."""
    import torch.distributed as dist

    store = dist.HashStore()  # type: ignore[attr-defined]
    dist.init_process_group(ranks.backend_of(device().type), store=store, rank=0, world_size=1)
    bare, wrapped = build(case), build(case)
    for phase in wrapped.phases:
        phase.forward = ranks.averaging(phase.modules[0], device(), static=True)
        _call_through(wrapped, phase.name, phase.forward)
    runs = {"bare": stepper(bare, case), "DDP": stepper(wrapped, case)}
    times = blocks(runs, rounds, seconds)
    dist.destroy_process_group()
    alone = spread(times["bare"]).median
    added = spread([ratio - 1 for ratio in ratios(times["DDP"], times["bare"])])
    claim = Claim(
        f"scaling.one_process.{slug(case.name)}{'.gpu' if ON_GPU else ''}",
        f"a step through DistributedDataParallel in one process, {case.name}, batch {case.batch}",
        milliseconds(times["DDP"]),
        floor=f"the step alone: {milliseconds(times['bare'])}",
        ratio=f"{100 * added.median:+.2f} % ({100 * added.low:+.2f} to {100 * added.high:+.2f})",
        bar="< 2 %" if ON_GPU else "",
        met=added.median < 0.02 if ON_GPU else None,
    )
    bar = verdict(claim.met) if ON_GPU else "waits for a GPU"
    row = [case.name, str(case.batch), milliseconds(times["bare"]), claim.ours, claim.ratio, "< 2 %", bar]
    return row, claim, 1e3 * alone / case.batch


def milliseconds(seconds: list[float]) -> str:
    """Times as a cell of a table."""
    return spread([1e3 * value for value in seconds]).show(".1f") + " ms"


def _call_through(task: Task, phase: str, forward: nn.Module) -> None:
    """Puts a wrapped network where the task calls it in that phase."""
    owner: Any = task if phase == "g" else task.adversaries[0]  # type: ignore[attr-defined]
    owner.forward = forward


def of_a_rank(case: Case, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Seconds a step on this rank: as it trains, and without averaging gradients, in turns."""
    task = build(case)
    runs = {"averaged": stepper(task, case), "apart": stepper(task, case, unsynced=True)}
    return blocks(runs, rounds, seconds, agree=True)


def device() -> torch.device:
    """Where this process computes."""
    return torch.device("cuda", ranks.local_rank()) if ON_GPU else torch.device("cpu")


def build(case: Case) -> Task:
    """The task of a case, ready to train."""
    losses: dict[str, Any] = {"pixel": {"type": "L1Loss"}}
    train: dict[str, Any] = {"total_iter": 1, "optim_g": {"type": "Adam", "lr": 1e-4}, "losses": losses}
    train["precision"] = PRECISION
    data = {"name": "scaling", "scale": case.scale, "network_g": case.network_g, "train": train}
    if case.network_d:
        losses["gan"] = {"type": "GANLoss", "weight": 0.1}
        train["optim_d"] = {"type": "Adam", "lr": 1e-4}
        data["network_d"] = case.network_d
    options = Options.model_validate(data)
    task: Task = TASKS.build(options.task, options=options, device=device(), autocast=updating().autocast)
    return task


def updating() -> Update:
    """What takes the optimizer's steps."""
    return Update(PRECISION, None, device())


def stepper(task: Task, case: Case, unsynced: bool = False) -> Callable[[], None]:
    """A training step on a batch that stays the same: what data cost is another benchmark's."""
    small = case.gt_size // case.scale
    batch = {"gt": torch.rand(case.batch, 3, case.gt_size, case.gt_size), "lq": torch.rand(case.batch, 3, small, small)}
    batch = {name: tensor.to(device()) for name, tensor in batch.items()}
    update = updating()

    def step() -> None:
        prepared = task.prepare(batch, 1)
        for phase in task.phases:
            with distributed.unsynced(phase.forward) if unsynced else nullcontext():
                losses = phase.losses(prepared)
                total = torch.stack([loss.float() for name, loss in losses.items() if name.startswith("l_")]).sum()
                update.backward(total)
            update.apply(phase)

    return step


def blocks(
    runs: dict[str, Callable[[], None]], rounds: int, seconds: float, agree: bool = False
) -> dict[str, list[float]]:
    """Seconds a step of each, in blocks that take turns; with `agree`, blocks of one length on all ranks."""
    for step in runs.values():
        timed(step, 3)
    own = max(2, round(seconds / timed(next(iter(runs.values())), 3)))
    count = distributed.share(own) if agree else own
    return take_turns({name: partial(timed, step, count) for name, step in runs.items()}, rounds)


def timed(step: Callable[[], None], count: int) -> float:
    """Seconds a step."""
    distributed.barrier()
    began = time.perf_counter()
    for _ in range(count):
        step()
    finish(device())
    return (time.perf_counter() - began) / count


def together(world: int, arguments: list[str]) -> dict[str, list[float]]:
    """Starts the ranks as srun would, one thread each on a CPU. Returns rank 0's times."""
    here = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "127.0.0.1"}
    here |= {"SLURM_STEP_NUM_TASKS": str(world), "SLURM_STEP_TASKS_PER_NODE": str(world), "SLURM_NODEID": "0"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        here["MASTER_PORT"] = str(free.getsockname()[1])
    processes = []
    for rank in range(world):
        own = {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, __file__, "--rank", *arguments]
        started = subprocess.Popen(
            command, cwd=REPOSITORY, env=os.environ | here | own, stdout=subprocess.PIPE, text=True
        )
        processes.append(started)
    answers = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit("a rank failed; see above")
    times: dict[str, list[float]] = json.loads(answers[0].splitlines()[-1])
    return times


def several(case: Case, args: argparse.Namespace) -> tuple[list[str], Claim]:
    """The row of a case on `args.processes` processes, and its claim."""
    numbers = ["--only", case.name, "--rounds", str(args.rounds), "--seconds", str(args.seconds)]
    times = together(args.processes, numbers)
    share = spread([1 - ratio for ratio in ratios(times["apart"], times["averaged"])])
    claim = Claim(
        f"scaling.several.{slug(case.name)}{'.gpu' if ON_GPU else ''}",
        f"a step on {args.processes} processes, {case.name}, batch {case.batch} each: share of communication",
        milliseconds(times["averaged"]),
        floor=f"without averaging: {milliseconds(times['apart'])}",
        ratio=f"{100 * share.median:.1f} % ({100 * share.low:.1f} to {100 * share.high:.1f})",
    )
    row = [case.name, str(args.processes), str(case.batch), claim.ours, milliseconds(times["apart"]), claim.ratio]
    return row, claim


# --------------------------------------------------------------------------------------------------------- reckoned


@dataclass(frozen=True)
class Network:
    """What GPUs are joined by: bytes a second into each node and inside it, and the delay of a message."""

    gpus_a_node: int = 8
    inside: float = 300e9  # of NVLink, as all-reduces reach it
    between: float = 20e9  # of 200 Gbit/s InfiniBand, less what protocols take
    delay: float = 10e-6


def all_reduce_seconds(size: float, gpus: int, network: Network) -> float:
    """A ring all-reduce inside each node, then between nodes: each sends 2 (n - 1) / n of the bytes.

    Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms" (J. Parallel Distrib. Comput. 2009).
    """
    here = min(gpus, network.gpus_a_node)
    nodes = math.ceil(gpus / network.gpus_a_node)
    seconds = 2 * (here - 1) / here * size / network.inside + 2 * (nodes - 1) / nodes * size / network.between
    return seconds + 2 * network.delay * math.log2(max(gpus, 2)) * (gpus > 1)


def reckoned_step(compute: float, size: float, gpus: int, network: Network) -> float:
    """Seconds a step: gradients travel while the backward pass, two thirds of it, computes others.

    The last bucket, 25 MB at most, has nothing to hide behind.
    """
    whole = all_reduce_seconds(size, gpus, network)
    last = all_reduce_seconds(min(size, 25e6), gpus, network)
    return compute + max(last, whole - 2 / 3 * compute) * (gpus > 1)


def gradient_bytes(case: Case) -> int:
    """Bytes of gradients a step, all networks together."""
    sections = [section for section in (case.network_g, case.network_d) if section]
    built: list[nn.Module] = [ARCHS.build(Part.model_validate(section)) for section in sections]
    return 4 * sum(parameter.numel() for network in built for parameter in network.parameters())


def reckon(cases: dict[Case, list[float]]) -> str:
    """Efficiencies from gradients' sizes, for times a sample in milliseconds, at a fixed batch on each GPU."""
    network, rows = Network(), []
    for case, sample_ms in cases.items():
        size = gradient_bytes(case)
        for ms in sample_ms:
            compute = case.batch * ms / 1e3
            steps = [reckoned_step(compute, size, gpus, network) for gpus in GPUS]
            rows.append(
                [case.name, f"{size / 1e6:.1f}", f"{ms:g}", *(f"{100 * compute / seconds:.0f} %" for seconds in steps)]
            )
    header = ["", "gradients, MB", "ms a sample", *map(str, GPUS)]
    text = (
        "Reckoned, not measured: how much of its time a GPU computes, by the number of GPUs, its share of the batch "
        "being that of the tables above, for the time a sample that was measured there, and for assumed ones. "
        f"{network.gpus_a_node} GPUs a node, {network.inside / 1e9:g} GB/s between "
        f"them, {network.between / 1e9:g} GB/s between nodes, {1e6 * network.delay:g} us a message."
    )
    return f"## Reckoned\n\n{text}\n\n{table(header, rows)}\n\n{stops(cases, network)}"


def stops(cases: dict[Case, list[float]], network: Network) -> str:
    """For a batch of 256 whatever the number of GPUs: the speed-up, and from where on another GPU adds too little."""
    rows = []
    for case, sample_ms in cases.items():
        size = gradient_bytes(case)
        for ms in sample_ms:
            speed = {
                gpus: 256 * ms / 1e3 / reckoned_step(256 / gpus * ms / 1e3, size, gpus, network)
                for gpus in GPUS
                if gpus <= 256
            }
            good = [gpus for gpus, times in speed.items() if times >= gpus / 2]
            rows.append(
                [case.name, f"{ms:g}", *(f"{times:.0f}x" for times in speed.values()), str(max(good, default=1))]
            )
    header = ["", "ms a sample", *(str(gpus) for gpus in GPUS if gpus <= 256), "half of it used up to"]
    text = "A batch of 256 shared out, however many GPUs there are: how much faster than one."
    return f"{text}\n\n{table(header, rows)}"


# ------------------------------------------------------------------------------------------------------- the script


def measure(cases: list[Case], args: argparse.Namespace) -> Iterator[str | Claim]:
    """The text and the claims of each part."""
    header = ["", "batch", "step alone", "through DDP", "added", "bar", ""]
    text = (
        "One process: a step of all phases by itself, and through DistributedDataParallel in a group of one. In turns."
    )
    measured = {case: one_process(case, args.rounds, args.seconds) for case in cases}
    yield f"## One process\n\n{text}\n\n{table(header, [row for row, _, _ in measured.values()])}"
    for case, (_, claim, _) in measured.items():
        yield claim
        if not ON_GPU:
            what = f"a step through DistributedDataParallel in one process, {case.name}, on a GPU"
            yield no_gpu(f"{claim.key}.gpu", what, "< 2 %")
    header = ["", "processes", "batch of each", "step", "the same without averaging", "share of communication"]
    text = f"{args.processes} processes over {ranks.backend_of(device().type)}" + (
        "." if ON_GPU else ", one thread each, on one machine."
    )
    found = [several(case, args) for case in cases]
    yield f"## Several processes\n\n{text}\n\n{table(header, [row for row, _ in found])}"
    yield from (claim for _, claim in found)
    yield reckon({case: [round(own, 2), *args.sample_ms] for case, (_, _, own) in measured.items()})


def as_a_rank(case: Case, args: argparse.Namespace) -> None:
    """This process is one of several; rank 0 prints its times."""
    launch = distributed.Launch.of_environment()
    with distributed.joined(launch, Distributed(), device().type):
        times = of_a_rank(case, args.rounds, args.seconds)
        if distributed.is_main():
            print(json.dumps(times), flush=True)


def main() -> None:
    """Parses the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=[*CASES, QUICK.name], help="this case alone")
    parser.add_argument("--processes", type=int, default=torch.cuda.device_count() if ON_GPU else 2, help="of a job")
    parser.add_argument("--rounds", type=int, default=8, help="turns of each side (8)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a turn (2)")
    parser.add_argument("--sample_ms", type=float, nargs="+", default=[0.5, 2, 8], help="a GPU's times to reckon with")
    parser.add_argument("--rank", action="store_true", help=argparse.SUPPRESS)
    args = read_command(parser, only=QUICK.name, rounds=1, seconds=0.05)
    cases = [(CASES | {QUICK.name: QUICK})[args.only]] if args.only else list(CASES.values())
    if args.rank:
        as_a_rank(cases[0], args)
        return
    if not ON_GPU:
        torch.set_num_threads(1)
    publish("Several processes", measure(cases, args), args.out)


if __name__ == "__main__":
    main()
