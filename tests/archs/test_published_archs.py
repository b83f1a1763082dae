"""SRVGGNetCompact, RRDBNet, SAFMN, RCAN: beside the classes that their published weights were made with."""

import re

import pytest
import torch

from restore.archs.rcan_arch import RCAN
from restore.archs.rrdbnet_arch import RRDBNet
from restore.archs.safmn_arch import SAFMN, SAFMN_NTIRE2023
from restore.archs.srvgg_arch import SRVGGNetCompact
from restore.weights import load_weights
from tests.oracles import basicsr, shared


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def assert_equal_outputs(ours, theirs, x, tolerance=1e-5):
    with torch.no_grad():
        assert (ours.eval()(x) - theirs.eval()(x)).abs().max() < tolerance


@pytest.mark.parametrize(("network", "count"), [
    (SRVGGNetCompact(), 621_424),  # realesr-animevideov3.pth in the shared weights
    (SRVGGNetCompact(num_conv=32), 1_213_296),  # realesr-general-x4v3, there too
    (RRDBNet(), 16_697_987),  # 16.70 M in papers that compare with ESRGAN
    (SAFMN(), 239_520),  # 240 K in the paper
    (SAFMN_NTIRE2023(), 237_000),  # the tensors of safmn_x4.pth in the shared weights
    (RCAN(), 15_592_355),  # 15.59 M in papers that compare with RCAN
], ids=lambda value: type(value).__name__)  # fmt: skip
def test_parameter_counts(network, count):
    assert parameters(network) == count


@pytest.mark.parametrize("act_type", ["prelu", "relu", "leakyrelu"])
@pytest.mark.parametrize("upscale", [1, 2, 3, 4])
def test_srvgg_equals_basicsr(upscale, act_type):
    torch.manual_seed(0)
    args = {"num_feat": 16, "num_conv": 3, "upscale": upscale, "act_type": act_type}
    theirs, ours = basicsr("archs.srvgg_arch").SRVGGNetCompact(3, 3, **args), SRVGGNetCompact(**args)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    assert_equal_outputs(ours, theirs, torch.rand(2, 3, 11, 9))


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_rrdbnet_equals_basicsr(scale):
    torch.manual_seed(0)
    args = {"scale": scale, "num_feat": 16, "num_block": 2, "num_grow_ch": 8}
    theirs, ours = basicsr("archs.rrdbnet_arch").RRDBNet(3, 3, **args), RRDBNet(**args)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    assert_equal_outputs(ours, theirs, torch.rand(2, 3, 16, 12))


@pytest.mark.parametrize("scale", [1, 2])
def test_rrdbnet_at_odd_sizes_continues_the_edge(scale):
    torch.manual_seed(0)
    network = RRDBNet(scale=scale, num_feat=8, num_block=1, num_grow_ch=4).eval()
    x = torch.rand(1, 3, 13, 11)
    fold = 4 // scale
    padded = torch.nn.functional.pad(x, (0, -11 % fold, 0, -13 % fold), mode="replicate")
    with torch.no_grad():
        assert torch.equal(network(x), network(padded)[..., : 13 * scale, : 11 * scale])


@pytest.mark.parametrize("upscale", [2, 3, 4])
def test_rcan_equals_basicsr_through_its_keys(upscale):
    torch.manual_seed(0)
    args = {"num_feat": 16, "num_group": 2, "num_block": 2, "upscale": upscale}
    theirs = basicsr("archs.rcan_arch").RCAN(3, 3, squeeze_factor=4, **args)
    ours = RCAN(reduction=4, **args)
    own = {key: tensor for key, tensor in ours.state_dict().items() if "_mean." in key}
    ours.load_state_dict(own | {_published_key(key, 2, 2): t for key, t in theirs.state_dict().items()}, strict=True)
    assert_equal_outputs(ours, theirs, torch.rand(2, 3, 11, 9))


def _published_key(key: str, groups: int, blocks: int) -> str:
    """The name in the authors' files of a tensor that BasicSR calls `key`."""
    key = re.sub(r"residual_group\.(\d+)\.rcab\.3\.attention\.", r"body.\1.body.3.conv_du.", key)
    key = re.sub(r"(conv_du)\.(\d)", lambda match: f"{match[1]}.{int(match[2]) - 1}", key)
    key = re.sub(r"residual_group\.(\d+)\.rcab\.", r"body.\1.body.", key)
    key = re.sub(r"^(body\.\d+)\.conv\.", rf"\1.body.{blocks}.", key)
    for theirs, published in (
        ("conv_first", "head.0"), ("conv_after_body", f"body.{groups}"), ("upsample", "tail.0"), ("conv_last", "tail.1")
    ):  # fmt: skip
        key = re.sub(rf"^{theirs}\.", f"{published}.", key)
    return key


def test_rcans_colour_layers_are_fixed_and_in_its_files():
    network = RCAN(num_feat=8, num_group=1, num_block=1)
    state = network.state_dict()
    assert torch.equal(state["sub_mean.weight"].view(3, 3), torch.eye(3))
    assert torch.allclose(state["add_mean.bias"], 255 * torch.tensor([0.4488, 0.4371, 0.4040]))  # EDSR-PyTorch
    assert torch.equal(state["sub_mean.bias"], -state["add_mean.bias"])
    assert not any("_mean" in name for name, _ in network.named_parameters())


def test_rcan_under_autocast_keeps_levels_that_bfloat16_has_not():
    """Between 128 and 255 it has whole numbers alone."""
    network = RCAN(num_feat=8, num_group=1, num_block=1, upscale=1)
    torch.nn.init.zeros_(network.tail[1].weight)
    torch.nn.init.constant_(network.tail[1].bias, 100.0)  # a bfloat16
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        result = network(torch.rand(1, 3, 8, 8))
    wanted = torch.tensor([0.4488, 0.4371, 0.4040]) + 100 / 255
    assert result.dtype == torch.float32
    assert (result - wanted.view(1, 3, 1, 1)).abs().max() < 1e-6


SPANDREL = [
    (SAFMN, {"dim": 16, "n_blocks": 2}, "SAFMN", {"dim": 16, "n_blocks": 2}, (1, 3, 24, 40)),
    (RCAN, {"num_feat": 16, "num_group": 2, "num_block": 2, "reduction": 4}, "RCAN",
     {"n_feats": 16, "n_resgroups": 2, "n_resblocks": 2, "reduction": 4, "scale": 4}, (1, 3, 9, 11)),
]  # fmt: skip


@pytest.mark.parametrize(("arch", "args", "name", "their_args", "size"), SPANDREL, ids=["SAFMN", "RCAN"])
def test_equals_spandrels_class(arch, args, name, their_args, size):
    architectures = pytest.importorskip("spandrel.architectures", reason="spandrel is not installed")
    module = pytest.importorskip(f"{architectures.__name__}.{name}")
    torch.manual_seed(0)
    theirs, ours = getattr(module, name)(**their_args), arch(**args)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    assert_equal_outputs(ours, theirs, torch.rand(size))


@pytest.mark.parametrize(("file", "network"), [
    ("realesr-animevideov3.pth", lambda: SRVGGNetCompact(num_conv=16)),
    ("realesr-general-x4v3_from_fp16.pth", lambda: SRVGGNetCompact(num_conv=32)),
    ("realesr-general-wdn-x4v3_from_fp16.pth", lambda: SRVGGNetCompact(num_conv=32)),
    ("safmn_x4.pth", SAFMN_NTIRE2023),
])  # fmt: skip
def test_published_weights_load_strictly_in_float32(file, network):
    loaded = network()
    load_weights(loaded, shared("..", "weights", "sr", file))
    assert {tensor.dtype for tensor in loaded.state_dict().values()} == {torch.float32}
