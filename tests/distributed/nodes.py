"""Two nodes on one machine: network namespaces with an address, a name and a cable between them."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_ETC = Path("/etc/netns")  # what `ip netns exec` shows a namespace in place of /etc
_NAMED = 'echo "$0" > /proc/sys/kernel/hostname && exec "$@"'


@dataclass(frozen=True)
class Node:
    """One of the two."""

    number: int  # from 1
    namespace: str

    @property
    def name(self) -> str:
        """What the node calls itself; as on Debian, its own name has the address 127.0.1.1, to itself alone."""
        return f"node-{self.number}"

    @property
    def address(self) -> str:
        return f"10.77.0.{self.number}"

    @property
    def cable(self) -> str:
        """The node's end of it."""
        return f"veth{self.number}"

    def command(self) -> tuple[str, ...]:
        """What a command starts with that is to run on this node."""
        return ("ip", "netns", "exec", self.namespace, "unshare", "--uts", "sh", "-c", _NAMED, self.name)

    def ip(self, *arguments: str) -> None:
        """Runs `ip` on this node."""
        _run("ip", "-n", self.namespace, *arguments)

    @contextlib.contextmanager
    def cut_off(self) -> Iterator[None]:
        """No packet comes or goes, and nobody is told so."""
        self.ip("link", "set", self.cable, "down")
        try:
            yield
        finally:
            self.ip("link", "set", self.cable, "up")

    def make(self, other: "Node") -> None:
        """Makes the node, without its cable."""
        folder = _ETC / self.namespace
        folder.mkdir(parents=True)
        hosts = f"127.0.0.1 localhost\n127.0.1.1 {self.name}\n{other.address} {other.name}\n"
        (folder / "hosts").write_text(hosts)
        _run("ip", "netns", "add", self.namespace)
        self.ip("link", "set", "lo", "up")

    def remove(self) -> None:
        """Ends what runs on the node, and removes it with its end of the cable."""
        found = subprocess.run(["ip", "netns", "pids", self.namespace], capture_output=True, text=True, check=False)
        for pid in map(int, found.stdout.split()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        subprocess.run(["ip", "netns", "del", self.namespace], capture_output=True, check=False)
        shutil.rmtree(_ETC / self.namespace, ignore_errors=True)
        with contextlib.suppress(OSError):  # another session's
            _ETC.rmdir()


@contextlib.contextmanager
def two_nodes() -> Iterator[tuple[Node, Node]]:
    """The nodes, connected. Skips where they cannot be had."""
    if lacking := [program for program in ("ip", "unshare") if shutil.which(program) is None]:
        pytest.skip(f"no {', '.join(lacking)}: apt-get install iproute2 util-linux")
    if os.geteuid() != 0:
        pytest.skip("network namespaces are made as root")
    one, two = (Node(number, f"restore{os.getpid()}-{number}") for number in (1, 2))
    try:
        try:
            one.make(two)
            two.make(one)
            ends = ("dev", one.cable, "netns", one.namespace), (two.cable, "netns", two.namespace)
            _run("ip", "link", "add", *ends[0], "type", "veth", "peer", "name", *ends[1])
            for node in (one, two):
                node.ip("addr", "add", f"{node.address}/24", "dev", node.cable)
                node.ip("link", "set", node.cable, "up")
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network namespaces here: {getattr(error, 'stderr', None) or error}")
        yield one, two
    finally:
        one.remove()
        two.remove()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
