"""Exported files answer as the model does, say what they are, and do not exist when they do not."""

import contextlib
import hashlib
import io
import re
import signal
import sys

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from restore import cli
from restore.apps import export_onnx, export_weights
from restore.apps.export_int8 import HELD_OUT, SCORED, faces
from restore.apps.export_source import read_source
from restore.archs.context_encoder_arch import ContextEncoder
from restore.archs.denoising_unet_arch import DenoisingUNet
from restore.archs.ffc_arch import FFCGenerator
from restore.archs.gansformer_arch import GANsformer
from restore.archs.rrdbnet_arch import RRDBNet
from restore.archs.safmn_arch import SAFMN, SAFMN_NTIRE2023
from restore.archs.srvgg_arch import SRVGGNetCompact
from restore.archs.unet_arch import UNet
from restore.errors import Fault, UserError
from restore.inference.model import load_model
from restore.keyed import draws
from restore.weights import read_facts, read_weights, weights_bytes
from tests.oracles import basicsr

SR = {"num_feat": 8, "num_conv": 2, "upscale": 2}
HOLES = {"num_feat": 4, "num_level": 1, "norm": "none"}
INPAINTING = {"type": "Inpainting", "show_hole": False}


def export(*arguments):
    """Calls `restore export`; gives what it printed."""
    args = cli.build_parser().parse_args(["export", *map(str, arguments)])
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        args.run(args)
    return printed.getvalue()


def runtime(path):
    """An independent call of ONNX Runtime."""
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    return lambda *arrays: session.run(["restored"], dict(zip(names, arrays, strict=True)))[0]


def onnx_of(path):
    return pytest.importorskip("onnx").load(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Weights files of two small networks, for enlarging and for holes."""
    root = tmp_path_factory.mktemp("export")
    torch.manual_seed(0)
    facts = {"arch": {"type": "SRVGGNetCompact", **SR}, "scale": 2, "size": 64, "title": "small"}
    (root / "sr.safetensors").write_bytes(weights_bytes(SRVGGNetCompact(**SR), facts))
    facts = {"arch": {"type": "UNet", **HOLES}, "scale": 1, "task": INPAINTING, "size": 64}
    (root / "holes.safetensors").write_bytes(weights_bytes(UNet(**HOLES), facts))
    return root


@pytest.fixture(scope="module")
def sr_onnx(folder):
    pytest.importorskip("onnxscript", reason="no onnxscript; pip install 'restore-faces[export]'")
    return folder / "sr.onnx", export(folder / "sr.safetensors", folder / "sr.onnx")


@pytest.fixture(scope="module")
def holes_onnx(folder):
    pytest.importorskip("onnxscript", reason="no onnxscript; pip install 'restore-faces[export]'")
    export(folder / "holes.safetensors", folder / "holes.onnx", "--opset", 20)
    return folder / "holes.onnx"


def inputs(number, *masked):
    random = draws("test export", number)
    batch, height, width = int(random.integers(1, 4)), *(int(random.integers(5, 60)) for _ in range(2))
    lq = random.random((batch, 3, height, width), np.float32)
    mask = (random.random((batch, 1, height, width)) < 0.3).astype(np.float32)
    return lq, mask


@pytest.mark.parametrize("number", range(4))
def test_onnx_enlarges_as_the_model_does(folder, sr_onnx, number):
    lq, _ = inputs(number)
    wanted = load_model(folder / "sr.safetensors", device="cpu").answer(torch.from_numpy(lq)).clamp(0, 1).numpy()
    found = runtime(sr_onnx[0])(lq)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() < 1e-4


@pytest.mark.parametrize("number", range(4))
def test_onnx_fills_holes_as_the_model_does_and_touches_nothing_else(folder, holes_onnx, number):
    lq, mask = inputs(number)
    call = runtime(holes_onnx)
    found = call(lq, mask)
    hole = np.broadcast_to(mask > 0, lq.shape)
    answer = load_model(folder / "holes.safetensors", device="cpu").answer(torch.from_numpy(lq), torch.from_numpy(mask))
    assert np.abs(found - answer.clamp(0, 1).numpy())[hole].max() < 1e-4
    assert np.array_equal(found[~hole], lq[~hole])
    assert np.array_equal(call(np.where(hole, np.float32(0.7), lq), mask), found)  # what stands in the hole is not seen


def test_onnx_says_what_it_is(folder, sr_onnx, holes_onnx):
    path, told = sr_onnx
    model = onnx_of(path)
    pytest.importorskip("onnx").checker.check_model(model)
    facts = {each.key: each.value for each in model.metadata_props}
    assert facts["source_sha256"] == hashlib.sha256((folder / "sr.safetensors").read_bytes()).hexdigest()
    assert {key: facts[key] for key in ("kind", "scale", "arch", "title", "size")} == {
        "kind": "sr",
        "scale": "2",
        "arch": "SRVGGNetCompact",
        "title": "small",
        "size": "64",
    }
    sides = [[dim.dim_param for dim in each.type.tensor_type.shape.dim] for each in model.graph.input]
    assert sides == [["batch", "", "height", "width"]]
    assert [entry.version for entry in model.opset_import if not entry.domain] == [18]
    assert [entry.version for entry in onnx_of(holes_onnx).opset_import if not entry.domain] == [20]
    assert "opset 18" in told
    assert re.search(r"on \d+ threads: ONNX Runtime [\d.]+ ms, PyTorch [\d.]+ ms", told)


def test_half_computes_with_16_bits_between_pictures_of_32(folder, sr_onnx):
    export(folder / "sr.safetensors", folder / "half.onnx", "--half")
    model = onnx_of(folder / "half.onnx")
    kinds = {each.data_type for each in model.graph.initializer if len(each.dims) == 4}
    assert kinds == {10}  # TensorProto.FLOAT16
    lq, _ = inputs(9)
    difference = np.abs(runtime(folder / "half.onnx")(lq) - runtime(sr_onnx[0])(lq)).max()
    assert 0 < difference < 1e-2


@pytest.mark.parametrize("calibrated", ["faces", "folder"])
def test_int8_tells_its_loss(folder, sr_onnx, monkeypatch, tmp_path, calibrated):
    monkeypatch.setattr(export_onnx, "_save", lambda network, path, *_: path.write_bytes(sr_onnx[0].read_bytes()))
    more = ["--calibrate", pictures_in(tmp_path)] if calibrated == "folder" else []
    told = export(folder / "sr.safetensors", tmp_path / "int8.onnx", "--int8", *more)
    assert "QuantizeLinear" in {node.op_type for node in onnx_of(tmp_path / "int8.onnx").graph.node}
    figures = {}
    for name, path in (("full", sr_onnx[0]), ("int8", tmp_path / "int8.onnx")):
        call, scores = runtime(path), []
        for (lq,), gt in faces(read_source(str(folder / "sr.safetensors")), HELD_OUT, None, SCORED):
            levels = [np.rint(each * 255).astype(np.uint8) for each in (gt.numpy(), call(lq.numpy()))]
            scores.append(peak_signal_noise_ratio(*levels))
        figures[name] = np.mean(scores)
    printed = [float(number) for number in re.search(r"loses (\S+) dB of PSNR \((\S+) to (\S+)\)", told).groups()]
    assert printed == pytest.approx([figures["full"] - figures["int8"], *figures.values()], abs=0.002)
    assert figures["full"] != figures["int8"]


def pictures_in(folder):
    import cv2

    for number in range(2):
        cv2.imwrite(str(folder / f"{number}.png"), draws("pictures", number).integers(0, 255, (40, 50, 3), np.uint8))
    return folder


@pytest.mark.parametrize("name", ["sr", "holes"])
def test_torch_export_loads_and_answers_alike(folder, tmp_path, name):
    export(folder / f"{name}.safetensors", tmp_path / "x.pt2")
    call = torch.export.load(tmp_path / "x.pt2").module()
    model = load_model(folder / f"{name}.safetensors", device="cpu")
    for number in range(4):
        lq, mask = map(torch.from_numpy, inputs(number))
        wanted = model.answer(lq, mask if name == "holes" else None).clamp(0, 1)
        wanted = torch.where(mask > 0, wanted, lq) if name == "holes" else wanted
        found = call(lq, mask) if name == "holes" else call(lq)
        assert (found - wanted).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("module", "name", "options"),
    [
        ("srvgg_arch", "SRVGGNetCompact", SR),
        ("rrdbnet_arch", "RRDBNet", {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 4, "num_block": 1, "num_grow_ch": 4}),
        ("srresnet_arch", "MSRResNet", {"num_feat": 4, "num_block": 1}),
        ("edsr_arch", "EDSR", {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 4, "num_block": 1}),
    ],
)
def test_pth_loads_in_basicsrs_own_class(tmp_path, module, name, options):
    theirs = getattr(basicsr(f"archs.{module}"), name)(**options).eval()
    from restore.registry import ARCHS

    network = ARCHS.get(name).build(**options).eval()
    facts = {"arch": {"type": name, **options}, "scale": options.get("upscale", 4)}
    (tmp_path / "x.safetensors").write_bytes(weights_bytes(network, facts))
    told = export(tmp_path / "x.safetensors", tmp_path / "x.pth", "--param_key", "params_ema")
    assert f"BasicSR's {name} loads it" in told
    saved = torch.load(tmp_path / "x.pth", weights_only=True)
    theirs.load_state_dict(saved["params_ema"], strict=True)
    lq = torch.rand(1, 3, 12, 12)
    assert (theirs(lq) - network(lq)).abs().max() < 1e-5


def test_pth_is_read_back_bit_for_bit_and_says_when_basicsr_has_no_such_network(folder, tmp_path):
    assert "BasicSR has no UNet" in export(folder / "holes.safetensors", tmp_path / "x.pth")
    before, after = (read_weights(path).tensors for path in (folder / "holes.safetensors", tmp_path / "x.pth"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_safetensors_are_equal_or_half_and_say_what_they_are_told(folder, tmp_path):
    source = folder / "sr.safetensors"
    export(source, tmp_path / "same.safetensors")
    before, after = (read_weights(path).tensors for path in (source, tmp_path / "same.safetensors"))
    assert all(torch.equal(before[name], after[name]) for name in before)
    facts = "{title: Faces x2, faces: true, licence: CC0}"
    export(source, tmp_path / "half.safetensors", "--half", "--facts", facts)
    halves = read_weights(tmp_path / "half.safetensors").tensors
    assert all(torch.equal(before[name].half(), halves[name]) for name in before)
    told = read_facts(source) | {"title": "Faces x2", "faces": True, "licence": "CC0"}
    assert read_facts(tmp_path / "half.safetensors") == told
    assert load_model(tmp_path / "half.safetensors", device="cpu").faces


def test_a_file_that_answers_otherwise_is_not_written(folder, sr_onnx, tmp_path, monkeypatch):
    right = export_onnx.OnnxNetwork
    monkeypatch.setattr(export_onnx, "_save", lambda network, path, *_: path.write_bytes(sr_onnx[0].read_bytes()))
    monkeypatch.setattr(export_onnx, "OnnxNetwork", lambda path: lambda lq: right(path)(lq) + 2e-4)
    with pytest.raises(Fault, match=r"x.onnx: differs from PyTorch by 0.0002 on .*; nothing was written"):
        export(folder / "sr.safetensors", tmp_path / "x.onnx")
    monkeypatch.setattr(export_weights, "_halved", lambda name, tensor: tensor.half() + 1)
    with pytest.raises(Fault, match=r"x.safetensors: differs"):
        export(folder / "sr.safetensors", tmp_path / "x.safetensors", "--half")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["x.onxx"], "did you mean `.onnx`"),
        (["x"], "one of .onnx .pt2 .safetensors .pth"),
        (["x.pth", "--half"], "--half is for .onnx and .safetensors, not for .pth"),
        (["x.onnx", "--facts", "{a: 1}"], "--facts is for .safetensors"),
        (["x.onnx", "--half", "--int8"], "choose one"),
        (["x.onnx", "--calibrate", "."], "--calibrate is for --int8"),
        (["x.onnx", "--opset", "7"], "--opset 7: PyTorch writes 18 to 23"),
        (["x.safetensors", "--facts", "faces"], "write it as"),
        (["x.safetensors", "--facts", "{faces: some}"], "--facts: faces: Input should be a valid boolean"),
        (["x.safetensors", "--network_g", "{type: EDSR}"], "does not fit EDSR"),
        (["sr.safetensors"], "is there already; --overwrite"),
        (["sr.safetensors", "--overwrite"], "is the model itself"),
    ],
)
def test_mistakes_are_told(folder, monkeypatch, arguments, told):
    monkeypatch.chdir(folder)
    before = sorted(folder.iterdir())
    with pytest.raises(UserError) as error:
        export("sr.safetensors", *arguments)
    assert told in str(error.value)
    assert sorted(folder.iterdir()) == before


def test_nothing_is_left_where_sigterm_ends_it(folder, tmp_path, monkeypatch):
    def end(source, path, half):
        path.write_bytes(b"half")
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(export_weights, "write_safetensors", end)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        export(folder / "sr.safetensors", tmp_path / "x.safetensors")
    assert ended.value.code == 143
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_diffusion_and_a_missing_package_are_told(folder, tmp_path, monkeypatch):
    options = {"block_out_channels": [8, 8], "attention_levels": [], "norm_num_groups": 4}
    facts = {"arch": {"type": "DenoisingUNet", **options}, "task": {"type": "Diffusion"}, "size": 32}
    (tmp_path / "d.safetensors").write_bytes(weights_bytes(DenoisingUNet(**options), facts))
    with pytest.raises(UserError, match="a diffusion asks its network many times"):
        export(tmp_path / "d.safetensors", tmp_path / "d.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"restore-faces\[export\]"):
        export(folder / "sr.safetensors", tmp_path / "x.onnx")


NETWORKS = {
    "SAFMN": lambda: SAFMN(dim=8, n_blocks=1),
    "SAFMN_NTIRE2023": lambda: SAFMN_NTIRE2023(dim=8, n_blocks=1),
    "RRDBNet": lambda: RRDBNet(num_feat=4, num_block=1, num_grow_ch=4, scale=1),
    "UNet": lambda: UNet(num_feat=4, num_level=2),
    "UNet attention": lambda: UNet(num_feat=4, num_level=2, attention=True),
    "ContextEncoder": lambda: ContextEncoder(num_feat=4, num_level=2, num_bottleneck=8),
    "FFCGenerator": lambda: FFCGenerator(num_feat=8, num_block=1, num_down=2),
    "GANsformer": lambda: GANsformer(num_feat=4, num_level=2, num_latent=2, latent_dim=8, num_mapping=1),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_what_networks_compute_for_exports_is_what_they_compute(name, monkeypatch):
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    if name == "UNet attention":
        torch.nn.init.ones_(network.attention.gain)
    shown = [list(map(torch.from_numpy, inputs(number))) for number in range(3)] + [[torch.rand(1, 3, 16, 16)] * 2]
    shown = [(lq, mask[:, :1]) if "mask" in network.forward.__code__.co_varnames else (lq,) for lq, mask in shown]
    with torch.inference_mode():
        plain = [network(*each) for each in shown]
        monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
        exported = [network(*each) for each in shown]
    for one, other in zip(plain, exported, strict=True):
        if name == "UNet attention":  # another order of sums
            assert (one - other).abs().max() < 1e-6
        else:
            assert torch.equal(one, other)
