"""Blind degradation: samples a second of ours, beside GFPGAN's data set and Real-ESRGAN's, decoding included."""

import argparse
import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import count, cycle
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # run as a script: find the packages
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import cv2
import numpy as np
import torch

from benchmarks.measure import Claim, no_gpu, publish, ratios, read_command, slug, spread, table, take_turns, verdict
from restore import images
from restore.data.drawn import draw_face
from restore.data.encode import square
from restore.degradations.pictures import Pictures
from restore.degradations.pipeline import Pipeline
from restore.degradations.sharpen import usm_sharpen
from restore.engine.device import pick_device, prepare_backend
from restore.errors import UserError
from restore.keyed import draws
from restore.registry import Part

OURS, TIMES, PER_CORE = "ours", 3.0, 40.0  # the bars: times theirs, samples a second
ON_GPU = 2000.0
BATCH = 4  # of Real-ESRGAN's model on a CPU
GPU_BATCH = 64
Work = Callable[[], int]  # does something, and says for how many samples


def write_pictures(folder: Path, size: int, number: int, source: Path | None) -> list[Path]:
    """PNG files of `size` pixels: drawn faces, or those of a folder."""
    folder.mkdir(parents=True)
    found = list(images.find(source))[:number] if source else []
    files = []
    for index in range(len(found) or number):
        picture = square(images.read(found[index]), size, "") if found else draw_face(0, index, size).image
        files.append(folder / f"{index:05d}.png")
        images.write(files[-1], picture)
    return files


def as_bmp(files: list[Path]) -> list[Path]:
    """Copies as BMP beside the files: what our data sets hold by default."""
    copies = [file.with_suffix(".bmp") for file in files]
    for file, copy in zip(files, copies, strict=True):
        images.write(copy, images.read(file))
    return copies


def ours(files: list[Path], preset: str, scale: int, device: torch.device, batch: int = 1) -> Work:
    """From files to LQ and GT: one at a time as a worker does, or batches on a device."""
    pipeline = Pipeline([Part(type=preset)], scale, gt_usm=preset == "realesrgan")
    turn, names = count(), cycle(files)

    def work() -> int:
        gt = torch.cat([images.to_unit(images.read(next(names))) for _ in range(batch)])
        made = pipeline(gt.to(device), [draws(0, "benchmark", next(turn)) for _ in range(batch)])
        finish(made["lq"].device)
        return batch

    return work


def on_device(files: list[Path], preset: str, scale: int, device: torch.device) -> Work:
    """Batches that are on the device already, to LQ and GT."""
    pipeline = Pipeline([Part(type=preset)], scale, gt_usm=preset == "realesrgan")
    gt = torch.cat([images.to_unit(images.read(file)) for file in (files * GPU_BATCH)[:GPU_BATCH]]).to(device)
    turn = count()

    def work() -> int:
        pipeline(gt, [draws(0, "benchmark", next(turn)) for _ in gt])
        finish(device)
        return len(gt)

    return work


def gfpgan(files: list[Path], size: int) -> Work:
    """GFPGAN's FFHQDegradationDataset, settings of train_gfpgan_v1.yml. Raises `UserError` where it is missing."""
    from restore.guest import import_basicsr

    import_basicsr()
    data_set = _ffhq_degradation_dataset()
    opt = {
        "dataroot_gt": str(files[0].parent),
        "io_backend": {"type": "disk"},
        "use_hflip": True,
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
        "out_size": size,
        "blur_kernel_size": 41,
        "kernel_list": ["iso", "aniso"],
        "kernel_prob": [0.5, 0.5],
        "blur_sigma": [0.1, 10],
        "downsample_range": [0.8, 8],
        "noise_range": [0, 20],
        "jpeg_range": [60, 100],
        "color_jitter_prob": 0.3,
        "color_jitter_shift": 20,
        "color_jitter_pt_prob": 0.3,
        "gray_prob": 0.01,
    }
    data = data_set(opt)
    names = cycle([index for index, path in enumerate(data.paths) if str(path).endswith(".png")])

    def work() -> int:
        data[next(names)]
        return 1

    return work


def realesrgan(files: list[Path], size: int, device: torch.device, batch: int) -> Work:
    """BasicSR's RealESRGANDataset and the degradation of its RealESRGANModel; train_realesrgan_x4plus.yml's settings.

    The data set pads pictures to 400 pixels; they are cut back to `size` before the model gets them.
    Raises `UserError` where BasicSR is missing.
    """
    from restore.guest import import_basicsr

    import_basicsr()
    from basicsr.data.realesrgan_dataset import RealESRGANDataset

    kinds = ["iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso"]
    first = {"kernel_list": kinds, "kernel_prob": [0.45, 0.25, 0.12, 0.03, 0.12, 0.03], "blur_kernel_size": 21}
    blur = first | {"sinc_prob": 0.1, "blur_sigma": [0.2, 3], "betag_range": [0.5, 4], "betap_range": [1, 2]}
    second = {f"{name}2": value for name, value in (blur | {"blur_sigma": [0.2, 1.5]}).items()}
    meta = files[0].with_name("meta.txt")
    meta.write_text("\n".join(file.name for file in files))
    roots = {"dataroot_gt": str(meta.parent), "meta_info": str(meta), "io_backend": {"type": "disk"}}
    data = RealESRGANDataset(
        {**roots, **blur, **second, "final_sinc_prob": 0.8, "use_hflip": True, "use_rot": False, "gt_size": size}
    )
    model, names = _realesrgan_model(size, device, batch), cycle(range(len(files)))

    def work() -> int:
        samples = [data[next(names)] for _ in range(batch)]
        tensors = {key: torch.stack([s[key] for s in samples]) for key in ("gt", "kernel1", "kernel2", "sinc_kernel")}
        tensors["gt"] = tensors["gt"][:, :, :size, :size]
        model.feed_data(tensors)
        finish(device)
        return batch

    return work


def _realesrgan_model(size: int, device: torch.device, batch: int) -> Any:
    """BasicSR's model without its networks."""
    from basicsr.models import realesrgan_model
    from basicsr.utils import DiffJPEG, USMSharp
    from basicsr.utils.img_process_util import filter2D

    # what its JPEG returns is no longer laid out as its filter wants it
    realesrgan_model.filter2D = lambda image, kernel: filter2D(image.contiguous(), kernel)
    model = realesrgan_model.RealESRGANModel.__new__(realesrgan_model.RealESRGANModel)
    model.is_train, model.device = True, device
    model._dequeue_and_enqueue = lambda: None  # its pool of pairs needs CUDA; it only mixes what is made
    model.jpeger, model.usm_sharpener = DiffJPEG(differentiable=False).to(device), USMSharp().to(device)
    rounds = {
        "": {"resize_prob": [0.2, 0.7, 0.1], "resize_range": [0.15, 1.5], "noise_range": [1, 30]},
        "2": {"resize_prob": [0.3, 0.4, 0.3], "resize_range": [0.3, 1.2], "noise_range": [1, 25]},
    }
    rounds[""] |= {"poisson_scale_range": [0.05, 3]}
    rounds["2"] |= {"poisson_scale_range": [0.05, 2.5]}
    alike = {"gaussian_noise_prob": 0.5, "gray_noise_prob": 0.4, "jpeg_range": [30, 95]}
    model.opt = {"scale": 4, "gt_size": size, "second_blur_prob": 0.8, "high_order_degradation": True}
    for ending, section in rounds.items():
        model.opt |= {name + ending: value for name, value in (section | alike).items()}
    return model


@cache
def _ffhq_degradation_dataset() -> Any:
    """The class, by its file: GFPGAN's package itself would import networks."""
    package = importlib.util.find_spec("gfpgan")
    if package is None or package.origin is None:
        raise UserError("gfpgan is not installed: pip install --no-deps gfpgan==1.3.8")
    file = Path(package.origin).parent / "data" / "ffhq_degradation_dataset.py"
    found = importlib.util.spec_from_file_location("benchmark_gfpgan", file)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    compress = module.degradations.add_jpg_compression  # draws fractions, which OpenCV 5 no longer takes
    module.degradations.add_jpg_compression = lambda img, quality=90: compress(img, int(quality))
    return module.FFHQDegradationDataset


def rate(work: Work, seconds: float) -> float:
    """Samples a second, over about so many seconds."""
    began, made = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        made += work()
    return made / (time.perf_counter() - began)


def finish(device: torch.device) -> None:
    """Waits for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize()


@dataclass(frozen=True)
class Contest:
    """What is compared: under which key and title, with whom, and where it is not `TIMES` theirs, the bar a second."""

    key: str
    title: str
    theirs: str
    bars: dict[str, float]
    why: str  # the peer cannot run


def compare(contest: Contest, works: dict[str, Work], args: argparse.Namespace) -> Iterator[str | Claim]:
    """A table of rates, in turns."""
    for work in works.values():
        rate(work, args.seconds / 2)
    rates = take_turns({name: partial(rate, work, args.seconds) for name, work in works.items()}, args.rounds)
    claims = {name: claim_of(contest, name, rates) for name in rates}
    rows = [[name, one.ours, one.ratio, one.bar, verdict(one.met)] for name, one in claims.items()]
    yield f"{contest.title}\n\n{table(['', 'rate', 'times theirs', 'bar', ''], rows)}"
    yield from (claim for name, claim in claims.items() if name != contest.theirs)


def claim_of(contest: Contest, name: str, rates: dict[str, list[float]]) -> Claim:
    """A rate, and how many times theirs that is."""
    own, theirs, least = spread(rates[name]), rates.get(contest.theirs), contest.bars.get(name)
    ratio = spread(ratios(rates[name], theirs)) if theirs else None
    claim = Claim(
        f"degradations.{contest.key}.{slug(name)}",
        f"{contest.title.rstrip('.')}: {name}",
        f"{own.show('.1f')} samples/s",
        bar=f">= {least:.0f}/s" if least else f">= {TIMES:.0f}x",
        met=own.median >= least if least else None,
        why=contest.why,
    )
    if name == contest.theirs:
        return claim._replace(bar="")
    if ratio is None or theirs is None:
        return claim
    claim = claim._replace(
        peer=f"{contest.theirs}: {spread(theirs).show('.1f')} samples/s", ratio=f"{ratio.show('.2f')}"
    )
    return claim if least else claim._replace(met=ratio.median >= TIMES)


def breakdown(files: list[Path], preset: str, scale: int, number: int) -> str:
    """Milliseconds of each step of ours, one picture at a time."""
    pipeline, spent, turns = Pipeline([Part(type=preset)], scale), dict[str, float](), cycle(files)

    def timed(name: str, result: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        value = result()
        spent[name] = spent.get(name, 0.0) + time.perf_counter() - began
        return value

    parts: list[Any] = getattr(pipeline.parts[0], "parts", pipeline.parts)
    for index in range(-3, number):
        if index == 0:
            spent.clear()  # what comes before is for warming up
        gt = timed("decoding", lambda: images.read(next(turns)))
        gt = timed("to float", lambda gt=gt: images.to_unit(gt))
        if preset == "realesrgan":
            gt = timed("sharpening of the GT", lambda gt=gt: usm_sharpen(gt))
        pictures = Pictures.of(gt, (gt.shape[2] // scale, gt.shape[3] // scale))
        rng = [draws(0, "benchmark", index)]
        for order, part in enumerate(parts, 1):
            name = f"{order}. {type(part).__name__}"
            pictures = timed(name, partial(part, pictures, rng))
        timed("rounding", pictures.batch)
    total = sum(spent.values())
    rows = [[name, f"{value / number * 1e3:.2f}", f"{value / total:.0%}"] for name, value in spent.items()]
    rows.append(["in all", f"{total / number * 1e3:.2f}", "100%"])
    return f"`{preset}` at {gt.shape[2]} px, by operation.\n\n{table(['', 'ms', 'share'], rows)}"


def measure(folder: Path, args: argparse.Namespace) -> Iterator[str | Claim]:
    """The tables and their claims."""
    if args.only in (None, "gfpgan"):
        for size in (512, 256):
            yield from first_order(write_pictures(folder / f"g{size}", size, args.pictures, args.folder), size, args)
    if args.only in (None, "realesrgan"):
        yield from second_order(write_pictures(folder / "r256", 256, args.pictures, args.folder), args)


def first_order(files: list[Path], size: int, args: argparse.Namespace) -> Iterator[str | Claim]:
    """GFPGAN's degradation."""
    cpu, theirs, why = torch.device("cpu"), "GFPGAN's FFHQDegradationDataset", ""
    works = {"ours, PNG": ours(files, "gfpgan", 1, cpu), "ours, BMP": ours(as_bmp(files), "gfpgan", 1, cpu)}
    try:
        works[theirs] = gfpgan(files, size)
    except UserError as error:
        why = f"GFPGAN cannot run: {error}"
        yield why
    title = f"First order, {size} px, one core, theirs from PNG files."
    yield from compare(Contest(f"gfpgan_{size}", title, theirs, {}, why), works, args)
    yield breakdown(files, "gfpgan", 1, args.pictures)


def second_order(files: list[Path], args: argparse.Namespace) -> Iterator[str | Claim]:
    """Real-ESRGAN's degradation."""
    device, cpu, why = pick_device(args.device), torch.device("cpu"), ""
    batch, theirs = BATCH if device.type == "cpu" else GPU_BATCH, "BasicSR's RealESRGANDataset and model"
    works = {"ours, on one core": ours(files, "realesrgan", 4, cpu)}
    bars = {"ours, on one core": PER_CORE, "ours, degraded on the GPU": ON_GPU}
    if device.type == "cpu":
        key = "degradations.realesrgan_256.ours_degraded_on_the_gpu"
        what = f"Second order, 256 px, scale 4, batches of {GPU_BATCH} degraded on the GPU"
        yield no_gpu(key, what, f">= {ON_GPU:.0f}/s")
    else:
        works["ours, degraded on the GPU"] = on_device(files, "realesrgan", 4, device)
    try:
        works[theirs] = realesrgan(files, 256, device, batch)
    except UserError as error:
        why = f"BasicSR cannot run: {error}"
        yield why
    title = f"Second order, 256 px, scale 4, theirs in batches of {batch} on {device}."
    yield from compare(Contest("realesrgan_256", title, theirs, bars, why), works, args)
    yield breakdown(files, "realesrgan", 4, args.pictures)


def main() -> None:
    """Parses the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("gfpgan", "realesrgan"), help="one of the two")
    parser.add_argument("--folder", type=Path, help="real pictures of at least 512 px (default: drawn faces)")
    parser.add_argument("--pictures", type=int, default=60, help="how many (60)")
    parser.add_argument("--rounds", type=int, default=11, help="turns of each side (11)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a turn (2)")
    parser.add_argument("--device", default="auto", help="where Real-ESRGAN's degradation runs (auto)")
    args = read_command(parser, pictures=2, rounds=1, seconds=0.01)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    np.random.seed(0)
    torch.set_grad_enabled(False)
    prepare_backend(torch.device("cpu"), deterministic=False)
    with tempfile.TemporaryDirectory() as folder:
        publish("Blind degradation", measure(Path(folder), args), args.out)


if __name__ == "__main__":
    main()
