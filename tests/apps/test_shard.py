"""`--shard`: parts of equal size, SLURM's array ids, the files of parts, and what is told when they are wrong."""

import argparse

import pytest

from restore.apps.shard import WHOLE, Shard, add_shard, all_parts, part_of, parts_beside
from restore.errors import UserError

VARIABLES = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_COUNT")


@pytest.fixture(autouse=True)
def outside_slurm(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def array(monkeypatch):
    def set_array(*ids):
        for name, value in zip(VARIABLES, ids, strict=True):
            monkeypatch.setenv(name, str(value))

    return set_array


def parsed(*words):
    parser = argparse.ArgumentParser()
    add_shard(parser)
    return parser.parse_args(words).shard


def told(capsys, *words):
    with pytest.raises(SystemExit) as stopped:
        parsed(*words)
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_counts_from_one():
    assert parsed("--shard", "1/4") == Shard(0, 4)
    assert parsed("--shard", "4/4") == Shard(3, 4)
    assert str(Shard(3, 4)) == "4-of-4"


def test_the_whole_without_it():
    assert parsed() == parsed("--shard", "1/1") == WHOLE
    assert WHOLE.of([1, 2, 3]) == [1, 2, 3]


@pytest.mark.parametrize("total", [0, 1, 7, 12])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 13])
def test_parts_are_even_and_all_of_it(total, count):
    parts = [Shard(index, count).of(range(total)) for index in range(count)]
    assert sorted(item for part in parts for item in part) == list(range(total))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert all(parts[item % count][item // count] == item for item in range(total))


@pytest.mark.parametrize("text", ["0/4", "5/4", "4", "a/b", "1/0", "-1/4", "1/4/2", "1.0/4", "", "photos"])
def test_no_part_is_told(text, capsys):
    assert f"`{text}` is no part of a whole; write 1/4, 2/4, ... 4/4" in told(capsys, f"--shard={text}")


@pytest.mark.parametrize(
    ("ids", "own"), [((3, 1, 8, 8), Shard(2, 8)), ((0, 0, 3, 4), Shard(0, 4)), ((1, 1, 1, 1), WHOLE)]
)
def test_ids_of_an_array(array, ids, own):
    array(*ids)
    assert parsed("--shard") == own
    assert parsed("--shard", "slurm") == own
    assert parsed() == WHOLE
    assert parsed("--shard", "2/5") == Shard(1, 5)


@pytest.mark.parametrize("ids", [(3, 1, 7, 4), (3, 3, 4, 2), (7, 7, 7, 1)])
def test_what_is_left_of_an_array_is_no_array(array, ids, capsys):
    """Of how many parts it was, nothing says: 3 and 4 of 16, submitted again, are not 1 and 2 of 2."""
    array(*ids)
    line = f"the array's ids, {ids[3]} from {ids[1]} to {ids[2]}, are not 1 to N; submit --array=1-N"
    assert line in (error := told(capsys, "--shard"))
    assert "--shard $SLURM_ARRAY_TASK_ID/N" in error


def test_outside_an_array(array, capsys):
    assert "no job array here, SLURM_ARRAY_TASK_ID is not set; write --shard 1/4" in told(capsys, "--shard")
    array(1, 1, 4, "")
    assert "no job array here, SLURM_ARRAY_TASK_COUNT is not set" in told(capsys, "--shard")


class TestFiles:
    def test_names(self, tmp_path):
        assert part_of(tmp_path / "x.y.lmdb", Shard(1, 4)) == tmp_path / "x.y_2-of-4.lmdb"
        assert part_of(tmp_path / "x.lmdb", WHOLE) == tmp_path / "x.lmdb"

    def test_those_that_are_there_and_no_others(self, tmp_path):
        for name in ("x_10-of-12", "x_2-of-12", "x", "xx_1-of-12", "x_train_1-of-12", "x_1-of-12.lmdb.partial"):
            (tmp_path / f"{name}.lmdb").mkdir()
        assert set(parts_beside(tmp_path / "x.lmdb")) == {Shard(1, 12), Shard(9, 12)}
        assert parts_beside(tmp_path / "none" / "x.lmdb") == {}

    def test_all_of_them(self, tmp_path):
        for index in range(3):
            part_of(tmp_path / "x.json", Shard(index, 3)).touch()
        assert [path.name for path in all_parts(tmp_path / "x.json", 7).values()] == [
            "x_1-of-3.json",
            "x_2-of-3.json",
            "x_3-of-3.json",
        ]

    def test_fewer_items_than_parts(self, tmp_path):
        for index in range(2):
            part_of(tmp_path / "x.json", Shard(index, 5)).touch()
        assert list(all_parts(tmp_path / "x.json", 2)) == [Shard(0, 5), Shard(1, 5)]
        with pytest.raises(UserError, match="--shard 3/5"):
            all_parts(tmp_path / "x.json", 3)

    def test_missing_ones_are_told(self, tmp_path):
        with pytest.raises(UserError, match=r"x\.json: no parts of it are there, such as x_1-of-4\.json"):
            all_parts(tmp_path / "x.json", 7)
        part_of(tmp_path / "x.json", Shard(1, 3)).touch()
        with pytest.raises(UserError, match=r"x\.json: 2 of its 3 parts are not there or not whole; --shard 1/3, 3/3$"):
            all_parts(tmp_path / "x.json", 7)
        part_of(tmp_path / "x.json", Shard(1, 30)).touch()
        with pytest.raises(UserError, match=r"parts of several jobs, x_\*-of-3\.json and x_\*-of-30\.json; remove"):
            all_parts(tmp_path / "x.json", 7)
        part_of(tmp_path / "x.json", Shard(1, 3)).unlink()
        with pytest.raises(UserError, match=r"--shard 1/30, (\d+/30, ){7}\.\.\.$"):
            all_parts(tmp_path / "x.json", 100)
