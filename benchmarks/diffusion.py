"""Restoring by diffusion: what more steps buy, and what batches, bf16 and compilation save."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

if __name__ == "__main__":  # run as a script: find the packages
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
from torch import Tensor, nn

from benchmarks.measure import Claim, no_gpu, publish, ratios, read_command, slug, spread, table, take_turns, verdict
from restore.apps import compare
from restore.apps.comparison import Comparison
from restore.archs.denoising_unet_arch import DenoisingUNet
from restore.diffusion.noise import Schedule
from restore.diffusion.operators import Mask
from restore.diffusion.sampler import Sampler
from restore.precision import full

ON_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if ON_GPU else "cpu")
OCCLUSION = "[{type: FaceMask}]"
WORSE = 0.12  # by how much of its perceptual distance a few steps may fall behind many
FEW, MANY = 20, 100
BATCH, FASTER = 8, 3.0  # the bar holds where there is a GPU

# google/ddpm-ema-celebahq-256
REFERENCE = {"block_out_channels": [128, 128, 256, 256, 512, 512], "attention_levels": [4]}
SMALL = {"block_out_channels": [24, 48, 96, 192], "layers_per_block": 1, "attention_levels": [3]}


# ------------------------------------------------------------------------------------------------------------- steps


def steps_and_quality(
    model: str, gt: str, steps: list[int], metric: str, picture: Path | None
) -> Iterator[str | Claim]:
    """A row for each number of steps, all on the same pictures behind the same masks."""
    parser = argparse.ArgumentParser()
    compare.add_arguments(parser)
    words = ["--models", *(f"{n}={model}" for n in steps), "--task", *(f"{n}={{num_steps: {n}}}" for n in steps)]
    words += ["--gt", gt, "--occlusion", OCCLUSION, "--metrics", "psnr_hole", "ssim_hole", metric]
    args = parser.parse_args([*words, "--baselines", "telea", "--reference", "telea"])
    comparison, _ = compare.compare(compare.models_of(args), "telea", DEVICE, Path("unused"), grid_every=0)
    rows = [_row(comparison, name, metric) for name in ["telea", *map(str, steps)]]
    told = table(["steps", "PSNR in the hole, dB", "SSIM in the hole", metric, "s a picture"], rows)
    claims = [few_and_many(comparison, metric)] if {FEW, MANY} <= set(steps) else []
    for claim in claims:
        told += f"\n\n{claim.what}: {claim.ratio}; {claim.bar}: {verdict(claim.met)}."
    if picture is not None:
        draw(comparison, steps, metric, picture)
    yield f"## Steps and quality: {Path(model).name}, {Path(gt).name}\n\n{told}"
    yield from claims


def few_and_many(comparison: Comparison, metric: str) -> Claim:
    """How far a few steps fall behind many."""
    few, many = (comparison.means[str(number)][metric].mean for number in (FEW, MANY))
    return Claim(
        "diffusion.quality",
        f"{metric} of {FEW} steps against that of {MANY}",
        f"{few:.4f}",
        floor=f"{MANY} steps: {many:.4f}",
        ratio=f"{few / many - 1:+.1%}",
        bar=f"at most {WORSE:+.0%}",
        met=few <= (1 + WORSE) * many,
    )


def _row(comparison: Comparison, name: str, metric: str) -> list[str]:
    psnr, ssim, distance = (comparison.means[name][each].mean for each in ("psnr_hole", "ssim_hole", metric))
    return [name, f"{psnr:.2f}", f"{ssim:.3f}", f"{distance:.4f}", f"{comparison.methods[name]['ms'] / 1000:.3f}"]


def draw(comparison: Comparison, steps: list[int], metric: str, target: Path) -> None:
    """The curve as a picture: perceptual distance and PSNR in the hole over the number of steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.2), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), (metric, "psnr_hole"), strict=True):
        axes.plot(steps, [comparison.means[str(number)][name].mean for number in steps], marker="o", markersize=3)
        telea = comparison.means["telea"][name].mean
        axes.axhline(telea, linestyle="--", color="0.5")
        axes.annotate("Telea", (steps[0], telea), xytext=(0, 3), textcoords="offset points")
        axes.set_xscale("log")
        axes.set_xticks(steps, [str(number) for number in steps])
        axes.minorticks_off()
        axes.margins(y=0.12)
        axes.set(xlabel="steps", title=f"{name}, {'lower' if name == metric else 'higher'} is better")
    figure.savefig(target, dpi=110)


# ------------------------------------------------------------------------------------------------------------- speed


def speed(network: dict[str, object], size: int, rounds: int, num_steps: int) -> Iterator[str | Claim]:
    """Seconds a picture of one call of the sampler, in turns; each against float32 and batches of one."""
    torch.manual_seed(0)
    plain = DenoisingUNet(**network).eval().to(DEVICE, memory_format=torch.channels_last)  # type: ignore[arg-type]
    sampler = Sampler(Schedule(), num_steps=num_steps)
    runs = {"one by one": partial(sampled, sampler, plain, size, 1, nullcontext)}
    runs[f"batches of {BATCH}"] = partial(sampled, sampler, plain, size, BATCH, nullcontext)
    bf16 = partial(torch.autocast, DEVICE.type, torch.bfloat16)
    runs[f"batches of {BATCH}, bf16"] = partial(sampled, sampler, plain, size, BATCH, bf16)
    if ON_GPU:
        fused: nn.Module = torch.compile(plain)  # type: ignore[assignment]
        runs[f"batches of {BATCH}, bf16, compiled"] = partial(sampled, sampler, fused, size, BATCH, bf16)
    for run in runs.values():
        run()  # warms up, and compiles
    times = take_turns(runs, rounds)
    first = times["one by one"]
    parameters = sum(p.numel() for p in plain.parameters()) / 1e6
    title = f"DenoisingUNet, {parameters:.1f} million parameters, {size} px"
    claims = [faster(f"{title}, {num_steps} steps", size, name, taken, first) for name, taken in times.items()]
    rows = [[name, one.ours, one.ratio, one.bar, verdict(one.met)] for name, one in zip(times, claims, strict=True)]
    yield f"## Speed: {title}\n\n{table([f'{num_steps} steps', 'a picture', 'against one by one', 'bar', ''], rows)}"
    yield from claims[1:]


def faster(title: str, size: int, name: str, taken: list[float], first: list[float]) -> Claim:
    """A way of sampling against pictures one by one; the bar is for batches on a GPU."""
    gain = spread(ratios(first, taken))
    claim = Claim(
        f"diffusion.speed.{size}px.{slug(name)}{'.gpu' if ON_GPU else ''}",
        f"{title}: {name}",
        f"{spread(taken).show()} s",
        floor=f"one by one: {spread(first).show()} s",
        ratio=f"{gain.show('.2f')}x",
    )
    judged = ON_GPU and name == f"batches of {BATCH}"
    return claim._replace(bar=f">= {FASTER:g}x", met=gain.median >= FASTER) if judged else claim


def sampled(
    sampler: Sampler, network: nn.Module, size: int, batch: int, autocast: Callable[[], AbstractContextManager[object]]
) -> float:
    """Seconds a picture for filling a square in the middle."""
    mask = torch.zeros(batch, 1, size, size, device=DEVICE)
    mask[..., size // 4 : -size // 4, size // 4 : -size // 4] = 1
    picture = torch.full((batch, 3, size, size), 0.5, device=DEVICE)

    def noise(x: Tensor, times: Tensor) -> Tensor:
        with autocast():
            return full(network(x, times))

    began = time.perf_counter()
    sampler(noise, Mask(mask), picture, keys=list(range(batch))).cpu()
    return (time.perf_counter() - began) / batch


def parts(args: argparse.Namespace) -> Iterator[str | Claim]:
    """What can be measured here, and claims in place of what cannot."""
    if args.model:
        yield from steps_and_quality(args.model, args.gt, args.steps, args.metric, args.picture)
    else:
        what = f"{args.metric} of {FEW} steps against that of {MANY}"
        why = "needs a trained diffusion: `--model EXPERIMENT`"
        yield Claim("diffusion.quality", what, "", bar=f"at most {WORSE:+.0%}", why=why)
    yield from speed(SMALL, 64, args.rounds, 2 if args.quick else 10)
    if ON_GPU:
        yield from speed(REFERENCE, 256, args.rounds, 20)
    else:
        key, what = f"diffusion.speed.256px.batches_of_{BATCH}.gpu", f"ddpm-ema-celebahq-256, batches of {BATCH}"
        yield no_gpu(key, f"{what} against one by one", f">= {FASTER:g}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a diffusion's checkpoint, or a folder of diffusers; without: speed alone")
    parser.add_argument("--gt", default="datasets/celebahq_64_val.lmdb", help="faces to hide and restore")
    parser.add_argument("--steps", type=int, nargs="+", default=[5, 10, 20, 50, 100, 250])
    parser.add_argument("--metric", default="lpips_squeeze_caffe", help="perceptual distance (lpips_squeeze_caffe)")
    parser.add_argument("--picture", type=Path, metavar="FILE.png", help="draw the curve")
    parser.add_argument("--rounds", type=int, default=5)
    args = read_command(parser, rounds=1)
    publish("Diffusion: steps, batches, precision", parts(args), args.out)


if __name__ == "__main__":
    main()
