"""docs/architecture.md is true: its drawing, the floors that it shows, the functions and files that it names."""

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.documents import REPOSITORY

PAGE = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
HOUSE = REPOSITORY / "restore"
ALLOWED = {  # imports from above, each with its reason
    ("restore", "restore.inference.model"): "`from restore import load_model`, imported when it is asked for",
}
ROW = re.compile(r"^│ +(.*?) *│$", re.M)
WHERE = re.compile(r"`([\w.]+)`(?:, `([\w.]+)`| and `([\w.]+)`)? of `(restore/[\w/]+\.py)`")


class Import(NamedTuple):
    """One module named in another."""

    by: str
    of: str
    line: int
    at_once: bool  # when the module is imported, and not later in a function, nor for the type checker alone


def module_name(path: Path) -> str:
    """`restore/data/__init__.py` is restore.data."""
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in sorted(HOUSE.rglob("*.py"))}


def floors() -> list[set[str]]:
    """What is on each floor of the drawing, from above: `apps` of `apps/`, `registry` of `registry.py`."""
    found: list[set[str]] = []
    for line in PAGE.split("```")[1].splitlines():
        if line.startswith(("┌", "├")):
            found.append(set())
        elif found and (row := ROW.match(line)):
            found[-1] |= {name.rstrip("/").removesuffix(".py") for name in re.findall(r"\b\w+(?:/|\.py)", row[1])}
    return found


FLOOR = {name: number for number, names in enumerate(floors()) for name in names}


def floor_of(module: str) -> int:
    return FLOOR[(module.split(".") + ["__init__"])[1]]


def imports_of(module: str, source: str) -> Iterator[Import]:
    """Each import of one of the house's own modules, wherever it stands."""
    tree = ast.parse(source)
    later = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or is_for_types(node):
            later |= {id(child) for child in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: {node.lineno}: imports are written out here"
            named = [n if (n := f"{node.module}.{alias.name}") in MODULES else str(node.module) for alias in node.names]
        else:
            continue
        yield from (Import(module, name, node.lineno, id(node) not in later) for name in named if name in MODULES)


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


IMPORTS = [each for name, path in MODULES.items() for each in imports_of(name, path.read_text(encoding="utf-8"))]


def from_above(imports: list[Import]) -> list[Import]:
    return [each for each in imports if floor_of(each.of) < floor_of(each.by)]


def test_the_drawing_shows_all_that_there_is():
    there = {path.stem for path in HOUSE.glob("*.py")}
    there |= {path.name for path in HOUSE.iterdir() if path.is_dir() and any(path.glob("[!_.]*"))} - {"recipes"}
    assert set(FLOOR) == there
    assert sum(map(len, floors())) == len(there)  # nothing is shown twice


def test_nobody_imports_from_above():
    wrong = [each for each in from_above(IMPORTS) if (each.by, each.of) not in ALLOWED]
    assert [f"{MODULES[each.by]}:{each.line}: {each.of}" for each in wrong] == []


def test_what_is_allowed_is_still_needed():
    assert set(ALLOWED) == {(each.by, each.of) for each in from_above(IMPORTS)}


def test_an_import_from_above_is_seen_also_in_a_function():
    source = "def f():\n    from restore.engine import trainer\n"
    (seen,) = imports_of("restore.archs.edsr_arch", source)
    assert seen == ("restore.archs.edsr_arch", "restore.engine.trainer", 2, False)
    assert from_above([seen]) == [seen]


def test_imports_go_in_no_circle():
    graph: dict[str, set[str]] = {name: set() for name in MODULES}
    for each in IMPORTS:
        if each.at_once and each.of != each.by:
            graph[each.by].add(each.of)
    assert sum(map(len, graph.values())) > 300
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_a_circle_is_seen():
    with pytest.raises(CycleError):
        TopologicalSorter({"a": {"b"}, "b": {"a"}}).prepare()


# ------------------------------------------------------------------------------------------------ functions, parts


def named_functions() -> list[tuple[str, str]]:
    """File and function of each hop, and of `function` of `file` in its words."""
    rows = re.findall(r"^\| \d \| `([\w/.]+)` \| (.*?) \|", PAGE, re.M)
    found = [(file, name) for file, names in rows for name in re.findall(r"`([\w.]+)`", names)]
    for match in WHERE.finditer(PAGE):
        found += [(match[4], name) for name in match.groups()[:3] if name]
    return found


def defined(file: str) -> set[str]:
    """Functions and classes of a file, `Class.method` too."""
    found = set()
    for node in ast.parse((REPOSITORY / file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{method.name}" for method in node.body if isinstance(method, ast.FunctionDef)}
    return found


@pytest.mark.parametrize(("file", "name"), sorted(set(named_functions())))
def test_a_function_that_is_named_is_there(file, name):
    assert name in defined(file)


def test_there_are_eight_hops():
    assert re.findall(r"^\| (\d) \| `", PAGE, re.M)[:8] == list("12345678")
    assert len(named_functions()) > 20


def test_parts_lie_where_the_page_says():
    """By the registries themselves: folder, ending of the file, name."""
    assert HOUSE.joinpath("registry.py").is_file()
    there = {}
    for node in ast.parse((HOUSE / "registry.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            if ast.unparse(node.value.func) != "Registry":
                continue
            given = [argument.value for argument in node.value.args if isinstance(argument, ast.Constant)]
            if not any(keyword.arg == "library" for keyword in node.value.keywords):
                folder, suffix = str(given[1]).replace(".", "/"), given[2] if len(given) > 2 else ""
                there[ast.unparse(node.targets[0])] = f"{folder}/*{suffix}.py"
    said = re.findall(r"^\| [\w ]+ \| `(restore/[\w/*]+\.py)` \| `@(\w+)\.register` \|", PAGE, re.M)
    assert {name: pattern for pattern, name in said} == there
    assert all(list(REPOSITORY.glob(pattern)) for pattern in there.values())
