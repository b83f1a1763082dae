"""The moved frame: pictures, mask and landmarks go together, as OpenCV and plain shifts have it."""

import numpy as np
import pytest

from restore.data.transforms.affine import RandomAffine, moved
from restore.keyed import draws


def dotted(height=80, width=100):
    """A sample with a soft bright dot at each landmark, and a mask of single dots there."""
    points = np.array([[40, 30], [62, 31], [50, 42], [43, 53], [60, 52]], np.float32)
    y, x = np.mgrid[:height, :width]
    bump = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / 4) for px, py in points)
    picture = np.repeat((bump * 250).astype(np.uint8)[:, :, None], 3, axis=2)
    mask = (bump > 0.5).astype(np.uint8)[:, :, None] * 255
    return {"gt": picture, "mask": mask, "landmarks": points, "key": "a", "path": "a"}


@pytest.mark.parametrize(("zoom", "turn", "shift"), [(1.2, 0, (0, 0)), (0.8, 20, (0.05, -0.1)), (1, -35, (0.1, 0))])
def test_landmarks_stay_on_what_they_mark(zoom, turn, shift):
    changed = moved(dotted(), zoom, turn, np.array(shift))
    for x, y in changed["landmarks"]:
        left, top = round(float(x)) - 5, round(float(y)) - 5
        patch = changed["gt"][top : top + 11, left : left + 11, 0].astype(float)
        rows, columns = np.mgrid[top : top + 11, left : left + 11]
        assert (patch * columns).sum() / patch.sum() == pytest.approx(x, abs=0.15)
        assert (patch * rows).sum() / patch.sum() == pytest.approx(y, abs=0.15)
        assert changed["mask"][round(float(y)), round(float(x)), 0] == 255
    assert set(np.unique(changed["mask"])) == {0, 255}
    assert changed["mask"].shape == (80, 100, 1)
    grown = (changed["mask"] > 0).sum() / (dotted()["mask"] > 0).sum()
    assert grown == pytest.approx(zoom**2, rel=0.15)


def test_a_turn_is_clockwise_and_a_shift_goes_right_and_down():
    corner = dotted()["landmarks"][1] - dotted()["landmarks"][0]  # to the right
    turned = moved(dotted(), 1, 90, np.zeros(2))["landmarks"]
    assert turned[1] - turned[0] == pytest.approx([-corner[1], corner[0]], abs=1e-4)
    shifted = moved(dotted(), 1, 0, np.array([0.05, 0.1]))
    assert (shifted["gt"][8:, 4:] == dotted()["gt"][:-8, :-4]).all()
    assert (shifted["gt"][:8, 50] == shifted["gt"][8, 50]).all()  # the border goes on


def test_draws_stay_in_their_ranges_and_are_all_that_counts():
    change = RandomAffine(zoom=(0.9, 1.1), turn=10, shift=0.05)
    one, other = (change(dotted(), draws(3)) for _ in range(2))
    assert (one["gt"] == other["gt"]).all()
    for number in range(100):
        points = change(dotted(), draws(number))["landmarks"].astype(float)
        across, before = points[1] - points[0], (dotted()["landmarks"][1] - dotted()["landmarks"][0]).astype(float)
        assert 0.899 <= np.linalg.norm(across) / np.linalg.norm(before) <= 1.101
        angle = np.degrees(np.arctan2(across[1], across[0]) - np.arctan2(before[1], before[0]))
        assert abs(angle) <= 10.01
    still = RandomAffine(probability=0)(dotted(), draws(3))
    assert (still["gt"] == dotted()["gt"]).all()
