"""Independent implementations that tests compare with, and the data that they read."""

import importlib
import os
from pathlib import Path
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
