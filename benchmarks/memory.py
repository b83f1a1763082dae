"""What a process holds in memory, in MB, as Linux tells it. Pages of mapped files do not count."""

from pathlib import Path


def anonymous(pid: int | str = "self") -> float:
    """What the process has allocated and touched: RssAnon and RssShmem of /proc/PID/status.

    A page that a fork shares counts whole in both processes, before one of them writes to it and after: so this grows
    with new pages alone.
    """
    return _megabytes(Path(f"/proc/{pid}/status"), "RssAnon") + _megabytes(Path(f"/proc/{pid}/status"), "RssShmem")


def private(pid: int | str = "self") -> float:
    """What it shares with no other process: Private_Dirty of /proc/PID/smaps_rollup, its USS less clean file pages."""
    return _megabytes(Path(f"/proc/{pid}/smaps_rollup"), "Private_Dirty")


def children(pid: int) -> list[int]:
    """The processes that it has started, in the order of their numbers."""
    return sorted(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()))


def _megabytes(path: Path, name: str) -> float:
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return float(line.split()[1]) * 1.024 / 1e3
    raise OSError(f"{path}: no {name}")
