"""Scores a model on test sets: pictures, a row per picture, means with their protocol, and one picture to look at."""

import argparse
import csv
import hashlib
import importlib.util
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from restore import __version__, images
from restore.apps.report import ROWS_PER_SET, Report
from restore.engine.baselines import baseline
from restore.engine.device import pick_device, prepare_backend
from restore.engine.methods import MODEL, model_methods
from restore.engine.validation import (
    Method,
    Metric,
    Table,
    build_metrics,
    score,
)
from restore.errors import UserError
from restore.options import document as doc
from restore.options.document import Document
from restore.options.paths import resolve
from restore.options.schema import EvalData, Options
from restore.progress import watched
from restore.registry import ARCHS, DATASETS, METRICS, Part
from restore.weights import locate, read_weights


def evaluate(options: Options) -> dict[str, Table]:
    """Scores the options' network on its test sets (or, without any, its validation sets). Prints and writes tables.

    Each set gets `results/<name>/<set>/` with `scores.csv`, `scores.json`, `table.md` and the pictures; the first of
    each set are side by side in `results/<name>/report.png`.

    Raises:
        UserError: no weights, no data, or nothing in it could be read.
    """
    sets = options.datasets.evaluation("test") or options.datasets.evaluation("val")
    if not sets:
        raise UserError(f"{options.name}: names no test set; add `datasets.test`")
    if _weights_file(options) is None:
        raise UserError(f"{options.name}: no weights to test; add `path.pretrain_network_g`")
    methods, metrics = _methods(options), build_metrics(options.val.metrics, pick_device(options.device))
    root = Path(options.path.results_root) / options.name
    report = Report(options.scale, [name for name in methods if name in ("bicubic", "telea", MODEL)])
    tables = {}
    for key, section in sets.items():
        name = section.name or key
        tables[name] = _evaluate_set(options, section, methods, metrics, root / name, report)
        print(f"\n{_describe(name, tables[name], metrics)}\n\n{_markdown(tables[name], methods)}")
    if options.val.report:
        report.write(root / "report.png")
    print(f"\nresults: {root}")
    return tables


def _weights_file(options: Options) -> Path | None:
    """The file that the network's weights come from, if any."""
    if options.path.pretrain_network_g is not None:
        return locate(resolve(options.path.pretrain_network_g))
    brings = getattr(ARCHS.get(options.network_g.type).build, "brings_weights", False)
    return resolve(options.network_g.args["file"]) if brings else None


def document_for(args: argparse.Namespace) -> Document:
    """The option document that `restore test --model ...` stands for.

    Raises:
        UserError: the network is neither in the weights file nor given, or no pictures are named.
    """
    path = Path(args.model)
    facts = read_weights(path).facts
    if args.network_g:
        network = doc.parse_value(args.network_g, "--network_g")
    elif "arch" in facts:
        network = facts["arch"]
    elif importlib.util.find_spec("spandrel"):
        network = {"type": "Spandrel", "file": args.model}
    else:
        raise UserError(
            f"{path}: does not say which network it is for; add --network_g '{{type: MSRResNet, ...}}', or "
            "`pip install spandrel`, which may know"
        )
    if not isinstance(network, dict):
        raise UserError(f"--network_g {args.network_g}: write it as '{{type: MSRResNet, num_feat: 64}}'")
    own = network.get("type") == "Spandrel"
    scale = facts.get("scale") or _scale_of(network)
    data = {
        "name": args.name,
        "scale": scale,
        "network_g": network,
        "datasets": {"test": _dataset_section(args)},
        "path": {} if own else {"pretrain_network_g": args.model},
        "val": {
            "metrics": {name: _bordered(name, args.crop_border) for name in args.metrics},
            "baselines": args.baselines,
            "tile": args.tile,
            "save_img": True,
            "report": bool(args.gt),
        },
    }
    return Document("restore test", data)


def _scale_of(network: dict[str, Any]) -> int:
    """The factor that a network section means: as written, else its default, else what its weights are for."""
    if network.get("type") == "Spandrel":
        scale: int = ARCHS.build(Part.model_validate(network)).scale
        return scale
    for key in ("upscale", "scale"):
        if key in network:
            return int(network[key])
        known = str(network.get("type"))
        field = ARCHS.get(known).schema.model_fields.get(key) if known in ARCHS else None
        if field is not None and isinstance(field.default, int):
            return field.default
    return 1


def _bordered(metric: str, crop_border: int) -> dict[str, int]:
    """A metric's section. Those of whole sets, and those with networks, compare whole pictures."""
    known = metric not in METRICS or "crop_border" in METRICS.get(metric).parameters  # an unknown one is told later
    return {"crop_border": crop_border} if known else {}


def _dataset_section(args: argparse.Namespace) -> dict[str, Any]:
    if args.input and args.gt:
        return {"type": "PairedImageDataset", "dataroot_lq": args.input, "dataroot_gt": args.gt}
    if args.gt:
        return {"type": "GTImageDataset", "dataroot_gt": args.gt}
    if args.input:
        return {"type": "SingleImageDataset", "dataroot_lq": args.input}
    raise UserError("restore test: name pictures with --input, --gt or both")


def _methods(options: Options) -> dict[str, Method]:
    device = pick_device(options.device)
    prepare_backend(device, deterministic=False)
    baselines = {name: baseline(name, options.scale) for name in options.val.baselines}
    return baselines | model_methods(options, device)


def _evaluate_set(
    options: Options,
    section: EvalData,
    methods: Mapping[str, Method],
    metrics: Mapping[str, Metric],
    folder: Path,
    report: Report,
) -> Table:
    dataset, table = DATASETS.build(section), Table()
    scored = score(dataset, methods, metrics, options.manual_seed, table)
    for number, picture in enumerate(watched(scored, len(dataset), folder.name)):
        if options.val.save_img:
            images.write(folder / f"{picture.key}.png", images.to_uint8(picture.preds[MODEL][0]))
        if options.val.report and number < ROWS_PER_SET:
            report.add(picture)
    for text in table.set_aside.values():
        print(f"WARNING not scored: {text}")
    for note in table.notes:
        print(f"WARNING {note}")
    if not table.keys:
        raise UserError(f"{folder.name}: none of its {len(dataset)} pictures could be read")
    images.write_atomic(folder / "scores.csv", _csv(table).encode())
    images.write_atomic(folder / "scores.json", _json(options, table, metrics).encode())
    images.write_atomic(folder / "table.md", (_markdown(table, methods) + "\n").encode())
    return table


def _describe(name: str, table: Table, metrics: Mapping[str, Metric]) -> str:
    protocols = "; ".join(f"{key}: {metric.protocol}" for key, metric in metrics.items())
    return f"{name}: {len(table.keys)} pictures ({protocols})"


def _markdown(table: Table, methods: Iterable[str]) -> str:
    rows = [(method, table.means(method)) for method in methods if table.means(method)]
    if not rows:
        return "(no GT: pictures written, nothing scored)"
    names = list(rows[0][1])
    cells = [["method", *names], ["---"] * (len(names) + 1)]
    cells += [[method, *(f"{means[name]:.4f}" for name in names)] for method, means in rows]
    lines = [" | ".join([first.ljust(10), *(cell.rjust(8) for cell in rest)]) for first, *rest in cells]
    return "\n".join(f"| {line} |" for line in lines)


def _csv(table: Table) -> str:
    buffer = io.StringIO()
    metrics = list(next(iter(table.rows.values()))[0]) if table.rows else []
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["key", "method", *metrics])
    for method, rows in table.rows.items():
        writer.writerows([key, method, *row.values()] for key, row in zip(table.keys, rows, strict=True))
    return buffer.getvalue()


def _json(options: Options, table: Table, metrics: Mapping[str, Metric]) -> str:
    weights = _weights_file(options) or Path()
    facts = {
        "experiment": options.name,
        "network_g": {"type": options.network_g.type, **options.network_g.args},
        "weights": {"file": str(weights), "sha256": hashlib.sha256(weights.read_bytes()).hexdigest()},
        "restore": __version__,
        "pictures": len(table.keys),
        "set_aside": table.set_aside,
        "protocols": {name: metric.protocol for name, metric in metrics.items()},
        "notes": table.notes,
        "means": {method: table.means(method) for method in table.rows},
    }
    return json.dumps(facts, indent=1, ensure_ascii=False)
