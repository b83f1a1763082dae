"""Weights files: ours rebuild their network, BasicSR's load, and nothing in them is executed."""

import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from restore.archs.edsr_arch import EDSR
from restore.archs.msrresnet_arch import MSRResNet
from restore.errors import UserError
from restore.registry import ARCHS, Part
from restore.weights import load_weights, read_weights, weights_bytes
from tests.lab import last


def network(**options):
    return MSRResNet(**{"num_feat": 4, "num_block": 1, "upscale": 2} | options)


def equal(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_checkpoints_weights_rebuild_their_network(lab):
    checkpoint = last(lab.train("train.total_iter=4"))
    for name in ("network_g", "network_g_ema"):
        weights = read_weights(checkpoint.weights(name))
        built = ARCHS.build(Part(**weights.facts["arch"]))
        load_weights(built, checkpoint.weights(name))
        assert built(torch.rand(1, 3, 8, 8)).shape == (1, 3, 32, 32)
        assert weights.facts["scale"] == 4
        assert weights.facts["network"] == name
        assert weights.facts["iter"] == 4


def test_saved_is_read_back(tmp_path):
    one, other = network(), network()
    (tmp_path / "a.safetensors").write_bytes(weights_bytes(one, {"x": "y"}))
    load_weights(other, tmp_path / "a.safetensors")
    assert equal(one.state_dict(), other.state_dict())
    assert read_weights(tmp_path / "a.safetensors").facts == {"x": "y"}


def test_a_file_of_others_says_nothing_of_itself(tmp_path):
    save_file(network().state_dict(), tmp_path / "a.safetensors", {"format": "pt"})
    assert read_weights(tmp_path / "a.safetensors").facts == {}


@pytest.mark.parametrize(("param_key", "expected"), [(None, 1), ("params_ema", 1), ("params", 0)])
def test_basicsrs_file_gives_the_average_first(tmp_path, param_key, expected):
    nets = [network(), network()]
    torch.save({"params": nets[0].state_dict(), "params_ema": nets[1].state_dict()}, tmp_path / "a.pth")
    target = network()
    load_weights(target, tmp_path / "a.pth", param_key)
    assert equal(target.state_dict(), nets[expected].state_dict())


def test_bare_and_distributed_files(tmp_path):
    source = network().state_dict()
    for state in (source, {f"module.{name}": value for name, value in source.items()}):
        torch.save(state, tmp_path / "a.pth")
        target = network()
        load_weights(target, tmp_path / "a.pth")
        assert equal(target.state_dict(), source)


def test_wrong_entry_names_what_there_is(tmp_path):
    torch.save({"params": network().state_dict()}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a\.pth: no entry `params_ema`; the file holds params"):
        read_weights(tmp_path / "a.pth", "params_ema")


def test_strict_lists_every_kind_of_difference(tmp_path):
    state = network().state_dict()
    state["extra"] = state.pop("conv_last.bias")
    state["conv_hr.bias"] = torch.zeros(7)
    torch.save(state, tmp_path / "a.pth")
    target = network()
    before = {name: value.clone() for name, value in target.state_dict().items()}
    told = r"1 missing \(conv_last\.bias\); 1 unexpected \(extra\); 1 of another shape \(conv_hr\.bias\)"
    with pytest.raises(UserError, match=told):
        load_weights(target, tmp_path / "a.pth")
    assert equal(before, target.state_dict())
    load_weights(target, tmp_path / "a.pth", strict=False)
    assert torch.equal(target.state_dict()["conv_first.weight"], state["conv_first.weight"])
    assert torch.equal(target.state_dict()["conv_hr.bias"], before["conv_hr.bias"])


def test_long_lists_are_cut(tmp_path):
    torch.save(network().state_dict(), tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"\d+ missing \(.*, \.\.\.\)") as caught:
        load_weights(EDSR(num_feat=8), tmp_path / "a.pth")
    assert len(str(caught.value)) < 1500


@pytest.mark.parametrize("strict", [True, False])
def test_not_one_match_is_an_error(tmp_path, strict):
    save_file({"something": torch.zeros(3)}, tmp_path / "a.safetensors")
    with pytest.raises(UserError, match="not one tensor fits|does not fit"):
        load_weights(network(), tmp_path / "a.safetensors", strict=strict)


class Malice:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"params": x}, lambda x: {"params": {"conv_first.weight": x}}])
def test_code_in_a_file_is_not_executed(tmp_path, wrap):
    torch.save(wrap(Malice(tmp_path / "executed")), tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a\.pth: not a weights file that can be read safely"):
        read_weights(tmp_path / "a.pth")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
@pytest.mark.parametrize("content", [b"", b"text", bytes(100)])
def test_broken_file_is_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=name) as caught:
        read_weights(tmp_path / name)
    assert len(str(caught.value).splitlines()) == 1


def test_file_of_something_else(tmp_path):
    for state in ([1, 2], {"epoch": 3}, {"params": 5}, torch.zeros(3)):
        torch.save(state, tmp_path / "a.pth")
        with pytest.raises(UserError, match="holds no plain table of tensors"):
            read_weights(tmp_path / "a.pth")


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="no such weights file"):
        read_weights(tmp_path / "a.pth")


def test_training_starts_from_pretrained_weights(lab):
    first = lab.train("train.total_iter=4")
    pretrained = f"path.pretrain_network_g={last(first).weights('network_g_ema')}"
    second = lab.train(pretrained, "train.total_iter=1", "train.optim_g.lr=1e-12", "train.ema_decay=0", runs="second")
    expected, got = load_file(last(first).weights("network_g_ema")), load_file(last(second).weights("network_g"))
    for name in expected:
        assert torch.allclose(expected[name], got[name], atol=1e-8), name


def test_seed_alone_decides_the_first_weights(lab):
    one, other = (lab.train("train.total_iter=1", runs=name) for name in ("one", "two"))
    third = lab.train("train.total_iter=1", "manual_seed=2", runs="three")
    weights = [load_file(last(run).weights("network_g"))["conv_first.weight"] for run in (one, other, third)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
