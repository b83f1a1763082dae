"""The option document that `restore test --model ...` stands for, and `restore compare` for each of its models."""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from restore.engine.described import inpainting_task, require_own, scale_of, wants_mask
from restore.errors import UserError
from restore.inference.model import network_of
from restore.options import document as doc
from restore.options.document import Document, Loc, Mark
from restore.registry import METRICS, Part
from restore.tasks.networks import predicts_noise
from restore.tasks.own_network import built
from restore.weights import read_weights

_FLAGS: dict[Loc, str] = {  # where what `document_for` writes was said
    ("name",): "--name",
    ("datasets",): "--gt, --input",
    ("datasets", "test", "occlusion"): "--occlusion",
    ("datasets", "test", "dataroot_mask"): "--mask",
    ("path",): "--model",
    ("val", "metrics"): "--metrics",
    ("val", "baselines"): "--baselines",
    ("val", "tile"): "--tile",
}
_METRICS = {False: ("psnr", "ssim"), True: ("psnr", "psnr_hole", "ssim", "ssim_hole")}  # for inpainting or not


def document_for(args: argparse.Namespace) -> Document:
    """The document of a model and of the pictures that it is tried on.

    Raises:
        UserError: the network is neither in the weights file nor given, or no pictures are named.
    """
    path = Path(args.model)
    facts = read_weights(path).facts
    network = _network(args, path, facts)
    inpainting = bool(args.occlusion or args.mask)
    if not inpainting and wants_mask(network):
        raise UserError(
            f"{path}: {network['type']} has to be told what is missing; add --occlusion '[{{type: LowerFace}}]' to "
            "--gt, or --mask DIR to --input and --gt"
        )
    data = {
        "name": args.name or _named(str(facts.get("experiment") or path.stem)),
        "scale": facts.get("scale") or scale_of(network),
        "network_g": network,
        "datasets": {"test": {"name": _named(Path(args.gt or args.input or "test").stem), **_dataset_section(args)}},
        "path": {} if network.get("type") == "Spandrel" else {"pretrain_network_g": args.model},
        "val": {
            "metrics": {name: _bordered(name, args.crop_border) for name in args.metrics or _METRICS[inpainting]},
            "baselines": args.baselines,
            "tile": args.tile,
            "save_img": True,
            "report": bool(args.gt),
        },
    }
    if predicts_noise(network) or inpainting:
        data["task"] = inpainting_task(facts, network)
    document = Document("restore test", data)
    document.marks = {loc: Mark(flag) for loc, flag in _FLAGS.items()} | {(): Mark("restore test")}
    document.marks[("network_g",)] = Mark("--network_g" if args.network_g else "--model")
    return document


def _network(args: argparse.Namespace, path: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The network's section: as it is given, else as the file says it."""
    if args.network_g:
        return doc.parse_section(args.network_g, "--network_g", "{type: MSRResNet, num_feat: 64}")
    if facts.get("arch") is not None:
        require_own({"arch": facts["arch"]}, path)
        with torch.device("meta"):  # only to see that it is not far larger than its file
            built(path, Part.model_validate(facts["arch"]))
    return network_of(path, facts)


def _named(text: str) -> str:
    """A text as the name of a folder of results."""
    return re.sub(r"[^\w.\-]", "_", text).lstrip(".-") or "test"


def _bordered(metric: str, crop_border: int) -> dict[str, int]:
    """A metric's section. Those of whole sets, and those with networks, compare whole pictures."""
    known = metric not in METRICS or "crop_border" in METRICS.get(metric).parameters  # an unknown one is told later
    return {"crop_border": crop_border} if known else {}


def _dataset_section(args: argparse.Namespace) -> dict[str, Any]:
    if args.occlusion:
        if args.input or args.mask or not args.gt:
            raise UserError("--occlusion hides a part of the pictures in --gt; leave --input, --mask out")
        hidden = doc.parse_value(args.occlusion, "--occlusion")
        return {"type": "OccludedImageDataset", "dataroot_gt": args.gt, "occlusion": hidden}
    if args.mask and not (args.input and args.gt):
        raise UserError("--mask says what is missing in --input; name that and --gt too")
    if args.input and args.gt:
        masks = {"dataroot_mask": args.mask, "mask_polarity": args.mask_polarity} if args.mask else {}
        return {"type": "PairedImageDataset", "dataroot_lq": args.input, "dataroot_gt": args.gt, **masks}
    if args.gt:
        return {"type": "GTImageDataset", "dataroot_gt": args.gt}
    if args.input:
        return {"type": "SingleImageDataset", "dataroot_lq": args.input}
    raise UserError("name pictures with --input, --gt or both")
