"""Which metrics look through a network that the model was trained to please: training distances, not judges."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from restore.engine.checkpoint import OPTIONS
from restore.engine.validation import Metric
from restore.metrics.identity_metric import IdentityMetric
from restore.options.schema import Options

LOSS = "IdentityLoss"
DEFAULT = "mobilefacenet"  # its network, where the section names none


def training_distances(options: Options, metrics: Mapping[str, Metric], weights: Path) -> list[str]:
    """The metrics whose face-recognition network is one that the model's identity loss looked through.

    Told by the options at hand, and by those saved beside the weights: of their checkpoint, and of the whole experiment
    with all its stages.
    """
    sections = [*_identity_losses(options.model_dump(mode="json"))]
    for folder in weights.resolve().parents[:3:2]:
        sections += _identity_losses(_saved(folder / OPTIONS))
    used = {(section.get("network", DEFAULT), section.get("weights")) for section in sections}
    known = {name: metric for name, metric in metrics.items() if isinstance(metric, IdentityMetric)}
    return [name for name, metric in known.items() if (metric.network, metric.weights) in used]


def _saved(file: Path) -> Any:
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):  # none there, or another program's
        return None


def _identity_losses(node: Any) -> Iterator[Mapping[str, Any]]:
    """Every section of an identity loss, at any depth."""
    if isinstance(node, Mapping):
        if node.get("type") == LOSS:
            yield node
        node = list(node.values())
    if isinstance(node, list):
        for part in node:
            yield from _identity_losses(part)
