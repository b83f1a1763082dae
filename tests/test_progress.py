"""What is told of long work where there is no terminal."""

import sys

import pytest

from restore import progress


def told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], total: int, done: int) -> list[str]:
    """The lines about work of `total` pieces of 10 s each, `done` of which were done before."""
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    assert list(progress.watched(range(done, total), total, "work", done)) == list(range(done, total))
    return capsys.readouterr().err.splitlines()


def test_lines_count_to_the_total(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(monkeypatch, capsys, 3, 0)
    assert lines == [
        "work: 1 of 3, 0/s, 20 s left",
        "work: 2 of 3, 0/s, 10 s left",
        "work: 3 of 3, 0/s, 0 s left",
    ]


def test_work_that_goes_on_counts_from_where_it_stopped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = told(monkeypatch, capsys, 102, 100)  # a transfer that was cut off shortly before its end
    assert lines == ["work: 101 of 102, 0/s, 10 s left", "work: 102 of 102, 0/s, 0 s left"]
