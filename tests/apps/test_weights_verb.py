"""`restore weights`: what it prints, and what a blend is."""

import re
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from restore import cli
from restore.archs.msrresnet_arch import MSRResNet
from restore.errors import UserError
from restore.pretrained import FILES
from restore.registry import LOSSES
from restore.weights import read_weights, weights_bytes
from tests.oracles import shared


def run(*arguments):
    cli._run(["weights", *map(str, arguments)])


def test_the_pages_commands_and_names_are_right():
    """docs/weights.md: its commands parse, its losses build, its table names every file."""
    page = (Path(__file__).parents[2] / "docs" / "weights.md").read_text()
    commands = [line.split("  #")[0] for line in page.splitlines() if line.startswith("restore ")]
    assert len(commands) == 4
    for command in commands:
        cli.build_parser().parse_args(command.split()[1:])
    for name, section in yaml.safe_load(re.search(r"```yaml\n(losses:.*?)```", page, re.S)[1])["losses"].items():
        LOSSES.get(section.pop("type")).schema.model_validate({k: v for k, v in section.items() if k != "weight"})
        assert name
    for file in FILES.values():
        assert file.file in page or file.name.startswith("lpips")


@pytest.fixture
def empty(monkeypatch, tmp_path):
    """No file is here, and none can be fetched."""
    monkeypatch.setenv("RESTORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RESTORE_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    return tmp_path


def test_list_shows_every_file(empty, capsys):
    run("list")
    shown = capsys.readouterr().out
    for file in FILES.values():
        assert f"{file.name}: {file.purpose}" in shown
        assert f"{file.file}, {file.size:,} bytes, {file.licence}" in shown
    assert shown.count("not here") == len(FILES)
    assert str(empty / "cache") in shown


def test_fetch_says_what_cannot_be_had(empty):
    with pytest.raises(UserError, match=r"^vgg19: vgg19-dcbb9e9d\.pth cannot be fetched"):
        run("fetch", "vgg19")
    with pytest.raises(UserError, match="did you mean `vgg19`"):
        run("fetch", "vgg_19")


def test_fetch_shows_where_a_file_is(monkeypatch, capsys):
    monkeypatch.setenv("RESTORE_WEIGHTS", str(shared("../weights")))
    run("fetch", "lpips_alex", "niqe")
    assert [line.split(": ")[0] for line in capsys.readouterr().out.splitlines()] == ["lpips_alex", "niqe"]


def test_verify_tells_a_damaged_file(empty, capsys):
    run("verify")
    assert "niqe: not here" in capsys.readouterr().out
    (empty / "niqe_pris_params.npz").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"^not verified: .*niqe_pris_params\.npz$"):
        run("verify")
    assert "ANOTHER HASH, not used" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"vgg19 is not here \(`restore weights fetch vgg19`\)"):
        run("verify", "vgg19")


def test_verify_of_real_files(monkeypatch, capsys, empty):
    monkeypatch.setenv("RESTORE_WEIGHTS", str(shared("../weights")))
    run("verify", "niqe", "vgg_normalised", "lpips_vgg")
    assert capsys.readouterr().out.count(": verified") == 3


@pytest.mark.parametrize("share", [0, 0.3, 1])
def test_blend_of_the_real_pair(tmp_path, share):
    """Real-ESRGAN's general-x4v3 and its noise-keeping partner; its `-dn` is this sum, tensor by tensor."""
    one, other = (shared(f"../weights/sr/realesr-general-{name}_from_fp16.pth") for name in ("x4v3", "wdn-x4v3"))
    run("blend", one, other, "--share", share, "-o", tmp_path / "out.safetensors")
    mixed = load_file(tmp_path / "out.safetensors")
    first, second = (torch.load(path, map_location="cpu", weights_only=True) for path in (one, other))
    first, second = (state.get("params", state) for state in (first, second))
    assert mixed.keys() == first.keys()
    for name, value in mixed.items():
        assert value.dtype == torch.float32
        expected = share * first[name].double() + (1 - share) * second[name].double()
        torch.testing.assert_close(value.double(), expected, rtol=1e-7, atol=1e-9)
    assert any(not torch.equal(first[name], second[name]) for name in first)
    assert read_weights(tmp_path / "out.safetensors").facts["blend"]["share"] == share


def test_a_blend_of_our_own_knows_its_network(tmp_path):
    facts = {"arch": {"type": "MSRResNet", "num_feat": 4, "num_block": 1}, "scale": 4, "iter": 7}
    for name in "ab":
        (tmp_path / f"{name}.safetensors").write_bytes(weights_bytes(MSRResNet(num_feat=4, num_block=1), facts))
    run("blend", tmp_path / "a.safetensors", tmp_path / "b.safetensors", "-o", tmp_path / "out.safetensors")
    mixed = read_weights(tmp_path / "out.safetensors").facts
    expected = {"share": 0.5, "of": ["a.safetensors", "b.safetensors"]}
    assert mixed == {"arch": facts["arch"], "scale": 4, "blend": expected}


def test_two_networks_of_the_same_tensors_are_not_blended(tmp_path):
    for name in ("MSRResNet", "Another"):
        content = weights_bytes(MSRResNet(num_feat=4, num_block=1), {"arch": {"type": name}})
        (tmp_path / f"{name}.safetensors").write_bytes(content)
    paths = [tmp_path / f"{name}.safetensors" for name in ("MSRResNet", "Another")]
    with pytest.raises(UserError, match=r"cannot be blended: .*'MSRResNet'.* and .*'Another'.* are two networks$"):
        run("blend", *paths, "-o", tmp_path / "out.safetensors")


def test_blend_lists_what_differs(tmp_path):
    one, other = MSRResNet(num_feat=4, num_block=1, upscale=2), MSRResNet(num_feat=4, num_block=1, upscale=4)
    state = one.state_dict()
    state["conv_first.bias"] = torch.zeros(5)
    state["extra"] = torch.zeros(1)
    torch.save(state, tmp_path / "a.pth")
    torch.save(other.state_dict(), tmp_path / "b.pth")
    told = (
        r"cannot be blended: 1 in the first only \(extra\); 2 in the second only \(upconv2\.weight, upconv2\.bias\); "
        r"1 of two shapes \(conv_first\.bias: \[5\] and \[4\]\)$"
    )
    with pytest.raises(UserError, match=told):
        run("blend", tmp_path / "a.pth", tmp_path / "b.pth", "-o", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("share", ["-0.1", "1.5", "nan"])
def test_a_share_outside_is_refused(tmp_path, share):
    torch.save(MSRResNet(num_feat=4, num_block=1).state_dict(), tmp_path / "a.pth")
    with pytest.raises(UserError, match="has to be between 0 and 1"):
        run("blend", tmp_path / "a.pth", tmp_path / "a.pth", f"--share={share}", "-o", tmp_path / "o.safetensors")


def test_the_result_is_safetensors(tmp_path):
    with pytest.raises(UserError, match=r"out\.pth: the result is a safetensors file"):
        run("blend", tmp_path / "a.pth", tmp_path / "a.pth", "-o", tmp_path / "out.pth")
