"""Feature networks: against torchvision's and torch-fidelity's code with the same numbers, and with real weights."""

from itertools import islice

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from restore import images
from restore.errors import UserError
from restore.features.alexnet import AlexNet
from restore.features.inception import Inception, resize_as_tensorflow_1
from restore.features.layers import IMAGENET_MEAN, IMAGENET_STD
from restore.features.squeezenet import SqueezeNet, SqueezeNetCaffe
from restore.features.vgg import VGG16, VGG19, VGGNormalised
from tests.oracles import shared

NETWORKS = (VGG16, VGG19, AlexNet, SqueezeNet)
pytestmark = pytest.mark.filterwarnings("ignore:.*random weights, as asked for")


def picture(size=(47, 50), seed=0):
    return torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(seed))


def torchvision_features(network):
    """The convolutions of torchvision's network; built without its huge classifier."""
    models = pytest.importorskip("torchvision").models
    if network in (VGG16, VGG19):
        return models.vgg.make_layers(models.vgg.cfgs["D" if network is VGG16 else "E"])
    return (models.alexnet if network is AlexNet else models.squeezenet1_1)(weights=None).features


def outputs(features, x):
    """Each layer's output as torchvision computes it from RGB in [0, 1]."""
    x = (x - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(3, 1, 1)
    found = []
    for layer in features:
        x = layer(x)
        found.append(x.clone())
    return found


@pytest.mark.parametrize("network", NETWORKS)
def test_every_layer_equals_torchvisions(network, tmp_path):
    theirs = torchvision_features(network).eval()
    torch.save({f"features.{name}": value for name, value in theirs.state_dict().items()}, tmp_path / "x.pth")
    names = list(network.modules_by_name())
    x = picture((65, 66))
    with torch.no_grad():
        ours = network(names, str(tmp_path / "x.pth"))(x)
        expected = outputs(theirs, x)
    assert list(ours) == names
    assert len(expected) == len(names)
    for name, value in zip(names, expected, strict=True):
        torch.testing.assert_close(ours[name], value, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("network", [*NETWORKS, VGGNormalised])
def test_names_say_where_a_relu_stands(network):
    for name, module in network.modules_by_name().items():
        assert name.startswith("relu") == isinstance(module, nn.ReLU)
        assert name.startswith("conv") == isinstance(module, nn.Conv2d) or name == "colour"


def test_normalised_vgg_equals_the_published_layout():
    """Layers of the file's own description; the numbers are the real ones."""
    path = shared("../weights/perceptual/vgg_normalised_conv3_1.pth")
    convs = {0: (3, 3, 1), 2: (3, 64, 3), 5: (64, 64, 3), 9: (64, 128, 3), 12: (128, 128, 3), 16: (128, 256, 3)}
    layers = [
        nn.Conv2d(*convs[i])
        if i in convs
        else nn.ReflectionPad2d(1)
        if i in (1, 4, 8, 11, 15)
        else nn.MaxPool2d(2)
        if i in (7, 14)
        else nn.ReLU()
        for i in range(18)
    ]
    plain = nn.Sequential(*layers)
    plain.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    x = picture()
    with torch.no_grad():
        ours = VGGNormalised(["conv2_2", "relu3_1"], str(path))(x)
        torch.testing.assert_close(ours["relu3_1"], plain(x))
        torch.testing.assert_close(ours["conv2_2"], plain[:13](x))


def test_normalised_vgg_has_mean_activations_near_1():
    """What "normalised" means: over natural pictures each layer's mean is 1; faces are no ImageNet, so roughly."""
    path = shared("../weights/perceptual/vgg_normalised_conv3_1.pth")
    faces = islice(images.find(shared("faces_celebahq512", "val")), 4)
    batch = torch.cat([images.to_unit(images.read(face)) for face in faces])
    relus = ["relu1_1", "relu2_1", "relu3_1"]
    for name, values in VGGNormalised(relus, str(path))(F.avg_pool2d(batch, 2)).items():
        assert 0.4 < values.mean().item() < 2, name


def test_caffes_squeezenet_loads_into_torchvisions():
    models = pytest.importorskip("torchvision").models
    path = shared("../weights/perceptual/squeezenet1_1_caffe_torch.pth")
    theirs = models.squeezenet1_1(weights=None)
    theirs.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    with torch.no_grad():
        ours = SqueezeNetCaffe(["fire9"], str(path))(picture((64, 64)))["fire9"]
        torch.testing.assert_close(ours, outputs(theirs.features, picture((64, 64)))[-1], rtol=1e-5, atol=1e-5)


def test_inception_equals_torch_fidelitys(tmp_path):
    """torch-fidelity's `FeatureExtractorInceptionV3`, the numbers of its BatchNorms shaken, three shapes."""
    theirs = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    with pytest.warns(UserWarning, match="inception: random weights"):
        state = Inception("random").trunk.state_dict()
    draw = torch.Generator().manual_seed(1)
    for name, value in state.items():
        if ".bn." in name and value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=draw) + (0.5 if name.endswith(("weight", "var")) else -0.5))
    state |= {"fc.weight": torch.rand(1008, 2048), "fc.bias": torch.rand(1008)}
    torch.save(state, tmp_path / "inception.pth")
    oracle = theirs.FeatureExtractorInceptionV3("x", ["2048"], str(tmp_path / "inception.pth")).eval()
    ours = Inception(str(tmp_path / "inception.pth"))
    for size in ((40, 57), (299, 299), (320, 310)):
        levels = (picture(size) * 255).round()
        (expected,) = oracle(levels.to(torch.uint8))
        assert expected.std() > 0.01
        torch.testing.assert_close(ours(levels / 255), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (13, 700), (298, 299), (600, 300)])
def test_resizing_equals_tensorflows(size):
    theirs = pytest.importorskip("torch_fidelity.interpolate_compat_tensorflow")
    x = picture(size) * 255
    expected = theirs.interpolate_bilinear_2d_like_tensorflow1x(x, (299, 299), align_corners=False)
    torch.testing.assert_close(resize_as_tensorflow_1(x, 299), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("network", [VGG19, SqueezeNet])
def test_frozen_but_gradients_pass_to_the_picture(network):
    holder = nn.ModuleList([network(list(network.modules_by_name())[:9], "random")]).train()
    assert not any(module.training for module in holder[0].modules())
    assert not any(parameter.requires_grad for parameter in holder.parameters())
    x = picture().requires_grad_()
    sum(value.sum() for value in holder[0](x).values()).backward()
    assert x.grad.abs().sum() > 0


def test_what_is_handed_out_is_not_overwritten():
    """The ReLU behind a wanted convolution must not work in place."""
    both = VGG19(["conv1_1", "relu1_1", "conv1_2"], "random")(picture())
    assert (both["conv1_1"] < 0).any()
    torch.testing.assert_close(both["relu1_1"], both["conv1_1"].relu())
    torch.testing.assert_close(both["conv1_2"], VGG19(["conv1_2"], "random")(picture())["conv1_2"])


def test_only_what_is_needed_is_built():
    assert VGG19(["relu2_1"], "random").names[-1] == "relu2_1"
    assert len(VGG19(["relu2_1", "conv1_1"], "random").trunk) == 7


def test_random_weights_are_always_the_same_told_and_drawn_from_nothing_of_torchs():
    before = torch.random.get_rng_state()
    with pytest.warns(UserWarning, match="alexnet: random weights, as asked for; what is measured"):
        one = AlexNet(["relu5"], "random")
    assert torch.equal(before, torch.random.get_rng_state())
    other = AlexNet(["relu5"], "random")
    x = picture((64, 64))
    assert torch.equal(one(x)["relu5"], other(x)["relu5"])
    assert one(x)["relu5"].std() > 0.01


def test_unknown_layer_names_the_nearest():
    with pytest.raises(UserError, match=r"^no layer `conv5_5` in VGG19; did you mean `conv5_4`\?$"):
        VGG19(["conv5_5"], "random")


def test_a_file_of_another_network_is_told(tmp_path):
    torch.save({f"features.{k}": v for k, v in torchvision_features(AlexNet).state_dict().items()}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a\.pth: does not hold `vgg19`: no features\.0\.weight of \(64, 3, 3, 3\)$"):
        VGG19(["conv1_1"], str(tmp_path / "a.pth"))
    with pytest.raises(UserError, match=r"none\.pth: no such weights file"):
        VGG19(["conv1_1"], str(tmp_path / "none.pth"))


def test_outputs_are_float32_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        values = VGG19(["conv1_1", "relu2_1"], "random")(picture())
        features = Inception("random")(picture())
    assert {value.dtype for value in values.values()} == {torch.float32}
    torch.testing.assert_close(features, Inception("random")(picture()), rtol=0, atol=0)
