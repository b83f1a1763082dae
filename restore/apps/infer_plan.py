"""What the arguments of `restore infer` ask for, before any network is opened."""

import argparse
from typing import Any, NamedTuple, cast

from restore.errors import UserError
from restore.inference.model import Kind, kind_of
from restore.inference.people import Choice
from restore.options.document import parse_section, parse_value

DEFAULTS: dict[str, str] = {"sr": "photo_x4", "unmask": "face_unmask"}  # the models that ship


class Plan(NamedTuple):
    """What the arguments come to, before any network is opened."""

    model: str
    kind: Kind
    network: dict[str, Any] | None
    task: dict[str, Any] | None  # laid over the model's
    keep: bool
    compare: bool


def plan_of(args: argparse.Namespace) -> Plan:
    """What the arguments ask for. Raises `UserError` where they do not go together."""
    word, task = _task_of(args.task)
    if args.model is None and word is None:
        raise UserError("which model? --model NAME or FILE, or --task sr or unmask for the one that ships")
    model = args.model or DEFAULTS[cast(str, word)]
    network = parse_section(args.network_g, "--network_g", "{type: UNet, ...}") if args.network_g else None
    wanted: Kind | None = "unmask" if args.mask or args.occlude else cast(Kind | None, word)
    kind = kind_of(model, network, wanted)
    if word not in (None, kind):
        raise UserError(f"{model}: is a model for --task {kind}, not {word}")
    _check_fit(args, model, kind)
    keep = args.format == "keep" or (args.format is None and kind == "sr")
    return Plan(model, kind, network, task, keep, kind == "unmask" if args.compare is None else args.compare)


def _task_of(text: str | None) -> tuple[str | None, dict[str, Any] | None]:
    """`--task` as a kind of model, or as what its task does otherwise."""
    if text is None or text in DEFAULTS:
        return text, None
    section = parse_value(text, "--task")
    if not isinstance(section, dict):
        raise UserError(f"--task {text}: is none of {', '.join(DEFAULTS)}, nor written as '{{num_steps: 20}}'")
    return None, section


def _check_fit(args: argparse.Namespace, model: str, kind: Kind) -> None:
    """Raises `UserError` for options that mean nothing to a model of that kind."""
    others = {
        "sr": {
            "--mask": args.mask,
            "--occlude": args.occlude,
            "--candidates": args.candidates > 1,
            "--fill": args.fill != "keep",
            "--mask_polarity": args.mask_polarity != "white_missing",
        },
        "unmask": {"--outscale": args.outscale, "--background": args.background},
    }
    if given := [option for option, value in others[kind].items() if value]:
        does = "enlarges or cleans photos" if kind == "sr" else "rebuilds what is hidden"
        raise UserError(f"{model}: {does}, which has no use for {' and '.join(given)}")
    if kind == "unmask" and not (args.mask or args.occlude):
        raise UserError(f"{model}: rebuilds what is hidden; say what: --mask auto, FILE, DIR, lower or face_mask")
    if args.faces not in (None, "whole"):
        Choice.parse(args.faces)
    if args.faces == "whole" and args.size:
        raise UserError("--size is that of a face's frame; with --faces whole there is none")
