"""Compares any number of models and interpolations on one test set: tables with intervals, and pictures."""

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore.apps.arguments import add_pictures
from restore.errors import UserError, nearest

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from restore.apps.comparison import Comparison
    from restore.engine.validation import Method, Scored, Table
    from restore.options.schema import Options

BASELINES = ("bilinear", "bicubic", "lanczos")
COLUMNS = ("LQ", "GT")  # of a grid: no method may be called so


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `restore compare`."""
    parser.add_argument(
        "--models",
        nargs="+",
        required=True,
        metavar="NAME=PATH",
        help="each a checkpoint, checkpoints/best, an experiment's folder, or a weights file",
    )
    parser.add_argument(
        "--network_g",
        nargs="+",
        default=[],
        metavar="NAME=YAML",
        help="the network of a model whose file does not say: NAME='{type: EDSR, ...}'",
    )
    parser.add_argument(
        "--task",
        nargs="+",
        default=[],
        metavar="NAME=YAML",
        help="what a model's task does otherwise than its file says: NAME='{num_steps: 20}'",
    )
    add_pictures(parser, gt_required=True)
    parser.add_argument("--scale", type=int, help="GT size over LQ size, where no model's file says it")
    metrics = "psnr ssim by default, and those of the hole"
    parser.add_argument("--metrics", nargs="+", metavar="NAME", help=metrics)
    parser.add_argument("--crop_border", type=int, default=0, help="pixels at the border that are not scored (0)")
    parser.add_argument("--baselines", nargs="*", default=list(BASELINES), metavar="NAME", help=" ".join(BASELINES))
    parser.add_argument("--reference", default="bicubic", help="the method that differences are to (bicubic)")
    parser.add_argument("--tile", type=int, help="side of the tiles in LQ pixels, where memory is short")
    parser.add_argument("--grid_every", type=int, default=10, metavar="N", help="draw every Nth picture (10); 0: none")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="a.b=c", help="as datasets.test.downsample=aliased_cv2"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("results/compare"), help="folder (results/compare)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Compares, prints the tables and writes them with the pictures. Raises `UserError`."""
    from restore.engine.device import pick_device, prepare_backend

    models = models_of(args)
    first = next(iter(models.values()))
    device = pick_device(first.device)
    prepare_backend(device, deterministic=False)
    comparison, table = compare(models, args.reference, device, args.output / "grid", args.grid_every)
    _write(args.output, comparison, table)
    print(f"\n{comparison.markdown()}\n\nresults: {args.output}")


def compare(
    models: "Mapping[str, Options]", reference: str, device: "torch.device", grids: Path, grid_every: int
) -> "tuple[Comparison, Table]":
    """Scores models and interpolations on the test set of the first one's options.

    Args:
        models: the options of each; data, metrics and baselines are those of the first.
        reference: the method that the others' differences are to.
        device: where the models run.
        grids: the folder that every `grid_every`th picture is drawn into; 0 draws none.

    Raises:
        UserError: no such reference, weights that cannot be read, or no picture that could be scored.
    """
    from restore import keyed
    from restore.apps.comparison import Comparison
    from restore.data.staging import build_dataset
    from restore.engine.validation import Table, build_metrics, score
    from restore.progress import watched

    first = next(iter(models.values()))
    methods = _methods(models, reference, device)
    metrics, table = build_metrics(first.val.metrics, device), Table()
    section = next(iter(first.datasets.evaluation("test").values()))
    dataset = build_dataset(section)
    scored = score(dataset, methods, metrics, first.manual_seed, table)
    for number, picture in enumerate(watched(scored, len(dataset), "compare")):
        if grid_every and number % grid_every == 0:
            _draw(grids, number, picture, first.scale, next(iter(metrics)))
    for text in table.set_aside.values():
        print(f"WARNING not scored: {text}")
    if not table.keys:
        reason = next(iter(table.set_aside.values()), "it holds none")
        raise UserError(f"{section.args['dataroot_gt']}: not one picture could be scored: {reason}")
    facts = {name: _facts(models.get(name)) | {"ms": method.median_ms()} for name, method in methods.items()}
    data = _data(section.args, first.scale, device)
    comparison = Comparison(data, metrics, reference, facts)
    comparison.measure(table, keyed.draws(first.manual_seed, "bootstrap"))
    return comparison, table


class Timed:
    """A method that remembers how long each call took."""

    def __init__(self, method: "Method") -> None:
        self.method, self.seconds = method, list[float]()

    def __call__(self, lq: "Tensor", mask: "Tensor | None") -> "Tensor":
        began = time.perf_counter()
        pred = self.method(lq, mask)  # on the CPU again: a GPU has finished
        self.seconds.append(time.perf_counter() - began)
        return pred

    def median_ms(self) -> float:
        """The median over the calls: the first one, which warms up, does not count for more than it is."""
        return sorted(self.seconds)[len(self.seconds) // 2] * 1000


def models_of(args: argparse.Namespace) -> "dict[str, Options]":
    """The options that stand for each model, from the command's arguments. Raises `UserError`."""
    named = _pairs(args.models, "--models")
    networks, tasks = _pairs(args.network_g, "--network_g"), _pairs(args.task, "--task")
    for name in named:
        if name in (*args.baselines, *COLUMNS):
            raise UserError(f"--models {name}=...: `{name}` is a column already; choose another name")
    for flag, given in (("--network_g", networks), ("--task", tasks)):
        for name in given:
            if name not in named:
                raise UserError(f"{flag} {name}=...: no model of that name{nearest(name, named)}")
    models = {name: _options(args, name, path, networks.get(name), tasks.get(name)) for name, path in named.items()}
    scales = {name: options.scale for name, options in models.items()}
    if len(set(scales.values())) > 1:
        told = ", ".join(f"{name} x{scale}" for name, scale in scales.items())
        raise UserError(f"--models: of different scales: {told}; leave some out, or say what is right with --scale")
    return models


def _options(args: argparse.Namespace, name: str, path: str, network: str | None, task: str | None) -> "Options":
    """The options that `restore test --model` has for one model, and what is said here besides."""
    from restore.apps.model_document import document_for
    from restore.engine.described import override_task
    from restore.options.check import validate
    from restore.options.document import Mark
    from restore.options.load import apply_override

    document = document_for(argparse.Namespace(**vars(args) | {"model": path, "network_g": network, "name": "compare"}))
    document.marks[()] = Mark("restore compare")
    if args.scale:
        document.data["scale"] = args.scale
    document.data.setdefault("task", {"type": "Restoration"})
    override_task(document, task, f"--task {name}")
    for override in args.set:
        apply_override(document, override)
    return validate(document)


def _pairs(texts: list[str], flag: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UserError(f"{flag} {text}: write it as NAME=..., the name being what tables call the model")
        if name in pairs:
            raise UserError(f"{flag} {text}: `{name}` is given twice; choose another name")
        pairs[name] = value
    return pairs


def _methods(models: "Mapping[str, Options]", reference: str, device: "torch.device") -> dict[str, Timed]:
    from restore.engine.baselines import baseline
    from restore.engine.methods import MODEL, model_methods

    first = next(iter(models.values()))
    names = [*first.val.baselines, *models]
    if reference not in names:
        hint = nearest(reference, names) or f"; there are {', '.join(names)}"
        raise UserError(f"--reference {reference}: no method of that name{hint}")
    methods = {name: Timed(baseline(name, first.scale)) for name in first.val.baselines}
    return methods | {name: Timed(model_methods(options, device)[MODEL]) for name, options in models.items()}


def _facts(options: "Options | None") -> dict[str, Any]:
    """Which network a model is, and which file its weights came from; nothing of an interpolation."""
    from restore.options.paths import resolve
    from restore.pretrained import sha256_of
    from restore.weights import locate

    if options is None or options.path.pretrain_network_g is None:
        return {}
    weights = locate(resolve(options.path.pretrain_network_g))
    network = {"type": options.network_g.type, **options.network_g.args}
    return {
        "network": network,
        "task": {"type": options.task.type, **options.task.args},
        "weights": str(weights),
        "sha256": sha256_of(weights),
    }


def _data(section: dict[str, Any], scale: int, device: "torch.device") -> dict[str, Any]:
    settings = {key: value for key, value in section.items() if key not in ("dataroot_gt", "dataroot_lq", "scale")}
    lq = section.get("dataroot_lq", "made from GT by MATLAB's bicubic" if not settings else "made from GT")
    return {"gt": section["dataroot_gt"], "lq": lq, "scale": scale, "device": device.type, **settings}


def _draw(folder: Path, number: int, picture: "Scored", scale: int, metric: str) -> None:
    from restore import images
    from restore.apps.grid import draw_grid

    captions = {name: f"{metric} {scores[metric]:.4f}" for name, scores in picture.scores.items() if metric in scores}
    name = picture.key.replace("/", "_")
    images.write(folder / f"{number:05d}_{name}.png", draw_grid(picture, scale, captions))


def _write(folder: Path, comparison: "Comparison", table: "Table") -> None:
    from restore.apps.comparison import scores_csv
    from restore.images import write_atomic

    texts = {
        "comparison.md": comparison.markdown() + "\n",
        "comparison.json": comparison.json(),
        "summary.csv": comparison.summary_csv(),
        "scores.csv": scores_csv(table),
    }
    for name, text in texts.items():
        write_atomic(folder / name, text.encode())
