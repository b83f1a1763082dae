"""Several data sets drawn from with weights."""

import numpy as np
import pytest

from restore import images, keyed
from restore.data.loader import train_batches
from restore.data.mixed_dataset import MixedDataset
from restore.errors import UserError
from restore.registry import DATASETS, Part


@pytest.fixture
def three(tmp_path):
    """Folders of 2, 4 and 8 pictures, all of the same names, which show the number of their folder."""
    for number, count in enumerate((2, 4, 8)):
        for index in range(count):
            images.write(tmp_path / str(number) / f"{index}.png", np.full((8, 8, 3), 10 * number + index, np.uint8))
    return [Part(type="GTImageDataset", dataroot_gt=str(tmp_path / str(number))) for number in range(3)]


def folders(dataset, count=3000):
    values = [int(dataset.load(0, keyed.draws(0, number))["gt"][0, 0, 0]) // 10 for number in range(count)]
    return np.bincount(values, minlength=3) / count


@pytest.mark.parametrize(
    ("weights", "shares"), [(None, [1 / 7, 2 / 7, 4 / 7]), ([1, 1, 2], [0.25, 0.25, 0.5]), ([0, 1, 0], [0, 1, 0])]
)
def test_shares(three, weights, shares):
    assert folders(MixedDataset(three, weights)) == pytest.approx(shares, abs=0.03)


def test_every_picture_of_a_set_comes_as_often(three):
    dataset = MixedDataset(three, [0, 0, 1])
    values = [int(dataset.load(0, keyed.draws(0, number))["gt"][0, 0, 0]) - 20 for number in range(2000)]
    assert np.bincount(values) / 2000 == pytest.approx([1 / 8] * 8, abs=0.03)


@pytest.mark.parametrize("weights", [[1, 1], [1, -1, 1], [0, 0, 0]])
def test_weights_that_do_not_fit(three, weights):
    with pytest.raises(UserError, match="3 data sets need as many weights"):
        MixedDataset(three, weights)


def test_no_data_sets_are_refused():
    with pytest.raises(ValueError, match="at least 1 item"):
        DATASETS.build(Part(type="MixedDataset", datasets=[]))


def test_unreadable_record_is_counted_once_under_its_own_name(three, tmp_path):
    (tmp_path / "1" / "2.png").write_bytes(b"broken")
    options = {"seed": 0, "batch_size": 4, "enlarge": 1, "workers": 0, "start": 0, "stop": 30, "pin": False}
    with train_batches(MixedDataset(three), **options) as batches:
        told = {reason for batch in batches for reason in batch.set_aside}
    assert len(told) == 1
    assert str(tmp_path / "1" / "2.png") in told.pop()
