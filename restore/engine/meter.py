"""Figures between two log lines, summed up without waiting for the device."""

import time

import torch
from torch import Tensor

from restore.distributed import mean_
from restore.precision import full


class Meter:
    """Sums up losses on the device and times on the host, until they are read for a log line."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Starts the clock anew."""
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, float] = {}
        self.waited = self.paused = 0.0  # seconds for data, and outside of training (validation, saving)
        self.began = time.perf_counter()

    def add(self, values: dict[str, Tensor], share: float = 1.0) -> None:
        """Adds values, each counting as `share` of one step's."""
        for name, value in values.items():
            value = full(value.detach()) * share
            self.sums[name] = self.sums[name] + value if name in self.sums else value
            self.counts[name] = self.counts.get(name, 0.0) + share

    def read(self) -> dict[str, float]:
        """The means since the last reading over all ranks, `it_per_s`, and `data_wait`, a share of this rank's time."""
        stacked = mean_(torch.stack(list(self.sums.values()))) if self.sums else torch.zeros(0)
        sums = stacked.tolist()  # the only wait for the device
        spent = max(time.perf_counter() - self.began - self.paused, 1e-9)
        values = {name: total / self.counts[name] for name, total in zip(self.sums, sums, strict=True)}
        steps = max(self.counts.values(), default=0.0)
        values |= {"data_wait": self.waited / spent, "it_per_s": steps / spent}
        self.restart()
        return values
