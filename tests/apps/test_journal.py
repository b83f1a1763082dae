"""The journal of a part: what was written whole is there after any cut, and two processes take turns."""

import threading

import numpy as np
import pytest

from restore.apps.journal import Journal, Record, read
from restore.errors import UserError


def records(count):
    arrays = {("a", "b/c"): np.arange(6, dtype=np.float32).reshape(2, 3), ("m",): np.zeros((4, 4), np.uint8)}
    return [Record({"number": i, "x": [float("nan"), float("inf"), 0.1 + i]}, arrays) for i in range(count)]


def plain(record):
    arrays = {name: (array.dtype, array.shape, array.tobytes()) for name, array in record.arrays.items()}
    return repr(record.facts), arrays


def written(path, count=3):
    journal = Journal(path)
    for record in records(count):
        journal.add(record)
    journal.stream.close()
    return path


def test_what_goes_in_comes_out(tmp_path):
    found = list(read(written(tmp_path / "j")))
    assert list(map(plain, found)) == list(map(plain, records(3)))


def test_after_any_cut_the_whole_records_are_there(tmp_path):
    data = written(tmp_path / "j").read_bytes()
    one = len(written(tmp_path / "one", 1).read_bytes())
    for end in [0, 5, one - 1, one, one + 4, one + 13, len(data) - 1]:
        path = tmp_path / f"{end}"
        path.write_bytes(data[:end])
        journal = Journal(path)
        whole = list(journal.resumed())
        assert list(map(plain, whole)) == list(map(plain, records(3)))[: end // one if end < len(data) - 1 else 2]
        for record in records(3)[len(whole) :]:
            journal.add(record)
        journal.finish(tmp_path / "done")
        assert (tmp_path / "done").read_bytes() == data
        assert not path.exists()


def test_a_finished_one_that_is_damaged_is_told(tmp_path):
    path = written(tmp_path / "j")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="damaged"):
        list(read(path))
    with pytest.raises(UserError, match="cannot read: No such file"):
        list(read(tmp_path / "none"))


def test_nothing_in_it_is_run(tmp_path):
    """Objects that would have to be unpickled are refused."""
    evil = Record({}, {("x",): np.array([{}], dtype=object)})
    journal = Journal(tmp_path / "j")
    journal.add(evil)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        list(journal.resumed())


def test_two_writers_take_turns(tmp_path, capsys):
    pytest.importorskip("fcntl")
    first, later = Journal(tmp_path / "j"), []
    thread = threading.Thread(target=lambda: later.append(Journal(tmp_path / "j")))
    thread.start()
    thread.join(0.5)
    assert not later
    first.add(records(1)[0])
    first.finish(tmp_path / "done")
    thread.join(10)
    assert later
    assert "another process is at work on it; waiting" in capsys.readouterr().out
    later[0].drop()
    assert [path.name for path in tmp_path.iterdir()] == ["done"]
