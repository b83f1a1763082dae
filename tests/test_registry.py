"""Registries: what every part owes, near names, parts of one name, plugins."""

import inspect
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field, ValidationError

from restore import registry as registries
from restore.errors import UserError
from restore.options.load import load
from restore.registry import ARCHS, OPTIMIZERS, REGISTRIES, SCHEDULERS, Registry, import_part_module

REPOSITORY = Path(__file__).resolve().parents[1]
OWN = [(r, entry) for r in REGISTRIES.values() for entry in r if entry.module.startswith("restore.")]


@pytest.mark.parametrize(("registry", "entry"), OWN, ids=lambda item: item.name)
def test_every_part_has_a_schema_and_says_what_it_is(registry: Registry, entry: registries.Entry) -> None:
    given = [name for name in inspect.signature(entry.build).parameters if name not in registry.supplied]
    assert entry.parameters == given
    assert entry.summary.endswith((".", ")."))
    assert len(entry.summary) > 10
    assert "Initialize self" not in entry.summary


def test_the_built_in_parts_are_found() -> None:
    expected = {
        "archs": {"MSRResNet", "EDSR"},
        "losses": {"L1Loss", "MSELoss", "CharbonnierLoss"},
        "metrics": {"psnr", "psnr_y", "ssim", "ssim_y"},
        "transforms": {"RandomFlip", "RandomRotate90", "RandomTranspose"},
        "datasets": {"PairedImageDataset", "GTImageDataset", "SingleImageDataset", "MixedDataset"},
        "tasks": {"Restoration"},
        "optimizers": {"Adam", "AdamW", "SGD", "RMSprop"},
        "schedulers": {"MultiStepLR", "CosineAnnealingLR", "CosineAnnealingRestartLR"},
    }
    for name, parts in expected.items():
        assert parts <= {entry.name for entry in REGISTRIES[name]}, name


def test_importing_the_registry_imports_no_part() -> None:
    code = "import sys, restore.registry; print([m for m in sys.modules if m in ('torch', 'cv2', 'basicsr')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("name", "near"), [("MSRResnet", "MSRResNet"), ("edsr", "EDSR")])
def test_unknown_name_is_told_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(UserError, match=f"^no `{name}` among the archs; did you mean `{near}`\\?$"):
        ARCHS.get(name)


def test_unknown_name_with_none_near_is_told_where_to_look() -> None:
    with pytest.raises(UserError, match=r"^no `Zzz` among the archs \(`restore list archs` shows them\)$"):
        ARCHS.get("Zzz")


@pytest.mark.parametrize(
    "args",
    [
        {"lr": 0},
        {"lr": float("nan")},
        {"betas": [0.9, 1.0]},
        {"betas": [-0.1, 0.9]},
        {"weight_decay": -1.0},
        {"lrr": 1},
    ],
)
def test_optimizers_are_checked_without_building_them(args: dict[str, Any]) -> None:
    schema = OPTIMIZERS.get("Adam").schema
    schema.model_validate({"lr": 1e-3, "betas": (0.9, 0.999), "weight_decay": 0.0})
    with pytest.raises(ValidationError):
        schema.model_validate(args)


def test_what_the_frame_supplies_is_no_option() -> None:
    assert "params" not in OPTIMIZERS.get("Adam").parameters
    assert not {"optimizer", "last_epoch"} & set(SCHEDULERS.get("CosineAnnealingLR").parameters)


def test_building_turns_lists_into_tuples() -> None:
    scratch = Registry("scratch", None)

    @scratch.register
    def pair(sizes: tuple[int, ...], weight: float = 1.0) -> tuple[Any, float]:
        """A pair."""
        return sizes, weight

    assert scratch.build(registries.Part(type="pair", sizes=[1, 2])) == ((1, 2), 1.0)  # type: ignore[call-arg]


# Signatures that would let a misspelt option vanish.


def no_annotation(x, y: int = 1) -> None:  # type: ignore[no-untyped-def]
    """Nothing."""


def any_keyword(y: int = 1, **kwargs: int) -> None:
    """Nothing."""


def any_position(*args: int) -> None:
    """Nothing."""


def undefined(x: "Nowhere") -> None:  # type: ignore[name-defined]  # noqa: F821
    """Nothing."""


@pytest.mark.parametrize(
    ("part", "says"),
    [
        (no_annotation, "test_registry.no_annotation: the parameter `x` needs a name and an annotation"),
        (any_keyword, r"test_registry.any_keyword: the parameter `\*\*kwargs: int` needs a name and an annotation"),
        (any_position, r"test_registry.any_position: the parameter `\*args: int` needs a name and an annotation"),
        (undefined, "test_registry.undefined: an annotation is not defined: name 'Nowhere'"),
    ],
)
def test_signatures_that_are_no_schema_are_told(part: Callable[..., None], says: str) -> None:
    scratch = Registry("scratch", None)
    scratch.register(part)
    with pytest.raises(UserError, match=says):
        _ = scratch.get(part.__name__).schema


def test_unannotated_guests_are_checked_by_name() -> None:
    schema = registries.Entry("guest", lambda num, size=3, *rest, **more: None, guest=True).schema
    assert schema.model_validate({"num": "anything"}).model_dump() == {"num": "anything", "size": 3}
    for args in ({"num": 1, "sise": 2}, {"num": 1, "more": 2}, {}):
        with pytest.raises(ValidationError):
            schema.model_validate(args)


def test_annotations_narrow_values() -> None:
    scratch = Registry("scratch", None)

    @scratch.register
    def share(value: Annotated[float, Field(ge=0, le=1)] = 0.5) -> None:
        """A share."""

    with pytest.raises(ValidationError):
        scratch.get("share").schema.model_validate({"value": 2})


# Plugins, each test with packages of its own in a temporary folder.

ARCH = """
from torch import nn
from restore.registry import ARCHS

@ARCHS.register
class {name}(nn.Module):
    \"\"\"A network for tests.\"\"\"

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return self.conv(x)
"""


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[str, str]], None]]:
    """Writes modules that can be imported during the test, and forgets what they registered."""
    ARCHS.discover()
    monkeypatch.setattr(ARCHS, "_entries", dict(ARCHS._entries))
    monkeypatch.syspath_prepend(str(tmp_path))
    known = set(sys.modules)

    def write(files: dict[str, str]) -> None:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text), encoding="utf-8")

    yield write
    for name in set(sys.modules) - known:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def options(tmp_path: Path, plugins: str, network: str) -> Path:
    path = tmp_path / "x.yml"
    path.write_text(f"name: x\nplugins:\n  - {plugins}\nnetwork_g:\n{textwrap.indent(network, '  ')}\n")
    return path


def test_plugin_named_in_the_option_file_answers(packages: Callable[..., None], tmp_path: Path) -> None:
    packages({"my_pkg/__init__.py": "", "my_pkg/archs.py": ARCH.format(name="Mine")})
    path = options(tmp_path, "my_pkg.archs", "type: Mine\nwidth: 8")
    assert load(path).network_g.args == {"width": 8}
    with pytest.raises(UserError, match=r"x\.yml:6: network_g\.width: should be a valid integer, found \"8\""):
        load(options(tmp_path, "my_pkg.archs", 'type: Mine\nwidth: "8"'))


def told(path: Path) -> list[str]:
    with pytest.raises(UserError) as caught:
        load(path)
    return str(caught.value).removeprefix("the option file has mistakes:\n").split("\n")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "x = 1\nraise RuntimeError('no luck\\ntoday')",
            "cannot import `broken`: RuntimeError: no luck today ({file}:2)",
        ),
        (
            "import no_such_thing",
            "cannot import `broken`: ModuleNotFoundError: No module named 'no_such_thing' ({file}:1)",
        ),
        ("def f(:\n", "({file}:1)"),
    ],
)
def test_plugin_that_fails_is_told_with_its_line(
    text: str, says: str, packages: Callable[..., None], tmp_path: Path
) -> None:
    packages({"broken.py": text})
    (line,) = told(options(tmp_path, "broken", "type: EDSR"))
    assert line.startswith(f"{tmp_path / 'x.yml'}:3: plugins.0: cannot import `broken`: ")
    assert line.endswith(says.format(file=tmp_path / "broken.py"))


def test_missing_plugin_is_told_with_other_mistakes(packages: Callable[..., None], tmp_path: Path) -> None:
    packages({"my_pkg2/__init__.py": ""})
    lines = told(options(tmp_path, "my_pkg2.archs", "type: EDSRR"))
    assert [line.split(": ", 1)[1] for line in lines] == [
        "plugins.0: no module `my_pkg2.archs`; install it, or put it beside the option file",
        "network_g.type: no `EDSRR` among the archs; did you mean `EDSR`?",
    ]


def test_plugin_with_a_built_in_name_is_told_with_both_modules(packages: Callable[..., None], tmp_path: Path) -> None:
    packages({"second.py": ARCH.format(name="EDSR")})
    (line,) = told(options(tmp_path, "second", "type: EDSR"))
    expected = "plugins.0: two archs are called `EDSR`: one in restore.archs.edsr_arch, one in second; rename one"
    assert line == f"{tmp_path / 'x.yml'}:3: {expected}"


def test_two_plugins_with_one_name_are_told(packages: Callable[..., None]) -> None:
    packages({"one.py": ARCH.format(name="Twin"), "two.py": ARCH.format(name="Twin")})
    import_part_module("one")
    with pytest.raises(UserError, match=r"^two archs are called `Twin`: one in one, one in two; rename one$"):
        import_part_module("two")


def test_the_same_module_may_register_again(packages: Callable[..., None]) -> None:
    packages({"again.py": ARCH.format(name="Again")})
    import_part_module("again")
    del sys.modules["again"]
    import_part_module("again")
    assert "Again" in ARCHS


def test_plugin_whose_signature_is_no_schema_is_told(packages: Callable[..., None], tmp_path: Path) -> None:
    packages({"loose.py": ARCH.format(name="Loose").replace("width: int = 4", "width=4, **kwargs")})
    (line,) = told(options(tmp_path, "loose", "type: Loose"))
    assert line.startswith(f"{tmp_path / 'x.yml'}:5: network_g.type: loose.Loose: the parameter `width=4` needs a name")


def test_a_registry_that_failed_to_load_fails_again(packages: Callable[..., None]) -> None:
    packages({"parts/__init__.py": "", "parts/bad_part.py": "1 / 0", "parts/good_part.py": ""})
    scratch = Registry("scratch", "parts", "_part")
    for _ in range(2):
        with pytest.raises(UserError, match=r"^cannot import `parts.bad_part`: ZeroDivisionError: .*bad_part\.py:1\)$"):
            scratch.get("x")


def run_check(tmp_path: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Loads an option file in a process of its own, with tmp_path on its module path."""
    (tmp_path / "x.yml").write_text(text)
    code = "from restore.options.load import load; print(load('x.yml').network_g.type)"
    paths = os.pathsep.join([str(REPOSITORY), str(tmp_path)])
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )


def install(tmp_path: Path, module: str, text: str) -> None:
    """What pip leaves of a package that announces `module` under the entry-point group."""
    (tmp_path / f"{module}.py").write_text(text)
    info = tmp_path / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{registries.ENTRY_POINTS}]\n{module} = {module}\n")


def test_installed_plugin_answers_without_being_named(tmp_path: Path) -> None:
    install(tmp_path, "installed_zoo", ARCH.format(name="Installed"))
    done = run_check(tmp_path, "name: x\nnetwork_g: {type: Installed, width: 3}\n")
    assert done.stdout.strip() == "Installed", done.stderr


def test_installed_plugin_that_fails_is_told(tmp_path: Path) -> None:
    install(tmp_path, "installed_zoo", "1 / 0\n")
    done = run_check(tmp_path, "name: x\nnetwork_g: {type: EDSR}\n")
    assert "UserError: cannot import `installed_zoo`: ZeroDivisionError: division by zero" in done.stderr
