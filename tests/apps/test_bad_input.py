"""Damaged and hostile input through the real commands, a part of what `benchmarks/bad_input.py` does."""

import sys

import pytest

from benchmarks import bad_input
from benchmarks.bad_input import Row, row_of

SEED = 11

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is limited as Linux does it"),
]


def met(row: Row) -> None:
    """Every input was done or told."""
    assert row.crashed == []
    assert row.executed == 0
    assert row.met, row


def test_good_photos_are_done_beside_damaged_ones():
    row = row_of("photos", 8, SEED)
    met(row)
    assert row.inputs == 8 + bad_input.GOOD
    assert row.told > 0


def test_damaged_masks_are_told():
    row = row_of("masks", 8, SEED)
    met(row)
    assert row.told > 0
    assert row.done >= bad_input.GOOD


def test_damaged_films_are_told():
    pytest.importorskip("av", reason="needs PyAV (extra `video`)")
    row = row_of("films", 9, SEED)
    met(row)
    assert row.told > 0


def test_weights_of_strangers_are_told_in_little_memory():
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package, reason=f"needs {package} (extra `export`)")
    row = row_of("weights", 30, SEED)
    met(row)
    assert row.told > 20


@pytest.mark.parametrize("kind", ["uploads", "references"])
def test_damaged_pictures_at_other_doors(kind, tmp_path):
    row = bad_input.KINDS[kind](tmp_path, 10, SEED)
    met(row)
    assert row.told > 0
