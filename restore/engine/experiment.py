"""An experiment's folder: what a run may not overwrite, and what it leaves for whoever reads it later."""

import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from restore.errors import UserError
from restore.options.schema import Options


class Experiment:
    """`experiments/<name>/`: checkpoints/, tb/, visualization/, options.yml, train.log."""

    def __init__(self, stages: Sequence[Options]) -> None:
        """`stages`: the options of each, one for most experiments."""
        self.stages = stages
        self.path = Path(stages[0].path.experiments_root) / stages[0].name
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tb"
        self.pictures = self.path / "visualization"
        self.log = self.path / "train.log"

    def refuse_if_taken(self) -> None:
        """Raises `UserError` where an earlier run has this name."""
        if self.path.exists():
            raise UserError(
                f"experiment `{self.path}` exists: --auto_resume goes on with it, --archive puts it aside, "
                "another `name` starts beside it"
            )

    def refuse_if_begun(self) -> None:
        """Raises `UserError` where another run has begun in a folder that was not there when this one looked."""
        if self.checkpoints.exists():
            raise UserError(
                f"{self.path}: another run of this name began at the same time; start again, and it goes on"
            )

    def prepare(self, resuming: bool, archive: bool, source: Path) -> None:
        """Makes the folder and copies the option file into it.

        Args:
            resuming: the folder may hold an earlier part of this run.
            archive: an earlier run is put aside under another name.
            source: the option file as the user wrote it.

        Raises:
            UserError: the name is taken, or the disk refuses.
        """
        try:
            if self.path.exists() and archive:
                self._put_aside()
            if not resuming:
                self.refuse_if_taken()
            self.path.mkdir(parents=True, exist_ok=True)
            if source.is_file():
                shutil.copyfile(source, self.path / "options_as_given.yml")
            (self.path / "options.yml").write_text(dump_stages(self.stages), encoding="utf-8")
        except OSError as error:
            raise UserError(
                f"{self.path}: cannot write the experiment's folder: {error.strerror}; free space or mend the disk, "
                "or set path.experiments_root"
            ) from error

    def _put_aside(self) -> None:
        stamp = time.strftime("%Y%m%d_%H%M%S", time.localtime(self.path.stat().st_mtime))
        target, number = self.path.with_name(f"{self.path.name}_archived_{stamp}"), 1
        while target.exists():
            target, number = target.with_name(f"{self.path.name}_archived_{stamp}_{number}"), number + 1
        os.replace(self.path, target)


def dump(options: Options) -> str:
    """The options as a YAML file that loads to the same options."""
    text: str = yaml.safe_dump(plain(options.model_dump(mode="json")), sort_keys=False, allow_unicode=True)
    return text


def dump_stages(stages: Sequence[Options]) -> str:
    """The options of all stages as one YAML file that loads to them: the first stage's, and how others differ."""
    if stages[0].stage is None:
        return dump(stages[0])
    whole = [plain(options.model_dump(mode="json")) for options in stages]
    names = [each.pop("stage") for each in whole]
    changed = [name | _difference(whole[0], each) for name, each in zip(names, whole, strict=True)]
    text: str = yaml.safe_dump({**whole[0], "stages": changed}, sort_keys=False, allow_unicode=True)
    return text


def differences(before: Any, now: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two sets of options, as plain data, differ: the dotted key and both values, None for what is missing."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in dict.fromkeys([*before, *now]):
            yield from differences(before.get(name), now.get(name), f"{key}.{name}" if key else str(name))
    elif before != now:
        yield key, before, now


def _difference(base: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """What has to be laid over `base` to get `other`."""
    changed: dict[str, Any] = {key: None for key in base if key not in other}
    for key, value in other.items():
        below = base.get(key)
        if isinstance(value, dict) and isinstance(below, dict) and value.get("type") == below.get("type"):
            changed |= {key: inner} if (inner := _difference(below, value)) else {}
        elif value != below:
            changed[key] = value
    return changed


def plain(value: Any) -> Any:
    """Plain dictionaries and lists without the settings left at None."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items() if item is not None}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def debug_options(options: Options) -> Options:
    """The experiment shortened to a few steps of everything, under the name `debug_<name>`."""
    if options.train is None:
        return options
    train = {"total_iter": 8, "total_epoch": None}
    return options.model_copy(
        update={
            "name": f"debug_{options.name}",
            "train": options.train.model_copy(update=train),
            "val": options.val.model_copy(update={"val_freq": 4}),
            "logger": options.logger.model_copy(update={"print_freq": 1, "save_checkpoint_freq": 4}),
        }
    )
