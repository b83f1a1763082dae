"""What `restore export` carries elsewhere: a model, and what its file says of it."""

from dataclasses import dataclass
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from restore.errors import UserError
from restore.inference.model import Model, load_model
from restore.options.document import parse_section
from restore.ranges import Positive
from restore.registry import Part
from restore.tasks.networks import predicts_noise
from restore.weights import read_facts


class Facts(BaseModel):
    """What a weights file may say of itself: these, and anything else."""

    model_config = ConfigDict(extra="allow")
    arch: Part | None = None
    scale: Positive
    task: Part | None = None
    size: Positive | None = None
    faces: bool = False
    title: str = ""
    licence: str = ""


@dataclass(frozen=True)
class Source:
    """A model in float32 on the CPU; `facts` are those of its file, completed."""

    model: Model
    facts: dict[str, Any]

    @property
    def masked(self) -> bool:
        """Whether it fills holes: it takes a picture and a mask."""
        return self.model.kind == "unmask"


def read_source(name: str, network_g: str | None = None, added: str | None = None) -> Source:
    """The model of that name.

    Args:
        name: as for `load_model`.
        network_g: its network as YAML, where the file does not say, or to say otherwise.
        added: facts as YAML, added to those of the file or in their place.

    Raises:
        UserError: as `load_model`; a diffusion, which does not answer in one call of its network; or wrong facts.
    """
    section = None if network_g is None else parse_section(network_g, "--network_g", "{type: MSRResNet, num_feat: 64}")
    more = {} if added is None else parse_section(added, "--facts", "{title: Faces x4, faces: true}")
    model = load_model(name, device="cpu", network_g=section)
    facts = dict(read_facts(model.path)) | ({"arch": section} if section else {})
    if predicts_noise(facts.get("arch") or {}):
        raise UserError(f"{name}: a diffusion asks its network many times, and cannot be carried elsewhere as one file")
    model.network.float().eval().requires_grad_(False).to(memory_format=torch.contiguous_format)
    facts |= {"scale": model.scale} | ({"size": model.size} if model.size else {}) | more
    return Source(model, _checked(facts))


def _checked(facts: dict[str, Any]) -> dict[str, Any]:
    try:
        Facts.model_validate(facts)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"--facts: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    return facts
