"""BasicSR's own option files, told in our keys. What cannot be honoured is named, key by key, and never dropped.

Refused, as a mistake with its line, is what would change the result; noted is what would not. Left out without a word
is only what has no effect here (how batches are fetched, the port of a launcher) or none in BasicSR either (`gt_size`
of a validation set). A key that BasicSR does not know is left in place, so that ours work in its files too; misspelt
ones are told with all other mistakes.
"""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

from restore.errors import UserError, nearest
from restore.options.basicsr_losses import WORDS as LOSS_WORDS
from restore.options.basicsr_losses import translate_losses
from restore.options.document import Document
from restore.options.walk import section_at
from restore.registry import ARCHS, BASICSR

Keys = tuple[str, ...]

MODELS = {"SRModel": "Restoration", "SRGANModel": "Restoration", "ESRGANModel": "Restoration"}
METRICS = {"calculate_psnr": "psnr", "calculate_ssim": "ssim", "calculate_niqe": "niqe"}
OTHER_METRICS = ("calculate_fid", "calculate_psnr_pt", "calculate_ssim_pt", "calculate_lpips")
NAMESAKES = ("RCAN",)  # ours has the keys and arguments of its authors, not BasicSR's
SCHEDULERS = {"MultiStepRestartLR": "MultiStepLR", "TrueCosineAnnealingLR": "CosineAnnealingLR"}

NO_EFFECT_HERE = ("prefetch_mode", "num_prefetch_queue", "pin_memory", "persistent_workers", "phase")
TRAINING_ONLY = ("gt_size", "use_hflip", "use_rot", "num_worker_per_gpu", "batch_size_per_gpu", "dataset_enlarge_ratio")
WORDS = frozenset(
    (*NO_EFFECT_HERE, *TRAINING_ONLY, "num_gpu", "dist_params", "io_backend", "meta_info_file", "mean", "std", "color")
    + (*LOSS_WORDS, "test_y_channel", "better", "suffix", "pbar")
    + ("resume_state", "ignore_resume_networks", "wandb", "model_type", "find_unused_parameters")
)


def translate(document: Document) -> Document:
    """The document in our keys; marks and names point into BasicSR's file.

    Raises:
        UserError: the file is for a model that is not known here. All else is collected in the document.
    """
    ours = Document(document.file, copy.deepcopy(document.data), dict(document.marks), dict(document.names), WORDS)
    model = ours.data["model_type"]
    if not isinstance(model, str) or model not in MODELS:
        place = f"{ours.mark(('model_type',))}: model_type"
        raise UserError(f"{place}: of BasicSR's models {', '.join(MODELS)} are known here so far, found `{model}`")
    relativistic = model == "ESRGANModel"
    for part in (_general, _datasets, _networks, _paths, partial(_training, relativistic), _validation, _logging):
        part(Translation(ours))
    return ours


class Translation:
    """The steps that translating is made of, each on the document in place."""

    def __init__(self, document: Document) -> None:
        self.document = document

    def section(self, *loc: str) -> dict[str, Any]:
        """The section at `loc`, or an empty one where there is none."""
        return section_at(self.document.data, loc)

    def pop(self, *loc: str) -> Any:
        """Takes a key out of the data and returns its value, or None where there is none."""
        return section_at(self.document.data, loc[:-1]).pop(loc[-1], None)

    def put(self, old: Keys, new: Keys, value: Any) -> None:
        """Writes a value under our key; messages about it speak of BasicSR's."""
        document = self.document
        if new[-1] in section_at(document.data, new[:-1]):
            return self.note(old, f"ignored, since `{new[-1]}` is given too")
        document.set(new, value, document.mark(old))
        document.names[new] = old
        for known, mark in list(document.marks.items()):
            if known[: len(old)] == old:
                document.marks[new + known[len(old) :]] = mark

    def move(self, old: Keys, name: str, convert: Callable[[Any], Any] = lambda value: value) -> None:
        """Renames a key within its section, where it is given."""
        if old[-1] in self.section(*old[:-1]):
            self.put(old, (*old[:-1], name), convert(self.pop(*old)))

    def change(self, loc: Keys, convert: Callable[[Any], Any]) -> None:
        """Changes the value of a key, where it is given."""
        section = self.section(*loc[:-1])
        if loc[-1] in section:
            section[loc[-1]] = convert(section[loc[-1]])

    def refuse(self, loc: Keys, text: str) -> None:
        """A mistake: to go on without it would change the result."""
        self.document.mistakes[loc] = text

    def note(self, loc: Keys, text: str) -> None:
        """Something that is not honoured, and changes no result."""
        self.document.notes.append(f"{self.document.mark(loc)}: {self.document.name(loc)}: {text}")


def _whole(value: Any) -> Any:
    """`!!float 1600` iterations are a whole number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _general(t: Translation) -> None:
    t.put(("model_type",), ("task",), {"type": MODELS[t.pop("model_type")]})
    t.pop("dist_params")
    if t.pop("find_unused_parameters"):
        t.note(("find_unused_parameters",), "not needed here")
    if "manual_seed" in t.document.data and t.document.data["manual_seed"] is None:
        t.pop("manual_seed")
        t.note(("manual_seed",), "no seed is drawn by chance here: 0 is used; set one")
    if t.pop("suffix") is not None:
        t.note(("suffix",), "pictures are saved without a suffix")
    if t.pop("crop_border") is not None:
        t.note(("crop_border",), "has no effect; set crop_border of each of val.metrics")
    if "save_img" in t.document.data:  # in BasicSR's oldest files
        t.put(("save_img",), ("val", "save_img"), t.pop("save_img"))
    if t.document.data.get("num_gpu") == 0:
        t.put(("num_gpu",), ("device",), "cpu")


def _gpus(t: Translation) -> int:
    """The number of GPUs that BasicSR's `batch_size_per_gpu` counts for."""
    loc, gpus = ("num_gpu",), t.pop("num_gpu")
    if gpus == "auto":
        t.note(loc, "batch_size_per_gpu is taken for one GPU; for n of them --set datasets.train.batch_size=n times it")
        return 1
    if isinstance(gpus, int) and not isinstance(gpus, bool) and gpus >= 0:
        return max(gpus, 1)
    if gpus is not None:
        t.refuse(loc, f"should be a number of GPUs, or auto, found {gpus!r}")
    return 1


def _datasets(t: Translation) -> None:
    gpus = _gpus(t)
    for name, section in t.section("datasets").items():
        if not isinstance(section, dict):
            continue  # told by the schema
        at = ("datasets", name)
        for key in NO_EFFECT_HERE if name == "train" else (*NO_EFFECT_HERE, *TRAINING_ONLY):
            t.pop(*at, key)
        _pictures(t, at)
        if name == "train":
            t.move((*at, "batch_size_per_gpu"), "batch_size", lambda n: n * gpus if isinstance(n, int) else n)
            t.move((*at, "num_worker_per_gpu"), "num_workers")
            t.change((*at, "dataset_enlarge_ratio"), _whole)
            _augmentations(t, at)


def _pictures(t: Translation, at: Keys) -> None:
    """Where the pictures are, and what is done to all of them."""
    section = t.section(*at)
    roots = [section[key] for key in ("dataroot_gt", "dataroot_lq") if isinstance(section.get(key), str)]
    lmdb = [root.endswith(".lmdb") for root in roots]
    backend = t.pop(*at, "io_backend")
    kind = backend.get("type") if isinstance(backend, dict) else backend
    if kind == "lmdb" and not all(lmdb):
        t.refuse((*at, "io_backend"), "is lmdb, but a dataroot does not end in .lmdb; rename it, or use disk")
    elif kind not in ("lmdb", "disk", None):
        t.refuse((*at, "io_backend"), f"`{kind}` is not known here; use disk or lmdb")
    if roots and all(lmdb):  # BasicSR takes every record then, the same key in both
        for key in ("meta_info_file", "filename_tmpl"):
            if t.pop(*at, key) not in (None, "{}"):
                t.note((*at, key), "has no effect on an LMDB, as in BasicSR")
    t.move((*at, "meta_info_file"), "meta_info")
    for key in ("mean", "std"):
        if t.pop(*at, key) is not None:
            t.refuse((*at, key), "networks here take pictures in [0, 1]; remove it, and normalise inside the network")
    if t.pop(*at, "color") == "y":
        t.refuse((*at, "color"), "training on Y alone is not known here yet; remove it to train on RGB")


def _augmentations(t: Translation, at: Keys) -> None:
    """Flips of 1/2 each; `use_rot` is a vertical flip and a transposition, so that with both 8 poses are as likely."""
    hflip, rotation = t.section(*at).get("use_hflip"), t.section(*at).get("use_rot")
    for key, value in (("use_hflip", hflip), ("use_rot", rotation)):
        if value is not None and not isinstance(value, bool):
            t.refuse((*at, key), f"should be true or false, found {value!r}")
    transforms: list[dict[str, Any]] = []
    if hflip or rotation:
        transforms.append({"type": "RandomFlip", "horizontal": 0.5 * bool(hflip), "vertical": 0.5 * bool(rotation)})
    if rotation:
        transforms.append({"type": "RandomTranspose", "probability": 0.5})
    if transforms:
        t.put((*at, "use_hflip" if hflip else "use_rot"), (*at, "transforms"), transforms)
    t.pop(*at, "use_hflip")
    t.pop(*at, "use_rot")


def _networks(t: Translation) -> None:
    """BasicSR's zoo answers where no network of that name is here."""
    for name in ("network_g", "network_d"):
        t.change((name, "type"), _native_or_guest)


def _native_or_guest(name: Any) -> Any:
    known = not isinstance(name, str) or (name in ARCHS and name not in NAMESAKES) or name.startswith(BASICSR)
    return name if known else BASICSR + name


def _paths(t: Translation) -> None:
    if t.pop("path", "resume_state") is not None:
        t.refuse(("path", "resume_state"), "set it to ~, and give the command --resume DIR or --auto_resume")
    if t.pop("path", "ignore_resume_networks"):
        t.note(("path", "ignore_resume_networks"), "has no effect without resume_state")
    path = t.section("path")
    if path.get("pretrain_network_g") is not None:
        path.setdefault("param_key_g", "params")  # BasicSR's default; ours prefers the average
    for key in [key for key, value in path.items() if key.startswith("pretrain_network_") and value is None]:
        del path[key]


def _training(relativistic: bool, t: Translation) -> None:
    for key in ("total_iter", "warmup_iter"):
        t.change(("train", key), _whole)
    if t.section("train"):
        translate_losses(t, relativistic)
    _scheduler(t)


def _scheduler(t: Translation) -> None:
    at: Keys = ("train", "scheduler")
    t.change((*at, "type"), lambda name: SCHEDULERS.get(name, name) if isinstance(name, str) else name)
    if t.section(*at).get("type") == "MultiStepLR":
        for key, trivial in (("restarts", [0]), ("restart_weights", [1])):
            value = t.pop(*at, key)
            if value not in (None, trivial):
                t.refuse((*at, key), "restarts of a multi-step schedule are not known here yet; remove them")


def _validation(t: Translation) -> None:
    t.change(("val", "val_freq"), _whole)
    t.pop("val", "pbar")
    if t.pop("val", "suffix") is not None:
        t.note(("val", "suffix"), "pictures are saved without a suffix")
    if "metrics" in t.section("val") and t.section("val")["metrics"] is None:
        t.pop("val", "metrics")
    for name, section in list(t.section("val", "metrics").items()):
        if isinstance(section, dict):
            _metric(t, ("val", "metrics", name))


def _metric(t: Translation, at: Keys) -> None:
    section = t.section(*at)
    kind = section.get("type")
    if kind in OTHER_METRICS:
        t.note(at, f"`{kind}` is not known here yet; it is left out")
        t.pop(*at)
    elif isinstance(kind, str) and kind in METRICS:
        luma = t.pop(*at, "test_y_channel")
        section["type"] = METRICS[kind] + ("_y" if luma is True else "")
        if luma not in (None, True, False):
            t.refuse((*at, "test_y_channel"), f"should be true or false, found {luma!r}")
        better = "lower" if kind == "calculate_niqe" else "higher"
        if t.pop(*at, "better") not in (None, better):
            t.note((*at, "better"), f"{better} is better for {section['type']}")
        if t.pop(*at, "input_order") not in (None, "HWC"):
            t.note((*at, "input_order"), "has no effect")
        if t.pop(*at, "num_thread") is not None:
            t.note((*at, "num_thread"), "has no effect")
        if t.pop(*at, "convert_to") not in (None, "y"):
            t.refuse((*at, "convert_to"), "niqe is of Y; set it to y")
    elif isinstance(kind, str) and kind.startswith("calculate_"):
        hint = nearest(kind, (*METRICS, *OTHER_METRICS)) or f"; known here: {', '.join(METRICS)}"
        t.refuse((*at, "type"), f"no metric `{kind}`{hint}")
        t.pop(*at)


def _logging(t: Translation) -> None:
    for key in ("print_freq", "save_checkpoint_freq"):
        t.change(("logger", key), _whole)
    wandb = t.pop("logger", "wandb")
    if isinstance(wandb, dict) and wandb.get("project") is not None:
        t.note(("logger", "wandb"), "is not known here; curves go to TensorBoard")
    logger = t.section("logger")
    if "save_checkpoint_freq" in logger:
        logger.setdefault("keep_checkpoints", 0)  # BasicSR keeps them all
