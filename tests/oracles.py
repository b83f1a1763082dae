"""Independent implementations that tests compare with, and the data that they read."""

import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest


def shared(*parts: str) -> Path:
    """A path below the shared data folder; skips the test where it is missing."""
    root = Path(os.environ.get("RESTORE_SHARED", Path(__file__).parents[2] / "shared"))
    path = root.joinpath("data", *parts)
    if not path.exists():
        pytest.skip(f"no {'/'.join(parts)} in the shared data (RESTORE_SHARED)")
    return path


def basicsr(module: str) -> Any:
    """A module of BasicSR 1.4.2, e.g. "metrics.psnr_ssim"; skips the test where BasicSR is not installed."""
    gone = "torchvision.transforms.functional_tensor"  # left torchvision in 0.17; BasicSR takes one function from it
    if gone not in sys.modules:
        functional = pytest.importorskip("torchvision.transforms.functional")
        sys.modules[gone] = types.ModuleType(gone)
        sys.modules[gone].rgb_to_grayscale = functional.rgb_to_grayscale  # type: ignore[attr-defined]
    return pytest.importorskip(f"basicsr.{module}", exc_type=ImportError)
