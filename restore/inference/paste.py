"""Puts faces back into the picture they were cut from, so that no seam shows and nothing changes around them.

What is put back is the change that a network made: `picture + back(face - cut(picture))`. So a network that changes
nothing changes no pixel, and what is finer in the picture than the face's frame can show stays. In a hole, where the
picture shows nothing of the face, it is the face itself.

Distances are shares of the frame: 0 in its middle, 1 on its border, which has round corners.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restore.faces.crop import Crop, Window
from restore.images import Image
from restore.occlusions.occlusion import Mask

Blend = Literal["feather", "poisson", "multiband"]
Floats = NDArray[Any]  # of floats; OpenCV's types know no more

FADE = 0.2  # a feathered face fades from 1 - FADE to 1
RIM = 0.7  # colours are matched, and poisson's boundary is, from here on
BORDER = 0.94  # and from here on poisson changes nothing
BANDS = ((0.01, 0.06), (0.03, 0.2), (0.0, 0.5))  # of multiband: blur that takes each off, of the side, and its fade
SOFT = 0.03  # how gradually one face becomes the next one where frames overlap
SMOOTH = 0.04  # of the side: blur under which colours are compared
STEADY = (4 / 255) ** 2  # variance of colours from which on their contrast says something
SWEEPS = 12  # of the membrane on each grid


class Patch(NamedTuple):
    """A face (1, 3, size, size) and where it belongs: `crop` of the picture that it is put into.

    `seen` is what the picture shows there, where that is known better than by cutting it out of the picture again: if
    the picture is a photo enlarged by interpolation, what the photo shows.
    """

    crop: Crop
    face: Tensor
    seen: Tensor | None = None


def paste(
    picture: Image, crop: Crop, face: Tensor, blend: Blend = "feather", match: bool = True, hole: Mask | None = None
) -> Mask:
    """Puts a face into a picture, in place; every pixel around it stays as it is, byte for byte.

    Args:
        picture: (H, W, 3) of 8 or 16 bits, to be written to.
        crop: of the picture, in as many pixels as the face has.
        face: (1, 3, size, size) in [0, 1], what a network made of the crop.
        blend: "feather" fades towards the frame's border; "multiband" fades what is fine over a short way and what is
            coarse over a long one (Burt and Adelson 1983); "poisson" keeps gradients and bends colours to meet the
            picture at the border (Perez et al. 2003). In a hole there is no room to fade: "feather" writes the face as
            it is, the others bend it as "poisson" does.
        match: first brings the face's colours, channel by channel, to the picture's along the border.
        hole: (H, W): only there, and there nothing of the picture shows through.

    Returns:
        (H, W): the pixels that may have changed.
    """
    if hole is None:
        return paste_all(picture, [Patch(crop, face)], blend, match)
    return _fill(picture, Patch(crop, face), blend, match, hole)


def paste_all(picture: Image, patches: Sequence[Patch], blend: Blend = "feather", match: bool = True) -> Mask:
    """The same for several faces, whatever their order: where frames overlap, each pixel is the nearest face's."""
    patches = sorted(patches, key=lambda patch: patch.crop.matrix.tolist())
    crops = [patch.crop for patch in patches]
    changes = [_change(picture, patch, crops, blend, match) for patch in patches]  # all of the untouched picture
    changed: Mask = np.zeros(picture.shape[:2], np.bool_)
    for crop, change in zip(crops, changes, strict=True):
        window = crop.reach(*picture.shape[:2])
        where = distance(crop, window) < 1
        levels = picture[window] + change * np.iinfo(picture.dtype).max
        _write(picture, window, levels, where)
        changed[window] |= where
    return changed


def distance(crop: Crop, window: Window) -> Floats:
    """(h, w): how far from the frame's middle the pixels of that window of the picture are, 1 being its border."""
    half = crop.size / 2
    return _norm((crop.places(window) + 0.5 - half) / half)


# ------------------------------------------------------------------------------------------------------- blending


def _change(picture: Image, patch: Patch, crops: Sequence[Crop], blend: Blend, match: bool) -> Floats:
    """(h, w, 3): what is to be added to the picture, in [-1, 1], in the window that the crop reaches."""
    crop = patch.crop
    window = crop.reach(*picture.shape[:2])
    seen = _pixels(crop.cut(picture, "bicubic").clamp(0, 1) if patch.seen is None else patch.seen)
    face = _pixels(patch.face)
    away = _norm(np.mgrid[: crop.size, : crop.size] * (2 / crop.size) + (1 / crop.size - 1))
    if match:
        face = matched(face, seen, (away > RIM) & (away < 1))
    made, far = _back(crop, _blended(face - seen, away, blend), window), distance(crop, window)
    change: Floats = made * (_share(crop, crops, window, far) * (far < 1))[:, :, None]
    return change


def _blended(change: Floats, away: Floats, blend: Blend) -> Floats:
    """A change (S, S, 3) that has come to nothing where the distance `away` (S, S) from the frame's middle is 1."""
    if blend == "feather":
        return change * _fading(away, FADE)
    if blend == "poisson":
        return change - membrane(change, away > BORDER)
    made = np.zeros_like(change)
    for blur, fade in BANDS:
        coarser = _blurred(change, blur * len(change)) if blur else np.zeros_like(change)
        made += (change - coarser) * _fading(away, fade)
        change = coarser
    return made


def _fill(picture: Image, patch: Patch, blend: Blend, match: bool, hole: Mask) -> Mask:
    """Writes the face where the hole is. What stands in the hole is not looked at."""
    crop, face = patch.crop, _pixels(patch.face)
    window = crop.reach(*picture.shape[:2])
    where = hole[window] & crop.holds(window)
    changed: Mask = np.zeros(picture.shape[:2], np.bool_)
    changed[window] = where
    seen = _pixels(crop.cut(picture))
    missing = crop.cut_mask(hole)[0, 0].numpy() > 0
    near = _blurred(missing.astype(np.float32), SMOOTH * crop.size) > 0.01
    if match:
        face = matched(face, seen, near & ~missing)
    if blend != "feather" and not missing.all():
        face = face + membrane(seen - face, ~missing)
    levels = _back(crop, face, window) * float(np.iinfo(picture.dtype).max)
    _write(picture, window, levels, where)
    return changed


def _share(crop: Crop, crops: Sequence[Crop], window: Window, far: Floats) -> Floats:
    """How much of each pixel in the window belongs to this of several faces: of all together it is 1."""
    total = np.ones_like(far)
    for other in crops:
        if other is not crop:
            total += np.exp(np.clip((far - distance(other, window)) / SOFT, -60, 60))
    return 1 / total


def _fading(far: Floats, width: float) -> Floats:
    """(S, S, 1): 1 inside, falling to 0 over `width` before the frame's border, without a kink at either end."""
    inside = np.clip((1 - far) / width, 0, 1)
    return (inside * inside * (3 - 2 * inside))[:, :, None]


# -------------------------------------------------------------------------------------------------------- colours


def matched(face: Floats, seen: Floats, rim: Mask) -> Floats:
    """A face (S, S, 3) in the colours that the picture has along the rim.

    In each channel contrast and brightness change such that what is coarse in the rim comes nearest to the picture's.
    A rim of one colour says nothing about contrast: then that stays.
    """
    if not rim.any():
        return face
    share = rim.astype(np.float32)
    total = _blurred(share, SMOOTH * len(rim))[:, :, None].clip(1e-6)
    ours, theirs = ((_blurred(each * share[:, :, None], SMOOTH * len(rim)) / total)[rim] for each in (face, seen))
    middle, aim = ours.mean(0), theirs.mean(0)
    common = ((ours - middle) * (theirs - aim)).mean(0)
    gain = np.clip((common + STEADY) / (ours.var(0) + STEADY), 0.5, 2)
    result: Floats = (face - middle) * gain + aim
    return result


def membrane(values: Floats, known: Mask) -> Floats:
    """(h, w, 3) values that go on from where they are known as a soap film would: with no Laplacian in between.

    From coarse grids to fine ones, some sweeps of relaxation on each. Nothing known: zeros.
    """
    import cv2

    height, width = known.shape
    if min(height, width) <= 2 or not known.any():
        mean = values[known].mean(0) if known.any() else 0
        film: Floats = np.broadcast_to(np.float32(mean), values.shape).copy()
    else:
        half = (width + 1) // 2, (height + 1) // 2
        share = cv2.resize(known.astype(np.float32), half, interpolation=cv2.INTER_AREA)
        sums = cv2.resize((values * known[:, :, None]).astype(np.float32), half, interpolation=cv2.INTER_AREA)
        coarse = membrane(sums / np.maximum(share, 1e-6)[:, :, None], share > 0)
        film = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    cross = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32) / 4
    for _ in range(SWEEPS):
        np.copyto(film, values, where=known[:, :, None], casting="same_kind")
        film = cv2.filter2D(film, -1, cross, borderType=cv2.BORDER_REPLICATE)
    np.copyto(film, values, where=known[:, :, None], casting="same_kind")
    return film


# --------------------------------------------------------------------------------------------------------- pixels


def _norm(places: Floats) -> Floats:
    """(h, w), of (2, h, w): the root of the root of the sum of fourth powers."""
    x, y = places
    length: Floats = np.sqrt(np.sqrt(x * x * x * x + y * y * y * y))
    return length


def _blurred(pixels: Floats, sigma: float) -> Floats:
    import cv2

    return cv2.GaussianBlur(pixels, (0, 0), max(sigma, 0.1), borderType=cv2.BORDER_REPLICATE)


def _pixels(tensor: Tensor) -> Floats:
    """(1, 3, S, S) to (S, S, 3)."""
    return tensor[0].permute(1, 2, 0).float().contiguous().numpy()


def _back(crop: Crop, pixels: Floats, window: Window) -> Floats:
    """(S, S, 3) to what it looks like in a window of the picture (h, w, 3)."""
    tensor = torch.from_numpy(np.ascontiguousarray(pixels, np.float32)).permute(2, 0, 1)[None]
    return _pixels(crop.back(tensor, window, "bicubic"))


def _write(picture: Image, window: Window, levels: Floats, where: Mask) -> None:
    full = float(np.iinfo(picture.dtype).max)
    rounded = np.rint(levels.clip(0, full)).astype(picture.dtype)
    np.copyto(picture[window], rounded, where=where[:, :, None])
