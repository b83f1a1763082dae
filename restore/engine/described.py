"""What a weights file says of itself, as the sections of an option file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from restore.errors import UserError
from restore.options import document as doc
from restore.options.document import Document, Mark
from restore.registry import ARCHS, Part
from restore.tasks.networks import predicts_noise
from restore.tasks.own_network import named_files


def inpainting_task(facts: Mapping[str, Any], network: Mapping[str, Any]) -> dict[str, Any]:
    """The task that a network for inpainting was trained with, as its weights say; else the defaults of its kind."""
    kind = "Diffusion" if predicts_noise(network) else "Inpainting"
    task: dict[str, Any] = facts.get("task") or {}
    return task if task.get("type") == kind else {"type": kind}


def require_own(facts: Mapping[str, Any], path: Path) -> None:
    """Files come from strangers: they may say which network they are for, but name no other file, to be opened here.

    Raises:
        UserError: one does.
    """
    for section, *inner in named_files({"network_g": facts.get("arch"), "task": facts.get("task")}):
        key = ".".join(map(str, inner))
        remedy = "--network_g '{type: ..., " if section == "network_g" else "--task '{"
        raise UserError(
            f"{path}: says that `{section}.{key}` is another file, and files may not name others; "
            f"if that is what you want, say it yourself: {remedy}{inner[0]}: ...}}'"
        )


def override_task(document: Document, text: str | None, flag: str) -> None:
    """Lays a section such as `{num_steps: 20}`, given with a flag, over the document's task. Raises `UserError`."""
    if text is None:
        return
    for key, value in doc.parse_section(text, flag, "{num_steps: 20}").items():
        document.set(("task", key), value, Mark(flag))


def wants_mask(network: Mapping[str, Any]) -> bool:
    """Whether a network sees the mask as a channel: as written, else by its default."""
    known = str(network.get("type"))
    field = ARCHS.get(known).schema.model_fields.get("mask_channel") if known in ARCHS else None
    return field is not None and bool(network.get("mask_channel", field.default))


def scale_of(network: Mapping[str, Any]) -> int:
    """The factor that a network section means: as written, else its default, else what its weights are for."""
    if network.get("type") == "Spandrel":
        scale: int = ARCHS.build(Part.model_validate(network)).scale
        return scale
    for key in ("upscale", "scale"):
        if isinstance(network.get(key), int):
            return int(network[key])
        known = str(network.get("type"))
        field = ARCHS.get(known).schema.model_fields.get(key) if known in ARCHS else None
        if field is not None and isinstance(field.default, int):
            return field.default
    return 1
