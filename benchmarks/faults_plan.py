"""The plan of faults: which run is struck by what, and when; a function of a seed alone."""

import random
from dataclasses import dataclass

TASKS = ("sr", "gan", "inpainting")
ITERATIONS = 60
SAVE_EVERY = 10
KEEP = 3  # newest checkpoints

FILES = ("network_g.safetensors", "network_g_ema.safetensors", "network_d.safetensors", "state.pt", "options.yml")
POINTERS = ("best", "latest")
LASTING = ("for a while", "to the end", "to the next start")


@dataclass(frozen=True)
class Fault:
    """A kind of blow: the ways in which it comes, and the runs that it comes to."""

    ways: tuple[str, ...] = ("",)
    workers: tuple[int, ...] = (0, 1)
    storages: tuple[str, ...] = ("lmdb", "folder")
    ranks: tuple[int, ...] = (1,)


FAULTS = {
    "kill_main": Fault(("while it trains", "inside a save")),
    "kill_worker": Fault(workers=(1, 2)),
    "kill_rank": Fault(("rank 0", "rank 1"), ranks=(2,)),
    "oom_killer": Fault(ranks=(1, 1, 2)),
    "sigterm": Fault(ranks=(1, 1, 2)),
    "sigusr1": Fault(ranks=(1, 1, 2)),
    "disk_full": Fault(LASTING, ranks=(1, 1, 1, 2)),
    "read_only": Fault(LASTING),
    "vanished_data": Fault(("to the end", "to the next start")),
    "truncated_lmdb": Fault(("half", "empty"), storages=("lmdb",)),
    "truncated_checkpoint": Fault((*FILES, "manifest.json")),
    "flipped_byte": Fault((*FILES, "manifest.json", *POINTERS)),
    "clock_jump": Fault(("+1d", "-1h", "+20y", "-3y")),  # torchrun itself fails at sleeping under libfaketime
    "nan_batches": Fault(ranks=(1, 1, 1, 2)),
    "nan_for_good": Fault(ranks=(1, 1, 1, 2)),
    "memory_limit": Fault(("at a large tensor", "at anything", "worker"), workers=(1,)),
}


@dataclass(frozen=True)
class Trial:
    """One run and its blow, `delay` seconds after iteration `at` was logged."""

    number: int
    task: str
    fault: str
    way: str
    at: int
    delay: float
    ranks: int
    workers: int
    storage: str
    chance: int  # for what a blow draws itself

    def __str__(self) -> str:
        run = f"{self.task}, {self.storage}, {self.workers} workers, {self.ranks} ranks"
        return f"{self.number} {self.fault} {self.way} at {self.at} ({run})"


def plan(times: int, seed: int) -> list[Trial]:
    """Each fault to each task in an order of chance, before any comes again; a longer plan begins as a shorter one."""
    draws = random.Random(seed)
    pairs = [(fault, task) for fault in FAULTS for task in TASKS]
    order: list[tuple[str, str]] = []
    ways: dict[str, list[str]] = {fault: [] for fault in FAULTS}
    trials = []
    for number in range(1, times + 1):
        order = order or draws.sample(pairs, len(pairs))
        fault, task = order.pop()
        kind = FAULTS[fault]
        ways[fault] = ways[fault] or list(kind.ways)
        way = next((way for way in ways[fault] if _has(task, way)), None)
        if way is None:  # what is left of this round is for another task
            way = next(way for way in kind.ways if _has(task, way))
        else:
            ways[fault].remove(way)
        trials.append(_trial(number, task, fault, way, draws))
    return trials


def _has(task: str, way: str) -> bool:
    """Whether a task's checkpoint has that file."""
    return task == "gan" or not way.startswith("network_d")


def _trial(number: int, task: str, fault: str, way: str, draws: random.Random) -> Trial:
    kind = FAULTS[fault]
    earliest = 2 * SAVE_EVERY + 1 if fault in ("truncated_checkpoint", "flipped_byte") else 1  # there is an older one
    return Trial(
        number,
        task,
        fault,
        way,
        at=draws.randrange(earliest, ITERATIONS - SAVE_EVERY),
        delay=round(draws.uniform(0, 0.02), 4),
        ranks=draws.choice(kind.ranks),
        workers=draws.choice(kind.workers),
        storage=draws.choice(kind.storages),
        chance=draws.randrange(1 << 30),
    )
