"""Independent implementations that tests compare with, and the data that they read."""

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from restore.errors import UserError
from restore.guest import import_basicsr


def shared(*parts: str) -> Path:
    """A path below the shared data folder; skips the test where it is missing."""
    root = Path(os.environ.get("RESTORE_SHARED", Path(__file__).parents[2] / "shared"))
    path = root.joinpath("data", *parts)
    if not path.exists():
        pytest.skip(f"no {'/'.join(parts)} in the shared data (RESTORE_SHARED)")
    return path


def basicsr(module: str) -> Any:
    """A module of BasicSR 1.4.2, e.g. "metrics.psnr_ssim"; skips the test where BasicSR is not installed."""
    try:
        import_basicsr()
        return importlib.import_module(f"basicsr.{module}")
    except UserError as error:
        pytest.skip(str(error))


def facexlib(module: str) -> Any:
    """A module of facexlib 0.3.0 (`pip install --no-deps facexlib`), e.g. "detection.retinaface"; skips without it.

    The package itself imports numba and filterpy for its tracking; an empty one in its place spares us them.
    """
    if "facexlib" not in sys.modules:
        found = importlib.util.find_spec("facexlib")
        if found is None:
            pytest.skip("no facexlib; pip install --no-deps facexlib")
        package = ModuleType("facexlib")
        package.__path__ = list(found.submodule_search_locations or [])
        sys.modules["facexlib"] = package
    return importlib.import_module(f"facexlib.{module}")
