"""What restores photos, built as the arguments of `restore infer` say."""

import argparse
from pathlib import Path
from typing import cast

from restore.apps.fixed_set import parts_of, sections_of
from restore.apps.occlude_faces import detector_named
from restore.apps.reporting import open_reporter
from restore.errors import UserError
from restore.faces.detector import Detector
from restore.inference.enhance import Enhancer, Interpolation
from restore.inference.holes import GEOMETRY, DrawnHole, FileHole, GeometricHole, Hole
from restore.inference.model import Model, load_model
from restore.inference.paste import Blend
from restore.inference.people import Choice
from restore.inference.rebuild import Rebuilder
from restore.inference.report import Reporter
from restore.inference.segment import OccluderHole, Occluders, detector_for_masks
from restore.registry import DETECTORS, OCCLUSIONS

SIZE = 256  # pixels a side that a network sees of a face's frame, where neither its file nor the user say


def reporter_of(args: argparse.Namespace, model: Model, restorer: Enhancer | Rebuilder) -> Reporter:
    """What `--report` is written by. Raises `UserError`."""
    mask = _hole_named(args) if model.kind == "unmask" else ""
    return open_reporter(args, model, restorer, mask, lambda: detector_of(args))


def detector_of(args: argparse.Namespace) -> Detector:
    """The detector that is asked for, or that suits. Raises `UserError`."""
    name = args.detector or ("yunet" if args.mask != "auto" else detector_for_masks())
    return cast(Detector, DETECTORS.build(detector_named(name)))


def enhancer_of(args: argparse.Namespace, model: Model) -> Enhancer:
    """What enlarges, as the arguments say. Raises `UserError`."""
    wanted = args.faces or ("all" if model.faces else "whole")
    seen = "whole photos" if wanted == "whole" else f"faces ({wanted})"
    about_faces = {"--background": args.background, "--blend": args.blend, "--no_match": args.no_match}
    if wanted == "whole" and (given := [option for option, value in about_faces.items() if value]):
        about = f"{' and '.join(given)}: of no use where the model is shown the whole photo"
        raise UserError(f"{about}; --faces all shows it the faces, each in a frame")
    outscale, background = args.outscale, background_of(args)
    if args.background == "none":
        if outscale not in (None, 1):
            raise UserError(f"--background none leaves it as it is, which --outscale {outscale:g} does not")
        outscale = 1
    made = Enhancer(
        model,
        outscale=outscale,
        tile=args.tile,
        detector=None if wanted == "whole" else detector_of(args),
        choice=Choice() if wanted == "whole" else Choice.parse(wanted),
        background=background,
        blend=args.blend or "feather",
        match=not args.no_match,
        size=args.size or (None if model.faces else SIZE * model.scale),  # its file's are pieces of photos, no faces
    )
    print(f"{args.model or model.name}: is shown {seen}; results are {made.outscale:g} times as large")
    return made


def background_of(args: argparse.Namespace) -> Model | Interpolation:
    """What is to be around the faces. Raises `UserError`."""
    name = args.background or "bicubic"
    if name in ("bicubic", "lanczos", "none"):
        return cast(Interpolation, name if name != "none" else "bicubic")
    return load_model(name, device=args.device, precision=args.precision)


def rebuilder_of(args: argparse.Namespace, model: Model) -> Rebuilder:
    """What rebuilds, as the arguments say. Raises `UserError`."""
    hole, whole = hole_of(args), args.faces == "whole"
    detector = detector_of(args) if hole.needs_faces or not whole else None
    size = None if whole else args.size or model.size or SIZE
    trained = f" (trained on {model.size} px)" if model.size else ""
    seen = f"whole pictures{trained}" if size is None else f"faces in frames of {size} px"
    fill = f", shown to it as `--fill {args.fill}` says" if not args.occlude else ""
    fill = fill if model.show_hole else ", black to it, as in its training"
    print(f"{args.model or model.name}: is shown {seen}; holes by {_hole_named(args)}{fill}")
    choice = Choice.parse("all" if whole or not args.faces else args.faces)
    blend: Blend = args.blend or "poisson"
    return Rebuilder(model, hole, detector, choice, size, args.candidates, args.tile, blend, not args.no_match)


def hole_of(args: argparse.Namespace) -> Hole:
    """What the arguments say is to be rebuilt. Raises `UserError`."""
    if args.occlude:
        return DrawnHole(
            parts_of(sections_of(args.occlude, "--occlude", "LowerFace"), OCCLUSIONS, "--occlude"), args.seed
        )
    if args.mask == "auto":
        return OccluderHole(args.fill, Occluders(device=args.device))
    if args.mask in GEOMETRY:
        return GeometricHole(args.mask, args.fill)
    return FileHole(Path(args.mask), args.mask_polarity, args.fill)


def _hole_named(args: argparse.Namespace) -> str:
    if args.occlude:
        return f"--occlude {args.occlude}"
    if args.mask == "auto":
        return "what a network takes for something before a face"
    if args.mask in GEOMETRY:
        return f"`{args.mask}`: geometry, from the face's landmarks alone; what really covers it is not looked for"
    return f"{args.mask} ({args.mask_polarity})"
