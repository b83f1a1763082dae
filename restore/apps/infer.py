"""Restores photos and videos: each is read, handed to a model, and written whole or not at all."""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from restore import images
from restore.apps.infer_plan import Plan, plan_of
from restore.apps.jobs import Job, check_names, find_jobs
from restore.apps.reporting import check_report
from restore.apps.restorers import enhancer_of, rebuilder_of, reporter_of
from restore.engine.device import is_out_of_memory
from restore.errors import Fault, Preempted, RestoreError, UserError
from restore.faces.face import Face
from restore.films import video
from restore.images import Image, UnreadableImage
from restore.inference.enhance import Enhanced, Enhancer
from restore.inference.holes import NothingHidden
from restore.inference.model import load_model
from restore.inference.people import Choice, chosen
from restore.inference.rebuild import Rebuilder, Rebuilt
from restore.inference.report import Reporter
from restore.inference.report_picture import draw
from restore.inference.side_by_side import side_by_side, tinted
from restore.photos import DONE, Note, decode_photo, encode_photo, left_out, read_photo
from restore.progress import watched

ROUNDING = 8  # levels of 255

ASIDE = frozenset(
    {"input", "output", "run", "command", "overwrite", "dry_run", "compare", "shard", "format", "device"}
    | {"report", "reference"}
)

Done = Enhanced | Rebuilt


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
    for job in jobs:
        if job.is_video and job not in todo:
            video.clear_leftovers(job.target)
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
    if is_out_of_memory(error):
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
        reporter = reporter_of(args, model, restorer) if args.report else None
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
        lossy = LOSSY if isinstance(restorer, Rebuilder) else ""
        return f"{job.target}: {done.frames:,} frames, {done.seconds:.1f} s, {done.encoding}{lossy}"

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
