"""Networks through spandrel: equal to ours on the same file, trainable, and its refusals in one line."""

import sys

import pytest
import torch
from torch import nn

from restore.archs.spandrel_arch import Spandrel
from restore.archs.srvgg_arch import SRVGGNetCompact
from restore.errors import UserError
from restore.registry import ARCHS, Part


def spandrel_sizes(**demands):
    return pytest.importorskip("spandrel").SizeRequirements(**demands)


@pytest.fixture
def compact(tmp_path):
    """A published-looking file, and the network in it."""
    pytest.importorskip("spandrel", reason="spandrel is not installed")
    torch.manual_seed(0)
    network = SRVGGNetCompact(num_feat=16, num_conv=2)
    torch.save({"params": network.state_dict()}, tmp_path / "compact.pth")
    return tmp_path / "compact.pth", network


def test_equals_our_own_network(compact):
    file, ours = compact
    x = torch.rand(2, 3, 9, 7)
    theirs = ARCHS.build(Part(type="Spandrel", file=str(file)))
    assert theirs.scale == 4
    with torch.no_grad():
        assert (theirs(x) - ours(x)).abs().max() < 1e-5


def test_sizes_that_a_network_cannot_take_are_padded(compact):
    file, ours = compact
    network, x = Spandrel(str(file)), torch.rand(1, 3, 13, 11)
    network.sizes = spandrel_sizes(multiple_of=8)
    padded = torch.nn.functional.pad(x, (0, 5, 0, 3), mode="replicate")
    with torch.no_grad():
        assert (network(x) - ours(padded)[..., :52, :44]).abs().max() < 1e-5


def test_it_trains_and_its_state_returns(compact):
    file, _ = compact
    network, x = Spandrel(str(file)), torch.rand(1, 3, 8, 8)
    network(x).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    other = Spandrel(str(file))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.01)
        other.load_state_dict(network.state_dict(), strict=True)
        assert torch.equal(network(x), other(x))


def test_it_is_counted_without_disturbing_it(compact):
    with torch.device("meta"):
        network = Spandrel(str(compact[0]))
    assert sum(p.numel() for p in network.parameters()) == sum(p.numel() for p in compact[1].parameters())


def test_an_unknown_file_is_told_in_one_line(tmp_path):
    pytest.importorskip("spandrel", reason="spandrel is not installed")
    file = tmp_path / "mine.pth"
    torch.save(nn.Linear(2, 2).state_dict(), file)
    with pytest.raises(UserError, match=rf"^Spandrel: {file}: spandrel cannot load it \(UnsupportedModelError\)$"):
        Spandrel(str(file))
    with pytest.raises(UserError, match=r"none\.pth: spandrel cannot load it \(FileNotFoundError: .*\)$"):
        Spandrel(str(tmp_path / "none.pth"))


def test_a_network_for_gray_pictures_is_refused(tmp_path):
    pytest.importorskip("spandrel", reason="spandrel is not installed")
    file = tmp_path / "gray.pth"
    torch.save(SRVGGNetCompact(num_in_ch=1, num_out_ch=1, num_feat=16, num_conv=2).state_dict(), file)
    with pytest.raises(UserError, match=r"gray\.pth: RealESRGAN Compact is no network from RGB to RGB$"):
        Spandrel(str(file))


def test_without_spandrel_the_remedy_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(UserError, match=r"^Spandrel: x\.pth: spandrel is not installed; `pip install spandrel`$"):
        Spandrel("x.pth")


class Signed(nn.Module):
    """Called as CodeFormer is: from [-1, 1] to [-1, 1], with a weight; one kernel has five sides, as StyleGAN2's."""

    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.ones(1, 3, 3, 1, 1))

    def forward(self, x, weight=0.5):
        return x * weight + 0 * self.kernel.sum(), "more"


def test_face_models_are_shown_their_range_and_told_the_fidelity(tmp_path, monkeypatch):
    """In place of CodeFormer's own file, of 350 MB; its module and GFPGAN's were run by hand against the published."""
    spandrel = pytest.importorskip("spandrel", reason="spandrel is not installed")
    from types import SimpleNamespace

    from restore import load_model
    from restore.archs import spandrel_arch

    found = SimpleNamespace(
        scale=1,
        model=Signed(),
        purpose="FaceSR",
        size_requirements=spandrel.SizeRequirements(multiple_of=4),
        architecture=SimpleNamespace(id="CodeFormer", name="CodeFormer"),
        _call_fn=None,
    )
    monkeypatch.setattr(spandrel_arch, "_load", lambda file: found)
    torch.save({"params": found.model.state_dict()}, tmp_path / "face.pth")
    x = torch.rand(1, 3, 8, 8)
    for fidelity, weight in ((None, 0.5), (1.0, 1.0), (0.0, 0.0)):
        model = load_model(tmp_path / "face.pth", fidelity=fidelity, device="cpu")
        assert (model.kind, model.scale, model.size, model.faces) == ("sr", 1, 512, True)
        assert torch.allclose(model.answer(x), ((2 * x - 1) * weight + 1) / 2, atol=1e-6)
    found.architecture = SimpleNamespace(id="GFPGAN", name="GFPGAN")
    found.model.forward = lambda x, randomize_noise=True: (x * (1 - randomize_noise), "more")
    assert torch.allclose(load_model(tmp_path / "face.pth", device="cpu").answer(x), x, atol=1e-6)
