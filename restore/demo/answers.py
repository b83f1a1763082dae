"""What the buttons of the page do: photos in, files to show out. Nothing here knows of Gradio or of sessions."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from restore import images
from restore.degradations.resize import Interpolation, upscale
from restore.demo import occluding
from restore.demo.scores import Scores, scored
from restore.demo.uploads import PREVIEW, Limits, open_photo
from restore.demo.visits import Visit
from restore.errors import RestoreError, UserError
from restore.faces.detector import Detector
from restore.faces.face import Face
from restore.fitting import fitted
from restore.images import Image
from restore.inference.enhance import Enhancer
from restore.inference.holes import Hole
from restore.inference.model import Model
from restore.inference.people import Choice, NoFace
from restore.inference.rebuild import Rebuilder, Rebuilt
from restore.inference.side_by_side import tinted
from restore.occlusions.occlusion import Mask, Occluded
from restore.photos import DONE, Note, Photo, encode_photo
from restore.registry import DETECTORS, Part

ENLARGED = ("psnr", "psnr_y", "ssim", "ssim_y", "lpips_alex")
REBUILT = ("psnr", "ssim", "lpips_alex", "psnr_hole")
INTERPOLATIONS: tuple[Interpolation, ...] = ("bicubic", "lanczos")
FRAME = 256  # pixels a side of a face's frame, where the model does not say
WHOLE = "No face was found, so the model saw the photo as a whole, which it was not trained on"
LOG = logging.getLogger("restore.demo")

Marked = Callable[[tuple[int, int]], Mask]  # the mask of a photo of that height and width


@dataclass(frozen=True)
class Sharpened:
    """Files of one size: the photo enlarged by interpolation, the model's answer, and what there is to say."""

    bicubic: Path
    lanczos: Path
    result: Path
    scores: Scores
    notes: list[str]


@dataclass(frozen=True)
class Unmasked:
    """Files of the photo's size: the photo, the result, and the result with what was invented tinted."""

    before: Path
    result: Path
    invented: Path
    scores: Scores
    notes: list[str]


@dataclass(frozen=True)
class Occluding:
    """Files: a face with something before it, and its mask."""

    picture: Path
    mask: Path
    told: str


@dataclass(frozen=True)
class GivenHole:
    """A mask that is there already, as the hole of a `Rebuilder`."""

    mask: Mask
    needs_faces: bool = False

    def __call__(self, key: str, picture: Image, faces: Sequence[Face]) -> Occluded:
        """The picture as it is, and the mask."""
        return Occluded(picture, self.mask)


@dataclass(frozen=True)
class Answers:
    """The models on offer, and what is done with them. For several threads at once.

    Args:
        models: by the names that the page shows.
        limits: of photos and results.
        mark: whether results say in their metadata that a model made them.
        occluders: makes the hole of whatever covers a face; None: this server cannot find it.
        detector: what finds faces.
    """

    models: Mapping[str, Model]
    limits: Limits = field(default_factory=Limits)
    mark: bool = False
    occluders: Callable[[], Hole] | None = None
    detector: str = "yunet"

    def names(self, kind: str) -> list[str]:
        """The models of a kind, "sr" or "unmask"; those for any photo come first."""
        names = [name for name, model in self.models.items() if model.kind == kind]
        return sorted(names, key=lambda name: self.models[name].faces)

    def preview(self, visit: Visit, upload: Path | None) -> Path:
        """A picture to paint on: the photo, upright and small. Raises `UserError` for a bad upload."""
        pixels = images.eight_bits(open_photo(upload, self.limits).pixels)
        small = fitted(pixels, min(PREVIEW, max(pixels.shape[:2])))
        return _written(visit, "photo.png", images.encode(Path("photo.png"), small))

    def sharpen(
        self, visit: Visit, upload: Path | None, name: str, times: float, keep: bool, truth: Path | None
    ) -> Sharpened:
        """Enlarges a photo as `restore infer --model NAME --outscale TIMES` does, and twice more by interpolation.

        Args:
            keep: what the camera wrote into the file is kept in the result.
            truth: a picture of the result's size to measure with; None: nothing is measured.

        Raises:
            UserError: what is wrong with the uploads or the choices.
        """
        model = self._model(name, "sr")
        photo = open_photo(upload, self.limits)
        if times not in (1, 2, 4):
            raise UserError("choose how much to enlarge")
        height, width = photo.pixels.shape[:2]
        self.limits.require(round(width * times), round(height * times), f"the photo enlarged {times:g} times")
        gt = self._truth(truth)
        detector = self._detector(needed=True) if model.faces else None
        made = Enhancer(model, outscale=times, detector=detector)(photo.pixels)
        size = made.picture.shape[:2]
        pictures: dict[str, Image] = {method: upscale(photo.pixels, size, method) for method in INTERPOLATIONS}
        scores = [] if gt is None else scored(pictures | {"restored": made.picture}, gt, None, ENLARGED)
        bicubic, lanczos = (_shown(visit, photo, each, f"{_stem(upload)}_{how}") for how, each in pictures.items())
        result = self._result(visit, photo, made.picture, model, upload, keep)
        return Sharpened(bicubic, lanczos, result, scores, made.notes)

    def unmask(
        self, visit: Visit, upload: Path | None, name: str, marked: Marked | None, keep: bool, truth: Path | None
    ) -> Unmasked:
        """Rebuilds what is marked in a photo, or what is found to cover faces. Every other pixel stays as it is.

        Args:
            marked: says what; None: it is looked for.
            keep, truth: as for `sharpen`.

        Raises:
            UserError: what is wrong with the uploads or the choices; no face, or nothing before it, was found.
        """
        model = self._model(name, "unmask")
        photo = open_photo(upload, self.limits)
        hole = self._hole(marked, photo)
        gt = self._truth(truth)
        made = self._rebuilt(model, hole, photo, str(_stem(upload)))
        result = made.results[0]
        pictures: dict[str, Image] = {"photo": photo.pixels, "rebuilt": result}
        scores = [] if gt is None else scored(pictures, gt, made.mask, REBUILT)
        before = _shown(visit, photo, photo.pixels, str(_stem(upload)))
        invented = _shown(visit, photo, tinted(result, made.mask), f"{_stem(upload)}_invented")
        share = f"{100 * made.mask.mean():.1f} % of the picture is invented"
        notes = [share, *made.notes]
        return Unmasked(before, self._result(visit, photo, result, model, upload, keep), invented, scores, notes)

    def occlude(self, visit: Visit, upload: Path | None, mine: bool, name: str, number: int) -> Occluding:
        """Draw `number` of an occlusion, on the photo where it is `mine`, else on a drawn face. Raises `UserError`."""
        picture = images.eight_bits(open_photo(upload, self.limits).pixels) if mine else None
        made = occluding.occluded(name, number, picture, self._detector(needed=True) if mine else None)
        picture_file = _written(visit, f"{name}.png", images.encode(Path("x.png"), made.picture))
        mask_file = _written(visit, f"{name}_mask.png", images.encode(Path("x.png"), made.mask))
        told = f"{occluding.choices()[name]} Hides {100 * made.hidden:.0f} % of this picture."
        return Occluding(picture_file, mask_file, told)

    def _model(self, name: str, kind: str) -> Model:
        if name not in self.names(kind):  # whatever the browser says
            raise UserError("choose a model first")
        return self.models[name]

    def _detector(self, needed: bool) -> Detector | None:
        """A new one, since none is for several threads. None, or `UserError` if it is `needed`: it cannot be had."""
        try:
            found: Detector = DETECTORS.build(Part(type=self.detector))
        except RestoreError as error:
            LOG.warning("no face can be found: %s", error)
            if needed:
                raise UserError("this server has nothing to find faces with") from error
            return None
        return found

    def _truth(self, upload: Path | None) -> Image | None:
        return None if upload is None else open_photo(upload, self.limits, "true picture").pixels

    def _hole(self, marked: Marked | None, photo: Photo) -> Hole:
        if marked is not None:
            height, width = photo.pixels.shape[:2]
            return GivenHole(marked((height, width)))
        if self.occluders is None:
            raise UserError("this server cannot find what covers a face: paint over it, or choose a mask")
        return self.occluders()

    def _rebuilt(self, model: Model, hole: Hole, photo: Photo, key: str) -> Rebuilt:
        """As `restore infer` does; but a mask in a photo without a face is rebuilt too, if less well."""
        detector, everyone = self._detector(needed=hole.needs_faces), Choice.parse("all")
        try:
            if detector is not None:
                return Rebuilder(model, hole, detector, everyone, model.size or FRAME)(key, photo.pixels)
        except NoFace:
            if hole.needs_faces:
                raise
        made = Rebuilder(model, hole, None, everyone, None)(key, photo.pixels)
        return replace(made, notes=[*made.notes, WHOLE])

    def _result(
        self, visit: Visit, photo: Photo, picture: Image, model: Model, upload: Path | None, keep: bool
    ) -> Path:
        """The file to take home."""
        note = Note(model.name, model.sha256, DONE[model.kind]) if self.mark else None
        return _shown(visit, photo, picture, f"{_stem(upload)}_restored", note, keep)


def _shown(visit: Visit, photo: Photo, picture: Image, stem: str, note: Note | None = None, keep: bool = False) -> Path:
    """A PNG with the photo's alpha and colour profile, and what else its file told only where that is to be kept."""
    if not keep:
        photo = replace(photo, exif=None, xmp=None, extra=b"")
    name = f"{stem}.png"
    return _written(visit, name, encode_photo(Path(name), photo.with_pixels(picture), note))


def _written(visit: Visit, name: str, data: bytes) -> Path:
    path = visit.new(name)
    path.write_bytes(data)
    return path


def _stem(upload: Path | None) -> str:
    return upload.stem if upload else "photo"
