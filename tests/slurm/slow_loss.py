"""What the jobs' option file plugs in: a loss that is slow, one that is late, and one that raises."""

import os
import time

from torch import Tensor

from restore.losses.pixel_loss import L1Loss
from restore.registry import LOSSES
from restore.step import Step


@LOSSES.register
class SlowL1Loss(L1Loss):
    """L1 that takes its time, until the job has been restarted.

    Args:
        seconds: that each call takes longer.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.seconds = 0.0 if "SLURM_RESTART_COUNT" in os.environ else seconds

    def forward(self, step: Step) -> Tensor:
        time.sleep(self.seconds)
        return super().forward(step)


@LOSSES.register
class LateL1Loss(SlowL1Loss):
    """L1 with which a run takes its time to start, until the job has been restarted."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(seconds)
        print("building the loss", flush=True)
        time.sleep(5 if self.seconds else 0)


@LOSSES.register
class BrokenL1Loss(L1Loss):
    """L1 with a mistake.

    Args:
        seconds: changes nothing.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()

    def forward(self, step: Step) -> Tensor:
        raise RuntimeError("a mistake in the program")
