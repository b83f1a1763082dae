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
from benchmarks.measure import Claim, no_gpu, publish, ratios, read_command, spread, table, take_turns, verdict
from benchmarks.peers import Peer, PeerFailed
from restore import images
from restore.data.drawn import draw_face
from restore.inference.tiling import OVERLAP, SIDE

PARTS = ("tiles", "faces", "memory")
AS_FAST, FASTEST, ON_GPU = 1.0, 1.6, 2.0  # the bars: times the peer's speed
GROWTH = 0.10
MEGAPIXELS = (1, 4, 16, 49, 100)
ON = ".gpu" if torch.cuda.is_available() else ""  # what the keys of claims end with
RUNS = 8  # of which the lowest figure counts: where an allocator places things adds some, never takes any


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS, help="one part")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--photo", type=Path, help="a photo, in place of a drawn one")
    args = read_command(parser, rounds=1)
    with tempfile.TemporaryDirectory() as folder:
        publish("Photos restored", parts(args, Path(folder)), args.out)


def parts(args: argparse.Namespace, folder: Path) -> Iterator[str | Claim]:
    """The tables that are asked for, each with its claims."""
    if args.only in (None, "tiles"):
        yield from tiles(folder / "tiles", args.rounds, args.photo, args.quick)
    if args.only in (None, "faces"):
        yield from faces(folder / "faces", args.rounds, (320, 240) if args.quick else (1600, 1200))
    if args.only in (None, "memory"):
        yield from memory(MEGAPIXELS[:1], 1) if args.quick else memory(MEGAPIXELS, RUNS)


def tiles(folder: Path, rounds: int, photo: Path | None, quick: bool) -> Iterator[str | Claim]:
    """Whole photos, enlarged 4 times. Quick: two sides alone, since each takes seconds to import what it needs."""
    torch.manual_seed(0)
    network = infer_sides.enlarger()
    picture = images.eight_bits(images.read(photo)) if photo else crowd(*((96, 64) if quick else (640, 480)))[0]
    infer_sides.write_folder(folder, picture, network, [])
    sides = ["realesrgan", "ours"] if quick else ["realesrgan", "realesrgan_whole", "ours", "ours_bf16"]
    sides += ["realesrgan_fp16", "ours_fp16"] if torch.cuda.is_available() else []
    if not torch.cuda.is_available() and not quick:
        sides.append("ours_int8")
        if importlib.util.find_spec("onnxruntime"):
            export(folder)
    height, width = picture.shape[:2]
    title = f"Whole photos, {width}x{height}, SRVGGNetCompact 64x16 x4"
    yield f"## {title}, tiles of {infer_sides.TILE} px for Real-ESRGAN"
    yield from compared(folder, "tiles", title, sides, rounds)


def export(folder: Path) -> None:
    """The network in 8 bits."""
    section = "{type: SRVGGNetCompact, num_feat: 64, num_conv: 16, upscale: 4}"
    command = [sys.executable, "-m", "restore", "export", str(folder / infer_sides.NETWORK), "--network_g", section]
    subprocess.run([*command, "--int8", str(folder / infer_sides.EXPORTED)], check=True, stdout=subprocess.DEVNULL)


def faces(folder: Path, rounds: int, size: tuple[int, int]) -> Iterator[str | Claim]:
    """Four people in a photo, each face restored in a frame of 512 px and put back into the photo at twice its size."""
    torch.manual_seed(0)
    photo, landmarks = crowd(*size)
    infer_sides.write_folder(folder, photo, infer_sides.cleaner(), landmarks)
    title = f"Faces put back: 4 in a photo of {size[0]}x{size[1]}, result of twice that, SRVGGNetCompact 24x4 x1"
    yield f"## {title}"
    yield from compared(folder, "faces", title, ["facexlib", "ours_faces"], rounds)


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


def compared(folder: Path, part: str, title: str, sides: Sequence[str], rounds: int) -> Iterator[str | Claim]:
    """A table of the sides' times, the first being the peer; a side that cannot run says why."""
    with contextlib.ExitStack() as stack:
        running: dict[str, Peer] = {}
        failed: dict[str, str] = {}
        for side in sides:
            process = stack.enter_context(Peer(side, folder, script=infer_sides.__file__))
            try:
                process.run(1)
                running[side] = process
            except PeerFailed as error:
                failed[side] = f"cannot run: {error}"
        times = take_turns({name: lambda one=one: one.run(1).seconds for name, one in running.items()}, rounds)  # type: ignore[misc]
    claims = {side: _claim(f"infer.{part}.{side}{ON}", title, side, sides[0], times, failed) for side in sides}
    rows = [
        [side, one.ours or one.why, one.ratio, _apart(folder, sides[0], side), f"{one.bar} {verdict(one.met)}"]
        for side, one in claims.items()
    ]
    yield table(["", "a photo", "times the peer's speed", "mean, largest difference to it (levels)", "bar"], rows)
    yield from (claim for side, claim in claims.items() if side.startswith("ours"))
    if not torch.cuda.is_available():
        own = next(side for side in sides if side.startswith("ours"))
        yield no_gpu(f"infer.{part}.{own}.gpu", f"{title}, against {sides[0]}", f">= {ON_GPU:g}")


def _claim(key: str, title: str, side: str, peer: str, times: dict[str, list[float]], failed: dict[str, str]) -> Claim:
    """A side's time and how many times the peer's speed that is."""
    bar = _bar(side)
    claim = Claim(
        key,
        f"{title}: {side}",
        _milliseconds(times[side]) if side in times else "",
        bar=f">= {bar:g}" if bar else "",
        why=failed.get(side) or failed.get(peer, ""),
    )
    if side not in times or peer not in times:
        return claim
    faster = spread(ratios(times[peer], times[side]))
    met = faster.median >= bar if bar else None
    return claim._replace(peer=f"{peer}: {_milliseconds(times[peer])}", ratio=faster.show(".2f"), met=met)


def _bar(side: str) -> float | None:
    """How many times its peer's speed a side is to have on this machine."""
    if torch.cuda.is_available():
        return {"ours": ON_GPU, "ours_faces": ON_GPU}.get(side)
    return {"ours": AS_FAST, "ours_faces": AS_FAST, "ours_int8": FASTEST}.get(side)


def _milliseconds(seconds: list[float]) -> str:
    return spread([1000 * value for value in seconds]).show(",.0f") + " ms"


def _apart(folder: Path, peer: str, side: str) -> str:
    one, other = (cv2.imread(str(folder / f"{name}.png")) for name in (peer, side))
    if one is None or other is None or one.shape != other.shape:
        return "-"
    apart = np.abs(one.astype(np.int16) - other)
    return f"{apart.mean():.2f}, {apart.max()}"


def memory(megapixels: Sequence[int], runs: int) -> Iterator[str | Claim]:
    """What pictures of growing size take beyond themselves and their results."""
    found = []
    for number in megapixels:
        side = side_of_full_tiles(number)
        command = [sys.executable, infer_sides.__file__, "memory", str(side)]
        taken = (subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(runs))
        found.append(min(int(run.stdout) for run in taken))
    first, most = found[0], max(found)
    rows = [[f"{mp}", f"{size / 1e6:.1f}", f"{size / first:.2f}"] for mp, size in zip(megapixels, found, strict=True)]
    claim = Claim(
        "infer.memory",
        f"memory beyond picture and result, {megapixels[0]} to {megapixels[-1]} megapixels, a tiny x1 network",
        f"{most / 1e6:.1f} MB at most",
        floor=f"of {megapixels[0]} megapixel: {first / 1e6:.1f} MB",
        ratio=f"{most / first:.2f}",
        bar=f"<= {1 + GROWTH:g}",
        met=most <= (1 + GROWTH) * first,
    )
    bar = f"At most {1 + GROWTH:g} times that of {megapixels[0]} megapixel: {verdict(claim.met)}"
    header = ["megapixels, about", "working memory (MB)", "of the first"]
    yield f"## Memory beyond picture and result, a tiny x1 network\n\n{table(header, rows)}\n\n{bar}"
    yield claim


def side_of_full_tiles(megapixels: int) -> int:
    """Near that size, of a square picture that tiles of the largest size fill: smaller ones would take less memory."""
    step = SIDE["cpu"] - OVERLAP
    return OVERLAP + step * round(((megapixels * 1e6) ** 0.5 - OVERLAP) / step)


if __name__ == "__main__":
    main()
