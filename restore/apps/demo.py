"""Serves a page where people make their photos sharper or have covered faces rebuilt, in their browser."""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

from restore.apps.arguments import positive

if TYPE_CHECKING:
    from restore.inference.holes import Hole
    from restore.inference.model import Model

Device = Literal["auto", "cpu", "cuda", "mps"]
OCCLUDER = "occluder"  # the model that ships to find what covers a face


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `restore demo`."""
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME|FILE|DIR",
        help="offer this model too, before those that ship; may be given several times",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0: all of them (127.0.0.1)")
    parser.add_argument("--port", type=_port, default=7860, help="to listen on; 0: one that is free (7860)")
    parser.add_argument("--jobs", type=positive, default=1, metavar="N", help="answers worked on at a time (1)")
    parser.add_argument("--max_mb", type=_megabytes, default=20.0, metavar="MB", help="of an uploaded file (20)")
    parser.add_argument(
        "--max_pixels", type=positive, default=24_000_000, metavar="N", help="of a photo, and of a result (24000000)"
    )
    parser.add_argument("--mark", action="store_true", help="say in a result's metadata that a model made it")
    about = "what networks compute on (auto: CUDA, where there is one)"
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help=about)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Serves the page until Ctrl-C. Raises `RestoreError`."""
    from restore.demo.server import Place, require_gradio, serve

    require_gradio()
    from restore.demo.answers import Answers
    from restore.demo.uploads import Limits
    from restore.inference.segment import detector_for_masks

    models, occluders = models_of(args.model, args.device), occluders_of(args.device)
    answers = Answers(models, Limits(args.max_mb, args.max_pixels), args.mark, occluders, detector_for_masks())
    serve(answers, Place(args.host, args.port, args.jobs))


def models_of(given: Sequence[str], device: Device) -> "dict[str, Model]":
    """The models to offer: those that are given, then those that ship, by their names. Raises `UserError`."""
    from restore.inference.model import load_model, shipped

    models: dict[str, Model] = {}
    for name in [*given, *(name for name in shipped() if name != OCCLUDER)]:
        model = load_model(name, device=device, precision="auto")
        models[model.name if model.name not in models else f"{model.name} {model.sha256[:8]}"] = model
    return models


def occluders_of(device: Device) -> "Callable[[], Hole] | None":
    """What makes the hole of whatever covers a face, where the model for it is here."""
    from restore.inference.model import shipped
    from restore.inference.segment import OccluderHole, Occluders

    return partial(OccluderHole, occluders=Occluders(OCCLUDER, device)) if OCCLUDER in shipped() else None


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port: those are 0 to 65535")
    return value


def _megabytes(text: str) -> float:
    value = float(text)
    if not 0 < value <= 2000:
        raise argparse.ArgumentTypeError(f"{text} is not above 0, and 2000 at most")
    return value
