"""YAML with line numbers: plain data, and for every key the file and line that wrote it.

Only plain data can be written: tags that would construct Python objects are refused, and nothing is ever executed.
"""

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from restore.errors import UserError

Loc = tuple[str | int, ...]

MAX_NODES = 100_000  # a file of aliases of aliases is small on disk and endless when unfolded
MAX_DEPTH = 50

_TAG = "tag:yaml.org,2002:"
_CONTAINERS = {_TAG + "map", _TAG + "seq"}
_MERGE = _TAG + "merge"


class _Loader(yaml.SafeLoader):
    """YAML's core scalars: unlike YAML 1.1, `1e-4` is a number, `12:30` and `2020-01-01` are words.

    Stops at the first bracket or indentation that is too deep: the scanner's time grows with the square of the depth.
    """

    def fetch_flow_collection_start(self, kind: Any) -> None:
        self._stop_at(self.flow_level)
        super().fetch_flow_collection_start(kind)

    def add_indent(self, column: int) -> Any:
        self._stop_at(len(self.indents))
        return super().add_indent(column)

    def _stop_at(self, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise RecursionError


_Loader.yaml_implicit_resolvers = {}
for _name, _pattern in {
    "null": r"(~|null|Null|NULL|)\Z",
    "bool": r"(true|True|TRUE|yes|Yes|on|On|false|False|FALSE|no|No|off|Off)\Z",
    "int": r"[-+]?\d[\d_]*\Z",
    "float": r"([-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z",
    "merge": r"<<\Z",
}.items():
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(_pattern), None)


@dataclass(frozen=True)
class Mark:
    """Where a key was written; an override has no line."""

    file: str
    line: int | None = None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


@dataclass
class Document:
    """The data of an option file and the mark of every key in it.

    A translated file (`basicsr.py`) also has: `names`, how the file calls a key that is called otherwise here; `words`,
    keys of its own dialect, for near words; `mistakes`, by place, and `notes`, whole lines, of what is not honoured.
    """

    file: str
    data: dict[str, Any]
    marks: dict[Loc, Mark] = field(default_factory=dict)
    names: dict[Loc, Loc] = field(default_factory=dict)
    words: frozenset[str] = frozenset()
    mistakes: dict[Loc, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def copy(self) -> "Document":
        """A document whose data and marks can be changed without changing this one's."""
        return replace(self, data=copy.deepcopy(self.data), marks=dict(self.marks))

    def name(self, loc: Loc) -> str:
        """What the file calls `loc`, such as `train.total_iter`."""
        for depth in range(len(loc), 0, -1):
            if loc[:depth] in self.names:
                loc = (*self.names[loc[:depth]], *loc[depth:])
                break
        return ".".join(map(str, loc)) or "file"

    def mark(self, loc: Loc) -> Mark:
        """The mark of `loc`, or of the nearest section around it."""
        while loc and loc not in self.marks:
            loc = loc[:-1]
        return self.marks.get(loc, Mark(self.file, 1))

    def set(self, loc: Loc, value: Any, mark: Mark) -> None:
        """Writes `value` at `loc`, making sections on the way."""
        section: Any = self.data
        place: Loc = ()
        for key in loc[:-1]:
            here: Any = _index(key, section, mark) if isinstance(section, list) else key
            place = (*place, here)
            if not isinstance(section[here] if isinstance(section, list) else section.get(here), dict | list):
                section[here] = {}
                self.marks[place] = mark
            section = section[here]
        last: Any = _index(loc[-1], section, mark) if isinstance(section, list) else loc[-1]
        section[last] = value
        place = (*place, last)
        self.marks = {known: at for known, at in self.marks.items() if known[: len(place)] != place} | {place: mark}


def read(path: str | Path) -> Document:
    """Reads a YAML file.

    Raises:
        UserError: missing, not UTF-8, not YAML, not a mapping, a key twice, a tag other than plain data's.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{line}: not UTF-8 text ({error.reason}); is this an option file?") from error
    except (OSError, ValueError) as error:  # a NUL in the path is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot read the option file: {reason}; give `-opt` a YAML file") from error
    return parse(text, str(path))


def parse(text: str, file: str) -> Document:
    """Reads YAML text; `file` is what messages call it. Raises as `read` does."""
    root = _compose(text, file)
    document = Document(file, {})
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f"{file}:1: an option file is a mapping of sections, such as `name: my_experiment`")
    document.data = _Reader(document).value(root, ())
    return document


def parse_value(text: str, source: str) -> Any:
    """The value of an override such as `1e-4`, `true` or `[1, 2]`. Raises as `read` does."""
    try:
        return _Reader(Document(source, {})).value(_compose(text, source), ())
    except UserError as error:
        raise UserError(str(error).replace(f"{source}:1:", f"{source}:", 1)) from error  # it has but one line


def parse_section(text: str, flag: str, example: str) -> dict[str, Any]:
    """A section that a flag gives, written as `{type: UNet}`. Raises `UserError`, with the example, if it is none."""
    section = parse_value(text, flag)
    if not isinstance(section, dict):
        raise UserError(f"{flag} {text}: write it as '{example}'")
    return section


def _compose(text: str, file: str) -> yaml.Node:
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise UserError(_syntax_message(error, text, file)) from error
    except RecursionError as error:
        raise UserError(f"{file}:1: nested more than {MAX_DEPTH} levels deep; flatten it") from error
    except (ValueError, OverflowError) as error:  # "\\UFFFFFFFF"
        raise UserError(f"{file}:1: names a character that there is not ({error}); correct the `\\U...`") from error
    return node or yaml.ScalarNode(_TAG + "null", "", yaml.error.Mark(file, 0, 0, 0, None, 0))


class _Reader:
    """Turns YAML nodes into plain data, noting where each key stands."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.count = 0
        self.merging = 0  # how many `<<` deep, which may go round in circles

    def error(self, node: yaml.Node, text: str) -> UserError:
        return UserError(f"{self.document.file}:{node.start_mark.line + 1}: {text}")

    def value(self, node: yaml.Node, loc: Loc) -> Any:
        self.count += 1
        if self.count > MAX_NODES or len(loc) + self.merging > MAX_DEPTH:
            raise self.error(node, "the file unfolds into too much; remove nested aliases")
        if isinstance(node, yaml.MappingNode) and node.tag in _CONTAINERS:
            return self.mapping(node, loc)
        if isinstance(node, yaml.SequenceNode) and node.tag in _CONTAINERS:
            return [self._marked(child, child, (*loc, i)) for i, child in enumerate(node.value)]
        return self.scalar(node)

    def mapping(self, node: yaml.MappingNode, loc: Loc) -> dict[str, Any]:
        merges = [value_node for key_node, value_node in node.value if key_node.tag == _MERGE]
        merged: dict[str, Any] = {}
        for value_node in merges:  # first, so that the marks of the mapping's own keys stand
            merged |= self._merged(value_node, loc)
        data: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                continue
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag not in _SCALARS:
                raise self.error(key_node, "a key must be a plain word; quote it if it is one")
            key = key_node.value
            if key in first:
                where = ".".join(map(str, (*loc, key)))
                raise self.error(key_node, f"{where}: written twice, first on line {first[key]}; remove one of the two")
            first[key] = key_node.start_mark.line + 1
            data[key] = self._marked(key_node, value_node, (*loc, key))
        return merged | data

    def scalar(self, node: yaml.Node) -> Any:
        convert = _SCALARS.get(node.tag)
        if convert is None or not isinstance(node.value, str):
            tag = node.tag.replace(_TAG, "!!")
            raise self.error(node, f"the tag `{tag}` is not allowed; option files hold plain data only, remove it")
        try:
            return convert(node.value)
        except ValueError as error:
            kind = node.tag.removeprefix(_TAG)
            raise self.error(
                node, f"`{node.value[:40]}` is no {kind}; correct it, or quote it if it is text"
            ) from error

    def _marked(self, at: yaml.Node, node: yaml.Node, loc: Loc) -> Any:
        self.document.marks[loc] = Mark(self.document.file, at.start_mark.line + 1)
        return self.value(node, loc)

    def _merged(self, node: yaml.Node, loc: Loc) -> dict[str, Any]:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Any] = {}
        self.merging += 1
        for source in reversed(sources):
            if not isinstance(source, yaml.MappingNode):
                raise self.error(source, "`<<` takes a section, such as `<<: *defaults`")
            merged |= self.value(source, loc)
        self.merging -= 1
        return merged


def _number(text: str) -> int | float:
    """A float; but a whole number in scientific notation, such as `5e3` iterations, is an integer."""
    text = text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan")
    value = float(text)
    return int(value) if "e" in text and value.is_integer() and abs(value) < 2**53 else value


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "yes", "on", "false", "no", "off"):
        raise ValueError(text)
    return text.lower() in ("true", "yes", "on")


_SCALARS: dict[str, Callable[[str], Any]] = {
    _TAG + "str": str,
    _TAG + "value": str,
    _TAG + "null": lambda text: None,
    _TAG + "bool": _truth,
    _TAG + "int": lambda text: int(text.replace("_", "")),
    _TAG + "float": _number,
}


def _syntax_message(error: yaml.YAMLError, text: str, file: str) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return f"{file}:{line}: not a text file: the character U+{error.character:04X}; is this an option file?"
    mark = getattr(error, "problem_mark", None)
    if mark and mark.index >= len(text.rstrip()):  # the end of the file: what was never closed began earlier
        mark = getattr(error, "context_mark", None) or mark
    place = f"{file}:{mark.line + 1}" if mark else file
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"{place}: not valid YAML: {problem}; check indentation, colons and quotes there"


def _index(key: str | int, section: list[Any], mark: Mark) -> int:
    try:
        index = int(key)
        section[index]
    except (ValueError, IndexError) as error:
        raise UserError(f"{mark}: `{key}` is no position in a list of {len(section)}; count from 0") from error
    return index
