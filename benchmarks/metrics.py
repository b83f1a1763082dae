"""Metrics on tensors: milliseconds a picture, beside scikit-image and BasicSR 1.4.2 where they compute the same."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # run as a script: find the packages
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch

from benchmarks.measure import Claim, publish, ratios, read_command, slug, spread, table, take_turns, verdict
from restore.data.drawn import draw_face
from restore.errors import UserError
from restore.images import to_unit
from restore.registry import METRICS, Part

OURS, SKIMAGE, BASICSR = "ours", "scikit-image", "BasicSR"
BARS = {("ssim", SKIMAGE): 1.0}  # times its speed, at least


def pair(size: int) -> tuple[Any, Any]:
    """A drawn face and the same with noise, as (H, W, 3) uint8."""
    gt = draw_face(0, 0, size).image
    noise = np.random.default_rng(0).normal(0, 8, gt.shape)
    return (gt + noise).clip(0, 255).round().astype(np.uint8), gt


def contestants(name: str, pred: Any, gt: Any) -> dict[str, Callable[[], Any]]:
    """Who computes a metric, and how; `ours` includes all that turns tensors of a network into the figure."""
    tensors = to_unit(pred), to_unit(gt)
    metric = METRICS.build(Part(type=name))
    found: dict[str, Callable[[], Any]] = {OURS: lambda: metric(*tensors)}
    return found | skimage(name, pred, gt) | basicsr(name, pred, gt, tensors)


def skimage(name: str, pred: Any, gt: Any) -> dict[str, Callable[[], Any]]:
    """scikit-image's, on the pictures as they come out of a file."""
    from skimage import metrics

    wang = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    return {
        "psnr": {SKIMAGE: lambda: metrics.peak_signal_noise_ratio(gt, pred, data_range=255)},
        "ssim": {SKIMAGE: lambda: metrics.structural_similarity(gt, pred, channel_axis=2, **wang)},
    }.get(name, {})


def basicsr(name: str, pred: Any, gt: Any, tensors: tuple[Any, Any]) -> dict[str, Callable[[], Any]]:
    """BasicSR's on arrays, and its `*_pt` on tensors."""
    try:
        from restore.guest import import_basicsr

        import_basicsr()
        from basicsr.metrics import niqe, psnr_ssim
    except UserError as error:
        print(f"without BasicSR: {error}")
        return {}
    on_tensors = f"{BASICSR}, on tensors"
    return {
        "psnr": {
            BASICSR: lambda: psnr_ssim.calculate_psnr(pred, gt, 0),
            on_tensors: lambda: psnr_ssim.calculate_psnr_pt(*tensors, 0),
        },
        "ssim": {
            BASICSR: lambda: psnr_ssim.calculate_ssim(pred, gt, 0),
            on_tensors: lambda: psnr_ssim.calculate_ssim_pt(*tensors, 0),
        },
        "niqe": {BASICSR: lambda: niqe.calculate_niqe(pred, 0)},
    }.get(name, {})


def seconds(call: Callable[[], Any], at_least: float) -> float:
    """Of one call, over as many as take so long."""
    began, count = time.perf_counter(), 0
    while count == 0 or time.perf_counter() - began < at_least:
        call()
        count += 1
    return (time.perf_counter() - began) / count


def rows_of(name: str, args: argparse.Namespace) -> Iterator[tuple[list[str], Claim | None]]:
    """A row for each who computes the metric, and what is claimed against each who is not us."""
    calls = contestants(name, *pair(args.size))
    for call in calls.values():
        call()  # imports, caches
    times = take_turns({who: lambda call=call: seconds(call, args.seconds) for who, call in calls.items()}, args.rounds)
    for who, taken in times.items():
        shown = spread([1e3 * value for value in taken]).show(".2f") + " ms"
        if who == OURS:
            own = shown
            yield [name, who, shown, "", "", ""], None
            continue
        ratio, bar = spread(ratios(taken, times[OURS])), BARS.get((name, who))
        claim = Claim(
            f"metrics.{slug(name)}.{slug(who)}",
            f"{name} of a picture, {args.size} px, CPU",
            own,
            peer=f"{who}: {shown}",
            ratio=ratio.show(".2f"),
            bar=f">= {bar}" if bar else "",
            met=ratio.median >= bar if bar else None,
        )
        yield [name, who, shown, claim.ratio, claim.bar, verdict(claim.met)], claim


def measure(args: argparse.Namespace) -> Iterator[str | Claim]:
    """The table and its claims."""
    names = [name for name in args.metrics if args.size >= {"ms_ssim": 161, "niqe": 192}.get(name, 11)]
    found = [row for name in names for row in rows_of(name, args)]
    header = ["metric", "who", "a picture", "ours is faster by", "bar", ""]
    yield f"One {args.size}x{args.size} RGB picture on the CPU, sides in turns; medians and quartiles."
    yield table(header, [row for row, _ in found])
    yield from (claim for _, claim in found if claim)


def main() -> None:
    """Parses the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256, help="pixels a side (256)")
    parser.add_argument("--metrics", nargs="+", default=["psnr", "ssim", "ms_ssim", "niqe"], help="by name")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each side (9)")
    parser.add_argument("--seconds", type=float, default=0.3, help="of a turn (0.3)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    args = read_command(parser, size=64, metrics=["psnr", "ssim"], rounds=1, seconds=0.01)
    torch.set_num_threads(args.threads)
    publish("Metrics", measure(args), args.out)


if __name__ == "__main__":
    main()
