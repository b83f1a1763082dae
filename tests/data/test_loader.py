"""Batches are functions of (seed, number) alone; what goes wrong in a worker reaches the user."""

import itertools
import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
import torch

from restore import images
from restore.data.loader import KeyedSamples, Order, Place, train_batches
from restore.errors import Fault, UserError

SIZE = 10


class Source:
    """Pictures that show their own number, the epoch's draw beside it."""

    def __init__(self, size=SIZE):
        self.keys = [f"record {index}" for index in range(size)]

    def __len__(self):
        return len(self.keys)

    def load(self, index, draws):
        picture = np.full((2, 2, 3), index, np.uint8)
        picture[0, 0] = draws.integers(256, size=3)
        return {"gt": picture, "lq": picture, "key": self.keys[index], "path": self.keys[index]}


class Unreadable(Source):
    """Some records cannot be read."""

    bad = (3, 4)

    def load(self, index, draws):
        if index in self.bad:
            raise images.UnreadableImage(f"{self.keys[index]}: broken")
        return super().load(index, draws)


class AllUnreadable(Unreadable):
    bad = range(SIZE)


class Buggy(Source):
    def load(self, index, draws):
        return {}["no such thing"] if index == 5 else super().load(index, draws)


class Wrong(Source):
    def load(self, index, draws):
        raise UserError("the user's mistake")


class Deadly(Source):
    def load(self, index, draws):
        os.kill(os.getpid(), signal.SIGKILL)


class Stuck(Source):
    seconds = 0

    def load(self, index, draws):
        time.sleep(self.seconds)


class Uneven(Source):
    def load(self, index, draws):
        return {"gt": np.zeros((index + 1, 2, 3), np.uint8), "key": "", "path": ""}


class Deep(Source):
    """Every other picture has 16 bits."""

    def load(self, index, draws):
        kind, full = ((np.uint8, 255), (np.uint16, 65535))[index % 2]
        return {"gt": np.full((2, 2, 3), full, kind), "key": "", "path": ""}


def batches(source=None, *, seed=0, batch_size=4, enlarge=1, workers=0, start=0, stop=6):
    source = source or Source()
    arguments = {"seed": seed, "batch_size": batch_size, "enlarge": enlarge, "workers": workers}
    with train_batches(source, **arguments, start=start, stop=stop, pin=False) as made:
        return list(made)


def same(one, other):
    assert len(one) == len(other)
    return all(torch.equal(a.tensors["gt"], b.tensors["gt"]) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("batch_size", [1, 3, 4, 10, 16])
def test_every_record_once_an_epoch(batch_size):
    numbers = [place for batch in Order(SIZE, batch_size, 0, 0, 60) for place in batch]
    epochs = [numbers[first : first + SIZE] for first in range(0, len(numbers) - SIZE, SIZE)]
    for number, epoch in enumerate(epochs):
        assert sorted(place.index for place in epoch) == list(range(SIZE))
        assert {place.epoch for place in epoch} == {number}
        assert [place.position for place in epoch] == list(range(SIZE))
    assert len({tuple(place.index for place in epoch) for epoch in epochs}) == len(epochs)


def test_batch_size_does_not_change_the_order():
    flat = [[place for batch in Order(SIZE, size, 7, 0, 24 // size) for place in batch] for size in (2, 3, 8)]
    assert flat[0] == flat[1] == flat[2]


def test_order_goes_on_where_it_stopped():
    assert list(Order(SIZE, 4, 0, 0, 9)) == [*Order(SIZE, 4, 0, 0, 4), *Order(SIZE, 4, 0, 4, 9)]


def test_what_is_drawn_for_a_sample_hangs_on_all_of_its_key():
    """On seed, epoch and position; and on nothing else."""

    def drawn(seed, epoch, position):
        return tuple(KeyedSamples(Source(), seed)[Place(epoch, position, 0)].tensors["gt"][:, 0, 0].tolist())

    keys = list(itertools.product((0, 1), repeat=3))
    assert len({drawn(*key) for key in keys}) == len(keys)
    assert [drawn(*key) for key in keys] == [drawn(*key) for key in keys]


def test_other_seed_other_order():
    assert list(Order(SIZE, 4, 0, 0, 3)) != list(Order(SIZE, 4, 1, 0, 3))


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_do_not_change_the_batches(workers):
    assert same(batches(), batches(workers=workers))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_go_on_where_they_stopped(workers):
    assert same(batches()[2:], batches(start=2, workers=workers))


def test_enlarged_data_set_shows_every_record_as_often():
    first = np.concatenate([batch.tensors["gt"][:, 0, 1, 1] for batch in batches(enlarge=3, batch_size=6, stop=5)])
    assert np.bincount(first).tolist() == [3] * SIZE


def test_same_record_gets_other_draws_each_epoch():
    samples = KeyedSamples(Source(), seed=0)
    one, other = (samples[Place(epoch, 0, 5)].tensors["gt"] for epoch in (0, 1))
    assert not torch.equal(one, other)


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_records_are_named_and_replaced(workers):
    told = batches(Unreadable(), workers=workers)
    assert {reason for batch in told for reason in batch.set_aside} == {"record 3: broken", "record 4: broken"}
    shown = {int(number) for batch in told for number in batch.tensors["gt"][:, 0, 1, 1]}
    assert shown == set(range(SIZE)) - {3, 4}
    assert all(len(batch.tensors["gt"]) == 4 for batch in told)
    assert same(told, batches(Unreadable()))


@pytest.mark.parametrize("workers", [0, 2])
def test_nothing_but_unreadable_records(workers):
    with pytest.raises(Fault, match=r"20 records in a row cannot be used; the last: record \d: broken"):
        batches(AllUnreadable(), workers=workers)


@pytest.mark.parametrize("workers", [0, 2])
def test_users_mistake_stays_one_line(workers):
    with pytest.raises(UserError, match=r"^the user's mistake$"):
        batches(Wrong(), workers=workers)


@pytest.mark.parametrize("workers", [0, 2])
def test_bug_in_a_data_set_arrives_with_its_record(workers):
    with pytest.raises(KeyError) as caught:
        batches(Buggy(), workers=workers)
    told = str(caught.value) + "".join(getattr(caught.value, "__notes__", []))
    assert "no such thing" in told
    assert "while record `record 5` was loaded" in told


def test_killed_worker_is_told():
    with pytest.raises(Fault, match="a data worker died"):
        batches(Deadly(), workers=1)


def test_worker_that_dies_while_it_hands_over_is_told():
    def cut_off():
        with train_batches(Source(), seed=0, batch_size=4, enlarge=1, workers=2, start=0, stop=9, pin=False) as made:
            next(made)
            os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
            raise ConnectionResetError  # as its half of a socket is closed

    with pytest.raises(Fault, match="a data worker died"):
        cut_off()
    assert multiprocessing.active_children() == []


class Unshareable(Source):
    """No memory is left for what a worker hands over, which its queue's thread finds out."""

    def load(self, index, draws):
        def fails(*arguments):
            raise RuntimeError("unable to mmap 768 bytes: Cannot allocate memory (12)")

        torch.UntypedStorage._share_fd_cpu_ = torch.UntypedStorage._share_filename_cpu_ = fails
        return super().load(index, draws)


def test_worker_that_cannot_hand_over_its_batch_is_no_hang():
    with pytest.raises(Fault, match="a data worker died"):
        batches(Unshareable(), workers=1)


@pytest.mark.parametrize("source", [Source, Wrong, Buggy])
def test_no_worker_outlives_its_batches(source):
    def interrupted():
        with train_batches(source(), seed=0, batch_size=4, enlarge=1, workers=2, start=0, stop=9, pin=False) as made:
            next(made)
            raise InterruptedError

    with pytest.raises((UserError, KeyError, InterruptedError)) as caught:
        interrupted()
    assert caught.value.__traceback__ is not None  # which holds the frames, and with them the loader
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_stuck_worker_is_ended(monkeypatch):
    monkeypatch.setattr(Stuck, "seconds", 10**6)
    with train_batches(Stuck(), seed=0, batch_size=4, enlarge=1, workers=1, start=0, stop=9, pin=False):
        time.sleep(0.3)
    assert multiprocessing.active_children() == []


def test_pictures_of_different_sizes():
    with pytest.raises(Fault, match=r"different sizes .* set gt_size"):
        batches(Uneven())


def test_16_bits_beside_8():
    (batch,) = batches(Deep(), stop=1)
    assert batch.to(torch.device("cpu"))["gt"].unique().tolist() == [1.0]
