"""The network interface that gloo is told to use; on real nodes see test_two_nodes.py."""

import os
import sys

import pytest

from restore.distributed import Launch, interface

ACROSS = Launch(rank=1, world=2, local_world=1, by="srun", address="127.0.0.1")


class Store(dict):
    """What `choose` asks of the ranks' store."""

    def set(self, key: str, value: str) -> None:
        self[key] = value.encode()

    def multi_get(self, keys: list[str]) -> list[bytes]:
        return [self[key] for key in keys]


@pytest.fixture(autouse=True)
def _unset(monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "")  # so that it is put back
    monkeypatch.delenv("GLOO_SOCKET_IFNAME")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux is asked for its interfaces")
def test_the_interface_that_leads_to_an_address():
    assert interface._name(interface._source("localhost")) == "lo"
    assert interface._name("203.0.113.7") is None


def test_the_loopback_interface_is_never_chosen():
    interface.choose(ACROSS, Store({"at/0": b"127.0.0.1"}))
    assert "GLOO_SOCKET_IFNAME" not in os.environ


def test_on_one_node_nothing_is_chosen():
    interface.choose(Launch(world=2, local_world=2), None)


def test_what_the_user_says_stays(monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth7")
    interface.choose(ACROSS, None)
    assert os.environ["GLOO_SOCKET_IFNAME"] == "eth7"
