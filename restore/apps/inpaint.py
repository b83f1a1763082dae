"""Rebuilds what is hidden in photos, and leaves every other pixel as it was."""

import argparse
import glob
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restore import images
from restore.apps.evaluate import inpainting_task, override_task
from restore.apps.fixed_set import parts_of, sections_of
from restore.apps.holes import GEOMETRY, DrawnHole, FileHole, GeometricHole, Hole
from restore.engine.device import pick_device, prepare_backend
from restore.engine.methods import Model
from restore.errors import Fault, UserError
from restore.faces.crop import Crop, Window
from restore.faces.detector import Detector
from restore.faces.face import Face
from restore.images import Image, UnreadableImage
from restore.occlusions.occlusion import Mask
from restore.options import document as doc
from restore.options.check import validate
from restore.options.document import Document
from restore.registry import DETECTORS
from restore.tasks.candidates import require_latents
from restore.tasks.restoration_task import Restoration
from restore.weights import read_weights

ROUNDING = 8  # levels of 255
SIZE = 256  # pixels a side of a face's frame, where neither the weights nor the user say
LOSSLESS = frozenset({".png", ".tif", ".tiff", ".bmp", ".ppm"})
LOSSY = frozenset({".jpg", ".jpeg", ".webp"})
COMPARE = 1024  # longest side of a picture in a comparison
TINT = (255, 0, 160)

Answer = Callable[[Tensor, Tensor], Tensor]  # LQ (1, 3, h, w) and mask (1, 1, h, w) to the network's own answer


class Inpainted(NamedTuple):
    """What was made of a picture: what the network was shown, which pixels it rebuilt, and the pictures with them."""

    shown: Image
    mask: Mask
    results: list[Image]  # one a candidate


class Job(NamedTuple):
    """A picture to do, its name, and where the result goes."""

    key: str
    source: Path
    target: Path

    @property
    def comparison(self) -> Path:
        return self.target.with_name(f"{self.target.stem}_compare.png")

    def further(self, candidates: int) -> list[Path]:
        """Where its results go besides the first, which is at `target`."""
        stem, suffix = self.target.stem, self.target.suffix
        return [self.target.with_name(f"{stem}_c{number}{suffix}") for number in range(1, candidates)]

    def done(self, candidates: int) -> bool:
        """Whether all its results are there."""
        return all(path.exists() for path in (self.target, *self.further(candidates)))


def run(args: argparse.Namespace) -> None:
    """Does all pictures. Raises `UserError` for wrong options, `Fault` when some pictures could not be done."""
    found = find_jobs(args.input, Path(args.output), keep=args.format == "keep")
    _check_names(found, args.candidates, not args.no_compare)
    jobs = args.shard.of(sorted(found))
    if args.shard.count > 1:
        print(f"part {args.shard}: {len(jobs):,} of {len(found):,} pictures")
    todo = [job for job in jobs if args.overwrite or not job.done(args.candidates)]
    if len(todo) < len(jobs):
        print(f"skipped, since they are there: {len(jobs) - len(todo):,} of {len(jobs):,}; --overwrite does them again")
    if not todo:
        return
    inpainter = Inpainter.of(args)
    failed = 0
    for job in todo:
        try:
            print(_do(job, inpainter, not args.no_compare, args.overwrite), flush=True)
        except UserError as error:
            failed += 1
            reason = str(error).removeprefix(f"{job.source}: ")
            print(f"FAILED {job.source}: {reason}", file=sys.stderr, flush=True)
    if failed:
        raise Fault(f"{failed:,} of {len(todo):,} pictures could not be done; see above")


def _do(job: Job, inpainter: "Inpainter", compare: bool, overwrite: bool) -> str:
    """Does one picture and says what was done. Raises `UserError`."""
    picture = images.read(job.source)
    done = inpainter(job.key, picture)
    targets = (job.target, *job.further(len(done.results)))
    files = {target: images.encode(target, result) for target, result in zip(targets, done.results, strict=True)}
    others = [] if overwrite else [target for target, data in files.items() if target.exists() and _other(target, data)]
    if others:
        raise UserError(f"{others[0]} differs from what these settings make; --overwrite, or another folder for -o")
    if compare:
        images.write(job.comparison, comparison(picture, done))
    for target, data in reversed(files.items()):
        images.write_atomic(target, data)
    told = f"{job.target}: {100 * done.mask.mean():.1f} % of the picture rebuilt"
    told += f", {len(targets)} times" if len(targets) > 1 else ""
    lossy = job.target.suffix.lower() in LOSSY
    return told + ("; lossy format kept: the rest is NOT byte for byte that of the input" if lossy else "")


def _other(target: Path, data: bytes) -> bool:
    """Whether the picture in a file is another than the one in `data`, by more than what a GPU rounds differently."""
    if target.read_bytes() == data:
        return False
    try:
        there, made = images.read(target), images.decode(data, str(target))
    except UnreadableImage:
        return True
    if there.shape != made.shape or there.dtype != made.dtype:
        return True
    apart = np.abs(images.eight_bits(there).astype(np.int16) - images.eight_bits(made))
    return bool(apart.max() > ROUNDING)


# ------------------------------------------------------------------------------------------------------- pictures


def find_jobs(inputs: Sequence[str], output: Path, keep: bool) -> list[Job]:
    """The pictures that files, folders and globs name. In a folder below `output` nothing is looked for.

    Args:
        keep: results have the format of their picture, also where that is lossy.

    Raises:
        UserError: nothing there, or two pictures whose results would have one name.
    """
    found: dict[str, Path] = {}
    for text in inputs:
        for key, path in _named_by(text, output):
            if key in found and found[key] != path:
                raise UserError(
                    f"{path}: its result would have the same name as that of {found[key]}; do one by itself"
                )
            found[key] = path
    jobs = []
    for key, path in found.items():
        suffix = path.suffix.lower()
        job = Job(key, path, output / f"{key}{suffix if suffix in LOSSLESS or keep else '.png'}")
        if path.resolve() in (job.target.resolve(), job.comparison.resolve()):
            raise UserError(f"{path}: would be overwritten by its result; choose another folder for -o")
        jobs.append(job)
    return jobs


def _check_names(jobs: Sequence[Job], candidates: int, compare: bool) -> None:
    """Raises `UserError` when one picture's comparison or candidate would pass for another's result, or replace it."""
    taken = {path.resolve(): job.source for job in jobs for path in (job.source, job.target)}
    for job in jobs:
        beside = dict.fromkeys(job.further(candidates), ("a candidate", "do one by itself"))
        if compare:
            beside[job.comparison] = "the comparison", "--no_compare"
        for path, (what, remedy) in beside.items():
            if other := taken.get(path.resolve()):
                raise UserError(f"{other}: its result would have the name of {what} of {job.source}; {remedy}")


def _named_by(text: str, output: Path) -> list[tuple[str, Path]]:
    root = Path(text)
    if root.is_dir():
        if root.resolve() == output.resolve():
            raise UserError(f"-o {output}: is the folder of the pictures; choose another")
        paths = _outside(output, images.find(root))
        named = [(path.relative_to(root).with_suffix("").as_posix(), path) for path in paths]
    else:
        matches = [Path(name) for name in sorted(glob.glob(text, recursive=True))]
        paths = [root] if root.exists() else _outside(output, matches)
        if matches and not paths:
            raise UserError(f"-o {output}: is the folder of the pictures; choose another")
        named = [(path.stem, path) for path in paths if path.is_file()]
    if not named:
        raise UserError(f"{text}: no pictures there")
    return named


def _outside(output: Path, paths: Iterable[Path]) -> list[Path]:
    """Those that are no results: other tasks may be writing some at this moment."""
    results = output.resolve()
    return [path for path in paths if results not in path.resolve().parents]


# ------------------------------------------------------------------------------------------------------ rebuilding


class Inpainter:
    """Finds faces, decides what is hidden, and has a network rebuild it.

    Args:
        answers: the network's, one a candidate.
        hole: what is to be rebuilt.
        detector: finds the faces; None where none are needed.
        size: of the aligned frames that the network sees; None: it sees the whole picture.
    """

    def __init__(self, answers: Sequence[Answer], hole: Hole, detector: Detector | None, size: int | None) -> None:
        self.answers, self.hole, self.detector, self.size = answers, hole, detector, size

    @classmethod
    def of(cls, args: argparse.Namespace) -> "Inpainter":
        """As the command's arguments say. Raises `UserError`."""
        hole = hole_of(args)
        detector = None
        if hole.needs_faces or not args.whole:
            parts = parts_of(sections_of(args.detector, "--detector", "yunet"), DETECTORS, "--detector")
            detector = DETECTORS.build(parts[0])
        facts = read_weights(Path(args.model)).facts
        model = network_of(args, facts)
        if args.candidates > 1 and isinstance(model.task, Restoration):
            require_latents(model.network)
        size = None if args.whole else args.size or facts.get("size") or SIZE
        trained = f" (trained on {facts['size']} px)" if "size" in facts else ""
        seen = f"whole pictures{trained}" if size is None else f"faces in frames of {size} px"
        blind = not getattr(model.task, "show_hole", False)
        fill = ", black to it, as in its training" if blind else f", shown to it as `--fill {args.fill}` says"
        fill = "" if args.occlude and not blind else fill
        print(f"{args.model}: is shown {seen}; holes by {_hole_named(args)}{fill}")
        answers = [checked(model.answer(number), args.model) for number in range(args.candidates)]
        return cls(answers, hole, detector, size)

    def __call__(self, key: str, picture: Image) -> Inpainted:
        """Rebuilds one picture. Raises `UserError`: no face, no hole, or none of it in a face's frame."""
        faces = self.detector(picture) if self.detector else []
        if self.detector and not faces:
            raise UserError("no face was found; another --detector, or --whole, may do")
        picture = np.ascontiguousarray(picture)  # type: ignore[assignment]
        shown, mask = self.hole(key, picture, faces)
        if self.size is None:
            return Inpainted(shown, mask, [whole(shown, mask, answer) for answer in self.answers])
        made = [in_frames(shown, mask, faces, self.size, answer) for answer in self.answers]
        rebuilt = made[0][1]
        if not rebuilt.any():
            raise UserError("nothing of the mask lies in a face's frame; --whole may do")
        if left := int((mask & ~rebuilt).sum()):
            outside = f"{left:,} pixels of the mask lie outside the frames of the faces, and were left"
            print(f"WARNING {key}: {outside}; --whole rebuilds all of it", file=sys.stderr)
        return Inpainted(shown, rebuilt, [result for result, _ in made])


def whole(shown: Image, mask: Mask, answer: Answer) -> Image:
    """The picture (H, W, 3) with the network's answer where the mask (H, W) is set."""
    result = shown.copy()
    pred = answer(images.to_unit(shown), torch.from_numpy(mask)[None, None].float())
    _lay(result, (slice(0, mask.shape[0]), slice(0, mask.shape[1])), pred, mask)
    return result


def in_frames(shown: Image, mask: Mask, faces: Sequence[Face], size: int, answer: Answer) -> tuple[Image, Mask]:
    """The same, face by face in aligned frames of `size` pixels: the picture, and what of the mask was rebuilt.

    A pixel in the frames of two faces is rebuilt with the first of them, and known to the second.
    """
    result, left = shown.copy(), mask.copy()
    for face in faces:
        crop, window = Crop.of(face, size), extent(left)
        if window is None:
            break
        hole = left[window] & crop.holds(window)
        if hole.any():
            pred = answer(crop.cut(result), crop.cut_mask(left))
            _lay(result, window, crop.back(pred, window), hole)
            left[window] &= ~hole
    return result, mask & ~left


def extent(mask: Mask) -> Window | None:
    """The rows and columns from the first to the last that the mask (H, W) has a pixel in."""
    if not mask.any():
        return None
    (y0, y1), (x0, x1) = (np.flatnonzero(mask.any(axis=axis))[[0, -1]].tolist() for axis in (1, 0))
    return slice(y0, y1 + 1), slice(x0, x1 + 1)


def _lay(picture: Image, window: Window, pred: Tensor, hole: Mask) -> None:
    """Writes a prediction (1, 3, h, w) into a picture's window, where the hole (h, w) is, at the picture's depth."""
    full = float(np.iinfo(picture.dtype).max)
    levels = (pred[0].double().clamp(0, 1) * full).round().permute(1, 2, 0).numpy()
    np.copyto(picture[window], levels.astype(picture.dtype), where=hole[:, :, None])


# --------------------------------------------------------------------------------------------------------- options


def hole_of(args: argparse.Namespace) -> Hole:
    """What the arguments say is to be rebuilt. Raises `UserError`."""
    if args.occlude:
        return DrawnHole(args.occlude, args.seed)
    if args.mask in GEOMETRY:
        return GeometricHole(args.mask, args.fill)
    return FileHole(Path(args.mask), args.mask_polarity, args.fill)


def _hole_named(args: argparse.Namespace) -> str:
    if args.occlude:
        return f"--occlude {args.occlude}"
    if args.mask in GEOMETRY:
        return f"`{args.mask}`: geometry, from the face's landmarks alone; what really covers it is not looked for"
    return f"{args.mask} ({args.mask_polarity})"


def network_of(args: argparse.Namespace, facts: dict[str, Any]) -> Model:
    """The network, `facts` being what its file says of itself.

    Raises:
        UserError: the weights cannot be read or do not say which network they are for, or it is none for inpainting.
    """
    network = doc.parse_value(args.network_g, "--network_g") if args.network_g else facts.get("arch")
    if not isinstance(network, dict):
        told = "does not say which network it is for" if network is None else f"--network_g {args.network_g} is none"
        raise UserError(f"{args.model}: {told}; add --network_g '{{type: UNet, ...}}'")
    if facts.get("scale", 1) != 1:
        raise UserError(f"{args.model}: enlarges {facts['scale']} times; `restore infer` takes networks for inpainting")
    data: dict[str, Any] = {"name": "infer", "task": inpainting_task(facts, network), "network_g": network}
    data |= {"device": args.device, "manual_seed": args.seed, "path": {"pretrain_network_g": args.model}}
    document = Document("restore infer", data)
    override_task(document, args.task, "--task")
    options = validate(document)
    device = pick_device(options.device)
    prepare_backend(device, deterministic=False)
    return Model(options, device, tell=True)


def checked(method: Callable[[Tensor, Tensor | None], Tensor], model: str) -> Answer:
    """A network whose answers are pictures of the size of what it was shown; else it raises `UserError`."""

    def answer(lq: Tensor, mask: Tensor) -> Tensor:
        try:
            with torch.inference_mode():
                pred = method(lq, mask)
        except ValueError as error:  # such as a picture that is too small
            raise UserError(f"{model}: {error}") from error
        if pred.shape != lq.shape:
            raise UserError(f"{model}: makes {tuple(pred.shape)} of {tuple(lq.shape)}: no network for inpainting")
        return pred

    return answer


# ------------------------------------------------------------------------------------------------------ comparison


def comparison(picture: Image, done: Inpainted) -> NDArray[np.uint8]:
    """The input, what the network was shown with the hole tinted, and the results, side by side."""
    shown = images.eight_bits(done.shown)
    tinted = shown.copy()
    tinted[done.mask] = (shown[done.mask] * 0.6 + np.array(TINT) * 0.4).astype(np.uint8)
    results = map(images.eight_bits, done.results)
    columns = [_fitted(each) for each in (images.eight_bits(picture), tinted, *results)]
    gap = np.full((columns[0].shape[0], 4, 3), 255, np.uint8)
    return np.hstack([piece for column in columns for piece in (gap, column)][1:])


def _fitted(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import cv2

    scale = COMPARE / max(picture.shape[:2])
    if scale >= 1:
        return picture
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    return np.asarray(cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_AREA), np.uint8)
