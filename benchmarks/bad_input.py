"""Damaged, absurd and hostile input for every door: photos, masks, films, weights, reference photos, uploads.

Each is done or told in one line; none crashes, hangs, eats the memory or runs code; the good ones beside are done.
What is damaged is drawn from `--seed`; each kind runs in a process with little memory to spare.

    python benchmarks/bad_input.py --count 400
"""

import argparse
import json
import os
import queue
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np

from benchmarks.bad_weights import HOLE, NET, NOISE, cases, evil_module
from benchmarks.measure import REPOSITORY, Claim, publish, read_command, table, verdict
from restore import images
from restore.errors import RestoreError
from restore.keyed import draws

SECONDS = 20  # for one input
SPARE = 2 << 30  # bytes that a process may take beyond what it has when its work begins
LONGEST = 1500  # letters of a message
SHARES = {"photos": 0.2, "masks": 0.1, "films": 0.1, "weights": 0.45, "uploads": 0.1, "references": 0.05}
GOOD = 4  # photos beside the damaged ones
SIDES = (24, 40)


@dataclass
class Row:
    """What became of the inputs of a kind. `crashed` says how, and of which; `good` whether the good ones are right."""

    kind: str
    inputs: int = 0
    done: int = 0
    told: int = 0
    executed: int = 0
    slowest: float = 0.0
    crashed: list[str] = field(default_factory=list)
    good: bool = True

    @property
    def met(self) -> bool:
        """Every one done or told, none executed, none slow, the good ones right."""
        whole = self.inputs > 0 and self.done + self.told == self.inputs
        return whole and self.good and not self.crashed and not self.executed and self.slowest < SECONDS

    def claim(self) -> Claim:
        """The row as a claim."""
        return Claim(
            f"bad_input.{self.kind}",
            f"{self.inputs} damaged, absurd and hostile {self.kind}",
            f"{self.done} done, {self.told} told in one line, {len(self.crashed)} crashed, {self.executed} executed, "
            f"{self.slowest:.1f} s at most",
            bar=f"done or told, none crashed or executed, < {SECONDS} s each",
            met=self.met,
        )

    def cells(self) -> list[str]:
        """The row as text."""
        figures = (self.inputs, self.done, self.told, len(self.crashed), self.executed)
        return [self.kind, *map(str, figures), f"{self.slowest:.1f} s", verdict(self.met)]


# ------------------------------------------------------------------------------------- folders, by the real command


def photos(folder: Path, count: int, seed: int) -> Row:
    """A folder of good and damaged photos, with and without the damaged ones."""
    from tests.photos.test_photo_mutations import MUTATIONS, mutated

    inputs, good = folder / "in", _good_photos(folder / "good")
    shutil.copytree(good, inputs)
    for number in draws(seed, "which photos").permutation(MUTATIONS)[:count]:
        name, data = mutated(int(number))
        (inputs / name).write_bytes(data)
    weights = _weights(folder / "net.safetensors", NET, scale=2)
    row = _infer("photos", inputs, folder / "out", "--model", weights)
    _infer("photos", good, folder / "alone", "--model", weights)
    for alone in sorted((folder / "alone").iterdir()):
        beside = folder / "out" / alone.name
        row.good &= beside.is_file() and beside.read_bytes() == alone.read_bytes()
    row.good &= len(list((folder / "alone").iterdir())) == GOOD
    return row


def masks(folder: Path, count: int, seed: int) -> Row:
    """Photos, each with a mask of its own; damaged ones, and a few good ones."""
    from tests.photos.test_photo_mutations import KINDS

    inputs, own = _made(folder / "in"), _made(folder / "masks")
    mask = np.zeros((*SIDES, 3), np.uint8)
    mask[10:20, 8:30] = 255
    for number in range(count + GOOD):
        name = f"{number:03d}"
        images.write(inputs / f"{name}.png", _picture(number % 9))
        suffix = (".png", ".jpg", ".webp", ".bmp")[number % 4] if number < count else ".png"
        data = images.encode(Path(f"x{suffix}"), mask)
        if number < count:
            data = KINDS[number % len(KINDS)](data, draws(seed, "masks", number))
        (own / f"{name}{suffix}").write_bytes(data)
    weights = _weights(folder / "net.safetensors", HOLE, task={"type": "Inpainting"})
    options = ("--mask", own, "--faces", "whole", "--no_compare")
    row = _infer("masks", inputs, folder / "out", "--model", weights, *options)
    row.good = all((folder / "out" / f"{number:03d}.png").is_file() for number in range(count, count + GOOD))
    return row


def films(folder: Path, count: int, seed: int) -> Row:
    """Damaged films, and one good one of each kind."""
    from tests.films.drawn_films import even, write_film
    from tests.photos.test_photo_mutations import KINDS

    inputs = _made(folder / "in")
    kinds = {".mp4": ("libx264", "yuv420p"), ".mkv": ("libx264", "yuv420p"), ".gif": ("gif", "rgb8")}
    for suffix, (codec, pixels) in kinds.items():
        small = [np.ascontiguousarray(_picture(number)[:24, :32]) for number in range(4)]
        write_film(inputs / f"good{suffix}", small, even(4), codec=codec, pixel_format=pixels)
    for number in range(count):
        suffix = list(kinds)[number % len(kinds)]
        data = (inputs / f"good{suffix}").read_bytes()
        kind = KINDS[number // len(kinds) % len(KINDS)]
        (inputs / f"{number:03d}_bad{suffix}").write_bytes(kind(data, draws(seed, "films", number)))
    for suffix in kinds:  # one name a result
        (inputs / f"good{suffix}").rename(inputs / f"good_{suffix[1:]}{suffix}")
    row = _infer("films", inputs, folder / "out", "--model", _weights(folder / "net.safetensors", NET, scale=2))
    row.good = len(list((folder / "out").glob("good_*.*"))) == len(kinds)
    return row


def _infer(kind: str, inputs: Path, output: Path, *arguments: object) -> Row:
    """`restore infer` over a folder: of each input there is a line on what became of it."""
    row, total = Row(kind), sum(path.is_file() for path in inputs.iterdir())
    command = ["infer", inputs, "-o", output, *arguments, "--device", "cpu"]
    code = "from benchmarks.bad_input import limit; limit(); from restore.cli import main; main()"
    failed: list[str] = []
    told = ""
    for line, seconds in _lines([sys.executable, "-c", code, *map(str, command)], row):
        if line.startswith("FAILED "):
            failed.append(line)
            _check_told(row, line, str(inputs))
        row.done += line.startswith(f"{output}{os.sep}")
        row.slowest = max(row.slowest, seconds)
        told = line
    row.told, row.inputs = len(failed) - len(row.crashed), total
    if failed and not told.startswith(f"error: {len(failed)} of {total} pictures could not be done"):
        row.crashed.append(f"ends with: {told}")
    return row


def _lines(command: Sequence[str], row: Row) -> Iterator[tuple[str, float]]:
    """A command's lines as they come, each with the seconds since the one before; the start counts for nothing."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        assert process.stdout is not None
        came: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=_hand_over, args=(process.stdout, came.put), daemon=True).start()
        before = None
        try:
            while (line := came.get(timeout=6 * SECONDS)) is not None:
                now = time.monotonic()
                yield line.rstrip("\n"), now - (before or now)
                before = now
        except queue.Empty:
            process.kill()
            row.crashed.append("hangs")
    if process.returncode not in (0, 1):
        row.crashed.append(f"exit code {process.returncode}")


def _hand_over(lines: Iterable[str], put: Callable[[str | None], None]) -> None:
    for line in lines:
        put(line)
    put(None)


def limit(spare: int = SPARE) -> None:
    """From here on this process gets no more than that much memory beyond what it has with its libraries."""
    import cv2  # noqa: F401
    import torch

    import restore.inference.model  # noqa: F401

    torch.zeros(1).sum()
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + spare, now + spare))


# -------------------------------------------------------------------------------------- one by one, by the functions


def weights(folder: Path, count: int, seed: int) -> Row:
    """Weights files of every kind and folders of diffusers, each opened and shown a picture."""
    import torch

    from restore.inference.model import kind_of, load_model

    sentinel, row = folder / "executed", Row("weights")
    evil_module(folder, sentinel)
    os.chdir(folder)  # where a plugin would be found
    picture = _picture(0)[:16, :16]

    def opened(path: Path) -> None:
        kind_of(path)
        model = load_model(path, device="cpu")
        if model.arch != "DenoisingUNet":
            model(picture, np.ones((16, 16), np.bool_) if model.kind == "unmask" else None)

    torch.set_num_threads(1)
    for path in [*_broken_folders(folder), *_written(folder, cases(sentinel, count, seed))]:
        _judge(row, path, opened)
        if sentinel.exists():
            row.executed += 1
            row.crashed.append(f"{path.name}: executed")
            sentinel.rmdir() if sentinel.is_dir() else sentinel.unlink()
    return row


def uploads(folder: Path, count: int, seed: int) -> Row:
    """Damaged photos, masks, paintings and true pictures, uploaded to the demo."""
    from restore.demo.answers import Answers
    from restore.demo.uploads import Limits, open_mask, painted_mask, plain
    from restore.demo.visits import Visits
    from restore.inference.model import load_model
    from tests.photos.test_photo_mutations import MUTATIONS, mutated

    limits, visit = Limits(mb=1, pixels=200_000), Visits(_made(folder / "server").resolve()).of("one")
    model = load_model(_weights(folder / "net.safetensors", NET, scale=2), device="cpu")
    answers = Answers({"net": model}, limits)
    good = folder / "good.png"
    images.write(good, _picture(0))
    doors: list[Callable[[Path], object]] = [
        lambda path: answers.sharpen(visit, path, "net", 2, True, None),
        lambda path: answers.sharpen(visit, good, "net", 1, False, path),
        lambda path: answers.preview(visit, path),
        lambda path: open_mask(path, limits, SIDES),
        lambda path: painted_mask([path], limits, SIDES),
    ]
    numbers = [int(number) for number in draws(seed, "which uploads").permutation(MUTATIONS)[:count]]
    row = Row("uploads")
    for place, path in enumerate(_written(folder, map(mutated, numbers))):
        _judge(row, path, doors[place % len(doors)], named=False, shown=lambda error: _private(plain(error), folder))
    return row


def references(folder: Path, count: int, seed: int) -> Row:
    """Damaged photos of the person that a report compares results with. What looks at faces is left out."""
    from restore.faces.detector import Detector
    from restore.inference.likeness import Likeness
    from restore.inference.report import open_references
    from tests.photos.test_photo_mutations import MUTATIONS, mutated

    class Found(Detector):
        """A face in every picture."""

        def __call__(self, picture: images.Image) -> Any:
            return [None]

    class Alike(Likeness):
        """The same of every face."""

        def __init__(self) -> None:
            pass

        def __call__(self, *args: Any) -> Any:
            return np.ones(3)

    row, numbers = Row("references"), draws(seed, "which references").permutation(MUTATIONS)[:count]
    for path in _written(folder, (mutated(int(number)) for number in numbers)):
        _judge(row, path, lambda path: open_references([(path.name, path)], Alike(), Found()))
    return row


def _private(message: str, folder: Path) -> str:
    """What visitors are told; a traceback where it names a folder of the server."""
    return f"names a folder\n{message}" if str(folder) in message else message


def _judge(
    row: Row, path: Path, do: Callable[[Path], object], named: bool = True, shown: Callable[[Exception], str] = str
) -> None:
    """Does one input and notes what came of it."""
    row.inputs += 1
    began = time.monotonic()
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(SECONDS)
    try:
        do(path)
        row.done += 1
    except RestoreError as error:
        crashed = len(row.crashed)
        _check_told(row, shown(error), str(path) if named else "")
        row.told += len(row.crashed) == crashed
    except BaseException as error:
        row.crashed.append(f"{path.name}: {type(error).__name__}: {error}"[:300])
    finally:
        signal.alarm(0)
    row.slowest = max(row.slowest, time.monotonic() - began)


def _too_long(number: int, frame: object) -> None:
    raise TimeoutError(f"takes longer than {SECONDS} s")


def _check_told(row: Row, line: str, name: str) -> None:
    """Notes a message that is not one line, too long, or does not name the file."""
    if "\n" in line or len(line) > LONGEST or Path(name).stem not in line or "Traceback" in line:
        row.crashed.append(f"badly told: {line[:300]!r}")


def _broken_folders(folder: Path) -> Iterator[Path]:
    """Folders as diffusers saves them, each broken in another way."""
    good = {"_class_name": "UNet2DModel", "block_out_channels": [8, 8], "norm_num_groups": 4, "layers_per_block": 1}
    good |= {"down_block_types": ["DownBlock2D"] * 2, "up_block_types": ["UpBlock2D"] * 2, "sample_size": 16}
    changes: list[Any] = [
        {"block_out_channels": [10**9, 10**9]},
        {"block_out_channels": "x"},
        {"layers_per_block": 10**9},
        {"sample_size": 10**9},
        {"sample_size": -1},
        {"_class_name": ["x"]},
        {"down_block_types": 5},
        {"act_fn": {"a": [1]}},
        {},
    ]
    texts = [json.dumps(good | change) for change in changes] + ["", "[1]", "[" * 50_000, "\0", '{"a": NaN}']
    for number, text in enumerate(texts):
        place = _made(folder / f"diffusers_{number}")
        (place / "config.json").write_text(text)
        _weights(place / "diffusion_pytorch_model.safetensors", NOISE)
        yield place


# ------------------------------------------------------------------------------------------------------------ pieces


def _picture(number: int) -> images.Image:
    made: images.Image = draws(0, "pictures", number).integers(0, 256, (*SIDES, 3), np.uint8)
    return made


def _good_photos(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for number in range(GOOD):
        images.write(folder / f"good_{number}.png", _picture(number))
    return folder


def _weights(path: Path, section: dict[str, Any], scale: int = 1, **facts: object) -> Path:
    from tests.lab import network_file

    network_file(path, section, scale, **facts)
    return path


def _written(folder: Path, files: Iterable[tuple[str, bytes]]) -> Iterator[Path]:
    for name, data in files:
        (folder / name).write_bytes(data)
        yield folder / name


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


KINDS: dict[str, Callable[[Path, int, int], Row]] = {
    "photos": photos,
    "masks": masks,
    "films": films,
    "weights": weights,
    "uploads": uploads,
    "references": references,
}
LIMITED = ("weights", "uploads", "references")  # no commands of their own: in a process with little memory


def row_of(kind: str, count: int, seed: int) -> Row:
    """What became of `count` inputs of a kind."""
    with tempfile.TemporaryDirectory() as folder:
        if kind not in LIMITED:
            return KINDS[kind](Path(folder).resolve(), count, seed)
        code = "import sys; from benchmarks.bad_input import alone; alone(*sys.argv[1:])"
        command = [sys.executable, "-c", code, kind, str(count), str(seed), str(Path(folder).resolve())]
        row = Row(kind)
        last = [line for line, _ in _lines(command, row)][-1:]
        try:
            return Row(**json.loads(last[0]))
        except (ValueError, IndexError, TypeError):
            row.crashed.append(f"died: {last}")
            return row


def alone(kind: str, count: str, seed: str, folder: str) -> None:
    """The process of `row_of`: prints the row."""
    limit()
    print(json.dumps(vars(KINDS[kind](Path(folder), int(count), int(seed)))))


def main() -> None:
    """Prints the table; exits with 1 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=400, help="damaged inputs, of all kinds together")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--only", choices=KINDS, nargs="+", default=list(KINDS))
    args = read_command(parser, count=12)
    rows = [row_of(kind, max(1, round(args.count * SHARES[kind])), args.seed) for kind in args.only]
    for row in rows:
        for crash in row.crashed:
            print(f"{row.kind}: {crash}", file=sys.stderr)
    header = ["kind", "inputs", "done", "told", "crashed", "executed", "slowest", "bar"]
    text = table(header, [row.cells() for row in rows])
    publish("Bad input", iter([text, *(row.claim() for row in rows)]), args.out)
    sys.exit(not all(row.met for row in rows))


if __name__ == "__main__":
    main()
