"""Lays one option document over another."""

from restore.options.document import Document, Loc
from restore.options.walk import value_at


def overlay(base: Document, top: Document, loc: Loc) -> None:
    """Writes what `top` says below `loc` over `base`."""
    base_section, top_section = value_at(base.data, loc), value_at(top.data, loc)
    for key, value in top_section.items():
        here = (*loc, key)
        below = base_section.get(key)
        same_part = isinstance(below, dict) and isinstance(value, dict)
        if same_part and value.get("type", below.get("type")) == below.get("type"):
            base.marks[here] = top.mark(here)
            overlay(base, top, here)
            continue
        base_section[key] = value
        base.marks = {k: m for k, m in base.marks.items() if k[: len(here)] != here}
        base.marks |= {k: m for k, m in top.marks.items() if k[: len(here)] == here}
