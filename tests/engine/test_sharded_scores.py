"""Scoring in shards: merged, the table is one process's to the last bit, whatever the number of shards."""

import pickle

import numpy as np
import pytest
import torch

from restore import images, keyed
from restore.engine.validation import Table, merged, score
from restore.metrics.psnr_metric import psnr
from tests.metrics.test_psnr_ssim import build

pytestmark = pytest.mark.filterwarnings("ignore:.*random weights")
COUNT = 11


class Faces:
    """Noise in pictures, one of them unreadable and one too small to be scored, some with holes drawn by key."""

    keys = tuple(f"face{number}" for number in range(COUNT))

    def __len__(self):
        return COUNT

    def load(self, index, draws):
        if index == 4:
            raise images.UnreadableImage("face4: cut short")
        size = 8 if index == 7 else 48
        gt = draws.integers(0, 256, (size, size, 3), dtype=np.uint8)
        mask = np.zeros((size, size, 1), np.uint8)
        mask[: int(draws.integers(0, size))] = 255
        return {"lq": gt, "gt": gt, "mask": mask, "key": self.keys[index], "path": self.keys[index]}


def half(lq, mask):
    return lq / 2


def darker(lq, mask):
    return lq * 0.9


@pytest.fixture(scope="module")
def metrics():
    faces = ("verification_far_1e_2", "identity_cosine")
    own = {name: build(name, weights="random") for name in ("fd_squeezenet", *faces)}
    return {"psnr": psnr(crop_border=4), "psnr_hole": build("psnr_hole"), **own}


METHODS = {"half": half, "darker": darker}


class Last(Faces):
    """The last of them alone: another number, the same name."""

    keys = Faces.keys[-1:]

    def __len__(self):
        return 1


def test_what_is_drawn_for_a_picture_goes_by_its_name_and_the_seed():
    def gt(faces, seed):
        return list(score(faces, {}, {}, seed, Table()))[-1].gt

    assert torch.equal(gt(Faces(), 3), gt(Last(), 3))
    assert not torch.equal(gt(Faces(), 3), gt(Faces(), 4))


@pytest.fixture(scope="module")
def whole(metrics):
    table = Table()
    list(score(Faces(), METHODS, metrics, 3, table))
    return table


def parts(metrics, count, limit=None):
    """What `count` processes would send each other."""
    found = []
    for index in range(count):
        table = Table()
        list(score(Faces(), METHODS, metrics, 3, table, limit, (index, count)))
        assert not table.whole
        found.append(pickle.loads(pickle.dumps(table)))
    return found


def assert_equal_tables(one, other):
    assert one.keys == other.keys
    assert repr(one.rows) == repr(other.rows)  # NaN is its own repr
    assert repr(one.whole) == repr(other.whole)
    assert (one.notes, list(one.set_aside.items())) == (other.notes, list(other.set_aside.items()))
    assert one.hole_areas == other.hole_areas
    assert [repr(one.means(method)) for method in METHODS] == [repr(other.means(method)) for method in METHODS]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, COUNT + 3])
def test_merged_shards_are_the_whole(metrics, whole, count):
    found = parts(metrics, count)
    assert [len(table.entries) for table in found] == [len(range(COUNT)[i::count]) for i in range(count)]
    assert_equal_tables(merged(found, metrics), whole)
    assert_equal_tables(merged(found[::-1], metrics), whole)


def test_the_whole_is_what_it_should_be(metrics, whole):
    """By hand, so that equal tables are not equally wrong."""
    assert list(whole.set_aside) == ["face4", "face7"]
    assert len(whole.keys) == COUNT - 2
    assert {name: list(row) for name, row in whole.whole.items()} == {
        name: ["fd_squeezenet", "verification_far_1e_2"] for name in METHODS
    }
    kept = [entry.kept["half"]["fd_squeezenet"] for entry in whole.entries if not entry.set_aside]
    wanted = metrics["fd_squeezenet"].figure(kept)
    assert whole.means("half")["fd_squeezenet"] == wanted > 0


def test_a_limit_comes_before_the_shards(metrics):
    table = merged(parts(metrics, 3, limit=6), metrics)
    assert table.keys == [f"face{i}" for i in (0, 1, 2, 3, 5)]
    assert list(table.set_aside) == ["face4"]


def test_pictures_that_are_done_are_not_scored_again(metrics, whole):
    first, rest = Table(), Table()
    for scored in score(Faces(), METHODS, metrics, 3, first, shard=(0, 1)):
        if scored.number == 5:
            break
    numbers = {entry.number for entry in first.entries}
    assert numbers == set(range(6))
    scored = [scored.number for scored in score(Faces(), METHODS, metrics, 3, rest, shard=(0, 1), done=numbers)]
    assert scored == [6, 8, 9, 10]
    assert_equal_tables(merged([first, rest], metrics), whole)


def test_a_picture_set_aside_leaves_nothing_in_the_sets_figures():
    """Though one method's prediction could be scored."""

    def wrong(lq, mask):
        return lq[..., :-1] if torch.equal(lq, target) else lq

    target = images.to_unit(Faces().load(2, keyed.draws(3, "evaluate", "face2"))["lq"])
    metrics, table = {"fd": build("fd_squeezenet", weights="random")}, Table()
    list(score(Faces(), {"half": half, "wrong": wrong}, metrics, 3, table, limit=4))
    assert list(table.set_aside) == ["face2"]
    assert "of 3 pictures" in table.notes[0]
    assert len(table.notes) == 1
