"""BasicSR 1.4.2 as a guest: the one place that imports it, and what that takes beside current packages.

It is installed without its dependencies (`pip install --no-deps basicsr==1.4.2`), and imported only when an option file
names `basicsr/<Name>`, or when a test wants an oracle.
"""

import contextlib
import importlib
import importlib.util
import io
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from restore.errors import UserError, nearest

INSTALL = "pip install --no-deps basicsr==1.4.2"
_GRAYSCALE = "torchvision.transforms.functional_tensor"  # went with torchvision 0.17; rgb_to_grayscale lives on
_SUFFIX = "_basicsr"  # on the names that BasicSR shares with the packages built on it


def import_basicsr() -> ModuleType:
    """BasicSR, imported without its noise.

    Raises:
        UserError: it, or a package that it imports, is not installed, or it does not fit what is.
    """
    if importlib.util.find_spec("basicsr") is None:
        raise UserError(f"basicsr is not installed; `{INSTALL}`")
    make_importable()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            return importlib.import_module("basicsr")
    except ModuleNotFoundError as error:
        package = (error.name or str(error)).partition(".")[0]
        raise UserError(f"basicsr needs the package `{package}`; `pip install {package}`") from error
    except Exception as error:
        raise UserError(f"basicsr cannot be imported here: {type(error).__name__}: {error}") from error


def basicsr_part(registry: str, name: str) -> Callable[..., Any]:
    """The class or function `name` of BasicSR, or of a package that registers into it.

    Args:
        registry: ours, such as "archs".
        name: as an option file has it, without `basicsr/`.

    Raises:
        UserError: nothing of that name, another registry than "archs", or as `import_basicsr`.
    """
    if registry != "archs":
        raise UserError(f"of BasicSR only networks can be named, not its {registry} (`basicsr/{name}`)")
    import_basicsr()
    parts: dict[str, Callable[..., Any]] = dict(iter(importlib.import_module("basicsr.utils.registry").ARCH_REGISTRY))
    if name not in parts and name + _SUFFIX not in parts:
        known = sorted(key.removesuffix(_SUFFIX) for key in parts)
        raise UserError(f"no `{name}` among BasicSR's networks{nearest(name, known) or ': ' + ', '.join(known)}")
    return parts[name] if name in parts else parts[name + _SUFFIX]


def make_importable() -> None:
    """Puts stand-ins where BasicSR looks for what torchvision and Python no longer have; imports nothing.

    Plugins that import BasicSR by themselves need it too.
    """
    if importlib.util.find_spec("basicsr") is None:
        return
    torchvision = importlib.util.find_spec("torchvision")
    folders = (torchvision.submodule_search_locations or []) if torchvision else []
    if not any(Path(folder, "transforms", "functional_tensor.py").is_file() for folder in folders):
        _stand_in(_GRAYSCALE, "torchvision.transforms.functional", {"rgb_to_grayscale": "rgb_to_grayscale"})
    if "distutils" not in sys.modules and importlib.util.find_spec("distutils") is None:  # went with Python 3.12
        _stand_in("distutils", "", {})
        _stand_in("distutils.version", "torch.torch_version", {"LooseVersion": "TorchVersion"})


def _stand_in(name: str, source: str, members: dict[str, str]) -> None:
    """A module called `name` whose members are those of `source`, which is imported when one is asked for."""

    def member(wanted: str) -> Any:
        if wanted not in members:
            raise AttributeError(f"module {name!r} has no attribute {wanted!r}")
        return getattr(importlib.import_module(source), members[wanted])

    module = ModuleType(name, "A stand-in for what BasicSR 1.4.2 imports; see restore/guest.py.")
    module.__dict__["__getattr__"] = member
    sys.modules.setdefault(name, module)
