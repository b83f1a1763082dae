"""What is to be told of a result: what of it was made up, by what, and how alike its faces are to the real ones."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from restore import __version__
from restore.errors import UserError
from restore.faces.detector import Detector
from restore.faces.face import Face
from restore.images import Image
from restore.inference.enhance import Enhanced
from restore.inference.likeness import Likeness, Vector, cosine, ranked
from restore.inference.model import Model
from restore.inference.rebuild import Rebuilt
from restore.occlusions.occlusion import Mask
from restore.photos import decode_photo, read_photo
from restore.pretrained import sha256_of

# Of the 60 portraits of datasets/congress_val.txt, the hole being that of `--mask face_mask`; docs/report.md.
NO_PROOF = (
    "A similarity is the cosine of two vectors of a face-recognition network. It is no proof of likeness: it says what "
    "a network takes for alike, not how the person looked. With the part above a worn mask, eight of ten true faces "
    "came to 0.38 to 0.66, nearly all others to below 0.28, and a mere blur in the hole to 0.76: higher is not truer."
)
REST = {
    "identical": "Every other pixel is the input's, byte for byte.",
    "changed": "The other pixels are NOT byte for byte those of the input.",
    "resized": "The rest is the input's, in another size.",
    "none": "Nothing is left of the input's own pixels.",
}
Rest = Literal["identical", "changed", "resized", "none"]


@dataclass(frozen=True)
class File:
    """A picture's file, by its name alone: a report goes further than the folders of this machine."""

    file: str
    sha256: str


@dataclass(frozen=True)
class Reference:
    """A photo of the person whom the result should show."""

    file: File
    vector: Vector = field(repr=False)


@dataclass(frozen=True)
class Person:
    """A face of the result.

    Attributes:
        box: in the result's pixels: left, top, right, bottom.
        invented: share of the box that was made up.
        visible: for each result, the similarity to what the input shows of this face; empty where nothing was made up.
        references: for each result, the similarity to each reference.
    """

    box: list[float]
    invented: float
    visible: list[float]
    references: list[list[float]]

    @property
    def by_reference(self) -> list[float]:
        """For each result, the mean similarity to the references."""
        return [round(fmean(each), 3) for each in self.references if each]


@dataclass(frozen=True, eq=False)
class Report:
    """All that is told of the results of one photo; `facts` is what of it goes into the file."""

    before: Image
    results: list[Image]
    invented: Mask
    people: list[Person]
    order: list[int]  # the results' places, the likest to the references first; as they were made without references
    facts: dict[str, Any]

    def json(self) -> bytes:
        """The facts as a file: the same run has the same bytes."""
        text = json.dumps(self.facts, indent=2, sort_keys=True, ensure_ascii=False)
        return f"{text}\n".encode("utf-8", "backslashreplace")  # of a name that is no text, JSON keeps the escape

    @property
    def told(self) -> str:
        """The similarities, in words, for the line of the result."""
        if "gap" in self.facts["identity"]:
            return f"identity: {self.facts['identity']['gap']}"
        ranking = self.facts["ranking"]
        if len(ranking) > 1:
            places = ", ".join(f"{each['file']} {each['similarity']:.2f}" for each in ranking)
            return f"by likeness to the references: {places}"
        shown = ", ".join(f"{person.visible[0]:.2f}" for person in self.people if person.visible)
        likeness = f"likeness to what the photo shows {shown}" if shown else "no face in what was made up"
        return likeness + (f", to the references {ranking[0]['similarity']:.2f}" if ranking else "")


class Reporter:
    """Tells of results. Not for several threads at once, because of the detector.

    Args:
        model: that made them.
        options: that it was told.
        likeness: compares faces; None: it cannot, for the reason in `gap`.
        detector: finds the faces where the restoring looked for none.
        references: photos of the person.
        notes: to be told with each result.
    """

    def __init__(
        self,
        model: Model,
        options: Mapping[str, Any],
        likeness: Likeness | None,
        detector: Detector | None,
        references: Sequence[Reference] = (),
        gap: str = "",
        notes: Sequence[str] = (),
    ) -> None:
        self.model, self.options, self.likeness, self.detector = model, dict(options), likeness, detector
        self.references, self.gap, self.notes = list(references), gap, list(notes)

    def __call__(
        self,
        source: Path,
        before: Image,
        done: Enhanced | Rebuilt,
        files: Mapping[Path, bytes],
        notes: Sequence[str] = (),
    ) -> Report:
        """Of one photo.

        Args:
            source: its file.
            before: what was in it.
            done: what was made of it.
            files: the bytes of each result's file.
            notes: what else the user should know.
        """
        made = _made(before, done)
        people = [self._person(face, made) for face in self._faces(done.faces, made.results[0])]
        likest = by_reference(people)
        scores = people[likest].by_reference if likest is not None else []
        order = ranked(scores) if scores else list(range(len(made.results)))
        named = [File(path.name, hashlib.sha256(data).hexdigest()) for path, data in files.items()]
        left = [rest(before, decode_photo(data, path.name).pixels, made.invented) for path, data in files.items()]
        facts = {
            "faces": [asdict(person) | {"number": number} for number, person in enumerate(people, 1)],
            "identity": self._identity(people),
            "input": asdict(File(source.name, sha256_of(source))) | {"size": _size(before)},
            "invented": self._invented(made.invented, "changed" if "changed" in left else left[0]),
            "model": self._model(),
            "notes": [*self.notes, *notes],
            "options": self.options,
            "ranking": [{"file": named[place].file, "similarity": scores[place]} for place in order if scores],
            "ranking_face": None if likest is None else likest + 1,
            "references": [asdict(reference.file) for reference in self.references],
            "restore": __version__,
            "results": [asdict(file) | {"size": _size(made.results[0])} for file in named],
        }
        return Report(before, made.results, made.invented, people, order, facts)

    def _faces(self, faces: Sequence[Face], result: Image) -> list[Face]:
        if faces or self.detector is None:
            return list(faces)
        return self.detector(result)

    def _person(self, face: Face, made: "_Made") -> Person:
        box, share = [round(value, 1) for value in face.box], share_of(face, made.invented)
        if self.likeness is None or not share:
            return Person(box, share, [], [])
        height, width = made.invented.shape
        there = self.likeness(made.shown, face, made.hidden, (height, width))
        vectors = [self.likeness(result, face) for result in made.results]
        references = [[cosine(vector, each.vector) for each in self.references] for vector in vectors]
        return Person(box, share, [cosine(vector, there) for vector in vectors], references)

    def _identity(self, people: Sequence[Person]) -> dict[str, Any]:
        if self.likeness is None:
            return {"gap": self.gap}
        if not people:
            return {"gap": "not measured: no face was found"}
        return {
            "caveat": NO_PROOF,
            "licence": self.likeness.licence,
            "network": self.likeness.network,
            "sha256": self.likeness.sha256,
        }

    def _invented(self, invented: Mask, left: Rest) -> dict[str, Any]:
        what = f"What is tinted was made up by {self.model.name}; it is not what was there."
        return {
            "pixels": int(invented.sum()),
            "rest": left,
            "sentence": what if invented.any() else "Nothing in it was made up.",
            "share": round(float(invented.mean()), 6),
        }

    def _model(self) -> dict[str, Any]:
        model = self.model
        return {"arch": model.arch, "name": model.name, "scale": model.scale, "sha256": model.sha256}


class _Made(NamedTuple):
    """What both kinds of restoring have in common."""

    shown: Image  # the photo, where it was not hidden
    hidden: Mask | None
    results: list[Image]
    invented: Mask


def _made(before: Image, done: Enhanced | Rebuilt) -> _Made:
    if isinstance(done, Rebuilt):
        return _Made(done.shown, done.mask, list(done.results), done.mask)
    return _Made(before, None, [done.picture], done.invented)


def rest(before: Image, after: Image, invented: Mask) -> Rest:
    """What a result's file holds where nothing was made up: looked at, not taken on trust."""
    if invented.all():
        return "none"
    if before.shape != after.shape:
        return "resized"
    same = before.dtype == after.dtype and np.array_equal(before[~invented], after[~invented])
    return "identical" if same else "changed"


def share_of(face: Face, invented: Mask) -> float:
    """The share of a face's box, as far as it lies in the picture, that was made up."""
    height, width = invented.shape
    x0, y0, x1, y1 = (round(value) for value in face.box)
    part = invented[max(y0, 0) : min(y1 + 1, height), max(x0, 0) : min(x1 + 1, width)]
    return round(float(part.mean()), 4) if part.size else 0.0


def by_reference(people: Sequence[Person]) -> int | None:
    """The place of the face that is nearest to the references, the person's own; None where none was compared."""
    compared = [place for place, person in enumerate(people) if any(person.references)]
    return max(compared, key=lambda place: fmean(people[place].by_reference), default=None)


def open_references(
    paths: Sequence[tuple[str, Path]], likeness: Likeness, detector: Detector
) -> tuple[list[Reference], list[str]]:
    """The largest face of each photo, by a name and its file; and what is to be told of those that have none.

    Raises:
        UserError: none has a face.
    """
    found, notes = [], []
    for name, path in paths:
        try:
            pixels = read_photo(path).pixels
        except UserError as error:
            notes.append(f"reference {name}: left out: {str(error).removeprefix(f'{path}: ')}")
            continue
        faces = detector(pixels)
        if faces:
            found.append(Reference(File(name, sha256_of(path)), likeness(pixels, faces[0])))
        else:
            notes.append(f"reference {name}: left out: no face was found")
    if not found:
        raise UserError(f"--reference: {notes[0] if notes else 'no photos there'}; name photos that show the person")
    return found, notes


def _size(picture: NDArray[Any]) -> list[int]:
    return [picture.shape[1], picture.shape[0]]
