"""Which photos and videos a command is to do, and where each result goes."""

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from restore.errors import UserError
from restore.films import video

LOSSLESS = frozenset({".png", ".tif", ".tiff", ".bmp", ".ppm"})
LOSSY = frozenset({".jpg", ".jpeg", ".webp", ".avif"})
PHOTOS = LOSSLESS | LOSSY | {".pgm"}


class Job(NamedTuple):
    """A photo or video to do, its name, and where the result goes."""

    key: str
    source: Path
    target: Path

    @property
    def is_video(self) -> bool:
        return video.is_video(self.source)

    @property
    def lossy(self) -> bool:
        """Whether the result's format loses something."""
        return self.is_video or self.target.suffix.lower() in LOSSY

    @property
    def comparison(self) -> Path:
        return self.target.with_name(f"{self.target.stem}_compare.png")

    @property
    def reports(self) -> tuple[Path, Path]:
        """The report of its results, as JSON and as a picture."""
        stem = self.target.stem
        return self.target.with_name(f"{stem}_report.json"), self.target.with_name(f"{stem}_report.png")

    def further(self, candidates: int) -> list[Path]:
        """Where its results go besides the first, which is at `target`. A film has one."""
        if self.is_video:
            return []
        stem, suffix = self.target.stem, self.target.suffix
        return [self.target.with_name(f"{stem}_c{number}{suffix}") for number in range(1, candidates)]

    def done(self, candidates: int) -> bool:
        """Whether all its results are there."""
        return all(path.exists() for path in (self.target, *self.further(candidates)))


def find_jobs(inputs: Sequence[str], output: Path | None, keep: bool, ending: str = "") -> list[Job]:
    """What files, folders and globs name, in the order of the names. Below `output` nothing is looked for.

    A file that is named is taken whatever its suffix; of folders and globs, those that are pictures and videos by it.

    Args:
        output: the folder for the results; None: each is beside its photo.
        ending: of the results' names, before the suffix. Beside photos it tells them apart: of folders and globs,
            pictures with it in their name are left out.
        keep: results have the format of their photo, also where that is lossy; videos do where we write it.

    Raises:
        UserError: nothing there, or two photos whose results would have one name.
    """
    found: dict[Path, Job] = {}
    for text in inputs:
        for key, source in _named_by(text, output, ending):
            stem = source.with_suffix("") if output is None else output / key
            job = Job(key, source, stem.with_name(f"{stem.name}{ending}{_suffix(source, keep)}"))
            other = found.setdefault(job.target, job)
            if other.source != source:
                remedy = "do one by itself" if keep else "do one by itself, or --format keep"
                raise UserError(f"{source}: its result would have the same name as that of {other.source}; {remedy}")
            if _real(source) in (_real(job.target), _real(job.comparison)):
                raise UserError(f"{source}: would be overwritten by its result; choose another folder for -o")
    return sorted(found.values())


def check_names(jobs: Sequence[Job], candidates: int, compare: bool, report: bool = False) -> None:
    """Raises `UserError` when what is written beside one photo would pass for another's result, or replace it."""
    taken = {_real(path): job.source for job in jobs for path in (job.source, job.target)}
    for job in jobs:
        beside = dict.fromkeys(job.further(candidates), ("a candidate", "do one by itself"))
        if compare and not job.is_video:
            beside[job.comparison] = "the comparison", "--no_compare"
        if report:
            beside |= dict.fromkeys(job.reports, ("a report", "leave --report out"))
        for path, (what, remedy) in beside.items():
            if (other := taken.setdefault(_real(path), job.source)) != job.source:
                raise UserError(f"{other}: its result would have the name of {what} of {job.source}; {remedy}")


def _suffix(source: Path, keep: bool) -> str:
    if video.is_video(source):
        return video.suffix_for(source)
    suffix = source.suffix.lower()
    return suffix if suffix in (LOSSLESS | LOSSY if keep else LOSSLESS) else ".png"


def _named_by(text: str, output: Path | None, ending: str) -> list[tuple[str, Path]]:
    root = Path(text)
    if root.is_dir():
        if output is not None and _real(root) == _real(output):
            raise UserError(f"-o {output}: is the folder of the pictures; choose another")
        paths = _no_results(output, ending, sorted(path for path in root.rglob("*") if _is_ours(path)))
        named = [(path.relative_to(root).with_suffix("").as_posix(), path) for path in paths]
    elif root.is_file():  # before patterns: a name may hold brackets
        named = [(root.stem, root)]
    else:
        matches = [path for path in map(Path, sorted(glob.glob(text, recursive=True))) if _is_ours(path)]
        paths = _no_results(output, ending, matches)
        if output is not None and matches and not paths:
            raise UserError(f"-o {output}: is the folder of the pictures; choose another")
        named = [(path.stem, path) for path in paths]
    if not named:
        raise UserError(f"{text}: no pictures there")
    return named


def _is_ours(path: Path) -> bool:
    return (path.suffix.lower() in PHOTOS or video.is_video(path)) and path.is_file()


def _no_results(output: Path | None, ending: str, paths: Iterable[Path]) -> list[Path]:
    """Those that are no results: other tasks may be writing some at this moment."""
    if output is None:
        return [path for path in paths if ending not in path.stem]
    results = Path(_real(output))
    return [path for path in paths if results not in Path(_real(path)).parents]


def _real(path: Path) -> str:
    """Where links lead to; unlike `Path.resolve` it has an answer for links that go round in a circle."""
    return os.path.realpath(path)
