"""How time grows with size, batch and number of records, beside the physical floor: pictures and a table.

A floor is the time of what cannot be left out, called directly: oneDNN's or cuDNN's convolutions, the codec, a copy of
the same bytes. The exponent of growth is fitted through the larger half of the points, where fixed costs
no longer count.
"""

import argparse
import io
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__":  # run as a script: find the packages
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import cv2
import numpy as np
import torch
from torch import nn

from benchmarks import million
from benchmarks.convolutions import forward, forward_and_backward, recorded
from benchmarks.measure import Claim, Spread, add_out, publish, ratios, spread, table, take_turns, verdict
from benchmarks.peers import build_lmdbs, restore_trainer, write_options
from restore import images
from restore.data.drawn import draw_face
from restore.data.encode import encode
from restore.data.lmdb_store import LmdbReader, LmdbWriter
from restore.data.loader import Batch, train_batches
from restore.degradations.pipeline import Pipeline
from restore.errors import RestoreError
from restore.faces.face import Face
from restore.inference.tiling import restore_picture
from restore.keyed import draws
from restore.registry import DATASETS, METRICS, OCCLUSIONS, Part

MOST = 1.1  # the exponent's bar, unless the floor grows faster
FAR = 2.0  # times the floor, from which on it is said where the time goes
NETWORK = {"type": "MSRResNet", "num_feat": 32, "num_block": 8}  # the quickstart's
BATCH, DRAWN, SIZES = 8, 4, (64, 128, 256, 512)
Call = Callable[[], Any]


class Subject(NamedTuple):
    """A curve: `make(folder, x)` gives ours and the floor, each of which does the work of one point when called."""

    name: str
    what: str
    axis: str
    points: tuple[int, ...]
    usual: int  # the point whose share of the floor is told
    make: Callable[[Path, int], tuple[Call, Call]]
    floor: str  # what it is made of
    squared: bool = False  # whether the work is the square of x, a side


class Point(NamedTuple):
    """Seconds at one x, and their quotient."""

    x: int
    ours: Spread
    floor: Spread
    ratio: Spread


# ------------------------------------------------------------------------------------------------------- training steps


def training_step(folder: Path, crop: int, batch: int) -> tuple[Call, Call]:
    """`Trainer.step` with optimizer, schedule and EMA, without data; and the network's convolutions."""
    place = folder / f"step_{crop}_{batch}"
    if not (folder / "lq.lmdb").is_dir():
        build_lmdbs(folder, 4)
    data = {"type": "GTImageDataset", "dataroot_gt": str(folder / "gt.lmdb"), "gt_size": crop, "batch_size": batch}
    train = {"total_iter": 10**6, "precision": "fp32", "ema_decay": 0.99, "losses": {"pixel": {"type": "L1Loss"}}}
    options = {"name": "curve", "scale": 4, "network_g": NETWORK, "datasets": {"train": data}}
    options["train"] = train | {"optim_g": {"type": "Adam", "lr": 0.001}}
    trainer = restore_trainer(write_options(place / "train.yml", options))
    drawn = np.random.default_rng(0)
    sides = {"lq": crop // 4, "gt": crop}
    pictures = {k: torch.from_numpy(drawn.integers(0, 256, (batch, 3, n, n), np.uint8)) for k, n in sides.items()}

    def ours() -> None:
        trainer.iter += 1
        steps = trainer._prepare(Batch(pictures))
        for phase in trainer.task.phases:
            trainer.step(phase, steps)
        for average in trainer.averages.values():
            average.update()
        finish()

    network = trainer.task.networks["network_g"]
    calls = recorded(network, lambda: network(trainer._prepare(Batch(pictures))[0].lq))
    return ours, lambda: (forward_and_backward(calls), finish())


def finish() -> None:
    """Waits for a GPU."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


# -------------------------------------------------------------------------------------------------------- data to batch


def loading(folder: Path, size: int) -> tuple[Call, Call]:
    """A batch of pairs from LMDB, as floats; the codec's decoding, and one copy of the floats."""
    for name, side in (("gt", size), ("lq", size // 4)):
        with LmdbWriter(folder / f"{name}_{size}.lmdb") as writer:
            for number in range(2 * BATCH):
                writer.put_all([encode(str(number), face(side, number), compact=False)])
    roots = {f"dataroot_{name}": str(folder / f"{name}_{size}.lmdb") for name in ("gt", "lq")}
    dataset = DATASETS.build(Part.model_validate({"type": "PairedImageDataset", "scale": 4, **roots}))
    sources = [LmdbReader(root) for root in roots.values()]
    return batches(dataset), decoding([source.get(str(n)) for source in sources for n in range(BATCH)])


def records(folder: Path, number: int) -> tuple[Call, Call]:
    """A batch of tiny pairs out of so many."""
    million.build(folder / f"tiny_{number}", number, 1)
    dataset = million.dataset(folder / f"tiny_{number}", None)
    reader = LmdbReader(folder / f"tiny_{number}" / "000.lmdb")
    return batches(dataset), decoding([reader.get(reader.keys[n]) for n in range(BATCH)])


def batches(dataset: Any) -> Call:
    """Draws the next batch each time."""
    drawn = {"seed": 0, "batch_size": BATCH, "enlarge": 1, "start": 0, "stop": 10**9}
    context = train_batches(dataset, **drawn, workers=0, pin=False)
    stream = context.__enter__()

    def call(context: Any = context) -> Any:  # which lives as long as this does
        return next(stream).to(torch.device("cpu"))

    return call


def decoding(files: list[bytes]) -> Call:
    """OpenCV's decoding of files, and a copy of as many floats as the pictures have levels."""
    shapes = [cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR).size for file in files]
    source = np.zeros(sum(shapes), np.float32)
    target = source.copy()

    def call() -> None:
        for file in files:
            cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
        np.copyto(target, source)

    return call


def opening(folder: Path, number: int) -> tuple[Call, Call]:
    """A data set of so many records, opened; and the reading of its list."""
    root = folder / f"tiny_{number}"
    if not root.is_dir():
        million.build(root, number, 1)
    return lambda: million.dataset(root, None), (root / "000.lmdb" / "meta_info.txt").read_bytes


def building(folder: Path, size: int, number: int) -> tuple[Call, Call]:
    """An LMDB built from pictures; the codec's encoding, and one write that waits for the disk."""
    pictures = [face(size, each) for each in range(min(number, 16))]
    bgr = [np.ascontiguousarray(picture[:, :, ::-1]) for picture in pictures]

    def ours() -> None:
        with LmdbWriter(folder / f"built_{size}_{number}.lmdb") as writer:
            for each in range(number):
                writer.put_all([encode(f"{each:06d}", pictures[each % len(pictures)], compact=False)])

    def floor() -> None:
        with open(folder / "built.bin", "wb") as file:
            for each in range(number):
                file.write(cv2.imencode(".bmp", bgr[each % len(bgr)])[1])
            file.flush()
            os.fsync(file.fileno())

    return ours, floor


# -------------------------------------------------------------------------------------------------- pictures one by one


def face(size: int, number: int = 0) -> Any:
    """A drawn face of that side."""
    side = max(64, size)
    return cv2.resize(draw_face(0, number, side).image, (size, size), interpolation=cv2.INTER_AREA)


def repeated(call: Callable[[int], Any]) -> Call:
    """Some in a row, the same each time: what is drawn for a picture decides what it costs."""

    def calls() -> None:
        for number in range(DRAWN):
            call(number)

    return calls


def degrading(preset: str, folder: Path, size: int) -> tuple[Call, Call]:
    """A preset on one picture; two separable blurs and two JPEGs of the sizes that it passes through."""
    pipeline, gt = Pipeline([Part(type=preset)], 4 if preset == "realesrgan" else 1), images.to_unit(face(size))
    sides = (size, size // 2, size // 4) if preset == "realesrgan" else (size, size // 2)
    taps, levels = np.full(21, 1 / 21, np.float32), [face(side) for side in sides]

    def floor() -> None:
        for before, after in pairwise(levels):
            cv2.sepFilter2D(before.astype(np.float32), -1, taps, taps)
            cv2.imdecode(cv2.imencode(".jpg", after, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_COLOR)

    return repeated(lambda number: pipeline(gt, [draws(0, "curves", number)])), repeated(lambda _: floor())


def occluding(folder: Path, size: int) -> tuple[Call, Call]:
    """A drawn face mask put on; a copy of the picture and one warp of a texture with its opacity."""
    drawn = draw_face(0, 0, size)
    where, part = Face.of_landmarks(drawn.landmarks), OCCLUSIONS.build(Part(type="FaceMask"))
    layer = np.dstack([drawn.image, drawn.image[:, :, 0]])
    turned = cv2.getRotationMatrix2D((size / 2, size / 2), 5, 0.9)

    def floor() -> None:
        drawn.image.copy()
        cv2.warpAffine(layer, turned, (size, size))

    return repeated(lambda number: part(drawn.image, where, draws(0, "curves", number))), repeated(lambda _: floor())


def scoring(name: str, folder: Path, size: int) -> tuple[Call, Call]:
    """A metric of one pair; the filters or convolutions that it is made of, or a read of the pair."""
    gt = images.to_unit(face(size))
    pred = (gt + 0.03 * torch.randn(gt.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    metric = METRICS.build(Part(type=name))
    networks = [value for value in vars(metric).values() if isinstance(value, nn.Module)] if name[:5] == "lpips" else []
    if networks:
        calls = recorded(networks[0], lambda: metric(pred, gt))
        return lambda: metric(pred, gt), lambda: forward(calls)
    planes, taps = gt[0].permute(1, 2, 0).contiguous().numpy(), np.full(11, 1 / 11, np.float32)
    filters = {"psnr": 0, "ssim": 5, "niqe": 2}[name]

    def floor() -> None:
        torch.sub(pred, gt)
        for _ in range(filters):
            cv2.sepFilter2D(planes, -1, taps, taps)

    return lambda: metric(pred, gt), floor


def enlarging(tile: int | None, folder: Path, kilopixels: int) -> tuple[Call, Call]:
    """A photo of so many thousand pixels, x2; the network's convolutions for it in one piece."""
    from restore.archs.srvgg_arch import SRVGGNetCompact

    height = 8 * round(math.sqrt(kilopixels * 1e3 / 1.5) / 8)
    photo = cv2.resize(face(256), (round(1.5 * height), height))
    network = SRVGGNetCompact(num_feat=24, num_conv=4, upscale=2).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    apply = torch.inference_mode()(lambda x: network(x.contiguous(memory_format=torch.channels_last)))
    calls = recorded(network, lambda: apply(images.to_unit(photo)))
    return lambda: restore_picture(apply, photo, 2, tile), lambda: forward(calls)


# ------------------------------------------------------------------------------------------------------------- subjects


WHY = {
    "step_batch": "at small batches in what does not grow with them: optimizer, EMA, the graph",
    "load_size": "in layout and type: HWC to CHW, stacking, uint8 to float are a pass over memory each",
    "load_records": "in Python, per sample: a generator by key, the LQ's matrices; pictures of 8 px leave nothing else",
    "open_records": "in checking every line by a regular expression and finding where each begins",
    "build_records": "in LMDB's own pages and transactions, a journal that survives kills, and the rename",
    "build_size": "in encoding, then in copies into LMDB's pages and removing the LMDB that stood there",
    "degrade_realesrgan": "in what the floor leaves out: Poisson noise, matrices of resizing, changes of layout",
    "degrade_gfpgan": "in Fourier transforms of kernels of 41 that do not separate, and layouts for the codec",
    "occlude": "in painting: the mask's two-coloured cloth, its ridges, shadow and seam, a pass over the picture each",
    "metric_psnr": "in rounding both to 8 bits as its protocol says, and squares in double precision",
    "metric_ssim": "in double precision, and filters as shifted sums, tap by tap, in strips that fit the cache",
    "metric_niqe": "in moments of every block at two scales, in double precision",
}


def subjects() -> Iterator[Subject]:
    """All curves."""
    ours = "forward and backward of its convolutions alone"
    net = f"MSRResNet {NETWORK['num_feat']}x{NETWORK['num_block']}, x4, fp32"
    crop, sizes = "side of the GT crop, px", "side of the picture, px"
    yield Subject(
        "step_crop",
        f"training step, {net}, batch {BATCH}",
        crop,
        (32, 64, 96, 128, 192),
        64,
        lambda f, x: training_step(f, x, BATCH),
        ours,
        squared=True,
    )
    yield Subject(
        "step_batch",
        f"training step, {net}, GT crop 64",
        "batch",
        (1, 2, 4, 8, 16, 32),
        8,
        lambda f, x: training_step(f, 64, x),
        ours,
    )
    codec = "the codec's decoding, one copy of the floats"
    yield Subject("load_size", f"LMDB to batch of {BATCH} pairs, BMP", sizes, SIZES, 256, loading, codec, squared=True)
    yield Subject(
        "load_records",
        f"LMDB to batch of {BATCH} of 8 px",
        "records",
        (100, 1_000, 10_000, 100_000),
        10_000,
        records,
        codec,
    )
    yield Subject(
        "open_records",
        "opening a data set",
        "records",
        (100, 1_000, 10_000, 100_000),
        100_000,
        opening,
        "reading its list of records",
    )
    encoding = "the codec's encoding, one write and fsync"
    yield Subject(
        "build_records",
        "LMDB built, 64 px",
        "records",
        (100, 400, 1_600, 6_400),
        1_600,
        lambda f, x: building(f, 64, x),
        encoding,
    )
    yield Subject(
        "build_size",
        "LMDB of 100 pictures built",
        sizes,
        SIZES,
        256,
        lambda f, x: building(f, x, 100),
        encoding,
        squared=True,
    )
    for preset in ("realesrgan", "gfpgan"):
        yield Subject(
            f"degrade_{preset}",
            f"`{preset}` on {DRAWN} pictures",
            sizes,
            SIZES,
            256,
            partial(degrading, preset),
            "separable blurs and JPEGs of OpenCV",
            squared=True,
        )
    yield Subject(
        "occlude",
        f"`FaceMask` put on {DRAWN} pictures",
        sizes,
        SIZES,
        256,
        occluding,
        "a copy and one warp of OpenCV",
        squared=True,
    )
    floors = {"psnr": "one subtraction", "ssim": "five separable filters", "niqe": "two separable filters"}
    for name in ("psnr", "ssim", "niqe", "lpips_alex"):
        points = (192, 256, 384, 512) if name == "niqe" else SIZES
        yield Subject(
            f"metric_{name}",
            f"`{name}` of one pair",
            sizes,
            points,
            256,
            partial(scoring, name),
            floors.get(name, "its convolutions"),
            squared=True,
        )
    for name, tile in (("whole", None), ("tiled", 384)):
        yield Subject(
            f"infer_{name}",
            f"x2 by a SRVGGNetCompact 24x4, {tile or 'one piece'}",
            "thousand pixels",
            (64, 256, 1_000, 2_000),
            1_000,
            partial(enlarging, tile),
            "its convolutions, in one piece",
        )


# ------------------------------------------------------------------------------------------------------------ measuring


def seconds(call: Call, at_least: float) -> float:
    """Of one call, over as many as take so long."""
    began, made = time.perf_counter(), 0
    while made == 0 or time.perf_counter() - began < at_least:
        call()
        made += 1
    return (time.perf_counter() - began) / made


def curve(subject: Subject, folder: Path, args: argparse.Namespace) -> list[Point]:
    """Ours and the floor in turns, at every point."""
    found = []
    for x in subject.points[:2] if args.quick else subject.points:
        place = folder / f"{subject.name}_{x}"
        place.mkdir(parents=True)
        ours, floor = subject.make(place, x)
        ours(), floor()
        calls = {"ours": partial(seconds, ours, args.seconds), "floor": partial(seconds, floor, args.seconds)}
        times = take_turns(calls, args.rounds)
        both = (spread(times["ours"]), spread(times["floor"]))
        found.append(Point(x, *both, spread(ratios(times["ours"], times["floor"]))))
        del ours, floor, calls
        shutil.rmtree(place)
    return found


def exponent(work: list[int], times: list[float]) -> float:
    """The slope of log time over log work, through the larger half of the points."""
    half = max(2, (len(work) + 1) // 2)
    return float(np.polyfit(np.log(work[-half:]), np.log(times[-half:]), 1)[0])


def drawn(subject: Subject, points: list[Point]) -> bytes:
    """The curve as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    x = [point.x for point in points]
    axes.loglog(x, [1e3 * point.ours.median for point in points], "o-", label="Restore")
    axes.loglog(x, [1e3 * point.floor.median for point in points], "o-", label=f"floor: {subject.floor}")
    axes.set(title=subject.what, xlabel=subject.axis, ylabel="ms")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend(loc="lower right")
    with io.BytesIO() as file:
        figure.savefig(file, dpi=90, bbox_inches="tight")
        pyplot.close(figure)
        return file.getvalue()


def judged(subject: Subject, points: list[Point]) -> tuple[list[str], Claim]:
    """The row and the claim of a curve."""
    at = next((point for point in points if point.x == subject.usual), points[-1])
    work = [point.x ** (2 if subject.squared else 1) for point in points]
    grows = exponent(work, [point.ours.median for point in points])
    floor_grows = exponent(work, [point.floor.median for point in points])
    ours, floor, ratio = f"{1e3 * at.ours.median:.4g} ms", f"{1e3 * at.floor.median:.4g} ms", at.ratio.show(".2f")
    why = WHY.get(subject.name, "") if at.ratio.median > FAR else ""
    met = grows <= max(MOST, floor_grows)
    per = "pixels" if subject.squared else subject.axis
    growth = [f"{grows:.2f} in {per}", f"{floor_grows:.2f}"]
    row = [subject.what, f"{at.x:,} {subject.axis}", ours, floor, ratio, *growth, verdict(met), why]
    what = f"{subject.what}; {subject.axis}: {at.x:,}; grows with {per} to the power {grows:.2f}"
    bar = f"exponent <= {MOST}, or the floor's: {floor_grows:.2f}"
    return row, Claim(f"curves.{subject.name}", what, ours, "", floor, f"{ratio} of the floor", bar, met, why)


def measure(folder: Path, args: argparse.Namespace) -> Iterator[str | Claim]:
    """The table; pictures go beside `--out`."""
    rows, pictures = [], []
    for subject in subjects():
        if args.only and not subject.name.startswith(tuple(args.only)):
            continue
        try:
            points = curve(subject, folder, args)
        except RestoreError as error:  # such as weights that are not there
            why = f"not measured: {str(error).partition(' (')[0]}"
            yield Claim(f"curves.{subject.name}", subject.what, "", why=why)
            rows.append([subject.what, *[""] * 7, why])
            continue
        row, claim = judged(subject, points)
        rows.append(row)
        yield claim
        if args.out is not None:
            name = f"curves_{subject.name}.png"
            images.write_atomic(args.out.parent / name, drawn(subject, points))
            pictures.append(f"![{subject.what}]({name})")
    text = (
        "Milliseconds at the usual size, ours and the floor in turns, one process and thread; how often the floor goes "
        "into ours; the exponents of growth, fitted through the larger half of the sizes. "
        f"Bar: at most {MOST}, or the floor's."
    )
    header = ["what", "at", "ours", "floor", "times the floor", "grows to the power", "the floor", "", "why"]
    yield f"{text}\n\n{table(header, rows)}"
    yield "\n".join(pictures)


def main() -> None:
    """Parses the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the two smallest points of each: to see that it works")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="curves whose names begin so")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side (5)")
    parser.add_argument("--seconds", type=float, default=0.2, help="of a turn (0.2)")
    add_out(parser)
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.seconds = 1, 0.0
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        publish("Curves of growth", measure(Path(folder), args), args.out)


if __name__ == "__main__":
    main()
