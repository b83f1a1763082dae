"""Tells what a checkpoint or a weights file holds. Nothing in it is executed."""

import argparse
import contextlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from restore.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

SHOWN = 8  # of a metric's history; all of it with --json
Facts = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `restore inspect`."""
    parser.add_argument(
        "path", type=Path, metavar="CKPT", help="a checkpoint, checkpoints/best, an experiment's folder, a weights file"
    )
    parser.add_argument("--options", action="store_true", help="the options that the run was saved with, whole")
    parser.add_argument("--json", action="store_true", help="everything, as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Prints. Raises `UserError`: nothing there, damaged, or not made of tensors and plain data."""
    facts = inspect(args.path)
    if args.json:
        print(json.dumps(facts, indent=1, ensure_ascii=False, default=str))
        return
    if args.options and "options" not in facts:
        raise UserError(f"{args.path}: a weights file holds no options; name the checkpoint's folder")
    shown = {"options": facts["options"]} if args.options else _short(facts)
    print(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120).rstrip())


def inspect(path: Path) -> Facts:
    """What is known of a checkpoint or a weights file, as plain data.

    Raises:
        UserError: nothing there, a checkpoint's file differs from its hash, or a file cannot be read safely.
    """
    from restore.diffusers_folder import weights_file
    from restore.weights import pointed

    pointers = (path, path / "checkpoints" / "best", path / "checkpoints" / "latest")
    path = next(filter(None, map(pointed, pointers)), path)
    if path.is_dir():
        path = weights_file(path) or path
    if path.is_dir():
        return _checkpoint(path)
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint or weights file")
    return {"file": str(path), **_file(path), **_weights_file(path)}


def _checkpoint(path: Path) -> Facts:
    from restore.engine.checkpoint import MANIFEST, open_checkpoint

    checkpoint = open_checkpoint(path)  # every file's hash is that of the manifest
    state, options = checkpoint.state(), checkpoint.options()
    networks = {file.stem: _weights_file(file) for file in sorted(path.glob("*.safetensors"))}
    facts: Facts = {
        "checkpoint": str(path),
        "experiment": options.get("name"),
        "stage": state.get("stage"),
        "iter": checkpoint.iteration,
        "scale": options.get("scale", 1),
        "best": _best(state.get("best"), options),
        "networks": networks,
        "parts": state.get("parts"),
        "files": {f.name: _file(f) for f in sorted(path.iterdir()) if f.name != MANIFEST},
        "history": _history(path.parent.parent),
        "options": options,
    }
    return {key: value for key, value in facts.items() if value not in (None, {})}


def _weights_file(path: Path) -> Facts:
    if path.suffix == ".safetensors":
        from restore.weights import read_weights

        weights = read_weights(path)
        return {**weights.facts, **_tensors(weights.tensors)}
    return {"entries": _entries(path)}


def _entries(path: Path) -> Facts:
    """The entries of a PyTorch file, such as BasicSR's `params` and `params_ema`."""
    import torch

    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds, from KeyError to UnpicklingError
        raise UserError(f"{path}: cannot be read safely ({type(error).__name__}); nothing in it was run") from error
    if not isinstance(state, Mapping) or any(isinstance(value, torch.Tensor) for value in state.values()):
        state = {"(the file itself)": state}
    return {str(key): _described(value) for key, value in state.items()}


def _described(value: Any) -> Any:
    """Tensors by number and shapes, plain values as they are, anything else by its kind and length."""
    import torch

    if isinstance(value, Mapping) and value and all(isinstance(item, torch.Tensor) for item in value.values()):
        return _tensors(value)
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    return f"{type(value).__name__} of {len(value)}" if hasattr(value, "__len__") else type(value).__name__


def _tensors(tensors: "Mapping[str, Tensor]") -> Facts:
    """How many, how large, and the shapes of the first and the last. Buffers count among the parameters."""
    shapes = {name: "x".join(map(str, tensor.shape)) or "scalar" for name, tensor in tensors.items()}
    ends = list(dict.fromkeys([*list(shapes)[:1], *list(shapes)[-1:]]))
    return {
        "parameters": sum(tensor.numel() for tensor in tensors.values()),
        "tensors": len(tensors),
        "dtypes": sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()}),
        "shapes": {name: shapes[name] for name in ends},
    }


def _best(best: Any, options: Facts) -> Any:
    """The best figure so far, with the metric that it is of."""
    if not best:
        return None
    val = options.get("val") or {}
    metric = (val.get("best") or {}).get("metric") or next(iter(val.get("metrics") or {}), None)
    return {"metric": metric, **best}


def _history(experiment: Path) -> dict[str, dict[int, float | None]]:
    """Each metric by iteration, from the experiment's TensorBoard files; nothing where there are none."""
    from restore.apps.curves import read_curves

    with contextlib.suppress(UserError):
        curves = read_curves(experiment).curves
        return {
            tag.removeprefix("metrics/"): {
                iteration: value if math.isfinite(value) else None
                for iteration, value in zip(curve.iterations, curve.values, strict=True)
            }
            for tag, curve in curves.items()
            if tag.startswith("metrics/")
        }
    return {}


def _short(facts: Facts) -> Facts:
    """What fits on a screen: the last of the history, short hashes, the options that matter most."""
    short = dict(facts)
    if "history" in facts:
        short["history"] = {
            tag: {i: value and round(value, 4) for i, value in list(points.items())[-SHOWN:]}
            for tag, points in facts["history"].items()
        }
    if "networks" in facts:
        wanted = ("arch", "parameters", "tensors")
        short["networks"] = {name: _only(network, wanted) for name, network in facts["networks"].items()}
    if "files" in facts:
        short["files"] = {
            name: {**file, "sha256": file["sha256"][:12], "verified": True} for name, file in facts["files"].items()
        }
    if "options" in facts:
        train = facts["options"].get("train") or {}
        data = (facts["options"].get("datasets") or {}).get("train")
        chosen = ("losses", "optim_g", "scheduler", "total_iter", "total_epoch")
        short["options"] = {"datasets": {"train": data}, "train": _only(train, chosen)}
    return short


def _only(facts: Facts, keys: tuple[str, ...]) -> Facts:
    return {key: facts[key] for key in keys if key in facts}


def _file(path: Path) -> Facts:
    from restore.pretrained import sha256_of

    return {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
