"""BasicSR as a guest: its networks by name, beside current packages, and clear words where it is absent."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from restore import guest
from restore.errors import UserError
from restore.options.load import load
from restore.registry import ARCHS, LOSSES

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture
def basicsr() -> None:
    try:
        guest.import_basicsr()
    except UserError as error:
        pytest.skip(str(error))


def option_file(tmp_path: Path, network: str, more: str = "") -> Path:
    path = tmp_path / "x.yml"
    path.write_text(f"name: x\nscale: 2\nnetwork_g: {{{network}}}\n{more}")
    return path


@pytest.mark.usefixtures("basicsr")
def test_a_network_of_basicsr_builds_and_runs(tmp_path: Path) -> None:
    network = "type: basicsr/RRDBNet, num_in_ch: 3, num_out_ch: 3, num_feat: 8, num_block: 1, num_grow_ch: 4"
    options = load(option_file(tmp_path, network))
    assert options.network_g.args["scale"] == 2
    built = ARCHS.build(options.network_g)
    assert type(built).__module__ == "basicsr.archs.rrdbnet_arch"
    assert built(torch.zeros(1, 3, 12, 16)).shape == (1, 3, 24, 32)


@pytest.mark.usefixtures("basicsr")
@pytest.mark.parametrize(
    ("network", "key", "says"),
    [
        ("type: basicsr/RRDBNett", "network_g.type", "no `RRDBNett` among BasicSR's networks; did you mean `RRDBNet`?"),
        ("type: basicsr/Zzz", "network_g.type", "no `Zzz` among BasicSR's networks: BasicVSR, "),
        (
            "type: basicsr/RRDBNet, num_in_ch: 3, num_out_ch: 3, num_feats: 8",
            "network_g.num_feats",
            "unknown key for basicsr/RRDBNet; did you mean `num_feat`?",
        ),
        ("type: basicsr/RRDBNet, num_in_ch: 3", "network_g.num_out_ch", "is missing; add it"),
        ("type: basicsr/SwinIR, kwargs: 3", "network_g.kwargs", "unknown key for basicsr/SwinIR"),
        (
            "type: basicsr/RRDBNet, num_in_ch: 3, num_out_ch: 3, scale: 4",
            "network_g.scale",
            "is 4, but the experiment's `scale` is 2; make them equal",
        ),
    ],
)
def test_mistakes_in_its_networks_are_told(network: str, key: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load(option_file(tmp_path, network))
    (line,) = str(caught.value).split("\n")[1:]
    assert line.startswith(f"{tmp_path / 'x.yml'}:3: {key}: {says}")


@pytest.mark.usefixtures("basicsr")
def test_a_name_that_basicsr_registers_with_its_suffix_answers() -> None:
    assert guest.basicsr_part("archs", "SRVGGNetCompact").__name__ == "SRVGGNetCompact"


def test_only_networks_can_be_named() -> None:
    with pytest.raises(
        UserError, match=r"^of BasicSR only networks can be named, not its losses \(`basicsr/L1Loss`\)$"
    ):
        LOSSES.get("basicsr/L1Loss")


def test_its_absence_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    absent: Any = lambda name, *more: None if name == "basicsr" else find_spec(name, *more)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", absent)
    with pytest.raises(UserError, match=r"^basicsr is not installed; `pip install --no-deps basicsr==1\.4\.2`$"):
        ARCHS.get("basicsr/RRDBNet")


def run(code: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    """Runs code in a process of its own, where nothing was imported before."""
    setup = f"import sys; sys.path[:0] = {[str(path) for path in (REPOSITORY, *paths)]!r}\n"
    return subprocess.run([sys.executable, "-c", setup + code], capture_output=True, text=True, timeout=120)


@pytest.mark.slow
@pytest.mark.usefixtures("basicsr")
def test_importing_it_makes_no_noise() -> None:
    done = run("from restore.guest import import_basicsr; print(import_basicsr().__name__)")
    assert (done.stdout, done.stderr) == ("basicsr\n", "")


@pytest.mark.slow
@pytest.mark.usefixtures("basicsr")
def test_a_package_that_it_misses_is_told() -> None:
    done = run("sys.modules['tqdm'] = None\nfrom restore.guest import import_basicsr\nimport_basicsr()")
    assert done.stderr.rstrip().endswith("UserError: basicsr needs the package `tqdm`; `pip install tqdm`")


@pytest.mark.slow
@pytest.mark.usefixtures("basicsr")
def test_it_is_imported_without_distutils() -> None:
    """Python 3.12 and later have none."""
    code = """
import importlib.util
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "distutils" else find_spec(name, *more)
from restore.guest import import_basicsr
import_basicsr()
from distutils.version import LooseVersion
assert "restore/guest.py" in sys.modules["distutils"].__doc__
assert LooseVersion("0.10.0") >= LooseVersion("0.9.0")
print("imported")
"""
    done = run(code)
    assert done.stdout == "imported\n", done.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("basicsr")
def test_packages_that_register_into_basicsr_answer(tmp_path: Path) -> None:
    (tmp_path / "zoo.py").write_text(
        "from basicsr.utils.registry import ARCH_REGISTRY\n\n"
        "@ARCH_REGISTRY.register()\nclass Borrowed:\n    def __init__(self, width=3): self.width = width\n"
    )
    path = option_file(tmp_path, "type: basicsr/Borrowed, width: 5", "plugins: [zoo]\n")
    code = f"""
from restore.options.load import load
from restore.registry import ARCHS
print(ARCHS.build(load({str(path)!r}).network_g).width)
"""
    done = run(code, tmp_path)
    assert done.stdout == "5\n", done.stderr


def test_nothing_of_ours_imports_it_unasked(tmp_path: Path) -> None:
    path = option_file(tmp_path, "type: EDSR")
    done = run(f"from restore.options.load import load; load({str(path)!r}); print('basicsr' in sys.modules)")
    assert done.stdout == "False\n", done.stderr
