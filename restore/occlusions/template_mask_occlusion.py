"""Face masks from pictures with key points, in the layout of MaskTheFace (Anwar and Raychowdhury, 2020)."""

from pathlib import Path

import cv2
import numpy as np

from restore.errors import UserError, nearest
from restore.faces.face import Face, Floats
from restore.images import Image
from restore.keyed import Draws
from restore.occlusions.canvas import Canvas
from restore.occlusions.cloth import Place
from restore.occlusions.light import Light
from restore.occlusions.occlusion import Occluded, Occlusion
from restore.occlusions.pose import Pose
from restore.occlusions.sheet import spline
from restore.occlusions.template import Template, read_templates
from restore.occlusions.textures import Textures
from restore.occlusions.worn import contact_shadow
from restore.options.paths import DataPath, resolve
from restore.registry import OCCLUSIONS

# The key points of the right half on the average head: MaskTheFace takes the middle of the nose's bridge and the chin,
# and the contour of the face at the height of the nose's tip and of the lower lip.
_RIMS = np.array(
    [
        [(0, 0.32, 0.38), (0.5, 0.46, 0.12), (1.06, 0.60, -0.60)],
        [(0, 1.80, 0.10), (0.48, 1.62, -0.05), (0.96, 1.24, -0.55)],
    ],
    np.float32,
)
_TURNED = 0.3  # tangent of the yaw from which on the picture of a turned mask fits better


@OCCLUSIONS.register
class TemplateMask(Occlusion):
    """A photographed face mask, laid over nose, mouth and chin by a homography of its six key points.

    Args:
        templates: folder with `masks.cfg` and `templates/`, as MaskTheFace has it.
        kinds: sections of `masks.cfg`, one of them for each face; empty: all but the turned views and `gas`. Where
            there are a `_left` and a `_right` one of that name, faces turned there wear it, unless its chin point
            lies below its picture.
        texture: folder of pictures that masks are printed with.
        shadow: whether the mask darkens the skin beside it. Where it does belongs to the hole.

    Raises:
        UserError: `masks.cfg` or a picture that it names is missing or broken, or it has no such section.
    """

    def __init__(
        self, templates: DataPath, kinds: tuple[str, ...] = (), texture: DataPath | None = None, shadow: bool = True
    ) -> None:
        folder = resolve(templates)
        self.templates = read_templates(folder)
        self.kinds = kinds or tuple(n for n in self.templates if not n.endswith(("_left", "_right")) and n != "gas")
        _check(self.kinds, self.templates, folder)
        self.textures = Textures(resolve(texture)) if texture else None
        self.shadow = shadow

    def __call__(self, picture: Image, face: Face, draws: Draws) -> Occluded:
        pose = Pose.of(face)
        template = self._turned(self.kinds[int(draws.integers(len(self.kinds)))], pose)
        corners, way = template.laid(_targets(pose, draws))
        canvas = Canvas(picture, corners, 0.2 * pose.unit)
        if canvas.empty:
            return canvas.finish()
        colour, alpha = template.warped(way, canvas)
        light = Light.of(canvas, alpha)
        if self.textures:
            colour = self._printed(canvas, colour, pose, draws)
        colour = colour * (light.gain * np.float32(light.exposure))[..., None]
        light.add_grain(colour, draws)
        if self.shadow:
            contact_shadow(canvas, alpha, pose.unit)
        canvas.paint(alpha, colour)
        return canvas.finish()

    def _turned(self, kind: str, pose: Pose) -> Template:
        """The picture of that mask which fits how the face is turned."""
        side = "_left" if pose.yaw < -_TURNED else "_right" if pose.yaw > _TURNED else ""
        turned = self.templates.get(kind + side)
        return turned if turned and turned.consistent else self.templates[kind]

    def _printed(self, canvas: Canvas, colour: Floats, pose: Pose, draws: Draws) -> Floats:
        """The texture with the light and shade of the mask (h, w, 3)."""
        assert self.textures is not None
        x, y = np.meshgrid(*canvas.axes())
        across, down, _, origin = pose.matrix
        back = np.linalg.inv(np.stack([across, down]) + 1e-6 * np.eye(2)).astype(np.float32)
        u = (x - origin[0]) * back[0, 0] + (y - origin[1]) * back[1, 0]
        v = (x - origin[0]) * back[0, 1] + (y - origin[1]) * back[1, 1]
        shade = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)[..., None]
        place = Place(u / np.float32(1.1), v / np.float32(1.5), pose.unit)
        return self.textures.drawn(place, draws) * (np.float32(0.25) + np.float32(0.85) * shade)


def _targets(pose: Pose, draws: Draws) -> Floats:
    """(6, 2): where the key points go: left, middle and right of the upper rim, then of the lower one.

    On a face that is turned, the end of a rim may be hidden; then where the rim comes out of sight.
    """
    rims = _RIMS * np.array([draws.uniform(0.95, 1.03), 1, 1], np.float32)
    rims[..., 1] += draws.uniform([-0.04, -0.06], [0.08, 0.06])[:, None]
    both = np.concatenate([rims[:, :0:-1] * np.array([-1, 1, 1], np.float32), rims], 1)
    points = []
    for rim in pose.pixels(spline(17) @ both):
        along = rim @ pose.matrix[0]
        points += [rim[along.argmin()], rim[len(rim) // 2], rim[along.argmax()]]
    return np.stack(points)


def _check(kinds: tuple[str, ...], templates: dict[str, Template], folder: Path) -> None:
    for kind in kinds:
        if kind not in templates:
            hint = nearest(kind, templates) or f"; it has {', '.join(templates)}"
            raise UserError(f"{folder / 'masks.cfg'}: no section [{kind}] with a template{hint}")
