"""A thread on every rank that tells the others it lives, and notices when one of them does not."""

import contextlib
import os
import sys
import threading
import time
from datetime import timedelta
from typing import Any, ClassVar, Protocol

from restore.distributed.launch import Launch
from restore.errors import EXIT_FAULT

_PERIOD = 1.0  # seconds between beats
_SUSPECT = 6.0  # seconds of silence that count once a connection broke
_GRACE = 3.0  # seconds for the main thread to end by itself, before it is ended


class Requests(Protocol):
    """Who is told that a rank was asked to stop."""

    received: str | None


class Watch:
    """Beats, failures and requests to stop, exchanged through a store beside the collectives.

    Each rank beats once a second. Rank 0 listens to all, the others to rank 0 alone, so that the traffic grows with the
    number of ranks and not with its square. A rank that is silent for `silence` seconds is given up, and the job ends:
    a collective would wait for it for ever, or for as long as its time-out.

    Args:
        store: from `meet`.
        silence: seconds.
    """

    current: ClassVar["Watch | None"] = None

    def __init__(self, store: Any, launch: Launch, silence: float) -> None:
        self.store, self.launch, self.silence = store.clone() if hasattr(store, "clone") else store, launch, silence
        self.state = "starting"
        self.keeper = f"rank 0 at {launch.address}" if launch.hosts else f"torchrun at {launch.address}"  # of the store
        self.requests: Requests | None = None  # of this rank, for as long as it trains
        self.over: str | None = None  # why the job ends, once that is known
        self._heard: dict[int, tuple[bytes, float]] = {}  # each rank's last beat, and when it was another
        self._beats = 0
        self._closed = threading.Event()
        self._known = threading.Event()
        self._answered = time.monotonic()  # when the store last did
        self._suspicious = False
        Watch.current = self
        for loop in (self._talk, self._guard):
            threading.Thread(target=loop, name=f"restore{loop.__name__}", daemon=True).start()

    @property
    def name(self) -> str:
        """This rank, as messages call it."""
        return f"rank {self.launch.rank} on {self.launch.host}"

    def close(self) -> None:
        """From now on nobody listens to this rank, nor it to others. The one that keeps the store goes last."""
        self._closed.set()
        Watch.current = None
        self._set(f"left/{self.launch.rank}", "")
        if self.launch.hosts and self.launch.rank == 0:
            with contextlib.suppress(RuntimeError):
                keys = [f"left/{number}" for number in range(self.launch.world)]
                self.store.wait(keys, timedelta(seconds=_SUSPECT))

    # -- failures

    def claim(self) -> bool:
        """Whether this rank's failure is the first, which is the one to be told."""
        mine = str(self.launch.rank)
        try:
            return bool(self.store.compare_set("failing", "", mine).decode() == mine)
        except RuntimeError:  # the store is gone with rank 0
            return True

    def announce(self, reason: str) -> None:
        """Lets the other ranks know that this one has failed, and told why."""
        self.over = reason
        self._set("failed", f"{self.name} failed: {reason}")
        time.sleep(2 * _PERIOD if self.launch.hosts and self.launch.rank == 0 else 0)  # the store goes with rank 0

    def verdict(self) -> str | None:
        """Waits until it is known why a collective broke. What to tell of it, on the rank that tells."""
        self._suspicious = True
        self._known.wait(timeout=_SUSPECT + 5 * _PERIOD)
        reason = self.over or f"the ranks lost touch while {self.name} was at {self.state}"
        return self._line(reason)

    def _line(self, reason: str) -> str | None:
        stands_in = self.launch.rank == 1 or self.launch.local_rank == 0  # where rank 0 cannot
        tells = self.launch.rank == 0 or (stands_in and ("rank 0 " in reason or self.keeper in reason))
        told_why = " failed: " in reason  # and so what to do, by the rank that failed
        go_on = "" if told_why else "; start it again, a training with --auto_resume"
        return f"error: {self.name} ends with the job: {reason}{go_on}" if tells else None

    # -- the threads

    def _guard(self) -> None:
        """Ends this process when the store stops answering, for which the other thread may wait without end."""
        while not self._closed.wait(_PERIOD):
            silent = time.monotonic() - self._answered
            if silent > (_SUSPECT if self._suspicious else self.silence):
                self._end(f"{self.keeper} has not answered for {silent:.0f} s")

    def _talk(self) -> None:
        while not self._closed.wait(_PERIOD):
            try:
                self._beat()
                reason = self._failure() or self._silent()
                self._answered = time.monotonic()
            except RuntimeError as error:
                first = str(error).splitlines()[0][:120]
                reason = f"{self.keeper} cannot be reached any more ({first})"
            if reason and not self._closed.is_set():
                self._set("failed", reason)
                self._end(reason)

    def _beat(self) -> None:
        self._beats += 1
        self.store.set(f"beat/{self.launch.rank}", f"{self._beats} {self.launch.host}, {self.state}")
        asked = self.requests
        if asked is None:
            return
        if asked.received:
            self.store.set("stop", asked.received)
        elif self.store.check(["stop"]):
            asked.received = self.store.get("stop").decode()

    def _failure(self) -> str | None:
        return self.store.get("failed").decode() if self.store.check(["failed"]) else None

    def _silent(self) -> str | None:
        """Which rank has not been heard of for too long."""
        now, limit = time.monotonic(), _SUSPECT if self._suspicious else self.silence
        listened_to = range(1, self.launch.world) if self.launch.rank == 0 else [0]
        for number in listened_to:
            key = f"beat/{number}"
            beat = self.store.get(key) if self.store.check([key]) else b"0 an unknown host, before its first step"
            before, since = self._heard.get(number, (b"", now))
            if beat != before:
                self._heard[number] = (beat, now)
            elif now - since > limit and not self.store.check([f"left/{number}"]):
                told = beat.decode().partition(" ")[2]
                return f"rank {number} was last heard of {now - since:.0f} s ago ({told}): killed, or its node lost"
        return None

    def _end(self, reason: str) -> None:
        self.over = reason
        self._known.set()
        time.sleep(_GRACE)  # the main thread may be at ending itself
        if line := self._line(reason):
            print(line, file=sys.stderr, flush=True)
        os._exit(EXIT_FAULT)

    def _set(self, key: str, value: str) -> None:
        try:
            self.store.set(key, value)
        except RuntimeError:  # the store is gone with rank 0
            self._suspicious = True
