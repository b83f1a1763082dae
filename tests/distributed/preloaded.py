"""What ranks import, DistributedDataParallel's compiler too, for the process that they are forked from."""

import os

os.environ["TORCH_CPP_LOG_LEVEL"] = "ERROR"  # as `restore/train.py` does before it imports PyTorch

import torch._dynamo  # noqa: F401

from restore import train  # noqa: F401
from restore.distributed import batch_norm, total  # noqa: F401
from restore.engine import stages  # noqa: F401
from restore.guest import make_importable
from restore.options import load  # noqa: F401
from restore.registry import ARCHS, DATASETS, DEGRADATIONS, LOSSES, METRICS, OCCLUSIONS, TASKS, TRANSFORMS
from tests.distributed import plugged  # noqa: F401

make_importable()
for registry in (ARCHS, DATASETS, DEGRADATIONS, LOSSES, METRICS, OCCLUSIONS, TASKS, TRANSFORMS):
    list(registry)
