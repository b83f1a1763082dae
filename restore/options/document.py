"""YAML with line numbers: plain data, and for every key the file and line that wrote it.

Only plain data can be written: tags that would construct Python objects are refused, and nothing is ever executed.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from restore.errors import UserError

Loc = tuple[str | int, ...]

MAX_NODES = 100_000  # a file of aliases of aliases is small on disk and endless when unfolded
MAX_DEPTH = 50

_TAG = "tag:yaml.org,2002:"
_CONTAINERS = {_TAG + "map", _TAG + "seq"}


class _Loader(yaml.SafeLoader):
    """YAML's core scalars: unlike YAML 1.1, `1e-4` is a number, `12:30` and `2020-01-01` are words."""


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
    """The data of an option file and the mark of every key in it."""

    file: str
    data: dict[str, Any]
    marks: dict[Loc, Mark] = field(default_factory=dict)

    def mark(self, loc: Loc) -> Mark:
        """The mark of `loc`, or of the nearest section around it."""
        while loc and loc not in self.marks:
            loc = loc[:-1]
        return self.marks.get(loc, Mark(self.file, 1))

    def set(self, loc: Loc, value: Any, mark: Mark) -> None:
        """Writes `value` at `loc`, making sections on the way."""
        section: Any = self.data
        for depth, key in enumerate(loc[:-1], 1):
            if isinstance(section, list):
                section = section[_index(key, section, mark)]
                continue
            if not isinstance(section.get(key), dict | list):
                section[key] = {}
                self.marks[loc[:depth]] = mark
            section = section[key]
        last = loc[-1]
        section[_index(last, section, mark) if isinstance(section, list) else last] = value
        self.marks[loc] = mark


def read(path: str | Path) -> Document:
    """Reads a YAML file.

    Raises:
        UserError: missing, not UTF-8, not YAML, not a mapping, a key twice, a tag other than plain data's.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise UserError(f"{path}: cannot read the option file: {error.strerror}") from error
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
    return _Reader(Document(source, {})).value(_compose(text, source), ())


def _compose(text: str, file: str) -> yaml.Node:
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise UserError(_syntax_message(error, file)) from error
    except RecursionError as error:
        raise UserError(f"{file}: nested more than {MAX_DEPTH} levels deep") from error
    return node or yaml.ScalarNode(_TAG + "null", "", yaml.error.Mark(file, 0, 0, 0, None, 0))


class _Reader:
    """Turns YAML nodes into plain data, noting where each key stands."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.count = 0

    def error(self, node: yaml.Node, text: str) -> UserError:
        return UserError(f"{self.document.file}:{node.start_mark.line + 1}: {text}")

    def value(self, node: yaml.Node, loc: Loc) -> Any:
        self.count += 1
        if self.count > MAX_NODES or len(loc) > MAX_DEPTH:
            raise self.error(node, "the file unfolds into too much; remove nested aliases")
        if isinstance(node, yaml.MappingNode) and node.tag in _CONTAINERS:
            return self.mapping(node, loc)
        if isinstance(node, yaml.SequenceNode) and node.tag in _CONTAINERS:
            return [self._marked(child, child, (*loc, i)) for i, child in enumerate(node.value)]
        return self.scalar(node)

    def mapping(self, node: yaml.MappingNode, loc: Loc) -> dict[str, Any]:
        data: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                merged |= self._merged(value_node, loc)
                continue
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode):
                raise self.error(key_node, "a key must be a plain word")
            if key in first:
                where = ".".join(map(str, (*loc, key)))
                raise self.error(key_node, f"{where}: written twice, first on line {first[key]}; remove one of the two")
            first[key] = key_node.start_mark.line + 1
            data[key] = self._marked(key_node, value_node, (*loc, key))
        return merged | data

    def scalar(self, node: yaml.Node) -> Any:
        convert = _SCALARS.get(node.tag)
        if convert is None or not isinstance(node.value, str):
            raise self.error(node, f"the tag `{node.tag}` is not allowed; option files hold plain data only")
        try:
            return convert(node.value)
        except ValueError as error:
            raise self.error(node, f"`{node.value}` is no {node.tag.removeprefix(_TAG)}") from error

    def _marked(self, at: yaml.Node, node: yaml.Node, loc: Loc) -> Any:
        self.document.marks[loc] = Mark(self.document.file, at.start_mark.line + 1)
        return self.value(node, loc)

    def _merged(self, node: yaml.Node, loc: Loc) -> dict[str, Any]:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for source in reversed(sources):
            if not isinstance(source, yaml.MappingNode):
                raise self.error(source, "`<<` takes a section, such as `<<: *defaults`")
            merged |= self.value(source, loc)
        return merged


def _number(text: str) -> int | float:
    """A float; but a whole number in scientific notation, such as `5e3` iterations, is an integer."""
    text = text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan")
    value = float(text)
    return int(value) if "e" in text and value.is_integer() and abs(value) < 2**53 else value


_SCALARS: dict[str, Callable[[str], Any]] = {
    _TAG + "str": str,
    _TAG + "value": str,
    _TAG + "null": lambda text: None,
    _TAG + "bool": lambda text: text.lower() in ("true", "yes", "on"),
    _TAG + "int": lambda text: int(text.replace("_", "")),
    _TAG + "float": _number,
}


def _syntax_message(error: yaml.YAMLError, file: str) -> str:
    mark = getattr(error, "problem_mark", None)
    place = f"{file}:{mark.line + 1}" if mark else file
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"{place}: not valid YAML: {problem}; check indentation, colons and quotes there"


def _index(key: str | int, section: list[Any], mark: Mark) -> int:
    try:
        index = int(key)
        section[index]
    except (ValueError, IndexError) as error:
        raise UserError(f"{mark}: `{key}` is no position in a list of {len(section)}") from error
    return index
