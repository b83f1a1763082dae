"""Whether an exported file answers as the model does, and how fast."""

from collections.abc import Callable, Iterator
from statistics import median
from time import perf_counter

import torch
from torch import Tensor

from restore import keyed
from restore.errors import Fault

FULL = 1e-4  # the most that answers in [0, 1] may differ
HALF = 1e-2  # the same with 16 bits: each layer rounds to 11 bits, and random pictures are harder than photos
SIDES = (16, 72)  # pixels of the pictures that are compared
TIMED = 128  # pixels a side of the picture that is timed
ROUNDS, SECONDS = 9, 6.0  # of the race, whichever ends first; but three rounds

Size = tuple[int, int] | None  # height and width, where they are fixed
Call = Callable[..., Tensor]  # LQ, and the mask where there is one, to the restored picture


def pictures(masked: bool, size: Size = None) -> Iterator[tuple[Tensor, ...]]:
    """Three inputs of random sizes, even and odd, alone and three together, with masks where they are needed."""
    for number, batch in enumerate((1, 3, 1)):
        draws = keyed.draws(number, "export")
        height, width = size or (int(draws.integers(*SIDES)) // 2 * 2 + number % 2 for _ in range(2))
        yield random_input(masked, batch, height, width, draws)


def random_input(masked: bool, batch: int, height: int, width: int, draws: keyed.Draws) -> tuple[Tensor, ...]:
    """Noise (N, 3, H, W), and a mask (N, 1, H, W) that hides a box of it."""
    lq = torch.from_numpy(draws.random((batch, 3, height, width), "float32"))
    mask = torch.zeros_like(lq[:, :1])
    mask[..., height // 4 : height // 2, width // 4 : width // 2] = 1
    return (lq, mask) if masked else (lq,)


def compare(reference: Call, exported: Call, inputs: Iterator[tuple[Tensor, ...]], most: float) -> str:
    """Tells the largest difference between two networks' answers.

    Raises:
        Fault: it is above `most`, or the exported one cannot take a picture.
    """
    largest, sizes = 0.0, []
    for shown in inputs:
        size = "x".join(map(str, shown[0].shape))
        with torch.inference_mode():
            wanted = reference(*shown)
            try:
                found = exported(*shown)
            except Exception as error:  # each runtime has its own
                raise Fault(f"does not run on {size}: {first_line(error)}") from error
        if found.shape != wanted.shape:
            raise Fault(f"makes {tuple(found.shape)} of {size}, not {tuple(wanted.shape)}")
        difference = float((found - wanted).abs().max())
        if not difference <= most:  # also where it is no number
            raise Fault(f"differs from PyTorch by {difference:.2g} on {size}, more than {most:g}")
        largest = max(largest, difference)
        sizes.append(size)
    return f"differs from PyTorch by {largest:.2g} at most, on {', '.join(sizes)}"


def race(calls: dict[str, Call], masked: bool, size: Size = None) -> str:
    """Milliseconds a picture of each, in turns and on as many threads as PyTorch has: their medians, told."""
    height, width = size or (TIMED, TIMED)
    shown = random_input(masked, 1, height, width, keyed.draws("export race"))
    times: dict[str, list[float]] = {name: [] for name in calls}
    begin = perf_counter()
    with torch.inference_mode():
        for call in calls.values():
            call(*shown)
        for number in range(ROUNDS):
            if number >= 3 and perf_counter() - begin > SECONDS:
                break
            for name, call in calls.items():
                start = perf_counter()
                call(*shown)
                times[name].append(1000 * (perf_counter() - start))
    told = ", ".join(f"{name} {median(spent):.1f} ms" for name, spent in times.items())
    return f"{height}x{width} on {torch.get_num_threads()} threads: {told}"


def first_line(error: Exception) -> str:
    """What an error says first."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
