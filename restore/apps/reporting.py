"""What `--report` and `--reference` of `restore infer` come to: a reporter, with all that it needs, opened once."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from restore.apps.jobs import PHOTOS, Job
from restore.errors import Fault, UserError
from restore.faces.detector import Detector
from restore.inference.enhance import Enhancer
from restore.inference.likeness import NETWORK, Likeness
from restore.inference.model import Model
from restore.inference.rebuild import Rebuilder
from restore.inference.report import Reporter, open_references

T = TypeVar("T")

# What each kind is told; where its file decides, the restorer says below what came of it.
OPTIONS = {
    "sr": ("seed", "fidelity", "outscale", "tile", "faces", "detector", "background", "format", "network_g", "task"),
    "unmask": (
        "seed",
        "candidates",
        "tile",
        "faces",
        "detector",
        "fill",
        "mask_polarity",
        "format",
        "network_g",
        "task",
    ),
}


def check_report(args: argparse.Namespace, jobs: Sequence[Job]) -> None:
    """Raises `UserError` where no report can be made, before anything is done."""
    if args.reference and not args.report:
        raise UserError("--reference says whom a report compares the results with; add --report")
    if args.report and (films := [job for job in jobs if job.is_video]):
        raise UserError(
            f"{films[0].source}: --report tells of photos, not of films; leave it out, or name photos alone"
        )
    for path in args.reference or ():
        if not Path(path).exists():
            raise UserError(f"--reference {path}: no such file or folder")


def open_reporter(
    args: argparse.Namespace, model: Model, restorer: Enhancer | Rebuilder, mask: str, detector: Callable[[], Detector]
) -> Reporter:
    """What tells of the results. Where weights to compare faces are missing, it says so in each report.

    Args:
        mask: where the hole is from, in words.
        detector: gives what finds the faces, where the restorer needs none.

    Raises:
        UserError: no reference shows a face.
    """
    options = used(args, model, restorer, mask)
    likeness, gap = _opened(Likeness, f"the weights of `{NETWORK}`")
    finds, other = (restorer.detector, "") if restorer.detector else _opened(detector, "those of a detector of faces")
    if likeness is None or finds is None:
        return Reporter(model, options, None, finds, gap=gap or other)
    references, notes = open_references(_photos(args.reference), likeness, finds) if args.reference else ([], [])
    for note in notes:
        print(f"WARNING {note}", file=sys.stderr)
    return Reporter(model, options, likeness, finds, references, notes=notes)


def used(args: argparse.Namespace, model: Model, restorer: Enhancer | Rebuilder, mask: str) -> dict[str, Any]:
    """The options that made the results: those given, and what came of those left to the model."""
    given = {name: getattr(args, name) for name in OPTIONS[model.kind]}
    half = model.device.type == "cuda" and args.precision == "auto"
    precision = "fp16" if half else "fp32" if args.precision == "auto" else args.precision
    came = {"blend": restorer.blend, "match": restorer.match, "device": model.device.type, "precision": precision}
    if restorer.detector and not args.detector:
        came["detector"] = type(restorer.detector).__name__
    if isinstance(restorer, Rebuilder):
        size = restorer.size
        came["mask"] = mask
        if not model.show_hole:  # whatever --fill says
            came["fill"] = "black"
    else:
        size = restorer.frame * model.scale if restorer.detector else None
        came["outscale"] = restorer.outscale
    came |= {"size": size, "faces": "whole" if size is None else args.faces or "all"}
    return {name: value for name, value in (given | came).items() if value is not None}


def _opened(make: Callable[[], T], what: str) -> tuple[T | None, str]:
    """Something that needs weights; else what to say in its place, which names no folder of this machine."""
    try:
        return make(), ""
    except (UserError, Fault) as error:
        print(f"WARNING identity: not measured: {error}", file=sys.stderr)
        return None, f"not measured: {what} cannot be had; docs/weights.md says where from"


def _photos(paths: Sequence[str]) -> list[tuple[str, Path]]:
    """The photos that files and folders name, each by the name that a report gives it."""
    found = []
    for root in map(Path, paths):
        if root.is_dir():
            below = sorted(path for path in root.rglob("*") if path.suffix.lower() in PHOTOS and path.is_file())
            found += [(path.relative_to(root).as_posix(), path) for path in below]
        else:
            found.append((root.name, root))
    return found
