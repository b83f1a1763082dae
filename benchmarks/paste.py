"""Faces put back into photos, beside facexlib 0.3.0 (GFPGAN's): what stays, where things land, what seams show."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__":  # run as a script: find the packages
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.measure import Claim, publish, read_command, slug, table, verdict
from restore.faces.crop import Crop
from restore.faces.face import LANDMARKS, Face, Floats
from restore.images import Image
from restore.inference.enhance import Enhanced, Enhancer
from restore.inference.model import Model
from restore.inference.paste import distance, paste
from tests.oracles import facexlib

FRAME, HEIGHT, WIDTH = 128, 240, 300
OUTSCALES = 1.0, 2.0, 1.5
LEVELS, DOT, STEP = 1, 0.1, 2.0  # the bars: grey levels, pixels, grey levels from one pixel to the next
OFFSET = 16  # levels that the model of the seams adds
SIGMA = 2.0  # of a dot, in the larger of the frame's and the result's pixels


class Keeps(nn.Module):
    """Changes nothing: at a scale above 1 it enlarges by Keys's bicubic."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        size = [side * self.scale for side in x.shape[-2:]]
        return x if self.scale == 1 else F.interpolate(x, size, mode="bicubic", antialias=True)


class Dots(nn.Module):
    """Draws a dot of light at a place of the frame, and notes where it sees one."""

    def __init__(self, place: Floats, sigma: float) -> None:
        super().__init__()
        self.place, self.sigma, self.found = place, sigma, np.zeros(2)

    def forward(self, x: Tensor) -> Tensor:
        self.found = centroid(x[0, 0].numpy().astype(np.float64) - 0.25, self.place, 5 * self.sigma)
        return torch.full_like(x, 0.25) + torch.from_numpy(dot(x.shape[-1], x.shape[-2], self.place, self.sigma)) / 2


class Case(NamedTuple):
    """A face somewhere in a photo, and how much larger the result is to be. `side` is its frame's, in the photo."""

    face: Face
    side: float
    outscale: float
    draws: np.random.Generator


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=500, help="faces (500)")
    args = read_command(parser, n=6)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    publish("Faces put back", _tables(args.n), args.out)


Rows = Iterator[tuple[list[str], Claim]]  # cells of a row but for the last, and what it claims


def _tables(number: int) -> Iterator[str | Claim]:
    text = f"{number} faces, also over the border, at any angle; frames of {FRAME} px."
    cells = (f"outscale {outscale:g}: worst, 99 %" for outscale in OUTSCALES)
    yield from _told(text, ["", "waves", *cells, "outside", f"<= {LEVELS}"], _round_trips(number))
    header = ["", "seen in the frame: worst, mean", "painted into the result: worst, mean", f"<= {DOT}"]
    yield from _told("Dots at a landmark, how far from it they are, in pixels.", header, _dots(number))
    text = f"A model that adds {OFFSET} levels: the largest step that comes from it, in levels."
    yield from _told(text, ["", "step", f"<= {STEP:g}"], _seams())


def _told(text: str, header: list[str], rows: Rows) -> Iterator[str | Claim]:
    """A table, and its claims. Others' are in the table alone: what is claimed is ours."""
    found = list(rows)
    yield f"{text}\n\n{table(header, [[*cells, verdict(claim.met)] for cells, claim in found])}"
    yield from (claim for _, claim in found if claim.key)


# --------------------------------------------------------------------------------------------------------- faces


def cases(number: int, template: Floats = LANDMARKS, seed: int = 0) -> Iterator[Case]:
    """Faces as in the frame of that template; their frames are 24 px to four times those of the model."""
    for index in range(number):
        draws = np.random.default_rng([seed, index])
        side = float(np.exp(draws.uniform(np.log(24), np.log(4 * FRAME))))
        angle, center = draws.uniform(-np.pi, np.pi), draws.uniform([0, 0], [WIDTH, HEIGHT])
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        landmarks = ((template - 0.5) * side @ turn.T + center).astype(np.float32)
        yield Case(Face.of_landmarks(landmarks), side, OUTSCALES[index % 3], draws)


def waves(case: Case, shortest: float) -> Image:
    """Waves of `shortest` pixels of the photo or of the frame, whichever are larger; 28 to 228, of 8 bits."""
    angle, length = case.draws.uniform(0, np.pi), shortest * max(1, case.side / FRAME)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    wave = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / length)
    return np.rint(128 + 100 * wave).astype(np.uint8)[:, :, None].repeat(3, axis=2)


def dot(width: int, height: int, place: Floats, sigma: float) -> Floats:
    """(height, width) a Gaussian dot."""
    y, x = np.mgrid[:height, :width]
    return np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / (2 * sigma**2)).astype(np.float32)


def centroid(light: NDArray[Any], place: Floats, reach: float) -> NDArray[Any]:
    """(2,): of the light within `reach` of a place."""
    y, x = np.mgrid[: light.shape[0], : light.shape[1]]
    light = light * ((x - place[0]) ** 2 + (y - place[1]) ** 2 < reach**2)
    return np.array([(light * x).sum(), (light * y).sum()]) / max(light.sum(), 1e-9)


# ---------------------------------------------------------------------------------------------------- round trips


def _round_trips(number: int) -> Rows:
    peer, why = "", ""
    if template := peer_template():
        row, claim = _row("facexlib", 12, [theirs(case, 12) for case in cases(number, template[0])])
        peer = f"facexlib, 12 px: {claim.ours}"
        yield row, claim._replace(key="")
    else:
        why = "facexlib cannot run"
    for scale, shortest in ((1, 2.5), (1, 12), (2, 24)):
        row, claim = _row(f"ours, x{scale}", shortest, [ours(case, scale, shortest) for case in cases(number)])
        yield row, claim._replace(peer=peer, why=why)


def _row(name: str, shortest: float, errors: list[tuple[NDArray[Any], int]]) -> tuple[list[str], Claim]:
    cells, worst = [], 0.0
    for index in range(3):
        inside = np.concatenate([inside for inside, _ in errors[index::3]])
        worst = max(worst, float(inside.max(initial=0)))
        cells.append(f"{inside.max():.0f}, {np.quantile(inside, 0.99):.0f}")
    outside = sum(count for _, count in errors)
    claim = Claim(
        f"paste.{slug(name)}.waves_{slug(f'{shortest:g}')}",
        f"{len(errors)} faces put back through a network that changes nothing, {name}, waves of {shortest:g} px",
        f"{worst:.0f} levels at most, {outside:,} px changed outside",
        bar=f"<= {LEVELS} level, no px outside",
        met=worst <= LEVELS and not outside,
    )
    return [name, f"{shortest:g} px", *cells, f"{outside:,} px"], claim


def ours(case: Case, scale: int, shortest: float) -> tuple[NDArray[Any], int]:
    """Of a model that changes nothing: how far the face is from the picture without it, and pixels changed outside.

    A model that enlarges knows nothing beyond its frame: not counted is where its kernel reaches over the picture's
    edge, or over the frame's.
    """
    photo = waves(case, shortest * scale)
    model = Model.of(Keeps(scale), scale=scale, size=FRAME * scale)
    enhancer = Enhancer(model, outscale=case.outscale, size=FRAME * scale)
    made = enhancer(photo, [case.face])
    plain = Enhancer(model, outscale=case.outscale)(photo, []).picture
    apart = np.abs(made.picture.astype(int) - plain).max(2)
    return apart[made.invented & inner(made, case, scale)], int((apart[~made.invented] > 0).sum())


def inner(made: Enhanced, case: Case, scale: int) -> NDArray[np.bool_]:
    """What is far enough from edges for a kernel of two of the model's pixels; everything at scale 1."""
    height, width = made.picture.shape[:2]
    inside = np.ones((height, width), np.bool_)
    if scale > 1:
        border = int(np.ceil(3 * max(1, case.side / FRAME) * case.outscale))
        inside[:border] = inside[-border:] = inside[:, :border] = inside[:, -border:] = False
        inside &= distance(Crop.of(made.faces[0], FRAME), (slice(0, height), slice(0, width))) < 1 - 8 / FRAME
    return inside


# ---------------------------------------------------------------------------------------------------------- dots


def _dots(number: int) -> Rows:
    peer, why = "", ""
    if template := peer_template():
        kept = [case for case in cases(number, template[0]) if case.side >= 40]
        row, claim = _dot_row("facexlib", [found for case in kept if (found := their_dot(case)) is not None])
        peer = f"facexlib: {claim.ours}"
        yield row, claim._replace(key="")
    else:
        why = "facexlib cannot run"
    kept = [case for case in cases(number) if case.side >= 40]
    row, claim = _dot_row("ours", [found for case in kept if (found := our_dot(case)) is not None])
    yield row, claim._replace(peer=peer, why=why)


def _dot_row(name: str, found: list[tuple[float, float]]) -> tuple[list[str], Claim]:
    seen, painted = (np.array(values) for values in zip(*found, strict=True))
    cells = [f"{values.max():.3f}, {values.mean():.3f}" for values in (seen, painted)]
    what = f"{len(found)} dots at landmarks, how far they land from their place"
    shown = f"seen {seen.max():.3f} px off at most, painted {painted.max():.3f} px"
    met = bool(max(seen.max(), painted.max()) <= DOT)
    claim = Claim("paste.dots", what, shown, bar=f"<= {DOT} px", met=met)
    return [f"{name} ({len(found)} dots)", *cells], claim


class Target(NamedTuple):
    """Where a dot belongs: in the photo, in the frame, in the result; and how wide it is in each."""

    photo: Floats
    frame: Floats
    result: Floats
    sigmas: tuple[float, float, float]


def target_of(case: Case, template: Floats) -> Target | None:
    """A landmark to draw a dot at; None where that is too near the edge of the photo."""
    index = int(case.draws.integers(5))
    size = np.array([WIDTH, HEIGHT])
    ratio = np.array([round(side * case.outscale) for side in size]) / size
    step = case.side / FRAME  # pixels of the photo to one of the frame
    sigma = SIGMA * max(1, step)
    place = case.face.landmarks[index]
    if (place < 5 * sigma).any() or (place > size - 5 * sigma).any():
        return None
    sigmas = sigma, sigma / step, sigma * case.outscale
    return Target(place, template[index] * FRAME - 0.5, (place + 0.5) * ratio - 0.5, sigmas)


def dotted(target: Target) -> Image:
    """A photo with the dot."""
    light = dot(WIDTH, HEIGHT, target.photo, target.sigmas[0])
    return np.rint(64 + 127 * light).astype(np.uint8)[:, :, None].repeat(3, axis=2)


def our_dot(case: Case) -> tuple[float, float] | None:
    """How far a dot of the photo is from its place in the frame, and one painted there from its place in the result."""
    target = target_of(case, LANDMARKS)
    if target is None:
        return None
    dots = Dots(target.frame, target.sigmas[1])
    enhancer = Enhancer(Model.of(dots, size=FRAME), outscale=case.outscale, match=False)
    enhancer(dotted(target), [case.face])
    seen = float(np.abs(dots.found - target.frame).max())
    flat = np.full((HEIGHT, WIDTH, 3), 64, np.uint8)
    light = enhancer(flat, [case.face]).picture[:, :, 0].astype(float) - 64
    return seen, float(np.abs(centroid(light, target.result, 5 * target.sigmas[2]) - target.result).max())


# ------------------------------------------------------------------------------------------------------- facexlib


def peer_template() -> list[Floats]:
    """facexlib's template as shares of the frame, its pixels being counted as ours; empty where it is not installed."""
    points = [[192.98138, 239.94708], [318.90277, 240.1936], [256.63416, 314.01935]]
    points += [[201.26117, 371.41043], [313.08905, 371.15118]]
    try:
        facexlib("utils.face_restoration_helper")
    except BaseException as error:  # pytest's Skipped is no Exception
        print(f"no facexlib: {error}", file=sys.stderr)
        return []
    return [((np.array(points) * FRAME / 512 + 0.5) / FRAME).astype(np.float32)]


def helper_of(case: Case, photo: Image) -> Any:
    """facexlib's helper as its constructor makes it, without the networks that it downloads."""
    helper = object.__new__(facexlib("utils.face_restoration_helper").FaceRestoreHelper)
    helper.clean_all()
    helper.upscale_factor, helper.face_size, helper.pad_blur, helper.use_parse = (
        case.outscale,
        (FRAME, FRAME),
        False,
        False,
    )
    helper.face_template = (peer_template()[0] * FRAME - 0.5).astype(np.float64)
    helper.inverse_affine_matrices, helper.input_img = [], photo
    helper.all_landmarks_5 = [case.face.landmarks.astype(np.float64)]
    helper.align_warp_face()
    helper.get_inverse_affine()
    return helper


def theirs(case: Case, shortest: float) -> tuple[NDArray[Any], int]:
    """The same as `ours`; the region is its frame."""
    photo = waves(case, shortest)
    helper = helper_of(case, photo)
    helper.add_restored_face(helper.cropped_faces[0])
    made = helper.paste_faces_to_input_image()
    size = int(WIDTH * case.outscale), int(HEIGHT * case.outscale)
    plain = cv2.resize(photo, size, interpolation=cv2.INTER_LANCZOS4)
    apart = np.abs(made.astype(int) - plain).max(2)
    crop = Crop(helper.affine_matrices[0], FRAME).scaled(case.outscale)
    inside = crop.holds((slice(0, size[1]), slice(0, size[0])))
    return apart[inside], int((apart[~inside] > 0).sum())


def their_dot(case: Case) -> tuple[float, float] | None:
    """The same as `our_dot`."""
    target = target_of(case, peer_template()[0])
    if target is None:
        return None
    seen = helper_of(case, dotted(target)).cropped_faces[0][:, :, 0].astype(float) - 64
    found = centroid(seen, target.frame, 5 * target.sigmas[1])
    helper = helper_of(case, np.full((HEIGHT, WIDTH, 3), 64, np.uint8))
    painted = 64 + 127 * dot(FRAME, FRAME, target.frame, target.sigmas[1])
    helper.add_restored_face(np.repeat(painted[:, :, None], 3, axis=2).astype(np.float32))
    light = helper.paste_faces_to_input_image()[:, :, 0].astype(float) - 64
    place = centroid(light, target.result, 5 * target.sigmas[2])
    return float(np.abs(found - target.frame).max()), float(np.abs(place - target.result).max())


# ---------------------------------------------------------------------------------------------------------- seams


def _seams() -> Rows:
    photo = np.rint(np.random.default_rng(0).uniform(80, 120, (HEIGHT, WIDTH, 3))).astype(np.uint8)
    crop = Crop.of(Face.aligned(HEIGHT, WIDTH), FRAME).scaled(0.7)
    face = crop.cut(photo, "bicubic") + OFFSET / 255
    naive = photo.copy()
    window = slice(0, HEIGHT), slice(0, WIDTH)
    naive[crop.holds(window)] += np.uint8(OFFSET)
    base = step(naive, photo)
    yield ["naive", f"{base:.0f}"], Claim("", "naive", f"{base:.0f} levels", met=base <= STEP)
    for blend in ("feather", "multiband", "poisson"):
        for match in (False, True):
            made = photo.copy()
            paste(made, crop, face, blend, match)  # type: ignore[arg-type]
            found, name = step(made, photo), f"{blend}{', matched' if match else ''}"
            claim = Claim(
                f"paste.seams.{slug(name)}",
                f"the largest step at a seam, of {OFFSET} levels added, {name}",
                f"{found:.0f} levels",
                floor=f"without blending: {base:.0f} levels",
                bar=f"<= {STEP:g} levels",
                met=found <= STEP,
            )
            yield [name, f"{found:.0f}"], claim


def step(made: Image, photo: Image) -> float:
    """The most that what was added differs between two neighbouring pixels, in levels."""
    added = made.astype(int) - photo
    return float(max(np.abs(np.diff(added, axis=axis)).max() for axis in (0, 1)))


if __name__ == "__main__":
    main()
