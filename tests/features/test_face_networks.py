"""Face-recognition networks: against facexlib's, torchvision's, and plain functions over the files' own names."""

import cv2
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from restore.errors import UserError
from restore.faces.face import LANDMARKS
from restore.faces.identity import NETWORKS, Identity
from restore.features.arcface import ArcFace, ArcFace18
from restore.features.face_network import ARCFACE_TEMPLATE
from restore.features.load import random_state
from restore.features.mobilefacenet import MobileFaceNet
from restore.features.resnet_face import ResNet50, VGGFace2
from restore.features.sface import SFace
from tests.oracles import facexlib

pytestmark = pytest.mark.filterwarnings("ignore:.*random weights, as asked for")


def saved(state, path):
    """`state` with numbers for which every layer counts, in a file."""
    generator = torch.Generator().manual_seed(4)
    numbers = random_state(state, "any")
    for name, value in numbers.items():
        if value.ndim == 1 and not name.endswith("num_batches_tracked"):
            value += 0.2 * torch.rand(value.shape, generator=generator)
    torch.save(numbers, path)
    return str(path), numbers


def faces(size=(112, 112), number=1):
    return torch.rand(number, 3, *size, generator=torch.Generator().manual_seed(0))


def angle(one, other):
    """Vectors may be scaled: their angle tells people apart."""
    return F.cosine_similarity(one, other).min().item()


def normed(x, w, name):
    mean, var, scale, shift = (w[f"{name}.{n}"] for n in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, mean, var, scale, shift)


# --------------------------------------------------------------------------------------------------------- ArcFace


@pytest.mark.parametrize("mode", ["ir_se", "ir"])
def test_ir50_equals_facexlibs(mode, tmp_path):
    """Also as `resnet50`, which knows by the names what it is."""
    theirs = facexlib("recognition.arcface_arch").Backbone(50, 0.6, mode).eval()
    path, numbers = saved(theirs.state_dict(), tmp_path / "x.pth")
    theirs.load_state_dict(numbers)
    with torch.no_grad():
        expected = theirs(2 * faces() - 1)
        for network in [ResNet50(path), *([ArcFace(path)] if mode == "ir_se" else [])]:
            torch.testing.assert_close(F.normalize(network(faces())), expected, rtol=1e-3, atol=1e-5)


def grey_state():
    with torch.device("meta"):
        network = nn.Module()
        ArcFace18._lay_out(network)
    return network.state_dict()


def test_arcface18_equals_plain_functions(tmp_path):
    """Of GFPGAN's description: grey, one activation in both places of a unit, a shortcut where the width changes."""
    path, w = saved(grey_state(), tmp_path / "x.pth")
    picture = faces((128, 128), 2)
    red, green, blue = picture.unbind(1)
    x = 2 * (0.2989 * red + 0.5870 * green + 0.1140 * blue).unsqueeze(1) - 1
    x = F.max_pool2d(F.prelu(normed(F.conv2d(x, w["conv1.weight"], padding=1), w, "bn1"), w["prelu.weight"]), 2, 2)
    for layer in range(1, 5):
        for unit in range(2):
            name = f"layer{layer}.{unit}"
            stride = 2 if layer > 1 and unit == 0 else 1
            prelu = w[f"{name}.prelu.weight"]
            y = F.conv2d(normed(x, w, f"{name}.bn0"), w[f"{name}.conv1.weight"], padding=1)
            y = F.conv2d(F.prelu(normed(y, w, f"{name}.bn1"), prelu), w[f"{name}.conv2.weight"], None, stride, 1)
            if stride == 2:
                x = normed(F.conv2d(x, w[f"{name}.downsample.0.weight"], None, 2), w, f"{name}.downsample.1")
            x = F.prelu(normed(y, w, f"{name}.bn2") + x, prelu)
    x = F.linear(normed(x, w, "bn4").flatten(1), w["fc5.weight"], w["fc5.bias"])
    torch.testing.assert_close(ArcFace18(path)(picture), normed(x, w, "bn5"), rtol=1e-3, atol=1e-3)


def test_templates():
    """MobileFaceNet's is ArcFace's, 8 px narrower on both sides; GFPGAN's faces stand as in FFHQ's frame."""
    shifted = np.array(ARCFACE_TEMPLATE) - [8, 0]
    assert np.allclose(MobileFaceNet.template, shifted, atol=1e-3)
    assert np.allclose(ArcFace18.template, 128 * LANDMARKS - 0.5, atol=1e-3)


# -------------------------------------------------------------------------------------------------------- ResNet-50


def iresnet_state():
    return ResNet50("random").network.state_dict()


def test_insightface_equals_plain_functions(tmp_path):
    path, w = saved(iresnet_state(), tmp_path / "x.pth")
    x = F.prelu(normed(F.conv2d((faces() - 0.5) / 0.5, w["conv1.weight"], padding=1), w, "bn1"), w["prelu.weight"])
    for layer, units in enumerate((3, 4, 14, 3), 1):
        for unit in range(units):
            name, stride = f"layer{layer}.{unit}", 1 if unit else 2
            y = normed(F.conv2d(normed(x, w, f"{name}.bn1"), w[f"{name}.conv1.weight"], padding=1), w, f"{name}.bn2")
            y = F.conv2d(F.prelu(y, w[f"{name}.prelu.weight"]), w[f"{name}.conv2.weight"], None, stride, 1)
            if unit == 0:
                x = normed(F.conv2d(x, w[f"{name}.downsample.0.weight"], None, 2), w, f"{name}.downsample.1")
            x = normed(y, w, f"{name}.bn3") + x
    x = normed(F.linear(normed(x, w, "bn2").flatten(1), w["fc.weight"], w["fc.bias"]), w, "features")
    found = ResNet50(path)(faces())
    torch.testing.assert_close(found, x, rtol=1e-3, atol=1e-3 * x.abs().max().item())
    assert sum(name.endswith("conv2.weight") for name in w) == 24


def test_insightface_has_as_many_parameters_as_its_description_says():
    """facexlib's IR-50, and: another normalisation in each of the 24 units, a convolution past the first unit."""
    with torch.device("meta"):
        facexlibs = facexlib("recognition.arcface_arch").Backbone(50, 0.6, "ir")
    more = 2 * (3 * 64 + 4 * 128 + 14 * 256 + 3 * 512) + 64 * 64 + 2 * 64
    network = ResNet50("random").network
    count, theirs = (sum(p.numel() for p in module.parameters()) for module in (network, facexlibs))
    assert count == theirs + more
    assert {"layer1.0.downsample.0.weight", "layer3.13.prelu.weight", "features.weight"} <= set(network.state_dict())


def torchvision_resnet(people):
    models = pytest.importorskip("torchvision").models
    return models.resnet50(weights=None, num_classes=people).eval()


def test_torchvisions_features_are_the_vector(tmp_path):
    theirs = torchvision_resnet(37)
    path, numbers = saved(theirs.state_dict(), tmp_path / "x.pth")
    theirs.load_state_dict(numbers)
    theirs.fc = nn.Identity()
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    x = faces((224, 224))
    with torch.no_grad():
        network = ResNet50(path)
        torch.testing.assert_close(network(x), theirs((x - mean) / std), rtol=1e-4, atol=1e-4)
    assert network.size == (224, 224)


def test_vggface2_equals_plain_functions(tmp_path):
    """The Caffe network: BGR less a mean, strides in the 1x1 convolution, pooling that rounds up."""
    path, w = saved(torchvision_resnet(41).state_dict(), tmp_path / "x.pth")
    picture = faces((224, 224))
    x = 255 * picture.flip(1) - torch.tensor([91.4953, 103.8827, 131.0912]).view(3, 1, 1)
    x = normed(F.conv2d(x, w["conv1.weight"], None, 2, 3), w, "bn1").relu()
    x = F.max_pool2d(x, 3, 2, 0, ceil_mode=True)
    for layer, units in enumerate((3, 4, 6, 3), 1):
        for unit in range(units):
            name, stride = f"layer{layer}.{unit}", 2 if layer > 1 and unit == 0 else 1
            y = normed(F.conv2d(x, w[f"{name}.conv1.weight"], None, stride), w, f"{name}.bn1").relu()
            y = normed(F.conv2d(y, w[f"{name}.conv2.weight"], None, 1, 1), w, f"{name}.bn2").relu()
            y = normed(F.conv2d(y, w[f"{name}.conv3.weight"]), w, f"{name}.bn3")
            if unit == 0:
                x = normed(F.conv2d(x, w[f"{name}.downsample.0.weight"], None, stride), w, f"{name}.downsample.1")
            x = (x + y).relu()
    torch.testing.assert_close(VGGFace2(path)(picture), x.mean((2, 3)), rtol=1e-3, atol=1e-2)


def named(names, path, people=None):
    """A file that has these names, and a head of so many classes."""
    state = {name: torch.zeros(1) for name in names if not name.startswith("fc.")}
    torch.save(state | ({} if people is None else {"fc.weight": torch.zeros(people, 1)}), path)
    return str(path)


@pytest.mark.parametrize("network", [ResNet50, VGGFace2])
def test_imagenet_is_refused_in_words(network, tmp_path):
    path = named(torchvision_resnet(2).state_dict(), tmp_path / "x.pth", people=1000)
    with pytest.raises(UserError, match="ImageNet's 1,000 kinds of objects, which says nothing about who a face is"):
        network(path)


def test_torchvisions_files_are_known_by_their_hashes(tmp_path, monkeypatch):
    path = named(torchvision_resnet(2).state_dict(), tmp_path / "x.pth", people=7)
    monkeypatch.setattr("restore.pretrained.sha256_of", lambda path: "11ad3fa6" + 56 * "0")
    with pytest.raises(UserError, match="ImageNet"):
        ResNet50(path)


def test_a_head_cut_off_is_refused(tmp_path):
    path = named(torchvision_resnet(2).state_dict(), tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"x\.pth: has no head \(fc\.weight\)"):
        ResNet50(path)


def test_a_deeper_network_is_not_taken_for_this_one(tmp_path):
    names = set(iresnet_state())
    names |= {name.replace("layer3.13", "layer3.14") for name in names}
    with pytest.raises(UserError, match=r"x\.pth: holds no ResNet-50 for faces that is known here"):
        ResNet50(named(names, tmp_path / "x.pth"))


# ------------------------------------------------------------------------------------------------------------ SFace


class Recognizer:
    """In the place of OpenCV's: three numbers of a face in BGR."""

    def feature(self, face):
        assert face.shape == (112, 112, 3)
        assert face.dtype == np.uint8
        return face.reshape(-1, 3).mean(0, keepdims=True).astype(np.float32)


def test_sface_gets_faces_as_opencv_has_them(monkeypatch):
    monkeypatch.setattr(cv2.FaceRecognizerSF, "create", lambda path, config: Recognizer())
    network, picture = SFace("any.onnx"), faces(number=2)
    expected = (255 * picture).round().mean((2, 3)).flip(1)
    torch.testing.assert_close(network(picture.requires_grad_()), expected, rtol=1e-4, atol=1e-3)
    assert not network(picture).requires_grad
    assert not SFace.differentiable


def test_sface_of_a_broken_file(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"no network")
    with pytest.raises(UserError, match=r"x\.onnx: OpenCV cannot read this network"):
        SFace(str(tmp_path / "x.onnx"))


# --------------------------------------------------------------------------------------------------------- all of them


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "sface"])
def test_identity_is_one_interface(name):
    """Unit vectors, gradients to the pictures and to nothing else, evaluation for ever."""
    identity = Identity(name, "random").train()
    pictures = torch.rand(1, 3, 90, 80, generator=torch.Generator().manual_seed(1)).requires_grad_()
    vectors = identity(pictures, torch.tensor(LANDMARKS)[None] * 80)
    assert vectors.norm(dim=1).tolist() == pytest.approx([1.0], abs=1e-5)
    vectors[:, 0].sum().backward()
    assert pictures.grad.isfinite().all()
    assert pictures.grad.abs().max() > 0
    assert not any(module.training for module in identity.network.modules())
    assert not any(p.requires_grad for p in identity.parameters())


def test_unknown_networks_and_missing_files():
    with pytest.raises(UserError, match="no identity network `arcfase`; did you mean `arcface`"):
        Identity("arcfase")
    for name in ("resnet50", "vggface2", "arcface18"):
        with pytest.raises(UserError, match=rf"^{name}: .*`weights: FILE`"):
            Identity(name)
