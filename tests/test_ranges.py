"""Number types with a range, wherever a part of an option file has one."""

from typing import Any, get_args, get_origin

import pytest

from restore.options.check import check
from restore.options.document import Document
from restore.ranges import multiples_around
from restore.registry import DEGRADATIONS, OCCLUSIONS, TRANSFORMS, Entry

WEIGHTS = [("gfpgan", "kernel_prob")]  # two numbers of one type that are no range


def is_pair(annotation: Any) -> bool:
    forms = [annotation, *get_args(annotation)]
    plain = [form.__origin__ if hasattr(form, "__metadata__") else form for form in forms]
    return any(get_origin(form) is tuple and len(set(get_args(form))) == 1 for form in plain)


RANGES = [
    pytest.param(entry, name, id=f"{registry.name}.{entry.name}.{name}")
    for registry in (DEGRADATIONS, OCCLUSIONS, TRANSFORMS)
    for entry in registry
    for name, info in entry.schema.model_fields.items()
    if is_pair(info.annotation) and (entry.name, name) not in WEIGHTS and len(info.default) == 2
]


@pytest.mark.parametrize(("entry", "name"), RANGES)
def test_a_range_has_its_smaller_number_first(entry: Entry, name: str) -> None:
    low, high = entry.schema.model_fields[name].default
    entry.schema.model_validate({name: (low, low)})
    with pytest.raises(ValueError, match="should have the smaller number first"):
        entry.schema.model_validate({name: (high, low)})


def test_all_ranges_are_held_to_it() -> None:
    assert len(RANGES) > 60


def test_the_check_tells_it_with_its_place() -> None:
    """NumPy would only raise in a worker, once the run is under way."""
    part = {"type": "Jpeg", "quality": [95, 30]}
    data = {"type": "GTImageDataset", "dataroot_gt": "nowhere", "degradation": [part]}
    lines = check(Document("x.yml", {"datasets": {"train": data}}))[1].lines()
    place = "x.yml:1: datasets.train.degradation.0.quality"
    assert f"{place}: should have the smaller number first, found [95, 30]" in lines


@pytest.mark.parametrize(("number", "divisor", "told"), [(7, 2, "6 or 8"), (1, 2, "2"), (6, 2, "6 or 8")])
def test_multiples_around_a_number(number: int, divisor: int, told: str) -> None:
    assert multiples_around(number, divisor) == told
