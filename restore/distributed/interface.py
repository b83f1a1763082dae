"""Through which network interface the nodes of a job reach each other."""

import ipaddress
import os
import socket
import struct
import sys
from typing import Any

from restore.distributed.launch import Launch

VARIABLE = "GLOO_SOCKET_IFNAME"
_SIOCGIFADDR = 0x8915  # from Linux's sockios.h


def choose(launch: Launch, store: Any) -> None:
    """Tells gloo the interface that leads to the other nodes, unless the user has.

    By itself gloo takes the address that this node's name has, which on Debian is 127.0.1.1: nobody else gets there.
    NCCL needs no help, but what travels beside the gradients uses gloo with GPUs too.
    """
    if launch.local_world == launch.world or VARIABLE in os.environ or sys.platform != "linux":
        return
    own = _source(launch.address)
    store.set(f"at/{launch.rank}", own)
    if _loops(own):  # the node of rank 0, whose name has such an address
        others = store.multi_get([f"at/{number}" for number in range(launch.world)])
        outside = [address for other in others if not _loops(address := other.decode())]
        own = _source(outside[0]) if outside else own
    name = _name(own)
    if name is not None and not _loops(own):
        os.environ[VARIABLE] = name


def _source(host: str) -> str:
    """The address that this node sends from to a host. Nothing is sent."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as way:
        way.connect(address)
        source: str = way.getsockname()[0]
        return source


def _loops(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def _name(address: str) -> str | None:
    """The interface that has an IPv4 address."""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(asked, _SIOCGIFADDR, struct.pack("256s", name.encode()))
            except OSError:  # it has none
                continue
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    return None
