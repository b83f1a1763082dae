"""The form of a face mask on the average head, and where it is seen in a picture."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from restore.faces.face import Floats
from restore.keyed import Draws
from restore.occlusions.pose import Pose

# Right halves, in the coordinates of the average head: 5 rows from the upper rim to the lower one, 3 columns from the
# middle to the side. The left half is the mirror image.
FORMS: dict[str, Floats] = {
    "surgical": np.array(
        [
            [(0, 0.29, 0.40), (0.46, 0.47, 0.10), (1.00, 0.56, -0.50)],
            [(0, 0.64, 0.60), (0.55, 0.78, 0.24), (1.02, 0.79, -0.55)],
            [(0, 1.04, 0.56), (0.57, 1.10, 0.28), (0.99, 1.02, -0.55)],
            [(0, 1.45, 0.46), (0.52, 1.43, 0.22), (0.93, 1.25, -0.54)],
            [(0, 1.86, 0.14), (0.46, 1.75, -0.04), (0.84, 1.46, -0.52)],
        ],
        np.float32,
    ),
    "cloth": np.array(
        [
            [(0, 0.27, 0.42), (0.46, 0.52, 0.12), (1.00, 0.62, -0.48)],
            [(0, 0.66, 0.68), (0.56, 0.82, 0.26), (1.02, 0.82, -0.54)],
            [(0, 1.08, 0.66), (0.58, 1.12, 0.30), (0.99, 1.03, -0.55)],
            [(0, 1.48, 0.46), (0.53, 1.44, 0.22), (0.93, 1.22, -0.54)],
            [(0, 1.85, 0.10), (0.46, 1.72, -0.06), (0.85, 1.40, -0.52)],
        ],
        np.float32,
    ),
    "n95": np.array(
        [
            [(0, 0.24, 0.40), (0.42, 0.50, 0.14), (0.80, 0.74, -0.20)],
            [(0, 0.62, 0.78), (0.50, 0.78, 0.40), (0.88, 0.92, -0.26)],
            [(0, 1.04, 0.88), (0.52, 1.08, 0.46), (0.90, 1.10, -0.28)],
            [(0, 1.46, 0.66), (0.48, 1.42, 0.34), (0.85, 1.28, -0.26)],
            [(0, 1.82, 0.18), (0.42, 1.70, 0.00), (0.74, 1.45, -0.22)],
        ],
        np.float32,
    ),
}
_ACROSS, _DOWN = 21, 17  # vertices of the mesh
_DEGREE = 5  # of the polynomials that take pixels back to the sheet


@dataclass(frozen=True, eq=False)
class Sheet:
    """A mask on a head: `mesh` (_DOWN, _ACROSS, 3), `places` (_DOWN, _ACROSS, 2) in pixels, which quads face us."""

    mesh: Floats
    places: Floats
    facing: Floats

    @classmethod
    def of(cls, form: Floats, pose: Pose) -> "Sheet":
        """The mask of right half `form`, seen by a camera."""
        left = form[:, :0:-1] * np.array([-1, 1, 1], np.float32)
        grid = np.concatenate([left, form], 1)
        mesh = np.einsum("ij,jkc,lk->ilc", spline(_DOWN), grid, spline(_ACROSS), optimize=True).astype(np.float32)
        places = pose.pixels(mesh)
        one, other = places[1:, 1:] - places[:-1, :-1], places[1:, :-1] - places[:-1, 1:]
        return cls(mesh, places, one[..., 0] * other[..., 1] - one[..., 1] * other[..., 0])

    def quads(self) -> Floats:
        """(n, 4, 2): the parts of the mask that face us."""
        p = self.places
        corners = np.stack([p[:-1, :-1], p[:-1, 1:], p[1:, 1:], p[1:, :-1]], 2)
        quads: Floats = corners[self.facing > 0]
        return quads

    def fields(self, x: Floats, y: Floats, shade: Floats) -> Floats:
        """(3, h, w): across the mask in [-1, 1], down it in [0, 1], and `shade` (_DOWN, _ACROSS), at columns and rows.

        Polynomials in x and y, fitted to the vertices that face us: as products of matrices they cost next to nothing.
        """
        s, t = _parameters()
        seen = np.zeros(s.shape, bool)
        for below in (slice(None, -1), slice(1, None)):
            for beside in (slice(None, -1), slice(1, None)):
                seen[below, beside] |= self.facing > 0
        points = self.places[seen].astype(np.float64)
        center, reach = points.mean(0), np.abs(points - points.mean(0)).max() + 1e-6
        px, py = (_powers((axis - c) / reach) for axis, c in zip(points.T, center, strict=True))
        keep = np.add.outer(np.arange(_DEGREE + 1), np.arange(_DEGREE + 1)) <= _DEGREE
        terms = (py[:, :, None] * px[:, None, :])[:, keep]
        wanted = np.stack([s[seen], t[seen], shade[seen]], 1)
        small = 1e-5 * len(points) * np.eye(terms.shape[1])  # few vertices in sight must not bend it
        found = np.linalg.solve(terms.T @ terms + small, terms.T @ wanted)
        weights = np.zeros((3, *keep.shape))
        weights[:, keep] = found.T
        rows, columns = (
            _powers(((axis - c) / reach).astype(np.float32)) for axis, c in ((y, center[1]), (x, center[0]))
        )
        return np.asarray(rows @ weights.astype(np.float32) @ columns.T, np.float32)

    def shade(self, light: Floats) -> Floats:
        """(_DOWN, _ACROSS): how much light from the direction (3,) falls on each vertex, 1 for what faces it."""
        down, across = np.gradient(self.mesh, axis=(0, 1))
        normal = np.cross(across, down)
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-6
        amount: Floats = (normal @ (light / np.linalg.norm(light))).clip(0, 1).astype(np.float32)
        return amount


def drawn_form(kind: str, draws: Draws) -> Floats:
    """A mask of that kind as this person wears it: wider or narrower, higher or lower on nose and chin."""
    form = FORMS[kind].copy()
    width, nose, chin, bulge = draws.uniform([0.95, -0.03, -0.07, 0.9], [1.03, 0.10, 0.05, 1.1])
    form[..., 0] *= width
    form[..., 1] += np.array([nose, nose / 2, 0, chin / 2, chin], np.float32)[:, None]
    form[1:4, :, 2] *= bulge
    return form


@cache
def spline(number: int) -> Floats:
    """(number, 5): the curve through five points, a polynomial, as weights of the points."""
    nodes, wanted = np.vander(np.linspace(-1, 1, 5)), np.vander(np.linspace(-1, 1, number), 5)
    return np.asarray(wanted @ np.linalg.inv(nodes), np.float32)


@cache
def _parameters() -> tuple[Floats, Floats]:
    """Across and down the mask, at each vertex."""
    s, t = np.meshgrid(np.linspace(-1, 1, _ACROSS, dtype=np.float32), np.linspace(0, 1, _DOWN, dtype=np.float32))
    return s, t


def _powers(values: Floats) -> Floats:
    """(n, _DEGREE + 1): 1, x, x², ..."""
    powers = [np.ones_like(values)]
    for _ in range(_DEGREE):
        powers.append(powers[-1] * values)
    return np.stack(powers, -1)
