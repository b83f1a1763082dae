"""`load_model`, and models called with pictures of every kind."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image as pil
from torch import nn

from restore import load_model
from restore.archs.msrresnet_arch import MSRResNet
from restore.archs.unet_arch import UNet
from restore.errors import UserError
from restore.inference.model import Model, kind_of
from restore.weights import weights_bytes

SR = {"type": "MSRResNet", "num_feat": 8, "num_block": 1, "upscale": 2}
HOLE = {"type": "UNet", "num_feat": 4, "num_level": 2}


def drawn(height=37, width=52, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (height, width, 3), dtype, endpoint=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`sr.safetensors`, enlarging twice, `unmask.safetensors`, which is shown no hole, and `silent.pth`."""
    root = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    network = MSRResNet(num_feat=8, num_block=1, upscale=2)
    (root / "sr.safetensors").write_bytes(weights_bytes(network, {"arch": SR, "scale": 2, "size": 64}))
    torch.save({"params": network.state_dict()}, root / "silent.pth")
    facts = {"arch": HOLE, "scale": 1, "size": 32, "task": {"type": "Inpainting", "show_hole": False}}
    (root / "unmask.safetensors").write_bytes(weights_bytes(UNet(num_feat=4, num_level=2), facts))
    return root


@pytest.fixture(scope="module")
def sr(folder):
    return load_model(folder / "sr.safetensors", device="cpu")


@pytest.fixture(scope="module")
def unmask(folder):
    return load_model(folder / "unmask.safetensors", device="cpu")


def test_a_file_says_what_it_is_for(sr, unmask):
    assert (sr.kind, sr.scale, sr.size, sr.arch, sr.faces, sr.name) == ("sr", 2, 64, "MSRResNet", False, "sr")
    assert (unmask.kind, unmask.scale, unmask.size, unmask.faces, unmask.show_hole) == ("unmask", 1, 32, True, False)
    assert len(sr.sha256) == 64


def test_the_picture_is_that_of_the_network(sr, folder):
    """Against the network built by hand, in PyTorch alone."""
    from safetensors.torch import load_file

    network = MSRResNet(num_feat=8, num_block=1, upscale=2)
    network.load_state_dict(load_file(folder / "sr.safetensors"))
    picture = drawn()
    with torch.no_grad():
        own = network.eval()(torch.from_numpy(picture / np.float32(255)).permute(2, 0, 1)[None].float())[0]
    wanted = (own.permute(1, 2, 0).numpy().clip(0, 1) * 255).round()
    assert np.abs(sr(picture) - wanted).max() <= 1


def test_the_same_kind_comes_back(sr):
    picture = drawn()
    result = sr(picture)
    assert result.shape == (74, 104, 3)
    assert result.dtype == np.uint8
    assert np.array_equal(np.array(sr(pil.fromarray(picture))), result)
    tensor = torch.from_numpy(picture).permute(2, 0, 1) / 255
    single, several = sr(tensor), sr(torch.stack([tensor, tensor.flip(0)]))
    assert single.shape == (3, 74, 104)
    assert several.shape == (2, 3, 74, 104)
    assert torch.allclose(several[0], single, atol=1e-5)
    assert np.abs(single.permute(1, 2, 0).clamp(0, 1).numpy() * 255 - result).max() <= 0.51
    floats = sr(picture / np.float32(255))
    assert floats.dtype == np.float32
    assert np.abs(floats - single.permute(1, 2, 0).numpy()).max() < 1e-5


def test_sixteen_bits_grey_and_alpha_are_kept(sr):
    deep = sr(drawn(dtype=np.uint16))
    assert deep.dtype == np.uint16
    assert len(np.unique(deep)) > 5_000
    grey = drawn()[:, :, 0]
    assert sr(grey).shape == (74, 104)
    assert sr(grey[:, :, None]).shape == (74, 104, 1)
    alpha = np.full((37, 52, 1), 7, np.uint8)
    four = sr(np.dstack([drawn(), alpha]))
    assert four.shape == (74, 104, 4)
    assert (four[:, :, 3] == 7).all()
    for mode in ("L", "RGB", "RGBA"):
        assert sr(pil.fromarray(drawn()).convert(mode)).mode == mode
    assert sr(pil.fromarray(drawn()).convert("P")).mode == "RGB"


def test_outside_a_mask_nothing_changes(unmask):
    for dtype in (np.uint8, np.uint16):
        picture, mask = drawn(dtype=dtype), np.zeros((37, 52), np.uint8)
        mask[10:20, 5:30] = 255
        result = unmask(picture, mask)
        assert np.array_equal(result[mask == 0], picture[mask == 0])
        assert (result[mask > 0] != picture[mask > 0]).mean() > 0.9
        assert np.array_equal(unmask(picture, mask > 0), result)
        other = picture.copy()
        other[mask > 0] = 9
        assert np.array_equal(unmask(other, mask)[mask > 0], result[mask > 0])  # it is shown no hole
    tensor = torch.from_numpy(drawn()).permute(2, 0, 1) / 255
    hole = torch.from_numpy(mask > 0)[None]
    assert torch.equal(unmask(tensor, hole)[:, ~hole[0]], tensor[:, ~hole[0]])


def test_a_network_at_hand(sr):
    model = Model.of(nn.Identity(), size=64)
    assert np.array_equal(model(drawn()), drawn())
    assert model.answer(torch.rand(2, 3, 5, 6)).shape == (2, 3, 5, 6)


def test_threads_agree(sr, unmask):
    pictures = [drawn(40 + number, 30) for number in range(6)]
    mask = np.zeros((40, 30), np.uint8)
    mask[5:25, 5:25] = 255
    single = [sr(picture) for picture in pictures] + [unmask(pictures[0], mask)] * 6
    with ThreadPoolExecutor(6) as threads:
        enlarged = [threads.submit(sr, picture) for picture in pictures]
        rebuilt = [threads.submit(unmask, pictures[0], mask) for _ in range(6)]
        results = [each.result() for each in enlarged + rebuilt]
    assert all(np.array_equal(one, other) for one, other in zip(single, results, strict=True))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((np.zeros((3, 3), np.int32),), "8 or 16 bits, or floats"),
        ((np.zeros((3, 3, 2), np.uint8),), r"\(H, W\)"),
        ((np.zeros((0, 3, 3), np.uint8),), r"\(H, W\)"),
        (([[1]],), "cannot take a list"),
        ((torch.zeros(4, 5, 5),), r"\(3, H, W\)"),
        ((torch.zeros(3, 5, 5, dtype=torch.uint8),), "of floats"),
        ((drawn(), np.zeros((37, 52), np.uint8)), "no use for a mask"),
    ],
)
def test_wrong_pictures_are_told(sr, arguments, told):
    with pytest.raises(UserError, match=told):
        sr(*arguments)


def test_wrong_masks_are_told(unmask):
    with pytest.raises(UserError, match="give one"):
        unmask(drawn())
    with pytest.raises(UserError, match=r"\(5, 5\) .*\(37, 52\)"):
        unmask(drawn(), np.zeros((5, 5), np.uint8))
    with pytest.raises(UserError, match="makes one result"):
        unmask(drawn(), np.ones((37, 52), np.uint8), candidate=2)


def test_wrong_names_are_told(folder):
    with pytest.raises(UserError, match="no model of that name"):
        load_model("photo_x44")
    with pytest.raises(UserError, match="no such weights file"):
        load_model(folder / "missing.pth")
    (folder / "text.safetensors").write_text("hello")
    with pytest.raises(UserError, match=r"text\.safetensors: broken"):
        load_model(folder / "text.safetensors")
    with pytest.raises(UserError, match=r"no part.*`MSRResNe`|MSRResNe"):
        load_model(folder / "silent.pth", network_g=SR | {"type": "MSRResNe"})
    with pytest.raises(UserError, match="fidelity"):
        load_model(folder / "sr.safetensors", fidelity=0.5)


def test_files_that_do_not_say_their_network_are_told_it(folder, sr):
    model = load_model(folder / "silent.pth", network_g=SR, device="cpu")
    assert np.array_equal(model(drawn()), sr(drawn()))


@pytest.mark.parametrize("precision", ["bf16", "auto"])
def test_precisions(folder, sr, precision):
    model = load_model(folder / "sr.safetensors", device="cpu", precision=precision)
    apart = np.abs(model(drawn()).astype(int) - sr(drawn()))
    assert apart.max() <= (3 if precision == "bf16" else 0)


def test_importing_restore_loads_nothing_heavy():
    code = "import sys, restore; assert 'torch' not in sys.modules and 'numpy' not in sys.modules; restore.load_model"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_exported_files_are_models_too(folder, sr, unmask, tmp_path):
    pytest.importorskip("onnxscript", reason="the extra `export` is not installed")
    from restore import cli

    for name, model, mask in (("sr", sr, None), ("unmask", unmask, np.zeros((37, 52), np.uint8))):
        target = tmp_path / f"{name}.onnx"
        args = cli.build_parser().parse_args(["export", str(folder / f"{name}.safetensors"), str(target)])
        args.run(args)
        exported = load_model(target)
        assert kind_of(target) == model.kind
        assert (exported.kind, exported.scale, exported.size, exported.faces) == (
            model.kind,
            model.scale,
            model.size,
            model.faces,
        )
        if mask is not None:
            mask[4:30, 6:20] = 255
        apart = np.abs(exported(drawn(), mask).astype(int) - model(drawn(), mask))
        assert apart.max() <= 1
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(UserError, match=r"text\.onnx: ONNX Runtime cannot load it"):
        load_model(tmp_path / "text.onnx")
    with pytest.raises(UserError, match="no such file"):
        load_model(tmp_path / "missing.onnx")


def test_the_kind_is_told_without_the_tensors(folder):
    assert kind_of(folder / "sr.safetensors") == "sr"
    assert kind_of(folder / "unmask.safetensors") == "unmask"


def test_a_finder_of_masks_is_told_from_a_restorer(folder):
    facts = {"arch": HOLE, "task": {"type": "Segmentation"}, "size": 32}
    (folder / "finder.safetensors").write_bytes(weights_bytes(UNet(num_feat=4, num_level=2), facts))
    with pytest.raises(UserError, match="makes no picture"):
        load_model(folder / "finder.safetensors")
    with pytest.raises(UserError, match="makes no picture"):
        kind_of(folder / "finder.safetensors")
