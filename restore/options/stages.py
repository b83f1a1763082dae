"""A training of several stages in one file: each stage is the file with what that stage overrides laid over it."""

from typing import Any

from restore.options.check import check, raise_if_any
from restore.options.document import Document, Loc
from restore.options.overlay import overlay
from restore.options.schema import Options, Stage, StageName

STAGES = "stages"
_SECTIONS = set(Stage.model_fields) - set(StageName.model_fields)


def expand(document: Document) -> list[Document]:
    """The document of each stage; the document itself where it has none. What is no stage is left to the check."""
    stages = document.data.get(STAGES)
    if not isinstance(stages, list) or not all(isinstance(stage, dict) for stage in stages):
        return [document]
    return [_stage(document, number) for number in range(len(stages))] or [document]


def validate_stages(document: Document) -> list[Options]:
    """Checks every stage of a document as an experiment of its own. Raises `UserError` with every mistake, once."""
    documents = expand(document)
    lines: dict[str, None] = {}
    stages = []
    for each in documents:
        options, problems = check(each)
        lines |= dict.fromkeys(problems.lines())
        stages.append(options)
    raise_if_any([*lines, *_check_names(document)])
    if len(stages) == 1 and stages[0] is not None and not stages[0].stages:
        return [stages[0]]
    return [options.model_copy(update={STAGES: None}) for options in stages if options is not None]


def _check_names(document: Document) -> list[str]:
    """Mistakes in the names of stages, which no stage sees."""
    seen: dict[str, int] = {}
    lines = []
    stages = document.data.get(STAGES)
    for number, stage in enumerate(stages if isinstance(stages, list) else []):
        name = stage.get("name") if isinstance(stage, dict) else None
        if not isinstance(name, str):
            continue  # told by the schema
        if name in seen:
            lines.append(f"{document.mark((STAGES, number, 'name'))}: stages.{number}.name: `{name}` is written twice")
        seen[name] = number
    return lines


def _stage(document: Document, number: int) -> Document:
    """The file as stage `number` sees it. Keys that no stage has are left to the schema, which sees `stages` too."""
    own: dict[str, Any] = document.data[STAGES][number]
    place: Loc = (STAGES, number)
    sections = {key: value for key, value in own.items() if key in _SECTIONS}
    name = {key: value for key, value in own.items() if key in StageName.model_fields}
    marks = {loc[2:]: mark for loc, mark in document.marks.items() if loc[:2] == place}
    if "name" in name:  # else the check of `stages` tells that it is missing
        sections["stage"] = name
    top = Document(document.file, sections, marks | {("stage",): document.mark(place)})
    base = document.copy()
    overlay(base, top, ())
    return base
