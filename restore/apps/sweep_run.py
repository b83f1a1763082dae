"""Trains the points of a sweep: one in this process, or all in turn, each in a process of its own."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import yaml

from restore.apps.sweep_file import Point, Sweep
from restore.apps.training import Start, train
from restore.distributed.launch import Launch
from restore.engine.experiment import differences
from restore.engine.preemption import SIGNALS
from restore.errors import EXIT_INTERRUPTED, EXIT_RESUMABLE, Preempted, RestoreError, UserError

OUTCOME = "outcome.txt"  # in a point's folder: one line, how its training ended
DONE, RUNNING, FAILED = "done", "running", "failed: "
OPTIONS = "options.yml"
FREE = ("logger.", "val.", "device", "dist.", "path.", "name")  # what may change while points are trained ...
FREE_WORDS = ("total_iter", "total_epoch", "num_workers")  # ... with these: runs become longer, not others


# -- how a point stands


def outcome(point: Point) -> str | None:
    """How the training of a point ended: `done`, `running` (or it was killed), `failed: why`; None before it began."""
    path = point.folder / OUTCOME
    return path.read_text(encoding="utf-8").strip() if path.is_file() else None


def is_done(point: Point) -> bool:
    """Whether a point was trained to its end with the options that it has now."""
    return outcome(point) == DONE and not any(differences(_saved(point), _now(point)))


def refuse_others(points: Sequence[Point]) -> None:
    """Raises `UserError` where a point's folder holds an experiment of other options, which would be taken for it."""
    lines = [
        f"{point.folder / OPTIONS}: {key}: was {before}, now {now}; give the sweep another name, or remove that folder"
        for point in points
        for key, before, now in differences(_saved(point), _now(point))
        if not key.startswith(FREE) and key.rpartition(".")[2] not in FREE_WORDS
    ]
    if lines:
        raise UserError("\n".join(["these experiments were begun with other options:", *lines]))


def _saved(point: Point) -> Any:
    """The options that the point's experiment last began with; its present ones where it has not begun."""
    path = point.folder / OPTIONS
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else _now(point)


def _now(point: Point) -> Any:
    from restore.engine.experiment import dump_stages

    return yaml.safe_load(dump_stages(point.stages))


def _note(point: Point, text: str) -> None:
    from restore.images import write_atomic

    write_atomic(point.folder / OUTCOME, f"{' '.join(text.split())}\n".encode())


# -- one point


def train_point(sweep: Sweep, point: Point) -> None:
    """Trains one point in this process, from its newest checkpoint on, and notes how it ended.

    Raises:
        RestoreError: as `restore train`.
    """

    def note(text: str) -> None:
        if Launch.of_environment().rank == 0:
            _note(point, text)

    note(RUNNING)
    try:
        train(str(sweep.base), point.overrides, Start(auto_resume=True))
    except Preempted:
        raise
    except RestoreError as error:
        note(FAILED + str(error))
        raise
    except Exception as error:
        note(f"{FAILED}{type(error).__name__}: {error}")
        raise
    note(DONE)


# -- all in turn


def train_in_turn(sweep: Sweep, command: Sequence[str]) -> list[Point]:
    """Trains what is left of a sweep, a process for each point, so that none takes another's memory or its end.

    Args:
        sweep: its points.
        command: the arguments of this sweep's `restore`, to which `--point N` is added.

    Returns:
        The points that failed.

    Raises:
        Preempted: asked to stop; the running point has saved.
    """
    failed = []
    with _PassOn() as signals:
        for point in sweep.points:
            told = f"point {point.number} of {len(sweep.points)}: {point.name}"
            if is_done(point):
                print(f"{told}: done before", flush=True)
                continue
            print(told, flush=True)
            code = signals.run([sys.executable, "-m", "restore", *command, "--point", str(point.number)])
            if code == EXIT_INTERRUPTED:
                raise KeyboardInterrupt
            if signals.received or code == EXIT_RESUMABLE:
                why = signals.received or "asked to stop"
                raise Preempted(f"{why}: at {told}; the same command goes on from there")
            if code:
                _note_end(point, code)
                failed.append(point)
    return failed


def _note_end(point: Point, code: int) -> None:
    """What a process could not note itself: that it was killed."""
    if (outcome(point) or RUNNING) == RUNNING:
        hint = "; out of memory?" if code == -signal.SIGKILL else ""
        _note(point, FAILED + (f"killed by {signal.Signals(-code).name}{hint}" if code < 0 else f"exit code {code}"))


class _PassOn:
    """Passes signals on to the process that is run, and notes them, while it is entered."""

    def __init__(self) -> None:
        self.received: str | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "_PassOn":
        self._before = {signum: signal.signal(signum, self._pass) for signum in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def run(self, command: Sequence[str]) -> int:
        """Runs a command to its end, in a session of its own, where a terminal's Ctrl-C reaches it only through here.

        Returns its exit code, or minus the signal that killed it.
        """
        if self.received:
            return EXIT_RESUMABLE
        found = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
        environment = os.environ | {"PYTHONPATH": found}
        self._child = subprocess.Popen(command, env=environment, start_new_session=True, preexec_fn=_end_with_parent)
        if self.received:  # before there was a process to tell
            self._child.send_signal(signal.SIGTERM)
        return self._child.wait()

    def _pass(self, signum: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(signum).name
        if self._child is not None:
            self._child.send_signal(signum)


def _end_with_parent() -> None:
    """On Linux a sweep that is killed stops its point too: no second one would find it still at work."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
