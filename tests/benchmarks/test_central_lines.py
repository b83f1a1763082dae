"""Every mutation still has its line in the tree, breaks it into Python, and is put back."""

import argparse

import pytest

from benchmarks import mutations
from benchmarks.central_lines import MUTATIONS
from benchmarks.mutations import REPOSITORY, break_text, broken


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_line_is_there_once_and_its_tests_too(mutation):
    text = (REPOSITORY / "restore" / mutation.file).read_text(encoding="utf-8")
    told = break_text(text, mutation)
    assert told != text
    compile(told, mutation.file, "exec")
    for name in mutation.near.split():
        assert (REPOSITORY / "tests" / name).exists(), name


def test_there_are_enough_with_names_of_their_own():
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS) >= 20
    assert set(mutations.QUICK) < {mutation.name for mutation in MUTATIONS}


@pytest.mark.parametrize("text", ["nothing", "\n".join([MUTATIONS[0].line] * 2)])
def test_a_line_that_is_not_there_once_is_told(text):
    with pytest.raises(ValueError, match=r"pixel loss: sign: restore/losses/pixel_loss\.py has its line [02] times"):
        break_text(text, MUTATIONS[0])


@pytest.fixture
def tree(tmp_path):
    """A tree of one file, that of the first mutation, and two tests of it: the second one fails once it is broken."""
    (tmp_path / "restore" / "losses").mkdir(parents=True)
    (tmp_path / "restore" / MUTATIONS[0].file).write_text(MUTATIONS[0].line)
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\nmarkers = ["slow"]\naddopts = "-q"\n')
    (tmp_path / "tests").mkdir()
    check = f"assert '-' not in Path('restore/{MUTATIONS[0].file}').read_text()"
    tests = f"from pathlib import Path\ndef test_one(): pass\ndef test_two(): {check}\n"
    (tmp_path / "tests" / "test_x.py").write_text(tests)
    return tmp_path


def test_broken_as_long_as_the_context_lasts(tree):
    path = tree / "restore" / MUTATIONS[0].file
    with broken(tree, MUTATIONS[0]):
        assert path.read_text() == MUTATIONS[0].broken
    assert path.read_text() == MUTATIONS[0].line


def test_a_test_that_fails_is_named(tree):
    assert mutations.caught_by(tree, MUTATIONS[0]._replace(near="test_x.py"), 0) == "tests/test_x.py::test_two"


FOUND = "tests/test_x.py::test_two[a]"


@pytest.mark.parametrize(
    ("near", "rest", "unbroken", "caught"),
    [
        (FOUND, None, None, FOUND),
        (None, FOUND, None, FOUND),
        (None, None, None, None),
        (FOUND, None, FOUND, None),
    ],
    ids=["near", "by the rest", "by none", "by one that fails anyway"],
)
def test_what_counts_as_caught(tree, monkeypatch, near, rest, unbroken, caught):
    def first_failure(tree, tests, *more):
        if (tree / "restore" / MUTATIONS[0].file).read_text() == MUTATIONS[0].line:
            assert tests == ["tests/test_x.py::test_two"]
            return unbroken
        return rest if tests == ["tests"] else near

    monkeypatch.setattr(mutations, "first_failure", first_failure)
    assert mutations.caught_by(tree, MUTATIONS[0]._replace(near="test_x.py"), 0) == caught


def test_a_part_of_the_lines_judges_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(mutations, "caught_by", lambda *arguments: "tests/x.py::y")
    args = argparse.Namespace(quick=True, only=None, jobs=1)
    timed, _, rows, caught = mutations.measure(tmp_path, args)
    assert rows.count("`tests/x.py::y`") == 2
    assert [(claim.ours, claim.met) for claim in (timed, caught)] == [("", None), ("2 of 2", None)]


@pytest.mark.parametrize(("through", "met"), [(2, True), (3, False)])
def test_nineteen_of_twenty_is_the_bar(monkeypatch, tmp_path, through, met):
    unseen = {mutation.name for mutation in MUTATIONS[:through]}
    monkeypatch.setattr(mutations, "MUTATIONS", MUTATIONS[:59])
    monkeypatch.setattr(mutations, "caught_by", lambda tree, mutation, jobs: None if mutation.name in unseen else "x")
    monkeypatch.setattr(mutations, "first_failure", lambda *arguments: None)
    claims = list(mutations.measure(tmp_path, argparse.Namespace(quick=False, only=None, jobs=1)))
    assert [claim.key for claim in (claims[0], claims[-1])] == ["mutations.fast_tier", "mutations.caught"]
    assert claims[-1].met is met
