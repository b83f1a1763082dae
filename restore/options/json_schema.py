"""The JSON schema of option files, for editors that complete and check while one types (`restore check --schema`)."""

from typing import Any, ClassVar

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from restore.options.schema import Options
from restore.registry import BASICSR, PARTS, REGISTRIES, Entry

Schema = dict[str, Any]


def json_schema() -> Schema:
    """The schema of an option file (draft 2020-12), which knows every part of every registry.

    Nothing is required in it, since a file may leave the rest to the one that it `extends`; `restore check` tells.
    """
    schema = _of(Options)
    schema["properties"]["extends"] = {"type": "string", "description": "The option file that this one builds on."}
    definitions: Schema = {}
    unfolded: Schema = _unfold(schema, definitions)
    return unfolded | {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Restore option file",
        "$defs": unfolded.get("$defs", {}) | definitions,
    }


class _LenientSchema(GenerateJsonSchema):
    """Leaves out types that YAML cannot express, such as the callables of torch's schedulers."""

    ignored_warning_kinds: ClassVar = {"skipped-choice", "non-serializable-default"}  # type: ignore[misc]

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> dict[str, Any]:
        return {"not": {}}


def _of(model: type[BaseModel]) -> Schema:
    return model.model_json_schema(schema_generator=_LenientSchema)


def _unfold(node: Any, definitions: Schema) -> Any:
    """`node` with a reference for every place holder of `Kind`, and without `required`."""
    if isinstance(node, list):
        return [_unfold(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if PARTS in node:
        return _reference(node, definitions)
    named = {"properties", "$defs"}  # below these, keys are names, and `required` may be one of them
    return {
        key: {name: _unfold(item, definitions) for name, item in value.items()}
        if key in named
        else _unfold(value, definitions)
        for key, value in node.items()
        if key != "required"
    }


def _reference(holder: Schema, definitions: Schema) -> Schema:
    """A reference to the definition of a registry's parts, made on the first encounter."""
    own: Schema = holder["properties"]
    name = f"{holder[PARTS]}-{holder['section']}"
    if name not in definitions:
        definitions[name] = {}  # parts may hold parts of their own kind
        parts = [_unfold(_section(entry, own, definitions), definitions) for entry in REGISTRIES[holder[PARTS]]]
        guest = [{"properties": {"type": {"type": "string", "pattern": f"^{BASICSR}"}}, "required": ["type"]}]
        empty = [{"type": "null"}] if holder["keyed"] else []
        definitions[name] = {"anyOf": parts + (guest if holder[PARTS] == "archs" else []) + empty}
    return {"$ref": f"#/$defs/{name}"}


def _section(entry: Entry, own: Schema, definitions: Schema) -> Schema:
    """The schema of a section that names `entry`, with the section's own keys beside the part's arguments."""
    schema = _of(entry.schema)
    definitions |= _unfold(schema.pop("$defs", {}), definitions)
    schema["properties"] = {"type": {"const": entry.name}} | own | schema.get("properties", {})
    schema["description"] = entry.summary
    return schema
