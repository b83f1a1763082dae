"""Registries: everything that an option file can name is found here, by the name of its class or function.

A part's signature is the schema of its options: each parameter annotated, with a default where it may be left out.
Built-in parts are found by their file (`restore/archs/*_arch.py`, ...) on a registry's first look-up, never at import.
"""

import contextlib
import importlib
import importlib.metadata
import inspect
import json
import pkgutil
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from restore.errors import UserError, nearest
from restore.signature import annotations_of, guest_annotations_of, signature_model

P = TypeVar("P", bound=Callable[..., Any])
ENTRY_POINTS = "restore.plugins"
BASICSR = "basicsr/"
PARTS = "x-parts"  # in a JSON schema: any part of the registry of that name stands here


class Part(BaseModel):
    """A section of an option file that names a part: its `type`, and the arguments of that part's constructor."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)
    type: str

    @property
    def args(self) -> dict[str, Any]:
        """The constructor's arguments as written in the option file."""
        return dict(self.__pydantic_extra__ or {})


@dataclass(frozen=True)
class Kind:
    """Marks a `Part` annotation with the registry that its `type` is looked up in: `Annotated[Part, Kind("archs")]`.

    `keyed` says that the section's key stands for a `type` that is left out, as in `metrics: {psnr: {}}`.
    """

    registry: str
    keyed: bool = False

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """A place holder, which `restore.options.json_schema` fills: registries may name parts of their own kind."""
        section = handler.resolve_ref_schema(handler(core))
        own = {key: value for key, value in section["properties"].items() if key != "type"}
        return {PARTS: self.registry, "section": section["title"], "keyed": self.keyed, "properties": own}


@dataclass(frozen=True)
class Entry:
    """One registered part. The arguments of a guest are checked by name alone, since BasicSR annotates nothing."""

    name: str
    build: Callable[..., Any]
    supplied: tuple[str, ...] = ()
    narrowed: Mapping[str, Any] = field(default_factory=dict)
    guest: bool = False

    @property
    def module(self) -> str:
        return self.build.__module__

    @property
    def summary(self) -> str:
        """The first line of the part's docstring."""
        return (inspect.getdoc(self.build) or "").split("\n", 1)[0]

    @property
    def parameters(self) -> list[str]:
        """The names of the arguments that an option file may give."""
        return list(self.schema.model_fields)

    @cached_property
    def schema(self) -> type[BaseModel]:
        """A pydantic model of the constructor's signature; unknown arguments are forbidden. Raises `UserError`."""
        annotations = guest_annotations_of(self.build) if self.guest else annotations_of(self.build)
        return signature_model(self.name, self.build, annotations | dict(self.narrowed), self.supplied)


# Abstract, in need of a closure, a metric or other objects, or for sparse gradients only.
_UNUSABLE = {"Optimizer", "LBFGS", "SparseAdam", "Muon", "LRScheduler", "ReduceLROnPlateau", "SequentialLR"}

# What torch's optimizers check when they are built, and tensors, which YAML cannot express.
_Beta = Annotated[float, Field(ge=0, lt=1)]
_OPTIMIZER_RANGES = {
    "lr": Annotated[float, Field(gt=0)],
    "betas": tuple[_Beta, _Beta],
    "weight_decay": Annotated[float, Field(ge=0)],
    "momentum": Annotated[float, Field(ge=0)],
}


@dataclass
class Registry:
    """A named collection of parts of one kind.

    Args:
        name: plural noun for messages and for `restore list`, e.g. "archs".
        package: where built-ins live, e.g. "restore.archs".
        suffix: ending of the modules that hold parts, e.g. "_arch"; empty for every module of the package.
        library: a module whose public classes answer too, e.g. "torch.optim".
        supplied: parameters that the frame passes, which no option file gives, e.g. ("params",).
        narrowed: annotations for the library's parameters, where its own say less than its code checks.
    """

    name: str
    package: str | None
    suffix: str = ""
    library: str | None = None
    supplied: tuple[str, ...] = ()
    narrowed: Mapping[str, Any] = field(default_factory=dict)
    _entries: dict[str, Entry] = field(default_factory=dict)
    _discovered: bool = False

    def register(self, part: P) -> P:
        """Decorator that adds a class or function under its own name.

        Raises:
            UserError: another module already registered that name.
        """
        name = part.__name__
        known = self._entries.get(name)
        if known and (known.module, known.build.__qualname__) != (part.__module__, part.__qualname__):
            raise UserError(
                f"two {self.name} are called `{name}`: one in {known.module}, one in {part.__module__}; rename one"
            )
        self._entries[name] = Entry(name, part, self.supplied)
        return part

    def __iter__(self) -> Iterator[Entry]:
        self.discover()
        return iter(sorted(self._entries.values(), key=lambda entry: entry.name.lower()))

    def __contains__(self, name: str) -> bool:
        return any(entry.name == name for entry in self)

    def get(self, name: str) -> Entry:
        """The part of that name; `basicsr/<Name>` reaches into BasicSR's zoo.

        Raises:
            UserError: no such part; the message names the nearest one.
        """
        if name.startswith(BASICSR):
            from restore.guest import basicsr_part

            return Entry(name, basicsr_part(self.name, name.removeprefix(BASICSR)), self.supplied, guest=True)
        self.discover()
        if name not in self._entries:
            hint = nearest(name, self._entries)
            raise UserError(f"no `{name}` among the {self.name}{hint or f' (`restore list {self.name}` shows them)'}")
        return self._entries[name]

    def build(self, part: Part, **context: Any) -> Any:
        """Constructs the part that a section names. `context` is what the frame adds to the section's arguments."""
        entry = self.get(part.type)
        typed = entry.schema.model_validate_json(json.dumps(part.args))  # lists to tuples, sections to parts
        args = {name: getattr(typed, name) for name in part.args}
        return entry.build(**args, **context)

    def without_arguments(self) -> list[Entry]:
        """The parts that can be built from their names alone."""
        found = []
        for entry in self:
            with contextlib.suppress(ValueError, UserError):  # pydantic's errors are ValueErrors
                self.build(Part(type=entry.name))
                found.append(entry)
        return found

    def discover(self) -> None:
        """Imports the built-in parts and installed plugins, once.

        Raises:
            UserError: a module cannot be imported; raised again by every look-up until it can.
        """
        if self._discovered:
            return
        self._discovered = True  # before the imports: modules may look things up while they load
        try:
            if self.library:
                self._adopt(importlib.import_module(self.library))
            if self.package:
                for module in pkgutil.iter_modules(importlib.import_module(self.package).__path__):
                    if module.name.endswith(self.suffix) and not module.name.startswith("_"):
                        import_part_module(f"{self.package}.{module.name}")
            _load_entry_points()
        except UserError:
            self._discovered = False
            raise

    def _adopt(self, library: ModuleType) -> None:
        """Adds the library's public classes whose arguments a YAML file can express."""
        for name, part in vars(library).items():
            own = inspect.isclass(part) and part.__module__.startswith(library.__name__)
            if own and not name.startswith("_") and name not in _UNUSABLE:
                entry = Entry(name, part, self.supplied, self.narrowed)
                with contextlib.suppress(UserError):
                    if entry.parameters:
                        self._entries.setdefault(name, entry)


def import_part_module(name: str) -> None:
    """Imports a module that registers parts.

    Raises:
        UserError: the module cannot be imported; the message names it, the cause, and the line of the cause.
    """
    if not name.startswith("restore."):
        from restore.guest import make_importable

        make_importable()  # plugins may build on BasicSR
    try:
        importlib.import_module(name)
    except UserError:
        raise
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _import_error(name, error) from error
        raise UserError(f"no module `{error.name}`; install it, or put it beside the option file") from error
    except Exception as error:
        raise _import_error(name, error) from error


def _import_error(name: str, error: Exception) -> UserError:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    file, line = frame.filename, frame.lineno
    if isinstance(error, SyntaxError):
        file, line = error.filename or file, error.lineno
    return UserError(f"cannot import `{name}`: {type(error).__name__}: {error} ({file}:{line})")


_entry_points_loaded = False


def _load_entry_points() -> None:
    """Imports the modules that installed packages announce under the entry-point group `restore.plugins`."""
    global _entry_points_loaded
    if _entry_points_loaded:
        return
    _entry_points_loaded = True  # before the imports, as in `discover`
    try:
        for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
            import_part_module(point.module)
    except UserError:
        _entry_points_loaded = False
        raise


ARCHS = Registry("archs", "restore.archs", "_arch")
LOSSES = Registry("losses", "restore.losses", "_loss")
METRICS = Registry("metrics", "restore.metrics", "_metric")
DEGRADATIONS = Registry("degradations", "restore.degradations", "_degradation")
OCCLUSIONS = Registry("occlusions", "restore.occlusions", "_occlusion")
DETECTORS = Registry("detectors", "restore.faces", "_detector")
TRANSFORMS = Registry("transforms", "restore.data.transforms")
DATASETS = Registry("datasets", "restore.data", "_dataset")
TASKS = Registry("tasks", "restore.tasks", "_task", supplied=("options", "device", "autocast"))
OPTIMIZERS = Registry("optimizers", None, library="torch.optim", supplied=("params",), narrowed=_OPTIMIZER_RANGES)
SCHEDULERS = Registry(
    "schedulers",
    "restore.engine",
    "schedules",
    library="torch.optim.lr_scheduler",
    supplied=("optimizer", "last_epoch", "total_iter"),
)
REGISTRIES = {
    r.name: r
    for r in (
        ARCHS,
        LOSSES,
        METRICS,
        DEGRADATIONS,
        OCCLUSIONS,
        DETECTORS,
        TRANSFORMS,
        DATASETS,
        TASKS,
        OPTIMIZERS,
        SCHEDULERS,
    )
}

ArchPart = Annotated[Part, Kind("archs")]
MetricPart = Annotated[Part, Kind("metrics", keyed=True)]
DegradationPart = Annotated[Part, Kind("degradations")]
OcclusionPart = Annotated[Part, Kind("occlusions")]
DetectorPart = Annotated[Part, Kind("detectors")]
TransformPart = Annotated[Part, Kind("transforms")]
DatasetPart = Annotated[Part, Kind("datasets")]
TaskPart = Annotated[Part, Kind("tasks")]
OptimizerPart = Annotated[Part, Kind("optimizers")]
SchedulerPart = Annotated[Part, Kind("schedulers")]
