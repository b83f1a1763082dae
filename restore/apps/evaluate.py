"""Scores a model on test sets: pictures, a row per picture, means with their protocol, and one picture to look at."""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from restore import __version__, images
from restore.apps.comparison import scores_csv
from restore.apps.extremes import Extremes
from restore.apps.judges import training_distances
from restore.apps.parts import Facts, missing, part_file, score_part, together
from restore.apps.report import ROWS_PER_SET, Report
from restore.apps.scores import Scores, joint_markdown
from restore.apps.shard import WHOLE, Shard
from restore.data.loader import SampleSource
from restore.data.staging import build_dataset
from restore.engine.baselines import baseline
from restore.engine.device import pick_device, prepare_backend
from restore.engine.methods import MODEL, RAW, model_methods
from restore.engine.validation import Method, Metric, PictureMetric, Scored, Table, build_metrics, score
from restore.errors import UserError
from restore.options.paths import resolve
from restore.options.schema import EvalData, Options
from restore.pretrained import sha256_of
from restore.progress import watched
from restore.registry import ARCHS
from restore.weights import locate, read_facts


@dataclass
class _Set:
    """A test set, and where its results go."""

    section: EvalData
    dataset: SampleSource
    folder: Path


def evaluate(options: Options, shard: Shard = WHOLE) -> dict[str, Table]:
    """Scores the options' network on its test sets (or, without any, its validation sets). Prints and writes tables.

    Each set gets `results/<name>/<set>/` with `scores.csv`, `scores.json`, `table.md` and the pictures, and where they
    have masks, the figures by the size of the hole. Several sets share `results/<name>/table.md`; the first pictures of
    each are side by side in `results/<name>/report.png`.

    Args:
        shard: the part of each set to score. Its rows go to `results/<name>/<set>/shards/`; the files above are written
            by whoever finds all parts there, and are those that one process writes.

    Returns:
        The tables by set; empty while parts are missing.

    Raises:
        UserError: no weights, no data, or nothing in it could be read.
    """
    sections = options.datasets.evaluation("test") or options.datasets.evaluation("val")
    if not sections:
        raise UserError(f"{options.name}: names no test set; add `datasets.test`")
    if _weights_file(options) is None:
        raise UserError(f"{options.name}: no weights to test; add `path.pretrain_network_g`")
    methods, metrics = _methods(options), build_metrics(options.val.metrics, pick_device(options.device))
    root = Path(options.path.results_root) / options.name
    sets = [_Set(part, build_dataset(part), root / (part.name or key)) for key, part in sections.items()]
    if shard.count > 1 and not _score_parts(options, sets, methods, metrics, shard):
        return {}
    report = Report(options.scale, [name for name in methods if name in ("bicubic", "telea", MODEL)])
    found = []
    for own in sets:
        table = Table()
        if shard.count > 1:
            scored = together(own.folder, shard.count, table, metrics)
        else:
            scored = _score(options, own, methods, metrics, table)
        scores = _gather(options, own, metrics, table, scored, report)
        print(f"\n{_describe(scores)}\n\n{scores.summary()}")
        found.append(scores)
    if len(ours := [scores for scores in found if scores.figures]) > 1:
        images.write_atomic(root / "table.md", (joint_markdown(ours) + "\n").encode())
        print(f"\n{joint_markdown(ours, intervals=False)}")
    if options.val.report:
        report.write(root / "report.png")
        print(f"\nside by side: {root / 'report.png'}")
    print(f"\nresults: {root}")
    return {scores.name: scores.table for scores in found}


def _weights_file(options: Options) -> Path | None:
    """The file that the network's weights come from, if any."""
    if options.path.pretrain_network_g is not None:
        return locate(resolve(options.path.pretrain_network_g))
    brings = getattr(ARCHS.get(options.network_g.type).build, "brings_weights", False)
    return resolve(options.network_g.args["file"]) if brings else None


def _methods(options: Options) -> dict[str, Method]:
    device = pick_device(options.device)
    prepare_backend(device, deterministic=False)
    baselines = {name: baseline(name, options.scale) for name in options.val.baselines}
    return baselines | model_methods(options, device)


def _score_parts(
    options: Options, sets: list[_Set], methods: Mapping[str, Method], metrics: Mapping[str, Metric], shard: Shard
) -> bool:
    """Scores this task's part of every set. Returns whether all parts of all of them are there."""
    facts = [_run_facts(options, own) for own in sets]
    for own, run in zip(sets, facts, strict=True):
        path = part_file(own.folder, shard)
        done = score_part(path, run, _extremes(metrics), partial(_score, options, own, methods, metrics, shard=shard))
        print(f"{own.folder.name}: part {shard} is {'done' if done else 'there already'}: {path}")
    # Only now: of two tasks the later one has to see the other's last part, so that one of them gathers.
    waits = {own.folder.name: missing(own.folder, shard.count, run) for own, run in zip(sets, facts, strict=True)}
    for name, parts in waits.items():
        if parts:
            print(f"{name}: still missing: {', '.join(parts)}")
    if any(waits.values()):
        print("whichever part ends last writes the tables; if none did, do any part again: it only gathers them")
    return not any(waits.values())


def _run_facts(options: Options, own: _Set) -> Facts:
    """What parts of one run have in common: all that figures may hang on, and the program."""
    places = {"experiments_root", "results_root", "pretrain_network_g"}  # the weights are known by their hash
    said = options.model_dump(mode="json", exclude={"datasets": True, "path": places})
    facts = {f"options.{name}": value for name, value in said.items()}
    keys = hashlib.sha256("\n".join(own.dataset.keys).encode(errors="surrogateescape")).hexdigest()
    facts |= {"dataset": own.section.model_dump(mode="json"), "pictures": len(own.dataset), "keys": keys}
    facts |= {"weights": sha256_of(_weights_file(options) or Path()), "restore": __version__}
    return cast(Facts, json.loads(json.dumps(facts)))


def _score(
    options: Options,
    own: _Set,
    methods: Mapping[str, Method],
    metrics: Mapping[str, Metric],
    table: Table,
    done: Collection[int] = (),
    shard: Shard | None = None,
) -> Iterator[Scored]:
    """Scores a set or its part, and writes the pictures."""
    scored = score(own.dataset, methods, metrics, options.manual_seed, table, shard=shard, done=done)
    total = len((shard or WHOLE).of(range(len(own.dataset))))
    for picture in watched(scored, total, own.folder.name, len(done)):
        if options.val.save_img:
            _save(own.folder, picture)
        yield picture


def _gather(
    options: Options,
    own: _Set,
    metrics: Mapping[str, Metric],
    table: Table,
    scored: Iterable[Scored],
    report: Report,
) -> Scores:
    """Makes the set's files of its pictures, which come in the order of the data set and fill the table."""
    masks, extremes, size = hashlib.sha256(), _extremes(metrics), 0
    for number, picture in enumerate(scored):
        size = size or min(picture.lq.shape[-2:])
        if picture.mask is not None:
            masks.update(images.to_uint8(picture.mask[0]).tobytes())
        if options.val.report and number < ROWS_PER_SET:
            report.add(picture)
        if options.val.report or picture.mask is not None:
            extremes.add(picture)
    name = own.folder.name
    if not table.keys:
        reason = next(iter(table.set_aside.values()), "it holds none")
        raise UserError(f"{name}: none of its {len(own.dataset)} pictures could be read or scored: {reason}")
    masked = any(area >= 0 for area in table.hole_areas)
    weights = _weights_file(options)
    if masked and weights and (note := _other_size(weights, size)):
        table.notes.append(note)
    training = training_distances(options, metrics, weights) if weights else []
    table.notes += [f"{name}: through the network that the model was trained with: no judge of it" for name in training]
    scores = Scores(name, table, metrics, training, masks.hexdigest() if masked else None)
    scores.measure(options.manual_seed)
    _write(options, scores, own.folder)
    extremes.write(own.folder / "worst_best.png", options.scale)
    return scores


def _other_size(weights: Path, size: int) -> str | None:
    """What to say where faces are of another size than those that an inpainting network was trained on."""
    trained = read_facts(weights).get("size")
    if not isinstance(trained, int) or 2 / 3 < size / trained < 3 / 2:
        return None
    remedy = f"`restore prepare lmdb --size {trained}` brings them there"
    return f"the network was trained on pictures of {trained} px, these have {size}: {remedy}"


def _extremes(metrics: Mapping[str, Metric]) -> Extremes:
    """By the first metric that has a figure for each picture; of none there are no extremes."""
    name = next((name for name, metric in metrics.items() if isinstance(metric, PictureMetric)), "")
    return Extremes(MODEL, name, name in metrics and metrics[name].higher_is_better)


def _save(folder: Path, picture: Scored) -> None:
    """Writes what the model made of a picture, and where there is a mask, what scoring it again takes besides."""
    shown = {folder: picture.preds[MODEL]}
    if picture.mask is not None:
        shown |= {folder / "masks": picture.mask.expand(-1, 3, -1, -1), folder / "masked": picture.lq}
    if RAW in picture.preds:
        shown[folder / RAW] = picture.preds[RAW]
    for place, tensor in shown.items():
        images.write(place / f"{picture.key}.png", images.to_uint8(tensor[0]))


def _write(options: Options, scores: Scores, folder: Path) -> None:
    """Writes the figures, and prints what to be warned of."""
    for text in scores.table.set_aside.values():
        print(f"WARNING not scored: {text}")
    for note in scores.table.notes:
        print(f"WARNING {note}")
    texts = {
        "scores.csv": scores_csv(scores.table),
        "scores.json": scores.json(_facts(options)),
        "table.md": scores.markdown(),
    }
    if scores.bins:
        texts |= {"by_hole_area.md": scores.hole_markdown(), "by_hole_area.json": scores.hole_json()}
    for name, text in texts.items():
        images.write_atomic(folder / name, text.encode())


def _describe(scores: Scores) -> str:
    protocols = "; ".join(f"{key}: {metric.protocol}" for key, metric in scores.metrics.items())
    masks = f"\nmasks: sha256 {scores.masks_sha256}" if scores.masks_sha256 else ""
    return f"{scores.name}: {len(scores.table.keys)} pictures ({protocols}){masks}"


def _facts(options: Options) -> dict[str, Any]:
    """Which network was scored, and which file its weights came from."""
    weights = _weights_file(options) or Path()
    return {
        "experiment": options.name,
        "network_g": {"type": options.network_g.type, **options.network_g.args},
        "weights": {"file": str(weights), "sha256": sha256_of(weights)},
        "restore": __version__,
    }
