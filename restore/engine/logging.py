"""What a run tells: lines on the terminal and in train.log, and TensorBoard's event files."""

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor


class Log:
    """Lines with the time, to stdout and to a file that earlier parts of a resumed run wrote to as well."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path

    def info(self, text: str) -> None:
        """Writes one line or several."""
        stamped = f"{time.strftime('%H:%M:%S')} {text}"
        print(stamped, flush=True)
        if self.path is not None:
            with contextlib.suppress(OSError), open(self.path, "a", encoding="utf-8") as file:  # the disk may be full
                file.write(f"{time.strftime('%Y-%m-%d')} {stamped}\n")

    def warning(self, text: str) -> None:
        """Writes a line that stands out."""
        self.info(f"WARNING {text}")


class Board:
    """TensorBoard's event file. Nothing is imported or written until the first value."""

    def __init__(self, folder: Path | None, resumed_at: int = 0) -> None:
        """`folder` None writes nothing. Values after iteration `resumed_at` of an earlier part are superseded."""
        self.folder, self.resumed_at = folder, resumed_at
        self._writer: Any = None

    @property
    def writer(self) -> Any:
        """The SummaryWriter."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            purge = self.resumed_at + 1 if self.resumed_at else None
            self._writer = SummaryWriter(str(self.folder), purge_step=purge)
        return self._writer

    def scalars(self, values: Mapping[str, float], iteration: int) -> None:
        """One point on each curve."""
        if self.folder is not None:
            for tag, value in values.items():
                self.writer.add_scalar(tag, value, iteration)

    def picture(self, tag: str, picture: Tensor, iteration: int) -> None:
        """A (3, H, W) picture in [0, 1]."""
        if self.folder is not None:
            self.writer.add_image(tag, picture.clamp(0, 1), iteration)

    def text(self, tag: str, text: str) -> None:
        """A text, such as the option file, kept in a fixed-width font."""
        if self.folder is not None:
            indented = "\n".join(f"    {line}" for line in text.splitlines())
            self.writer.add_text(tag, indented, 0)

    def hparams(self, values: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """The run's settings beside its results, for the HPARAMS tab."""
        if self.folder is not None:
            from torch.utils.tensorboard.summary import hparams

            kept = {k: v if isinstance(v, bool | int | float | str) else str(v) for k, v in values.items()}
            for summary in hparams(kept, dict(metrics)):  # type: ignore[no-untyped-call]
                self.writer.file_writer.add_summary(summary)
            self.scalars(metrics, self.resumed_at)

    def flush(self) -> None:
        """Puts everything on the disk."""
        if self._writer is not None:
            self._writer.flush()

    def __enter__(self) -> "Board":
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.close()
