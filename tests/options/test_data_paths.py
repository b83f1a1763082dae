"""Data roots in option files: one path, a list, a glob; what is missing is told with its line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from restore.errors import UserError
from restore.options.json_schema import json_schema
from restore.options.load import load

HEAD = "name: a\nnetwork_g: {type: MSRResNet}\ndatasets:\n  val:\n    type: PairedImageDataset\n"
Check = Callable[..., list[str]]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """The mistakes in a set of pairs whose LQ is `lq`, in a folder of data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RESTORE_DATA", raising=False)
    for name in ("gt", "lq/deep", "ffhq_1.lmdb", "ffhq_2.lmdb", "s_1-of-3.lmdb", "s_3-of-3.lmdb"):
        (tmp_path / "datasets" / name).mkdir(parents=True)
    (tmp_path / "datasets" / "gt" / "a.png").touch()

    def check(lq: str, key: str = "dataroot_lq") -> list[str]:
        (tmp_path / "x.yml").write_text(f"{HEAD}    dataroot_gt: datasets/gt\n    {key}: {lq}\n")
        try:
            load("x.yml")
        except UserError as error:
            return str(error).split("\n")[1:]
        return []

    return check


@pytest.mark.parametrize(
    "lq",
    [
        "datasets/lq",
        "datasets/ffhq_*.lmdb",
        "'datasets/**/ffhq*.lmdb'",
        "[datasets/lq, datasets/ffhq_1.lmdb]",
        "[datasets/s_1-of-3.lmdb]",
        "\n      - datasets/gt\n      - datasets/ffhq_?.lmdb",
    ],
)
def test_correct(check: Check, lq: str) -> None:
    assert check(lq) == []


@pytest.mark.parametrize(
    ("lq", "place", "says"),
    [
        ("[datasets/ffhq_1.lmdb, datasets/ffqh_2.lmdb]", "7: dataroot_lq.1", "did you mean `ffhq_2.lmdb`?"),
        ("\n      - datasets/lq\n      - x.lmdb", "9: dataroot_lq.1", "`x.lmdb`; correct the path"),
        ("datasets/fhq_*.lmdb", "7: dataroot_lq", "did you mean `ffhq_"),
        ("[datasets/q*]", "7: dataroot_lq.0", "matches `datasets/q*`; correct the pattern, or set RESTORE"),
        ("datasets/g*/*.png", "7: dataroot_lq", "; name the folder that holds these files"),
        ("datasets/s_*", "7: dataroot_lq", "parts of a set, but no s_2-of-3.lmdb; make it, or list"),
        ("[datasets/lq/deep, datasets/l*]", "7: dataroot_lq", "datasets/lq/deep: its pictures would be"),
        ("[]", "7: dataroot_lq", "should be a folder or .lmdb, a glob of such, or a list of these, found []"),
        ("4", "7: dataroot_lq", "should be a folder or .lmdb, a glob of such, or a list of these, found 4"),
        ('["", datasets/lq]', "7: dataroot_lq.0", "is empty; name a file or folder"),
        ('"a\\0*"', "7: dataroot_lq", "correct the pattern"),
        ('[datasets/lq, "a\\0"]', "7: dataroot_lq.1", "correct the path"),
    ],
)  # fmt: skip
def test_mistakes(check: Check, lq: str, place: str, says: str) -> None:
    (line,) = check(lq)
    number, key = place.split()
    assert line.startswith(f"x.yml:{number} datasets.val.{key}: ")
    assert says in line


def test_a_data_root_that_may_be_left_out_is_told_in_the_same_words(check: Check) -> None:
    lines = check("datasets/lq\n    dataroot_mask: 4")
    assert lines == [
        "x.yml:8: datasets.val.dataroot_mask: should be a folder or .lmdb, a glob of such, or a list of these, found 4"
    ]


def test_editors_are_told_a_string_or_a_list_of_strings() -> None:
    parts = json_schema()["$defs"]["datasets-EvalData"]["anyOf"]
    (pairs,) = (part["properties"] for part in parts if part["properties"]["type"].get("const") == "PairedImageDataset")
    forms = pairs["dataroot_gt"]["anyOf"]
    assert {"type": "string"} in forms
    assert {"type": "array", "items": {"type": "string"}, "minItems": 1} in forms
    assert pairs["stage_to"]["anyOf"][0]["type"] == "string"
