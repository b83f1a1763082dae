"""What each generator costs: parameters, multiply-accumulates and peak memory, and how bipartite attention grows."""

import argparse
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__":  # run as a script: find the packages
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure import Claim, publish, read_command, slug, table
from restore.archs.blocks.bipartite_attention import BipartiteAttention
from restore.registry import ARCHS, Part
from restore.tasks.networks import takes_mask, takes_time

ON_GPU = torch.cuda.is_available()
DEVICE = "cuda" if ON_GPU else "cpu"
SIZES, GRIDS, LIMIT = (128, 256, 512), (32, 64, 128, 256, 512), 8.0
WIDTH, LATENTS, LATENT_DIM = 64, 16, 32  # of the bipartite layer measured alone: GANsformer's at half of its full size
CELEBAHQ = {  # google/ddpm-ema-celebahq-256
    "type": "DenoisingUNet",
    "block_out_channels": [128, 128, 256, 256, 512, 512],
    "layers_per_block": 2,
    "attention_levels": [4],
    "norm_num_groups": 32,
    "downsample_padding": 0,
}


class Case(NamedTuple):
    """A generator: what to call it, its option section, and how many times larger its output is."""

    name: str
    section: dict[str, Any]
    scale: int = 1


CASES = (
    Case("`UNet`", {"type": "UNet"}),
    Case("`UNet`, `num_feat: 32`", {"type": "UNet", "num_feat": 32}),
    Case("`ContextEncoder`", {"type": "ContextEncoder"}),
    Case("`FFCGenerator` (big-lama)", {"type": "FFCGenerator"}),
    Case("`FFCGenerator`, `num_block: 9`", {"type": "FFCGenerator", "num_block": 9}),
    Case("`GANsformer`, `mode: simplex`", {"type": "GANsformer", "mode": "simplex"}),
    Case("`GANsformer`, `mode: duplex`", {"type": "GANsformer", "mode": "duplex"}),
    Case("`DenoisingUNet`, a call", {"type": "DenoisingUNet"}),
    Case("`DenoisingUNet` of ddpm-ema-celebahq-256, a call", CELEBAHQ),
    Case("`FaceEnhanceNet`, x4", {"type": "FaceEnhanceNet"}, 4),
    Case("`FaceEnhanceNetLight`, x4", {"type": "FaceEnhanceNetLight"}, 4),
    Case("`MSRResNet`, x4", {"type": "MSRResNet"}, 4),
    Case("`RRDBNet`, x4", {"type": "RRDBNet"}, 4),
)

# ------------------------------------------------------------------------------------------------------------ counted


def build(section: dict[str, Any]) -> nn.Module:
    """The network of an option section, on the device that is the default."""
    network: nn.Module = ARCHS.build(Part(**section))
    return network.eval()


def inputs(network: nn.Module, size: int) -> list[Tensor]:
    """One picture of that side, and the mask or the time that the network wants beside it."""
    picture = torch.rand(1, 3, size, size)
    if takes_mask(network):
        return [picture, torch.ones(1, 1, size, size)]
    return [picture, torch.tensor([500])] if takes_time(type(network)) else [picture]


def macs(case: Case, size: int) -> tuple[float, float]:
    """Multiply-accumulates for one result of that side: those PyTorch counts, and those of Fourier transforms.

    PyTorch counts matrix products, convolutions and attention, at 2 operations each, but no Fourier transform.
    """
    with torch.device("meta"):
        network = build(case.section)
        wanted = inputs(network, size // case.scale)
        totals = []
        for mapping in ({}, {torch.ops.aten._fft_r2c: _fourier, torch.ops.aten._fft_c2r: _fourier}):
            with FlopCounterMode(display=False, custom_mapping=mapping) as counter, torch.no_grad():
                network(*wanted)
            totals.append(counter.get_total_flops() / 2)
    return totals[0], totals[1] - totals[0]


def _fourier(shape: Sequence[int], dims: Sequence[int], *_: Any, out_shape: Sequence[int], **__: Any) -> int:
    """Operations of a transform between reals and half a spectrum: 2.5 n log2 n for n places, as FFTW reckons them."""
    larger = max(shape, out_shape, key=math.prod)  # a dimension is halved in the spectrum
    places = math.prod(larger[dim] for dim in dims)
    return round(2.5 * math.prod(larger) * math.log2(max(places, 2)))


def parameters(section: dict[str, Any]) -> int:
    """How many numbers a network learns."""
    with torch.device("meta"):
        return sum(one.numel() for one in build(section).parameters())


# ----------------------------------------------------------------------------------------------------------- measured


def peak(run: Callable[[], object]) -> int:
    """How many bytes more than before it are needed at once while it runs.

    On a GPU what PyTorch's allocator handed out, on Linux the process's resident pages (their high-water mark is set
    back first), elsewhere the growth of that mark.
    """
    if ON_GPU:
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        return torch.cuda.max_memory_allocated() - before
    before = _resident("VmRSS")
    run()
    return _resident("VmHWM") - before


def _resident(which: str) -> int:
    try:
        if which == "VmRSS":
            Path("/proc/self/clear_refs").write_text("5")  # sets the mark back to what is resident now
        found = re.search(rf"{which}:\s+(\d+) kB", Path("/proc/self/status").read_text())
        return int(found[1]) * 1024 if found else 0
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def inference(section: dict[str, Any], size: int) -> int:
    """Bytes of the network, and beyond its input at its worst, for one picture. For a process of its own."""
    torch.set_default_device(DEVICE)
    network = build(section)
    own = sum(one.numel() * one.element_size() for one in [*network.parameters(), *network.buffers()])
    wanted = inputs(network, size)
    with torch.inference_mode():
        return own + peak(lambda: network(*wanted))


def bipartite(mode: Any, side: int) -> int:
    """Bytes beyond its input that the bipartite layer alone needs on a grid of that side. For a process of its own."""
    torch.set_default_device(DEVICE)
    layer = BipartiteAttention(WIDTH, LATENTS, LATENT_DIM, mode).eval()
    latents, grid = torch.rand(1, LATENTS, LATENT_DIM), torch.rand(1, WIDTH, side, side)
    with torch.inference_mode():
        layer(torch.rand(1, WIDTH, 16, 16), latents)  # loads the code that the measured call would
        return peak(lambda: layer(grid, latents))


def apart(function: str, *args: Any) -> int:
    """One of the two above in a fresh process, where nothing is left over from another cell."""
    # blocks are given back to the system as soon as they are freed, so that what is resident is what is needed
    settings = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, __file__, "--cell", json.dumps([function, *args])]
    done = subprocess.run(command, env=settings, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"died: {done.returncode}")
    return int(done.stdout)


# ------------------------------------------------------------------------------------------------------------- tables


def generators(sizes: Sequence[int], names: Sequence[str] | None, limit: float) -> Iterator[str | Claim]:
    """The table of all networks with its claims, and what PyTorch's counter leaves out."""
    rows, spectra, claims = [], [], []
    for case in CASES:
        if names and case.section["type"] not in names:
            continue
        counted = [macs(case, size) for size in sizes]
        spectra += [f"{case.name} {counted[-1][1] / 1e9:.2f}"] if counted[-1][1] else []
        own = parameters(case.section)
        cells = [f"{main / 1e9:.2f}" for main, _ in counted]
        used = list(memory(case, sizes, limit))
        rows.append([case.name, f"{own / 1e6:.2f}", *cells, *used])
        key, what = f"generators.{slug(case.name)}", f"{case.name}, one picture of {sizes[-1]} px, fp32, {DEVICE}"
        claims.append(Claim(key, what, f"{own / 1e6:.2f} M parameters, {cells[-1]} GMACs, {used[-1]} MB"))
    heads = [f"{what}, {size} px" for what in ("GMACs", "MB") for size in sizes]
    where = "handed out by PyTorch's allocator" if ON_GPU else "resident, a fresh process each"
    text = (
        f"One picture, fp32, {DEVICE}; px: the side of the result. Memory: the network, and what it needs beyond its "
        f"input at its worst ({where}), MB of 10^6 bytes; not run where the cell before, in proportion to the pixels, "
        f"makes expect more than {limit:g} GB."
    )
    yield f"{text}\n\n{table(['', 'parameters, M', *heads], rows)}"
    yield from claims
    if spectra:
        not_counted = f"Fourier transforms at {sizes[-1]} px, not counted above (2.5 n log2 n operations), in GMACs"
        yield f"{not_counted}: {', '.join(spectra)}."


def memory(case: Case, sizes: Sequence[int], limit: float) -> Iterator[str]:
    """Its cells: peak memory at each size."""
    last, at = 0, sizes[0]
    for size in sizes:
        likely = last * (size / at) ** 2
        if likely > limit * 1e9:
            yield f"about {likely / 1e6:.0f}: not run"
            continue
        last, at = apart("inference", case.section, size // case.scale), size
        yield f"{last / 1e6:.0f}"


def attention(grids: Sequence[int]) -> Iterator[str | Claim]:
    """The table of the bipartite layer, beside what self-attention among all places would keep, and its claims."""
    rows, used = [], dict[str, int]()
    for side in grids:
        places = side**2
        used = {mode: apart("bipartite", mode, side) for mode in ("simplex", "duplex")}
        cells = [f"{value / 1e6:.1f} ({value / places:.0f})" for value in used.values()]
        rows.append([f"{side}x{side}", *cells, f"{4 * places * LATENTS / 1e6:.2f}", f"{4 * places**2 / 1e6:,.0f}"])
    text = (
        f"The bipartite layer alone, {WIDTH} channels, k = {LATENTS} latents, one picture, fp32, {DEVICE}: peak MB "
        "beyond its input (bytes a place). Beside it, by arithmetic: one map of assignments (4 k bytes a place), and "
        "the scores that self-attention among all places has (4 bytes for each pair of them)."
    )
    yield f"{text}\n\n{table(['grid', 'simplex', 'duplex', 'assignments, MB', 'self-attention, MB'], rows)}"
    for mode, size in used.items():
        scores = 4 * places**2  # of self-attention, on the largest grid
        what = f"the bipartite layer alone, {mode}, grid of {grids[-1]}x{grids[-1]}, fp32, {DEVICE}: peak memory"
        floor = f"self-attention's scores, by arithmetic: {scores / 1e6:,.0f} MB"
        ratio = f"{size / scores:.4f}"
        yield Claim(f"generators.bipartite.{mode}", what, f"{size / 1e6:.1f} MB", floor=floor, ratio=ratio)


def measure(args: argparse.Namespace) -> Iterator[str | Claim]:
    """Both tables."""
    yield from generators(args.sizes, args.networks, args.limit)
    yield from attention(args.grids)


def main() -> None:
    """Parses the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="sides of the results (128 256 512)")
    parser.add_argument("--grids", type=int, nargs="+", default=GRIDS, help="of the bipartite layer (32 to 512)")
    parser.add_argument("--networks", nargs="+", metavar="TYPE", help="only these")
    parser.add_argument("--limit", type=float, default=LIMIT, help=f"gigabytes that a cell may need ({LIMIT:g})")
    parser.add_argument("--cell", type=json.loads, help=argparse.SUPPRESS)
    args = read_command(parser, sizes=[128], networks=["FaceEnhanceNetLight"], grids=[32])
    if args.cell:
        function, *rest = args.cell
        print({"inference": inference, "bipartite": bipartite}[function](*rest))
    else:
        publish("Generators", measure(args), args.out)


if __name__ == "__main__":
    main()
