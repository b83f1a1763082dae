"""From the launch to the end of a job of several processes: they meet, work, and end together."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NoReturn, Protocol

from restore.distributed import interface
from restore.distributed.launch import Launch
from restore.distributed.ranks import _Here, backend_of
from restore.distributed.watch import Watch
from restore.errors import EXIT_FAULT, EXIT_INTERRUPTED, Fault, Preempted, RestoreError

_MEETING = "met/"


class Waits(Protocol):
    """How long to wait, in seconds: `dist` in the options says for what."""

    @property
    def start_timeout(self) -> float: ...

    @property
    def timeout(self) -> float: ...

    @property
    def silence(self) -> float: ...


@contextmanager
def joined(launch: Launch, settings: Waits, device_type: str) -> Iterator[Watch | None]:
    """The other ranks are reachable while this is entered. Alone it does nothing.

    What goes wrong on one rank ends all of them within seconds, each with a code that is not 0: that rank tells its
    error or traceback first, rank 0 tells whose it was, and nobody is left waiting for an answer.

    Args:
        settings: how long to wait for what.
        device_type: `cuda` or `cpu`, by which the ranks talk through NCCL or gloo.

    Raises:
        Fault: a rank did not come, or the port is taken. What is raised inside passes only where this process is alone.
    """
    if launch.world == 1:
        yield None
        return
    store = meet(launch, settings.start_timeout)
    watch = Watch(store, launch, settings.silence)
    try:
        _open_groups(launch, store, settings.timeout, device_type)
        yield watch
    except BaseException as error:
        _end(watch, error)
    watch.close()
    _close_groups()


def note(text: str) -> None:
    """Says how far this rank is, for what the others are told when it goes missing."""
    if Watch.current is not None:
        Watch.current.state = text


def meet(launch: Launch, timeout: float) -> Any:
    """The store through which the ranks find each other, once all of them are there.

    Raises:
        Fault: some did not come in `timeout` seconds, which are named; or the port cannot be had.
    """
    import torch.distributed as dist

    place = f"{launch.address}:{launch.port}"
    wait = timedelta(seconds=timeout)
    try:
        opens = launch.hosts and launch.rank == 0
        own: dict[str, Any] = {"is_master": opens, "timeout": wait, "wait_for_workers": False}
        server: Any = dist.TCPStore(launch.address, launch.port, launch.world, **own)  # type: ignore[attr-defined]
        store: Any = dist.PrefixStore(f"restore/{launch.attempt}", server)  # type: ignore[attr-defined]
        store.set(f"{_MEETING}{launch.rank}", launch.host)
        store.set_timeout(wait)
    except RuntimeError as error:  # torch.distributed's errors are such
        reason = str(error).splitlines()[0][:160]
        raise Fault(
            f"rank {launch.rank} on {launch.host} cannot reach rank 0 at {place} ({reason}); "
            "if another program has that port, set MASTER_PORT"
        ) from error
    keys = [f"{_MEETING}{number}" for number in range(launch.world)]
    try:
        store.wait(keys, wait)
    except RuntimeError as error:
        raise Fault(
            f"rank {launch.rank} on {launch.host} waited at {place} in vain; {_missing(store, keys)}; "
            "look at their nodes' output, or raise dist.start_timeout"
        ) from error
    return store


def _missing(store: Any, keys: list[str]) -> str:
    """Which ranks have not come, as far as can be told."""
    try:
        missing = ", ".join(str(number) for number, key in enumerate(keys) if not store.check([key]))
    except RuntimeError:  # the store is gone with rank 0, which has told it
        return "rank 0 has given up waiting"
    return f"of {len(keys)} ranks there are missing: {missing}"


def _open_groups(launch: Launch, store: Any, timeout: float, device_type: str) -> None:
    import torch.distributed as dist

    wait = timedelta(seconds=timeout)
    backend = backend_of(device_type)
    interface.choose(launch, store)
    try:
        dist.init_process_group(backend, store=store, rank=launch.rank, world_size=launch.world, timeout=wait)
        _Here.beside = dist.new_group(backend="gloo", timeout=wait)
    except RuntimeError as error:
        raise Fault(
            f"the ranks have met, but cannot connect to each other ({str(error).splitlines()[0][:160]}); if none of "
            f"them has ended, name the network interface between the nodes in {interface.VARIABLE}, and with GPUs in "
            "NCCL_SOCKET_IFNAME too"
        ) from error
    _Here.launch = launch


def _close_groups() -> None:
    import torch.distributed as dist

    _Here.beside, _Here.launch = None, Launch()
    dist.destroy_process_group()


def _end(watch: Watch, error: BaseException) -> NoReturn:
    """Ends this process on account of an error, which is told by the rank that it began with."""
    if isinstance(error, Preempted):
        watch.close()
        _close_groups()
        _leave(error.exit_code, f"stopped: {error}" if watch.launch.rank == 0 else None)
    code = error.exit_code if isinstance(error, RestoreError) else EXIT_FAULT
    if isinstance(error, KeyboardInterrupt):  # as a terminal sends it, to all of them
        _leave(EXIT_INTERRUPTED, None)
    if isinstance(error, SystemExit):
        code, told = int(error.code or 0), None
    elif isinstance(error, RestoreError):
        told = f"error: {watch.name}: {error}"
    elif _follows(error):
        _leave(EXIT_FAULT, watch.verdict())
    else:
        told = f"{watch.name}:\n{''.join(traceback.format_exception(error))}".rstrip()
    first = watch.claim()
    if first and told:
        print(told, file=sys.stderr, flush=True)
    if first:
        watch.announce(str(error).splitlines()[0] if str(error) else type(error).__name__)
        _leave(code, None)
    _leave(code, watch.verdict())


def _follows(error: BaseException) -> bool:
    """Whether an error only says that another rank does not answer any more."""
    import torch.distributed as dist

    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error).lower())


def _leave(code: int, told: str | None) -> NoReturn:
    """Ends the process at once: its destructors would wait for ranks that are gone."""
    if told:
        print(told, file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(code)
