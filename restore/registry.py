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
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, PydanticSchemaGenerationError, create_model
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import CoreSchema

from restore.errors import UserError, nearest

_SCHEMA_CONFIG = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())

P = TypeVar("P", bound=Callable[..., Any])
ENTRY_POINTS = "restore.plugins"
BASICSR = "basicsr/"


class Part(BaseModel):
    """A section of an option file that names a part: its `type`, and the arguments of that part's constructor."""

    model_config = ConfigDict(extra="allow", frozen=True)
    type: str

    @property
    def args(self) -> dict[str, Any]:
        """The constructor's arguments as written in the option file."""
        return dict(self.__pydantic_extra__ or {})


@dataclass(frozen=True)
class Kind:
    """Marks a `Part` annotation with the registry that its `type` is looked up in: `Annotated[Part, Kind("archs")]`."""

    registry: str

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        handler(core)
        return REGISTRIES[self.registry].json_schema()


@dataclass(frozen=True)
class Entry:
    """One registered part."""

    name: str
    build: Callable[..., Any]
    supplied: tuple[str, ...] = ()

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
        """A pydantic model of the constructor's signature; unknown arguments are forbidden."""
        return signature_model(self.name, self.build, self.supplied)


def signature_model(name: str, build: Callable[..., Any], supplied: tuple[str, ...] = ()) -> type[BaseModel]:
    """The pydantic model whose fields are the parameters of `build`, without those that the frame supplies.

    Raises:
        TypeError: a parameter has no annotation, or takes `*args` or `**kwargs`, where typing errors would vanish.
    """
    hints = typing.get_type_hints(build.__init__ if inspect.isclass(build) else build, include_extras=True)
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(build).parameters.values():
        if parameter.name in supplied:
            continue
        variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if variadic or parameter.name not in hints:
            raise TypeError(f"{build.__module__}.{name}: `{parameter.name}` needs a name and an annotation")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hints[parameter.name], default)
    return create_model(name, __config__=_SCHEMA_CONFIG, **fields)


# Abstract, in need of a closure, a metric or other objects, or for sparse gradients only.
_UNUSABLE = {"Optimizer", "LBFGS", "SparseAdam", "Muon", "LRScheduler", "ReduceLROnPlateau", "SequentialLR"}


@dataclass
class Registry:
    """A named collection of parts of one kind.

    Args:
        name: plural noun for messages and for `restore list`, e.g. "archs".
        package: where built-ins live, e.g. "restore.archs".
        suffix: ending of the modules that hold parts, e.g. "_arch"; empty for every module of the package.
        library: a module whose public classes answer too, e.g. "torch.optim".
        supplied: parameters that the frame passes, which no option file gives, e.g. ("params",).
    """

    name: str
    package: str | None
    suffix: str = ""
    library: str | None = None
    supplied: tuple[str, ...] = ()
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
        self._discover()
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

            return Entry(name, basicsr_part(self.name, name.removeprefix(BASICSR)))
        self._discover()
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

    def json_schema(self) -> dict[str, Any]:
        """One JSON schema that accepts a section naming any part of this registry."""
        return {"anyOf": [_section_schema(entry) for entry in self] + [_GUEST_SCHEMA]}

    def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True  # before the imports: modules may look things up while they load
        if self.library:
            self._adopt(importlib.import_module(self.library))
        if self.package:
            for module in pkgutil.iter_modules(importlib.import_module(self.package).__path__):
                if module.name.endswith(self.suffix) and not module.name.startswith("_"):
                    import_part_module(f"{self.package}.{module.name}")
        _load_entry_points()

    def _adopt(self, library: ModuleType) -> None:
        """Adds the library's public classes whose arguments a YAML file can express."""
        for name, part in vars(library).items():
            own = inspect.isclass(part) and part.__module__.startswith(library.__name__)
            if own and not name.startswith("_") and name not in _UNUSABLE:
                entry = Entry(name, part, self.supplied)
                with contextlib.suppress(TypeError, NameError, PydanticSchemaGenerationError):
                    if entry.parameters:
                        self._entries.setdefault(name, entry)


_GUEST_SCHEMA = {"type": "object", "properties": {"type": {"pattern": f"^{BASICSR}"}}, "required": ["type"]}


class _LenientSchema(GenerateJsonSchema):
    """Leaves out types that YAML cannot express, such as the tensor in torch's `lr: float | Tensor`."""

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> dict[str, Any]:
        return {"not": {}}


def _section_schema(entry: Entry) -> dict[str, Any]:
    schema = entry.schema.model_json_schema(schema_generator=_LenientSchema)
    schema.pop("$defs", None)  # only `Part` itself, whose place Kind's own schema takes
    schema["properties"] = {"type": {"const": entry.name}} | schema.get("properties", {})
    schema["required"] = ["type", *schema.get("required", [])]
    schema["description"] = entry.summary
    return schema


def import_part_module(name: str) -> None:
    """Imports a module that registers parts.

    Raises:
        UserError: the module cannot be imported; the message names it and the cause.
    """
    try:
        importlib.import_module(name)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"cannot import `{name}`: {type(error).__name__}: {error}") from error


_entry_points_loaded = False


def _load_entry_points() -> None:
    """Imports the modules that installed packages announce under the entry-point group `restore.plugins`."""
    global _entry_points_loaded
    if not _entry_points_loaded:
        _entry_points_loaded = True
        for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
            import_part_module(point.module)


ARCHS = Registry("archs", "restore.archs", "_arch")
LOSSES = Registry("losses", "restore.losses", "_loss")
METRICS = Registry("metrics", "restore.metrics", "_metric")
TRANSFORMS = Registry("transforms", "restore.data.transforms")
DATASETS = Registry("datasets", "restore.data", "_dataset")
TASKS = Registry("tasks", "restore.tasks", "_task", supplied=("options", "device", "autocast"))
OPTIMIZERS = Registry("optimizers", None, library="torch.optim", supplied=("params",))
SCHEDULERS = Registry(
    "schedulers",
    "restore.engine",
    "schedules",
    library="torch.optim.lr_scheduler",
    supplied=("optimizer", "last_epoch"),
)
REGISTRIES = {r.name: r for r in (ARCHS, LOSSES, METRICS, TRANSFORMS, DATASETS, TASKS, OPTIMIZERS, SCHEDULERS)}

ArchPart = Annotated[Part, Kind("archs")]
LossPart = Annotated[Part, Kind("losses")]
MetricPart = Annotated[Part, Kind("metrics")]
TransformPart = Annotated[Part, Kind("transforms")]
DatasetPart = Annotated[Part, Kind("datasets")]
TaskPart = Annotated[Part, Kind("tasks")]
OptimizerPart = Annotated[Part, Kind("optimizers")]
SchedulerPart = Annotated[Part, Kind("schedulers")]
