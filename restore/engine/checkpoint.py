"""Checkpoints: one directory each, written whole or not at all, verified before it is trusted."""

import hashlib
import io
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

import torch

from restore import __version__
from restore.errors import UserError
from restore.facts import parsed
from restore.options import document
from restore.weights import pointed, require_plain_archive

MANIFEST = "manifest.json"
STATE = "state.pt"
OPTIONS = "options.yml"
FORMAT = 1
_STATE: dict[str, type | tuple[type, ...]] = {
    **{"iter": int, "first": int, "stage": (str, NoneType), "validated": int, "best": (dict, NoneType)},
    **{"set_aside": list, "update": dict, "parts": dict, "optimizers": dict, "schedules": dict},
}


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint directory whose files are those of its manifest."""

    path: Path
    iteration: int

    def state(self) -> dict[str, Any]:
        """Optimizers, schedules and counters; read without running any code in the file.

        Raises:
            UserError: the file holds anything but tensors, numbers, text and containers of them, or lacks something.
        """
        require_plain_archive(self.path / STATE)
        try:
            state: Any = torch.load(self.path / STATE, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises a dozen kinds, from KeyError to UnpicklingError
            raise UserError(f"{self.path / STATE}: cannot be read safely ({type(error).__name__})") from error
        if not isinstance(state, dict):
            raise UserError(f"{self.path / STATE}: holds no state of a run")
        for key, kind in _STATE.items():
            if not isinstance(state.get(key, ...), kind):
                raise UserError(f"{self.path / STATE}: holds no state of a run: its `{key}` is missing or broken")
        return state

    def options(self) -> dict[str, Any]:
        """The options that the run was saved with, as plain data. Raises `UserError` where they are no such thing."""
        return document.read(self.path / OPTIONS).data

    def weights(self, network: str) -> Path:
        """The weights file of a network, such as `network_g` or `network_g_ema`."""
        return self.path / f"{network}.safetensors"


class Checkpoints:
    """The checkpoints of one experiment, in `experiments/<name>/checkpoints/<iter>/`."""

    def __init__(self, folder: Path, keep: int) -> None:
        """`keep` newest ones stay, and the best one; 0 keeps all."""
        self.folder, self.keep = folder, keep

    def save(self, iteration: int, files: dict[str, bytes], best: bool) -> Path:
        """Writes a checkpoint beside, syncs it, then renames it: a reader sees a whole one or none.

        One of the same iteration, saved before it was validated, is in reach until the new one stands in its place.

        Raises:
            OSError: the disk refuses; earlier checkpoints are untouched.
        """
        target = self.folder / str(iteration)
        beside, replaced = self.folder / f".writing-{iteration}", self.folder / f".replaced-{iteration}"
        shutil.rmtree(beside, ignore_errors=True)
        try:
            beside.mkdir(parents=True)
            for name, data in {**files, MANIFEST: _manifest(iteration, files)}.items():
                _write_synced(beside / name, data)
            _sync_folder(beside)
            if target.exists():
                os.replace(target, replaced)
            os.replace(beside, target)
            _sync_folder(self.folder)
        except OSError:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        shutil.rmtree(replaced, ignore_errors=True)
        self._point("latest", target)
        if best:
            self._point("best", target)
        self._prune()
        return target

    def newest(self) -> tuple[Checkpoint | None, list[str]]:
        """The newest checkpoint that verifies, and why newer ones were passed over."""
        passed_over: list[str] = []
        for path in sorted([*self._all(), *self._replaced()], key=_number, reverse=True):
            try:
                return open_checkpoint(path), passed_over
            except UserError as error:
                passed_over.append(str(error))
        return None, passed_over

    def go_on_from(self, iteration: int, best: int | None = None) -> None:
        """Clears up before a run goes on from `iteration`, 0 being the start, and `best` as that checkpoint knows it.

        What a kill left half-written or half-removed goes. Later checkpoints, damaged or of a part that is not
        continued, are renamed `superseded-<iter>`: they are not resumed from, nor do they count among the kept ones.
        The pointers are set anew: a kill may have come before they were, and a damaged `best` would keep nothing.
        """
        for path in self._replaced():
            target = self.folder / str(_number(path))
            if target.exists():
                shutil.rmtree(path, ignore_errors=True)
            else:
                os.replace(path, target)
        for path in [*self.folder.glob(".writing-*"), *self.folder.glob(".removing-*")]:
            shutil.rmtree(path, ignore_errors=True)
        for path in self._all():
            if _number(path) > iteration:
                superseded = path.with_name(f"superseded-{path.name}")
                shutil.rmtree(superseded, ignore_errors=True)
                os.replace(path, superseded)
        for name, number in (("latest", iteration), ("best", best)):
            target, found = self.folder / str(number), pointed(self.folder / name)
            if target.is_dir() and target != found:
                self._point(name, target)
            elif found is None or not found.is_dir():
                (self.folder / name).unlink(missing_ok=True)

    def _all(self) -> list[Path]:
        return [path for path in self.folder.iterdir() if path.name.isdecimal()] if self.folder.is_dir() else []

    def _replaced(self) -> list[Path]:
        return [path for path in self.folder.glob(".replaced-*") if path.name.rpartition("-")[2].isdecimal()]

    def _prune(self) -> None:
        best = pointed(self.folder / "best")
        paths = sorted(self._all(), key=_number)
        for path in paths[: -self.keep] if self.keep else []:
            if path != best:
                self._remove(path)

    def _remove(self, path: Path) -> None:
        gone = path.with_name(f".removing-{path.name}")  # renamed first: no reader sees half of it
        os.replace(path, gone)
        shutil.rmtree(gone, ignore_errors=True)

    def _point(self, name: str, target: Path) -> None:
        beside = self.folder / f".{name}"
        _write_synced(beside, f"{target.name}\n".encode())
        os.replace(beside, self.folder / name)


def open_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint at `path`, a directory or a one-line file such as `best`, once every file matches its hash.

    Raises:
        UserError: not a checkpoint, a file missing, or changed since it was written.
    """
    path = pointed(path) or path
    manifest = _read_manifest(path)
    for name, expected in manifest["files"].items():
        file = path / name
        try:
            actual = hashlib.sha256(file.read_bytes()).hexdigest()
        except OSError as error:
            raise UserError(f"{file}: {error.strerror}; this checkpoint is not whole") from error
        if actual != expected:
            raise UserError(f"{file}: differs from its hash in {MANIFEST}; this checkpoint is damaged")
    return Checkpoint(path, int(manifest["iter"]))


def _number(path: Path) -> int:
    """The iteration in a checkpoint's name, `120` or `.replaced-120`."""
    return int(path.name.rpartition("-")[2])


def state_bytes(state: dict[str, Any]) -> bytes:
    """A state dictionary as the bytes of a PyTorch file."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def _manifest(iteration: int, files: dict[str, bytes]) -> bytes:
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    text = json.dumps({"format": FORMAT, "restore": __version__, "iter": iteration, "files": hashes}, indent=1)
    return text.encode()


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest: Any = parsed((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: no checkpoint: {MANIFEST} is missing or broken") from error
    files = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(files, dict) or not isinstance(manifest.get("iter"), int) or STATE not in files:
        raise UserError(f"{path / MANIFEST}: lists no checkpoint")
    if any(Path(name).name != name or name == ".." or not name.isprintable() for name in files):
        raise UserError(f"{path / MANIFEST}: names files outside its folder, or no files")
    checked: dict[str, Any] = manifest
    return checked


def _write_synced(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
