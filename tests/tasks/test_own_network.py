"""The network that a weights file says it is for, where it is built without an option file around it."""

import argparse

import pytest

from restore.apps.model_document import document_for
from restore.errors import UserError
from restore.inference.segment import Occluders
from restore.tasks.own_network import own_network
from restore.weights import read_facts, weights_bytes
from tests.lab import network_file

FINDER = {"type": "UNet", "mask_channel": False, "num_out_ch": 1, "num_feat": 4, "num_level": 1}
TASK = {"type": "Segmentation"}


def told_of(file, arch):
    """A file of a finder's weights that says it is for another network, as `Occluders` and `restore test` have it."""
    network = network_file(file, FINDER)
    file.write_bytes(weights_bytes(network, {"arch": arch, "task": TASK, "scale": 1, "size": 64}))
    told = []
    for opening in (lambda: Occluders(file, device="cpu"), lambda: document_for(asked(file))):
        with pytest.raises(UserError) as caught:
            opening()
        told.append(str(caught.value))
    return told


def asked(file):
    """The arguments of `restore test --model`."""
    given = {"model": str(file), "gt": "faces", "metrics": None, "crop_border": 0, "baselines": [], "name": None}
    return argparse.Namespace(**given, network_g=None, occlusion=None, mask=None, input=None, tile=None)


def test_it_is_built_with_its_weights(tmp_path):
    file = tmp_path / "net.safetensors"
    network = network_file(file, FINDER)
    own = own_network(file, read_facts(file))
    assert not own.training
    assert all((one == other).all() for one, other in zip(own.parameters(), network.parameters(), strict=True))


@pytest.mark.parametrize("more", [{"num_feat": 6000}, {"num_level": 7, "num_feat": 4000}])
def test_no_network_is_built_that_its_file_cannot_hold(tmp_path, more):
    for told in told_of(tmp_path / "net.safetensors", FINDER | more):
        assert told.endswith("it says that it is for a network far larger than the file")


def test_it_names_no_other_file(tmp_path):
    for told in told_of(tmp_path / "net.safetensors", {"type": "Spandrel", "file": "/etc/passwd"}):
        assert "network_g.file` is another file, and files may not name others" in told


@pytest.mark.parametrize(
    ("arch", "said"),
    [
        (FINDER | {"num_feat": "many"}, "UNet cannot be built: num_feat: "),
        ({"type": "UNett"}, "no `UNett` among the archs; did you mean `UNet`?"),
    ],
)
def test_settings_that_it_refuses_are_one_line(tmp_path, arch, said):
    for told in told_of(tmp_path / "net.safetensors", arch):
        assert said in told
        assert "\n" not in told


@pytest.mark.parametrize(
    "facts", [{"task": None}, {"task": TASK}, {"task": TASK, "size": 64}, {"task": TASK, "size": None}]
)
def test_a_finder_of_which_something_is_not_said_is_told(tmp_path, facts):
    file = tmp_path / "net.safetensors"
    file.write_bytes(weights_bytes(network_file(file, FINDER), facts))
    with pytest.raises(UserError, match="no model that finds|does not say which network"):
        Occluders(file, device="cpu")
