"""Weights files: ours rebuild their network, BasicSR's load, and nothing in them is executed."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from restore.archs.edsr_arch import EDSR
from restore.archs.msrresnet_arch import MSRResNet
from restore.errors import UserError
from restore.registry import ARCHS, Part
from restore.weights import load_weights, locate, read_weights, weights_bytes
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
    told = (
        r"1 missing \(conv_last\.bias\); 1 unexpected \(extra\); "
        r"1 of another shape \(conv_hr\.bias: \[7\] in the file, \[4\] here\)"
    )
    with pytest.raises(UserError, match=told):
        load_weights(target, tmp_path / "a.pth")
    assert equal(before, target.state_dict())
    load_weights(target, tmp_path / "a.pth", strict=False)
    assert torch.equal(target.state_dict()["conv_first.weight"], state["conv_first.weight"])
    assert torch.equal(target.state_dict()["conv_hr.bias"], before["conv_hr.bias"])


def test_transfer_from_another_scale_tells_what_matched(tmp_path):
    """A model of scale 2 into one of scale 4: all but the second enlargement."""
    source, target = network(), network(upscale=4)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    torch.save({"params": source.state_dict()}, tmp_path / "x2.pth")
    transfer = load_weights(target, tmp_path / "x2.pth", strict=False)
    assert transfer.missing == ("upconv2.weight", "upconv2.bias")
    assert set(transfer.matched) == set(source.state_dict())
    assert (transfer.unexpected, transfer.reshaped, transfer.complete) == ((), {}, False)
    count, total = len(transfer.matched), len(before)
    assert str(transfer) == (
        f"{tmp_path / 'x2.pth'}: {count} of {total} tensors of MSRResNet loaded; "
        "2 missing (upconv2.weight, upconv2.bias)"
    )
    after = target.state_dict()
    assert all(torch.equal(after[name], source.state_dict()[name]) for name in transfer.matched)
    assert all(torch.equal(after[name], before[name]) for name in transfer.missing)


def test_transfer_from_another_size_tells_the_shapes(tmp_path):
    """More features and fewer blocks: what has other shapes, what only the file has; only biases at the ends fit."""
    torch.save(network(num_feat=8, num_block=2).state_dict(), tmp_path / "a.pth")
    transfer = load_weights(network(), tmp_path / "a.pth", strict=False)
    assert transfer.reshaped["conv_first.weight"] == ((8, 3, 3, 3), (4, 3, 3, 3))
    assert transfer.matched == ("conv_last.bias",)
    assert {name.split(".")[1] for name in transfer.unexpected} == {"1"}
    assert "conv_first.weight: [8, 3, 3, 3] in the file, [4, 3, 3, 3] here" in str(transfer)


def test_a_whole_transfer_says_so(tmp_path):
    torch.save(network().state_dict(), tmp_path / "a.pth")
    transfer = load_weights(network(), tmp_path / "a.pth")
    assert transfer.complete
    assert str(transfer).endswith(f"{len(transfer.matched)} of {len(transfer.matched)} tensors of MSRResNet loaded")


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
    with pytest.raises(UserError, match=r"owner/name: no such weights file.* downloaded first: docs/weights\.md"):
        locate(Path("owner/name"))
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


def test_an_experiments_folder_means_its_best_checkpoint_else_its_latest(tmp_path):
    checkpoints = tmp_path / "checkpoints"
    for name in ("4", "8"):
        (checkpoints / name).mkdir(parents=True)
        (checkpoints / name / "network_g.safetensors").touch()
    (checkpoints / "latest").write_text("8\n")
    assert locate(tmp_path).parent.name == "8"
    (checkpoints / "best").write_text("4\n")
    assert locate(tmp_path).parent.name == "4"
