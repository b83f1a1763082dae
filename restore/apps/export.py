"""Carries a model elsewhere: the target's suffix says what becomes of it. Every file is checked against PyTorch."""

import argparse
import contextlib
import os
import platform
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from restore.errors import Fault, UserError, nearest

if TYPE_CHECKING:
    from restore.apps.export_source import Source

SUFFIXES = (".onnx", ".pt2", ".safetensors", ".pth")
ONLY = {  # options, and the suffixes that they are for
    "half": (".onnx", ".safetensors"),
    "facts": (".safetensors",),
    "int8": (".onnx",),
    "calibrate": (".onnx",),
    "opset": (".onnx",),
    "size": (".onnx", ".pt2"),
    "param_key": (".pth",),
}
OPSET = 18  # PyTorch's own; ONNX Runtime 1.14 (2023) and later run it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `restore export`."""
    parser.add_argument("model", metavar="MODEL", help="a model's name, a checkpoint, an experiment, a weights file")
    parser.add_argument("target", type=Path, metavar="TARGET", help="the file to write: .onnx .pt2 .safetensors .pth")
    parser.add_argument("--network_g", metavar="YAML", help="its network, if the file does not say: {type: UNet, ...}")
    parser.add_argument("--half", action="store_true", help="16-bit weights; .onnx also computes with 16 bits")
    parser.add_argument("--int8", action="store_true", help=".onnx in 8 bits for CPUs; tells what it loses in PSNR")
    parser.add_argument("--calibrate", type=Path, metavar="DIR", help="pictures for --int8 (without: drawn faces)")
    parser.add_argument("--opset", type=int, metavar="N", help=f"ONNX operators of that version ({OPSET})")
    parser.add_argument("--size", type=_size, metavar="HxW", help="for pictures of that size alone")
    parser.add_argument("--facts", metavar="YAML", help="what .safetensors says of itself: '{faces: true, title: ...}'")
    parser.add_argument("--param_key", choices=("params", "params_ema"), help="the entry of a .pth (params)")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Exports. Raises `UserError` for wrong options, `Fault` for a file that answers otherwise than the model."""
    suffix = _suffix(args)
    from restore.apps.export_source import read_source

    source = read_source(args.model, args.network_g, args.facts)
    if args.target.exists() and args.target.samefile(source.model.path):
        raise UserError(f"{args.target}: is the model itself; name another file")
    with beside(args.target) as path:
        told = _write(source, path, suffix, args)
    print(f"{args.target}: {told}")


def _write(source: "Source", path: Path, suffix: str, args: argparse.Namespace) -> str:
    """Writes and checks one file, and tells what it is."""
    if suffix == ".safetensors":
        from restore.apps.export_weights import write_safetensors

        return write_safetensors(source, path, args.half)
    if suffix == ".pth":
        from restore.apps.export_weights import write_pth

        return write_pth(source, path, args.param_key or "params")
    if suffix == ".pt2":
        from restore.apps.export_torch import write_pt2

        return write_pt2(source, path, args.size)
    from restore.apps.export_onnx import Wanted, write_onnx

    wanted = Wanted(args.opset or OPSET, args.size, args.half, args.int8, args.calibrate)
    return write_onnx(source, path, wanted)


@contextlib.contextmanager
def beside(target: Path) -> Iterator[Path]:
    """A path to write to that becomes `target` when all went well, and is gone otherwise, after SIGTERM too."""
    path = target.with_name(f".{target.stem}.{platform.node()}.{os.getpid()}{target.suffix}")
    before = signal.signal(signal.SIGTERM, _end)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield path
        os.replace(path, target)
    except Fault as error:
        raise Fault(f"{target}: {error}; nothing was written") from error
    except OSError as error:
        raise UserError(f"{target}: cannot write: {error.strerror or error}") from error
    finally:
        path.unlink(missing_ok=True)
        signal.signal(signal.SIGTERM, before)


def _end(signum: int, _: object) -> NoReturn:
    """By itself SIGTERM would end the process without a clean-up."""
    sys.exit(128 + signum)


def _suffix(args: argparse.Namespace) -> str:
    """The target's suffix. Raises `UserError`: unknown, an option that is not for it, or a file that is there."""
    suffix: str = args.target.suffix.lower()
    if suffix not in SUFFIXES:
        told = nearest(suffix, SUFFIXES) or f"; one of {' '.join(SUFFIXES)}"
        raise UserError(f"{args.target}: the suffix says what to write, and `{suffix}` is unknown{told}")
    for option, suffixes in ONLY.items():
        if getattr(args, option) and suffix not in suffixes:
            raise UserError(f"--{option} is for {' and '.join(suffixes)}, not for {suffix}")
    if args.int8 and args.half:
        raise UserError("--int8 and --half: choose one")
    if args.calibrate and not args.int8:
        raise UserError("--calibrate is for --int8; add it")
    if args.target.exists() and not args.overwrite:
        raise UserError(f"{args.target}: is there already; --overwrite replaces it")
    return suffix


def _size(text: str) -> tuple[int, int]:
    """The type of `--size`: `HxW`, or one number for a square."""
    sides = [int(side) for side in text.lower().split("x")]
    if len(sides) > 2 or min(sides) < 1:
        raise argparse.ArgumentTypeError(f"{text}: write it as 256x192, height first")
    return sides[0], sides[-1]
