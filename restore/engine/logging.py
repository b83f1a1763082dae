"""What a run tells: lines on the terminal and in train.log, and TensorBoard's event files."""

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from restore import distributed


class Log:
    """Lines with the time, to stdout and to a file that earlier parts of a resumed run wrote to as well."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path

    def info(self, text: str) -> None:
        """Writes one line or several; of several processes, the first does."""
        if not distributed.is_main():
            return
        stamped = f"{time.strftime('%H:%M:%S')} {text}"
        print(stamped, flush=True)
        if self.path is not None:
            with contextlib.suppress(OSError), open(self.path, "a", encoding="utf-8") as file:  # the disk may be full
                file.write(f"{time.strftime('%Y-%m-%d')} {stamped}\n")

    def warning(self, text: str) -> None:
        """Writes a line that stands out."""
        self.info(f"WARNING {text}")


class Board:
    """TensorBoard's event files. Nothing is imported or written until the first value.

    A disk that refuses costs points on the curves, not the run: the next value opens another file.
    """

    def __init__(self, folder: Path | None, log: Log | None = None, resumed_at: int = 0) -> None:
        """`folder` None writes nothing. Values after iteration `resumed_at` of an earlier part are superseded."""
        self.folder, self.log, self.resumed_at = folder, log, resumed_at
        self._purge: int | None = resumed_at + 1  # by the first file only
        self._writer: Any = None

    def scalars(self, values: Mapping[str, float], iteration: int) -> None:
        """One point on each curve."""

        def write(writer: Any) -> None:
            for tag, value in values.items():
                writer.add_scalar(tag, value, iteration)

        self._write(write)

    def picture(self, tag: str, picture: Tensor, iteration: int) -> None:
        """A (3, H, W) picture in [0, 1]."""
        self._write(lambda writer: writer.add_image(tag, picture.clamp(0, 1), iteration))

    def text(self, tag: str, text: str) -> None:
        """A text that holds from here on, such as the option file, in a fixed-width font."""
        indented = "\n".join(f"    {line}" for line in text.splitlines())
        self._write(lambda writer: writer.add_text(tag, indented, self.resumed_at + 1))

    def hparams(self, values: Mapping[str, Any], metrics: Mapping[str, float], iteration: int) -> None:
        """The run's settings beside its results, for the HPARAMS tab."""

        def write(writer: Any) -> None:
            from torch.utils.tensorboard.summary import hparams

            kept = {k: v if isinstance(v, bool | int | float | str) else str(v) for k, v in values.items()}
            for summary in hparams(kept, dict(metrics)):  # type: ignore[no-untyped-call]
                writer.file_writer.add_summary(summary)

        self._write(write)
        self.scalars(metrics, iteration)

    def flush(self) -> None:
        """Puts everything on the disk."""
        if self._writer is not None:
            self._write(lambda writer: writer.flush())

    def _write(self, write: Callable[[Any], object]) -> None:
        if self.folder is None:
            return
        try:
            if self._writer is None:
                from torch.utils.tensorboard import SummaryWriter

                self._writer = SummaryWriter(str(self.folder), purge_step=self._purge)
                self._purge = None
            write(self._writer)
        except OSError as error:
            self._writer = None
            if self.log is not None:
                self.log.warning(f"{self.folder}: cannot write for TensorBoard: {error.strerror}; training goes on")

    def __enter__(self) -> "Board":
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._write(lambda writer: writer.close())
