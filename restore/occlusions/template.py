"""Pictures of masks with key points: read, and warped onto a face."""

import configparser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from restore import images
from restore.errors import UserError
from restore.faces.face import Floats
from restore.occlusions.canvas import FAINTEST, Canvas
from restore.occlusions.halves import at_most, halves

CONFIG = "masks.cfg"
_KEYS = ("mask_a", "mask_b", "mask_c", "mask_d", "mask_e", "mask_f")
_LARGEST = 768  # pixels a side that are kept


@dataclass(frozen=True, eq=False)
class Template:
    """`sizes`: RGBA, colour times opacity, in `halves`. `points` (6, 2): shares of width and height."""

    sizes: list[NDArray[np.uint8]]
    points: Floats

    @property
    def consistent(self) -> bool:
        """Whether the key points belong to the picture: MaskTheFace's N95_left and N95_right have another's."""
        return bool(self.points[:, 1].max() < 1.1)

    def laid(self, targets: Floats) -> tuple[Floats, Floats]:
        """The corners (4, 2) in pixels when the key points lie nearest to targets (6, 2), and the way (3, 3) there.

        By a homography, or where that would turn a part of the picture inside out, by an affine map.
        """
        corners = np.array([[0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]], np.float64)
        way: Any = cv2.findHomography(self.points.astype(np.float64), targets.astype(np.float64), 0)[0]
        if way is None or (corners @ way[2] < 0.3).any() or (corners @ way[2] > 3).any():
            known = np.column_stack([self.points, np.ones(6)])
            way = np.vstack([np.linalg.lstsq(known, targets, rcond=None)[0].T, [0, 0, 1]])
        ends = corners @ way.T
        return (ends[:, :2] / ends[:, 2:]).astype(np.float32), way

    def warped(self, way: Floats, canvas: Canvas) -> tuple[Floats, Floats]:
        """Its colours (h, w, 3) and opacity (h, w) in the window of a canvas."""
        height, width = canvas.size
        extent = max(float(np.hypot(*way[:2, 0])), float(np.hypot(*way[:2, 1])), 1.0)  # about the pixels it will have
        first = max(self.sizes[0].shape[:2])
        picture = self.sizes[int(np.clip(np.log2(first / extent) + 0.3, 0, len(self.sizes) - 1))]
        shares = np.diag([1 / picture.shape[1], 1 / picture.shape[0], 1.0])
        shares[:2, 2] = 0.5 / np.array(picture.shape[1::-1])
        shift = np.array([[1, 0, -canvas.origin[0]], [0, 1, -canvas.origin[1]], [0, 0, 1]], np.float64)
        rgba = cv2.warpPerspective(picture, shift @ way @ shares, (width, height), flags=cv2.INTER_LINEAR)
        laid = rgba.astype(np.float32) * np.float32(1 / 255)
        alpha = laid[..., 3]
        colour = laid[..., :3] / np.maximum(alpha, np.float32(1e-3))[..., None]
        return colour.clip(0, 1), np.where(alpha < FAINTEST, np.float32(0), alpha)


def read_templates(folder: Path) -> dict[str, Template]:
    """The masks of `masks.cfg` by section; sections without a picture are passed over. Raises `UserError`."""
    config, parser = folder / CONFIG, configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(config.read_text(encoding="utf-8"), str(config))
    except FileNotFoundError as error:
        raise UserError(f"{config}: no such file; `templates` names a folder in MaskTheFace's layout") from error
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        raise UserError(f"{config}: cannot read: {str(error).splitlines()[0]}") from error
    found = {}
    for name in parser.sections():
        if parser.has_option(name, "template"):
            found[name] = _read(folder, f"{config}: [{name}]", dict(parser[name]))
    if not found:
        raise UserError(f"{config}: no section has a `template`")
    return found


def _read(folder: Path, where: str, section: dict[str, str]) -> Template:
    """The template of one section; of its path only the file's name counts, since the folders differ."""
    try:
        points = np.array([[float(part) for part in section[key].split(",")] for key in _KEYS], np.float32)
    except (KeyError, ValueError) as error:
        raise UserError(f"{where}: {_KEYS[0]} to {_KEYS[-1]} must each be `x, y` in pixels ({error})") from error
    if points.shape != (6, 2) or not np.isfinite(points).all():
        raise UserError(f"{where}: {_KEYS[0]} to {_KEYS[-1]} must each be `x, y` in pixels")
    file = folder / "templates" / Path(section["template"].replace("\\", "/")).name
    picture = _read_rgba(file, where)
    height, width = picture.shape[:2]
    shares = (points + np.float32(0.5)) / np.array([width, height], np.float32)
    return Template(halves(picture), np.asarray(shares, np.float32))


def _read_rgba(file: Path, where: str) -> NDArray[np.uint8]:
    """(H, W, 4) uint8, the colours multiplied by the opacity."""
    try:
        data = images.file_bytes(file)
        images.refuse_bomb(data, str(file))
        picture: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except images.UnreadableImage as error:
        raise UserError(f"{where}: template {error}") from error
    except cv2.error:
        picture = None  # of an empty file
    if picture is None or picture.ndim != 3 or picture.shape[2] != 4 or picture.dtype != np.uint8:
        raise UserError(f"{where}: template {file}: not a whole 8-bit RGBA picture (PNG)")
    picture = cv2.cvtColor(picture, cv2.COLOR_BGRA2RGBA)
    opacity = picture[..., 3:].astype(np.float32) / np.float32(255)
    picture[..., :3] = np.rint(picture[..., :3] * opacity)
    return at_most(np.asarray(picture), _LARGEST)
