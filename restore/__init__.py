"""Restore: trains, measures and applies face restoration models. Importing it loads nothing heavy."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from restore.inference.model import Model, load_model

__all__ = ["Model", "__version__", "load_model"]
__version__ = "1.0.0"


def __getattr__(name: str) -> Any:
    """Imports what is named only when it is asked for."""
    if name in ("Model", "load_model"):
        from restore.inference import model

        return getattr(model, name)
    raise AttributeError(f"module `restore` has no attribute `{name}`")
