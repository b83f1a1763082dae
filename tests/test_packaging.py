"""What is handed out: the sdist holds all that is tracked, the wheel the package with its option files and models."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from restore import __version__
from tests.lab import REPOSITORY

LEFT_OUT = {"experiments/.gitkeep"}  # a folder that runs make for themselves


def tracked() -> list[str]:
    """The files of the repository, and those that are about to be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no repository here: this is a source distribution, or there is no git")
    return [name for name in done.stdout.splitlines() if (REPOSITORY / name).is_file()]


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with an sdist, and a wheel built from it, of what is tracked."""
    folder = tmp_path_factory.mktemp("built")
    for name in tracked():
        (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, folder / "source" / name)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, folder / "source"]
    pytest.importorskip("build", reason="needs `build`")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder


@pytest.mark.slow
def test_the_sdist_holds_all_that_is_tracked(built):
    with tarfile.open(built / f"restore_faces-{__version__}.tar.gz") as archive:
        held = {member.name.partition("/")[2] for member in archive if member.isfile()}
    assert set(tracked()) - held == LEFT_OUT
    assert not [name for name in held if "__pycache__" in name]


@pytest.mark.slow
def test_the_wheel_holds_option_files_and_models(built):
    with zipfile.ZipFile(built / f"restore_faces-{__version__}-py3-none-any.whl") as archive:
        held = set(archive.namelist())
    for name in tracked():
        part = Path(name)
        if part.parts[0] == "restore":
            assert name in held
        elif part.parts[0] == "options" and part.suffix in (".yml", ".sbatch"):
            assert f"restore/recipes/{part.relative_to('options')}" in held
    assert {Path(name).parts[0] for name in held} == {"restore", f"restore_faces-{__version__}.dist-info"}


def test_the_newest_version_of_the_changelog_is_this_one():
    titles = [
        line for line in (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8").splitlines() if line[:3] == "## "
    ]
    assert titles[0] == "## Unreleased"
    assert titles[1].startswith(f"## {__version__} - 20")
