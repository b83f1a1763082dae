"""Restores photos and videos: each is read, handed to a model, and written whole or not at all."""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from restore import images
from restore.apps.fixed_set import parts_of, sections_of
from restore.apps.jobs import Job, check_names, find_jobs
from restore.apps.reporting import check_report, open_reporter
from restore.errors import Fault, Preempted, RestoreError, UserError
from restore.faces.detector import Detector
from restore.faces.face import Face
from restore.films import video
from restore.images import Image, UnreadableImage
from restore.inference.enhance import Enhanced, Enhancer, Interpolation
from restore.inference.holes import GEOMETRY, DrawnHole, FileHole, GeometricHole, Hole, NothingHidden
from restore.inference.model import Kind, Model, kind_of, load_model
from restore.inference.paste import Blend
from restore.inference.people import Choice, chosen
from restore.inference.rebuild import Rebuilder, Rebuilt
from restore.inference.report import Reporter
from restore.inference.report_picture import draw
from restore.inference.segment import OccluderHole, Occluders, detector_for_masks
from restore.inference.side_by_side import side_by_side, tinted
from restore.inference.tiling import is_out_of_memory
from restore.options.document import parse_value
from restore.photos import DONE, Note, decode_photo, encode_photo, left_out, read_photo
from restore.progress import watched
from restore.registry import DETECTORS, OCCLUSIONS

ROUNDING = 8  # levels of 255
SIZE = 256  # pixels a side that a network sees of a face's frame, where neither its file nor the user say
DEFAULTS: dict[str, str] = {"sr": "photo_x4", "unmask": "face_unmask"}  # the models that ship

ASIDE = frozenset(
    {"input", "output", "run", "command", "overwrite", "dry_run", "compare", "shard", "format", "device"}
    | {"report", "reference"}
)

Done = Enhanced | Rebuilt


class Plan(NamedTuple):
    """What the arguments come to, before any network is opened."""

    model: str
    kind: Kind
    network: dict[str, Any] | None
    task: dict[str, Any] | None  # laid over the model's
    keep: bool
    compare: bool


def run(args: argparse.Namespace) -> None:
    """Does all photos. Raises `UserError` for wrong options, `Fault` when some could not be done."""
    if hasattr(sys.stdout, "reconfigure"):  # a name may hold what the terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    plan = plan_of(args)
    output = Path(args.output) if args.output else None
    found = find_jobs(args.input, output, plan.keep, "" if output else "_unmasked")
    check_names(found, args.candidates, plan.compare, args.report)
    check_report(args, found)
    jobs = args.shard.of(found)
    if args.shard.count > 1:
        print(f"part {args.shard}: {len(jobs):,} of {len(found):,} pictures")
    todo = [job for job in jobs if args.overwrite or not _is_done(job, args)]
    if args.dry_run:
        _foretell(plan, jobs, todo, args.candidates)
        return
    if len(todo) < len(jobs):
        print(f"skipped, since they are there: {len(jobs) - len(todo):,} of {len(jobs):,}; --overwrite does them again")
    if todo:
        work = Work.of(args, plan, tell=len(todo) == 1)
        if output:
            _check_output(output)
        _do_all(todo, work)


def _is_done(job: Job, args: argparse.Namespace) -> bool:
    """Whether nothing that is asked for is missing. A report is only made of a result that is made again."""
    return job.done(args.candidates) and (not args.report or all(path.exists() for path in job.reports))


def _foretell(plan: Plan, jobs: Sequence[Job], todo: Sequence[Job], candidates: int) -> None:
    """Says what would be done."""
    print(f"model {plan.model} ({plan.kind})")
    waiting = set(todo)
    for job in jobs:
        if job not in waiting:
            print(f"skip {job.source}: {job.target} is there")
            continue
        targets = [job.target, *job.further(candidates)]
        again = " (replaces what is there)" if any(target.exists() for target in targets) else ""
        print(f"{job.source} -> {', '.join(map(str, targets))}{again}")
    print(f"{len(todo):,} to do, {len(jobs) - len(todo):,} skipped; nothing was done: --dry_run")


def _check_output(folder: Path) -> None:
    """Raises `UserError` where nothing can be written, before hours of work."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"-o {folder}: {error.strerror}; choose another folder") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"-o {folder}: nothing can be written there; choose another folder")


def _do_all(todo: Sequence[Job], work: "Work") -> None:
    """Does all of them, and says of each what was done. Raises `Fault` at the end when some could not be done."""
    failed = 0

    def done() -> Iterator[None]:
        nonlocal failed
        for job in todo:
            try:
                print(work.do(job), flush=True)
            except Exception as error:
                failed += 1
                print(f"FAILED {job.source}: {_reason(job, error)}", file=sys.stderr, flush=True)
            yield

    results = done()
    for _ in watched(results, len(todo), "photos", lines=False) if len(todo) > 1 else results:
        pass
    if failed:
        raise Fault(f"{failed:,} of {len(todo):,} pictures could not be done; see above")


def _reason(job: Job, error: Exception) -> str:
    """What to tell of a photo that could not be done. Raises what nobody foresaw."""
    if isinstance(error, RestoreError) and not isinstance(error, Preempted):
        return str(error).removeprefix(f"{job.source}: ")
    if is_out_of_memory(error) or "Insufficient memory" in str(error):  # OpenCV's
        return "out of memory; a smaller --tile, --precision fp16 or --device cpu may do"
    raise error


# ----------------------------------------------------------------------------------------------------- one picture


class Work(NamedTuple):
    """What is done to each photo."""

    restorer: Enhancer | Rebuilder
    candidates: int
    compare: bool
    overwrite: bool
    note: Note | None
    settings: dict[str, Any]  # what a film's frames depend on
    reporter: Reporter | None = None

    @classmethod
    def of(cls, args: argparse.Namespace, plan: Plan, tell: bool) -> "Work":
        """Opens the networks. Raises `UserError`.

        Args:
            tell: show how far a network is that takes long over one picture.
        """
        model = load_model(
            plan.model,
            device=args.device,
            precision=args.precision,
            network_g=plan.network,
            task=plan.task,
            kind=plan.kind,
            seed=args.seed,
            fidelity=args.fidelity,
            tell=tell,
        )
        restorer = rebuilder_of(args, model) if plan.kind == "unmask" else enhancer_of(args, model)
        note = Note(model.name, model.sha256, DONE[plan.kind]) if args.mark else None
        settings = {name: value for name, value in vars(args).items() if name not in ASIDE}
        settings |= {"sha256": model.sha256}
        reporter = _reporter_of(args, model, restorer) if args.report else None
        return cls(restorer, args.candidates, plan.compare, args.overwrite, note, settings, reporter)

    def do(self, job: Job) -> str:
        """Does one photo or film and says what was done. Raises `RestoreError`."""
        return self._film(job) if job.is_video else self._photo(job)

    def _photo(self, job: Job) -> str:
        photo = read_photo(job.source)
        done = self._restored(job.key, photo.pixels)
        results = done.results if isinstance(done, Rebuilt) else [done.picture]
        notes = [
            *photo.notes,
            *done.notes,
            *(f"left out: {what}" for what in left_out(job.target, photo, self.note)),
        ]
        _warn(job, notes)
        targets = (job.target, *job.further(self.candidates))
        files = {
            target: encode_photo(target, photo.with_pixels(result), self.note)
            for target, result in zip(targets, results, strict=True)
        }
        self._check_same(files)
        if self.compare:
            images.write(job.comparison, comparison(photo.pixels, done))
        report = self.reporter(job.source, photo.pixels, done, files, notes) if self.reporter else None
        if report:
            for path, data in zip(
                job.reports, (report.json(), images.encode(job.reports[1], draw(report))), strict=True
            ):
                images.write_atomic(path, data)
        for target, data in reversed(files.items()):
            images.write_atomic(target, data)
        likeness = f"; {report.told}" if report else ""
        lossy = LOSSY if isinstance(done, Rebuilt) and job.lossy else ""
        return f"{job.target}: {told(photo.pixels, done)}{likeness}{lossy}"

    def _film(self, job: Job) -> str:
        """Frame by frame. One in which there is nothing to do stays as it is."""
        restorer = self.restorer

        def each(picture: Image, faces: Sequence[Face] | None) -> Image:
            try:
                people = None if faces is None else _among(faces, restorer.choice)
                done = self._restored(job.key, picture, people)
            except NothingHidden:
                return picture
            return done.results[0] if isinstance(done, Rebuilt) else done.picture

        remark = self.note.sentence if self.note else None
        done = video.restore_video(
            job.source,
            job.target,
            each,
            detector=restorer.detector,
            remark=remark,
            settings=self.settings,
            overwrite=self.overwrite,
        )
        _warn(job, done.notes)
        return f"{job.target}: {done.frames:,} frames, {done.seconds:.1f} s" + (LOSSY if self._rebuilds else "")

    @property
    def _rebuilds(self) -> bool:
        return isinstance(self.restorer, Rebuilder)

    def _restored(self, key: str, picture: Image, faces: Sequence[Face] | None = None) -> Done:
        if isinstance(self.restorer, Rebuilder):
            return self.restorer(key, picture, faces)
        return self.restorer(picture, faces)

    def _check_same(self, files: dict[Path, bytes]) -> None:
        """Raises `UserError` where candidates of other settings would be mixed with these."""
        for target, data in files.items():
            if not self.overwrite and target.exists() and _other(target, data):
                raise UserError(
                    f"{target} differs from what these settings make; --overwrite, or another folder for -o"
                )


def _warn(job: Job, notes: Iterable[str]) -> None:
    for note in notes:
        print(f"WARNING {job.key}: {note}", file=sys.stderr)


def _among(faces: Sequence[Face], choice: Choice) -> list[Face]:
    """Those of a frame's faces that are meant, counted as they appeared in the film."""
    try:
        return chosen(list(faces), choice)
    except UserError:  # none of them is in this frame
        return []


LOSSY = "; lossy format kept: the rest is NOT byte for byte that of the input"


def told(before: Image, done: Done) -> str:
    """What was done to a picture, in words."""
    if isinstance(done, Rebuilt):
        times = f", {len(done.results)} times" if len(done.results) > 1 else ""
        return f"{100 * done.mask.mean():.1f} % of the picture rebuilt{times}"
    (height, width), (high, wide) = before.shape[:2], done.picture.shape[:2]
    faces = f", {len(done.faces)} face{'s' * (len(done.faces) != 1)}" if done.faces else ""
    return f"{width}x{height} to {wide}x{high}{faces}"


def comparison(before: Image, done: Done) -> Image:
    """The input, what the network was shown with the hole tinted, and the results, side by side."""
    if isinstance(done, Rebuilt):
        return side_by_side([before, tinted(done.shown, done.mask), *done.results])
    return side_by_side([before, done.picture])


def _other(target: Path, data: bytes) -> bool:
    """Whether the picture in a file is another than the one in `data`, by more than what a GPU rounds differently."""
    try:
        before = images.file_bytes(target)
        if before == data:
            return False
        there, made = (decode_photo(each, str(target)).pixels for each in (before, data))
    except UnreadableImage:
        return True
    if there.shape != made.shape or there.dtype != made.dtype:
        return True
    apart = np.abs(images.eight_bits(there).astype(np.int16) - images.eight_bits(made))
    return bool(apart.max() > ROUNDING)


# --------------------------------------------------------------------------------------------------------- options


def plan_of(args: argparse.Namespace) -> Plan:
    """What the arguments ask for. Raises `UserError` where they do not go together."""
    word, task = _task_of(args.task)
    if args.model is None and word is None:
        raise UserError("which model? --model NAME or FILE, or --task sr or unmask for the one that ships")
    model = args.model or DEFAULTS[cast(str, word)]
    network = parse_value(args.network_g, "--network_g") if args.network_g else None
    if network is not None and not isinstance(network, dict):
        raise UserError(f"--network_g {args.network_g} is none; write it as '{{type: UNet, ...}}'")
    wanted: Kind | None = "unmask" if args.mask or args.occlude else cast(Kind | None, word)
    kind = kind_of(model, network, wanted)
    if word not in (None, kind):
        raise UserError(f"{model}: is a model for --task {kind}, not {word}")
    _check_fit(args, model, kind)
    keep = args.format == "keep" or (args.format is None and kind == "sr")
    return Plan(model, kind, network, task, keep, kind == "unmask" if args.compare is None else args.compare)


def _task_of(text: str | None) -> tuple[str | None, dict[str, Any] | None]:
    """`--task` as a kind of model, or as what its task does otherwise."""
    if text is None or text in DEFAULTS:
        return text, None
    section = parse_value(text, "--task")
    if not isinstance(section, dict):
        raise UserError(f"--task {text}: is none of {', '.join(DEFAULTS)}, nor written as '{{num_steps: 20}}'")
    return None, section


def _check_fit(args: argparse.Namespace, model: str, kind: Kind) -> None:
    """Raises `UserError` for options that mean nothing to a model of that kind."""
    others = {
        "sr": {"--mask": args.mask, "--occlude": args.occlude, "--candidates": args.candidates > 1},
        "unmask": {"--outscale": args.outscale, "--background": args.background},
    }
    if given := [option for option, value in others[kind].items() if value]:
        does = "enlarges or cleans photos" if kind == "sr" else "rebuilds what is hidden"
        raise UserError(f"{model}: {does}, which has no use for {' and '.join(given)}")
    if kind == "unmask" and not (args.mask or args.occlude):
        raise UserError(f"{model}: rebuilds what is hidden; say what: --mask auto, FILE, DIR, lower or face_mask")
    if args.faces not in (None, "whole"):
        Choice.parse(args.faces)
    if args.faces == "whole" and args.size:
        raise UserError("--size is that of a face's frame; with --faces whole there is none")


def _reporter_of(args: argparse.Namespace, model: Model, restorer: Enhancer | Rebuilder) -> Reporter:
    """What `--report` is written by. Raises `UserError`."""
    mask = _hole_named(args) if model.kind == "unmask" else ""
    return open_reporter(args, model, restorer, mask, lambda: detector_of(args))


def detector_of(args: argparse.Namespace) -> Detector:
    """The detector that is asked for, or that suits. Raises `UserError`."""
    name = args.detector or ("yunet" if args.mask != "auto" else detector_for_masks())
    parts = parts_of(sections_of(name, "--detector", "yunet"), DETECTORS, "--detector")
    return cast(Detector, DETECTORS.build(parts[0]))


# -------------------------------------------------------------------------------------------------- super-resolution


def enhancer_of(args: argparse.Namespace, model: Model) -> Enhancer:
    """What enlarges, as the arguments say. Raises `UserError`."""
    wanted = args.faces or ("all" if model.faces else "whole")
    seen = "whole photos" if wanted == "whole" else f"faces ({wanted})"
    if wanted == "whole" and args.background:
        raise UserError("--background is what is around faces; --faces all shows them to the model, each in a frame")
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


# ------------------------------------------------------------------------------------------------------- unmasking


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
