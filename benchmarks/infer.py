"""Photos restored: ours beside Real-ESRGAN's tile loop and GFPGAN's way with faces, same networks, same photos."""

import argparse
import contextlib
import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

if __name__ == "__main__":  # run as a script: find the packages
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import cv2
import numpy as np
import torch

from benchmarks import infer_sides
from benchmarks.measure import add_out, publish, ratios, spread, table, take_turns, verdict
from benchmarks.peers import Peer, PeerFailed
from restore import images
from restore.data.drawn import draw_face

PARTS = ("tiles", "faces", "memory")
AS_FAST, FASTEST, ON_GPU = 1.0, 1.6, 2.0  # the bars: times the peer's speed
GROWTH = 0.10
MEGAPIXELS = (1, 4, 16, 49, 100)
RUNS = 3  # of which the lowest figure counts: where an allocator places things adds some, never takes any


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS, help="one part")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="small photos: to see that it runs")
    parser.add_argument("--photo", type=Path, help="a photo, in place of a drawn one")
    add_out(parser)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        publish("Photos restored", parts(args, Path(folder)), args.out)


def parts(args: argparse.Namespace, folder: Path) -> Iterator[str]:
    """The tables that are asked for."""
    if args.only in (None, "tiles"):
        yield tiles(folder / "tiles", args.rounds, args.photo, args.quick)
    if args.only in (None, "faces"):
        yield faces(folder / "faces", args.rounds, (320, 240) if args.quick else (1600, 1200))
    if args.only in (None, "memory"):
        yield memory(MEGAPIXELS[:1] if args.quick else MEGAPIXELS)


def tiles(folder: Path, rounds: int, photo: Path | None, quick: bool) -> str:
    """Whole photos, enlarged 4 times."""
    torch.manual_seed(0)
    network = infer_sides.enlarger()
    picture = images.eight_bits(images.read(photo)) if photo else crowd(*((96, 64) if quick else (640, 480)))[0]
    infer_sides.write_folder(folder, picture, network, [])
    sides = ["realesrgan", "realesrgan_whole", "ours", "ours_bf16"]
    sides += ["realesrgan_fp16", "ours_fp16"] if torch.cuda.is_available() else []
    if importlib.util.find_spec("onnxruntime") and not torch.cuda.is_available() and not quick:
        export(folder)
        sides.append("ours_int8")
    height, width = picture.shape[:2]
    title = (
        f"## Whole photos, {width}x{height}, SRVGGNetCompact 64x16 x4, tiles of {infer_sides.TILE} px for Real-ESRGAN"
    )
    return f"{title}\n\n{compared(folder, sides, 'realesrgan', rounds)}"


def export(folder: Path) -> None:
    """The network in 8 bits."""
    section = "{type: SRVGGNetCompact, num_feat: 64, num_conv: 16, upscale: 4}"
    command = [sys.executable, "-m", "restore", "export", str(folder / infer_sides.NETWORK), "--network_g", section]
    subprocess.run([*command, "--int8", str(folder / infer_sides.EXPORTED)], check=True, stdout=subprocess.DEVNULL)


def faces(folder: Path, rounds: int, size: tuple[int, int]) -> str:
    """Four people in a photo, each face restored in a frame of 512 px and put back into the photo at twice its size."""
    torch.manual_seed(0)
    photo, landmarks = crowd(*size)
    infer_sides.write_folder(folder, photo, infer_sides.cleaner(), landmarks)
    title = f"## Faces put back: 4 in a photo of {size[0]}x{size[1]}, result of twice that, SRVGGNetCompact 24x4 x1"
    return f"{title}\n\n{compared(folder, ['facexlib', 'ours_faces'], 'facexlib', rounds)}"


def crowd(width: int, height: int) -> tuple[images.Image, list[list[list[float]]]]:
    """A photo of four drawn people, and the landmarks of each."""
    side = height // 2
    row = np.zeros((height, width, 3), np.uint8)
    landmarks = []
    for number in range(4):
        face = draw_face(0, number, side)
        y, x = (number // 2) * side, (number % 2) * (width - side)
        row[y : y + side, x : x + side] = face.image
        landmarks.append((face.landmarks + np.float32([x, y])).tolist())
    gap = width - 2 * side
    if gap > 0:
        row[:, side : side + gap] = cv2.resize(row[:, :side], (gap, height))
    return row, landmarks


def compared(folder: Path, sides: Sequence[str], peer: str, rounds: int) -> str:
    """A table of the sides' times; a side that cannot run says why."""
    with contextlib.ExitStack() as stack:
        running: dict[str, Peer] = {}
        rows: list[list[str]] = []
        for side in sides:
            process = stack.enter_context(Peer(side, folder, script=infer_sides.__file__))
            try:
                process.run(1)
                running[side] = process
            except PeerFailed as error:
                rows.append([side, f"cannot run: {error}", "", "", ""])
        times = take_turns({name: lambda one=one: one.run(1).seconds for name, one in running.items()}, rounds)  # type: ignore[misc]
    for side in running:
        faster = spread(ratios(times[peer], times[side])) if peer in running else None
        cells = [f"{1000 * spread(times[side]).median:,.0f}", faster.show(".2f") if faster else "no peer"]
        rows.append([side, *cells, _apart(folder, peer, side), _verdict(side, faster.median if faster else 0.0)])
    return table(["", "ms a photo", "times the peer's speed", "mean, largest difference to it (levels)", "bar"], rows)


def _apart(folder: Path, peer: str, side: str) -> str:
    one, other = (cv2.imread(str(folder / f"{name}.png")) for name in (peer, side))
    if one is None or other is None or one.shape != other.shape:
        return "-"
    apart = np.abs(one.astype(np.int16) - other)
    return f"{apart.mean():.2f}, {apart.max()}"


def _verdict(side: str, faster: float) -> str:
    gpu = torch.cuda.is_available()
    bars = {"ours": ON_GPU if gpu else AS_FAST, "ours_faces": ON_GPU if gpu else AS_FAST}
    bars |= {} if gpu else {"ours_int8": FASTEST}
    return f"{bars[side]:g}: {verdict(faster >= bars[side])}" if side in bars else ""


def memory(megapixels: Sequence[int]) -> str:
    """What pictures of growing size take beyond themselves and their results."""
    found = []
    for number in megapixels:
        side = round((number * 1e6) ** 0.5)
        command = [sys.executable, infer_sides.__file__, "memory", str(side)]
        runs = (subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(RUNS))
        found.append(min(int(run.stdout) for run in runs))
    first = found[0]
    rows = [[f"{mp}", f"{size / 1e6:.1f}", f"{size / first:.2f}"] for mp, size in zip(megapixels, found, strict=True)]
    met = max(found) <= (1 + GROWTH) * first
    bar = f"at most {1 + GROWTH:g} times that of {megapixels[0]} megapixel: {verdict(met)}"
    header = ["megapixels", "working memory (MB)", "of the first"]
    return f"## Memory beyond picture and result, a tiny x1 network\n\n{table(header, rows)}\n\n{bar}"


if __name__ == "__main__":
    main()
