"""Ranks and reductions: what the processes of a job tell each other. In a single process all of it is trivial."""

from restore.distributed.launch import Launch
from restore.distributed.ranks import (
    Vote,
    barrier,
    copy_from_main,
    expect,
    from_main,
    gather,
    is_main,
    local_rank,
    mean,
    mean_,
    rank,
    replicated,
    share,
    synced_batch_norm,
    unsynced,
    world,
)
from restore.distributed.session import joined, note

__all__ = [
    "Launch",
    "Vote",
    "barrier",
    "copy_from_main",
    "expect",
    "from_main",
    "gather",
    "is_main",
    "joined",
    "local_rank",
    "mean",
    "mean_",
    "note",
    "rank",
    "replicated",
    "share",
    "synced_batch_norm",
    "unsynced",
    "world",
]
